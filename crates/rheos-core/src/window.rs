//! Window arithmetic: slices and windows, in milliseconds, with floor division so that it also holds before 1970.
//!
//! Every kind but [`WindowSpec::Session`] is cut this way; sessions follow from the rows of a key and have no arithmetic.
//! Overlapping windows share *slices*. With slide `s` and size `n*s + r` (0 <= r < s), the edges lie at `k*s + offset`
//! and, if r > 0, at `k*s + offset + r`: at most two slices a slide, whatever the numbers (paired windows, Krishnamurthy
//! et al., SIGMOD 2006). Slices are numbered, so a window is a contiguous range of slice numbers.
//!
//! ```text
//!   size 5, slide 3 (n=1, r=2):   |--2--|-1-|--2--|-1-|--2--|
//!   window [0,5)                  |---------------|             slices 0,1,2
//!   window [3,8)                            |---------------|   slices 2,3,4
//! ```
//!
//! Cumulating windows grow by a step within a bucket: the slices are the steps, and a window has the number of its last.
//!
//! ```text
//!   step 2, size 6:   |-2-|-2-|-2-|-2-|     slices 0,1,2 | 3
//!   windows 0,1,2     [0,2) [0,4) [0,6)     window 3: [6,8), slice 3
//! ```

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};

/// How rows are put into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowSpec {
    /// `[k*size + offset, (k+1)*size + offset)`.
    Tumble {
        /// Length in ms.
        size_ms: i64,
        /// Shift against 1970-01-01 00:00 UTC in ms.
        offset_ms: i64,
    },
    /// `[k*slide + offset, k*slide + offset + size)`.
    Hop {
        /// Length in ms.
        size_ms: i64,
        /// Distance between the starts in ms.
        slide_ms: i64,
        /// Shift against 1970-01-01 00:00 UTC in ms.
        offset_ms: i64,
    },
    /// `[k*size + offset, k*size + offset + j*step)` for j = 1, 2, ... `size / step`.
    Cumulate {
        /// How much longer each window is than the one before it, in ms.
        step_ms: i64,
        /// Length of the last window of a bucket in ms; a multiple of the step.
        size_ms: i64,
        /// Shift against 1970-01-01 00:00 UTC in ms.
        offset_ms: i64,
    },
    /// For each key, rows at most `gap` apart: `[first row, last row + gap)` in whole ms. Two sessions whose windows touch
    /// are one, as in Flink.
    ///
    /// A row exactly `gap` behind the last one still joins, so a session is complete only when the watermark is *beyond*
    /// its end, one ms later than other windows; what it gives does not depend on the order of rows then.
    Session {
        /// The largest distance between neighbours in ms.
        gap_ms: i64,
    },
    /// One window over everything; it fires at the end of bounded input.
    Global,
}

/// One window, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// First ms.
    pub start_ms: i64,
    /// Just behind the last ms.
    pub end_ms: i64,
}

/// Event times beyond this (about the years -144,000 to 148,000) are refused, so that window arithmetic cannot overflow.
pub const EVENT_TIME_MS_MAX: i64 = i64::MAX / 2000;

impl WindowSpec {
    /// Tumbling windows. Errors: `Invalid` unless 0 < size.
    pub fn try_tumble(size_ms: i64, offset_ms: i64) -> Result<Self> {
        check_length("size", size_ms)?;
        Ok(Self::Tumble { size_ms, offset_ms: offset_ms.rem_euclid(size_ms) })
    }

    /// Sliding windows. Errors: `Invalid` unless 0 < slide <= size.
    pub fn try_hop(slide_ms: i64, size_ms: i64, offset_ms: i64) -> Result<Self> {
        check_length("size", size_ms)?;
        check_length("slide", slide_ms)?;
        if slide_ms > size_ms {
            return Err(Error::invalid(
                121,
                format!("the slide ({slide_ms} ms) is longer than the window ({size_ms} ms), so some rows would be in no window"),
            )
            .with_hint("the order is HOP(TABLE t, DESCRIPTOR(ts), slide, size), with slide <= size"));
        }
        check_overlap("slide", slide_ms, size_ms)?;
        Ok(Self::Hop { size_ms, slide_ms, offset_ms: offset_ms.rem_euclid(slide_ms) })
    }

    /// Cumulating windows. Errors: `Invalid` unless 0 < step <= size and the size is a multiple of the step.
    pub fn try_cumulate(step_ms: i64, size_ms: i64, offset_ms: i64) -> Result<Self> {
        check_length("size", size_ms)?;
        check_length("step", step_ms)?;
        if size_ms % step_ms != 0 {
            return Err(Error::invalid(
                122,
                format!("the window's size ({size_ms} ms) is not a multiple of its step ({step_ms} ms)"),
            )
            .with_hint(
                "the order is CUMULATE(TABLE t, DESCRIPTOR(ts), step, size), e.g. steps of 1 hour to a size of 1 day",
            ));
        }
        check_overlap("step", step_ms, size_ms)?;
        Ok(Self::Cumulate { step_ms, size_ms, offset_ms: offset_ms.rem_euclid(size_ms) })
    }

    /// Sessions. Errors: `Invalid` unless 0 < gap.
    pub fn try_session(gap_ms: i64) -> Result<Self> {
        check_length("gap", gap_ms)?;
        Ok(Self::Session { gap_ms })
    }

    /// Whether windows follow from the rows of a key. The functions below say nothing about such windows.
    pub fn is_session(self) -> bool {
        matches!(self, Self::Session { .. })
    }

    /// (size, slide, offset) of what slices are cut for; cumulating windows have one a step.
    fn parts(self) -> Option<(i64, i64, i64)> {
        match self {
            Self::Tumble { size_ms, offset_ms } => Some((size_ms, size_ms, offset_ms)),
            Self::Hop { size_ms, slide_ms, offset_ms } => Some((size_ms, slide_ms, offset_ms)),
            Self::Cumulate { step_ms, offset_ms, .. } => Some((step_ms, step_ms, offset_ms)),
            Self::Session { .. } | Self::Global => None,
        }
    }

    /// Cumulating windows of one bucket; 1 for the other kinds.
    fn steps(self) -> i64 {
        match self {
            Self::Cumulate { step_ms, size_ms, .. } => size_ms / step_ms,
            _ => 1,
        }
    }

    /// Slices in one slide: 1, or 2 where the size is no multiple of the slide.
    pub fn slices_per_slide(self) -> i64 {
        self.parts().map_or(1, |(size, slide, _)| if size % slide == 0 { 1 } else { 2 })
    }

    /// Slices in one window, at most: all but the cumulating ones have this many.
    pub fn slices_per_window(self) -> i64 {
        if let Self::Cumulate { .. } = self {
            return self.steps();
        }
        self.parts().map_or(1, |(size, slide, _)| {
            let rest = size % slide;
            (size / slide) * self.slices_per_slide() + i64::from(rest > 0)
        })
    }

    /// The number of the slice that a row with this event time enters. Exactly one.
    pub fn slice(self, time_ms: i64) -> i64 {
        let Some((size, slide, offset)) = self.parts() else { return 0 };
        let t = time_ms - offset;
        let k = t.div_euclid(slide);
        let rest = size % slide;
        if rest == 0 { k } else { 2 * k + i64::from(t.rem_euclid(slide) >= rest) }
    }

    /// Where slice `n` ends, in ms; `i64::MAX` for the global window.
    pub fn slice_end_ms(self, n: i64) -> i64 {
        let Some((size, slide, offset)) = self.parts() else { return i64::MAX };
        let rest = size % slide;
        if rest == 0 {
            (n + 1) * slide + offset
        } else if n.rem_euclid(2) == 0 {
            n.div_euclid(2) * slide + rest + offset
        } else {
            (n.div_euclid(2) + 1) * slide + offset
        }
    }

    /// The number of the first window that contains slice `n`. Window `k` starts at `k*slide + offset`, or is the one
    /// that ends with step `k` where windows cumulate.
    pub fn first_window(self, n: i64) -> i64 {
        let Some((size, slide, _)) = self.parts() else { return 0 };
        let per_slide = self.slices_per_slide();
        let k = n.div_euclid(per_slide);
        // A slice in the first part of a slide is also in the window that began `size / slide` slides ago.
        let in_rest = per_slide == 2 && n.rem_euclid(2) == 0;
        k - size / slide + i64::from(!in_rest)
    }

    /// The number of the last window that contains slice `n`.
    pub fn last_window(self, n: i64) -> i64 {
        let steps = self.steps();
        (n.div_euclid(self.slices_per_slide()).div_euclid(steps) + 1) * steps - 1
    }

    /// Window number `k`.
    pub fn window(self, k: i64) -> Window {
        match self.parts() {
            Some((step, _, offset)) if self.steps() > 1 => {
                let steps = self.steps();
                Window { start_ms: k.div_euclid(steps) * steps * step + offset, end_ms: (k + 1) * step + offset }
            }
            Some((size, slide, offset)) => Window { start_ms: k * slide + offset, end_ms: k * slide + offset + size },
            None => Window { start_ms: i64::MIN, end_ms: i64::MAX },
        }
    }

    /// The slices of window `k`.
    pub fn slices(self, k: i64) -> Range<i64> {
        if let Self::Cumulate { .. } = self {
            return k.div_euclid(self.steps()) * self.steps()..k + 1;
        }
        let first = k * self.slices_per_slide();
        first..first + self.slices_per_window()
    }
}

/// A row is in `size / part` windows at once, and each of them gives a result.
fn check_overlap(what: &str, part_ms: i64, size_ms: i64) -> Result<()> {
    const WINDOWS_MAX: i64 = 1_000_000;
    let windows = size_ms / part_ms;
    if windows <= WINDOWS_MAX {
        return Ok(());
    }
    Err(Error::invalid(120, format!("each row would be in {windows} windows, and {WINDOWS_MAX} are allowed"))
        .with_hint(format!("make the {what} longer, or the window shorter")))
}

fn check_length(what: &str, ms: i64) -> Result<()> {
    // A window of more than 10,000 years is a mistake, and the bound keeps every product within an i64.
    const LENGTH_MS_MAX: i64 = 10_000 * 366 * 86_400_000;
    if (1..=LENGTH_MS_MAX).contains(&ms) {
        return Ok(());
    }
    Err(Error::invalid(
        120,
        format!("the window's {what} is {ms} ms, but it must be more than zero and at most 10,000 years"),
    )
    .with_hint("write it as INTERVAL '10' SECOND, or INTERVAL '1' HOUR"))
}

impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = |f: &mut fmt::Formatter<'_>, ms: i64| if ms == 0 { Ok(()) } else { write!(f, ", offset {ms} ms") };
        match *self {
            Self::Tumble { size_ms, offset_ms } => {
                write!(f, "tumble {size_ms} ms")?;
                offset(f, offset_ms)
            }
            Self::Hop { size_ms, slide_ms, offset_ms } => {
                write!(f, "hop {size_ms} ms every {slide_ms} ms")?;
                offset(f, offset_ms)
            }
            Self::Cumulate { step_ms, size_ms, offset_ms } => {
                write!(f, "cumulate {size_ms} ms by {step_ms} ms")?;
                offset(f, offset_ms)
            }
            Self::Session { gap_ms } => write!(f, "session gap {gap_ms} ms"),
            Self::Global => f.write_str("all rows"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, without slices: every window that contains `t`.
    fn windows_of(spec: WindowSpec, t: i64) -> Vec<Window> {
        let (size, slide, offset) = spec.parts().unwrap();
        let first = (t - offset - size).div_euclid(slide) - 1;
        (first..first + size / slide + 4)
            .map(|k| Window { start_ms: k * slide + offset, end_ms: k * slide + offset + size })
            .filter(|w| w.start_ms <= t && t < w.end_ms)
            .collect()
    }

    #[test]
    fn the_windows_of_a_slice_are_the_windows_of_its_rows() {
        for (slide, size) in [(1, 1), (1, 7), (2, 6), (3, 5), (3, 7), (5, 5), (4, 11), (7, 1000), (10, 11)] {
            for offset in [0, 1, -1, 3, 100] {
                let spec = WindowSpec::try_hop(slide, size, offset).unwrap();
                for t in -60..60 {
                    let n = spec.slice(t);
                    let got: Vec<_> = (spec.first_window(n)..=spec.last_window(n)).map(|k| spec.window(k)).collect();
                    assert_eq!(got, windows_of(spec, t), "t {t} in {spec}");
                    assert!(t < spec.slice_end_ms(n) && t >= spec.slice_end_ms(n - 1), "t {t} in slice {n} of {spec}");
                    for k in spec.first_window(n)..=spec.last_window(n) {
                        assert!(spec.slices(k).contains(&n), "slice {n} in window {k} of {spec}");
                        assert_eq!(spec.slice_end_ms(spec.slices(k).end - 1), spec.window(k).end_ms);
                    }
                }
            }
        }
    }

    #[test]
    fn cumulating_windows_of_a_slice_are_the_windows_of_its_rows() {
        for (step, steps) in [(1, 1), (1, 4), (2, 3), (5, 1), (7, 30), (3, 2)] {
            for offset in [0, 1, -1, 8, 100] {
                let size = step * steps;
                let spec = WindowSpec::try_cumulate(step, size, offset).unwrap();
                for t in -80..80 {
                    let start = (t - offset).div_euclid(size) * size + offset;
                    let ends = (1..=steps).map(|j| start + j * step).filter(|end| t < *end);
                    let expected: Vec<_> = ends.map(|end_ms| Window { start_ms: start, end_ms }).collect();
                    let n = spec.slice(t);
                    let got: Vec<_> = (spec.first_window(n)..=spec.last_window(n)).map(|k| spec.window(k)).collect();
                    assert_eq!(got, expected, "t {t} in {spec}");
                    assert!(t < spec.slice_end_ms(n) && t >= spec.slice_end_ms(n - 1), "t {t} in slice {n} of {spec}");
                    for k in spec.first_window(n)..=spec.last_window(n) {
                        assert!(spec.slices(k).contains(&n), "slice {n} in window {k} of {spec}");
                        assert!(spec.slices(k).end - spec.slices(k).start <= spec.slices_per_window());
                        assert_eq!(spec.slice_end_ms(spec.slices(k).end - 1), spec.window(k).end_ms);
                        assert_eq!(spec.slice_end_ms(spec.slices(k).start - 1), spec.window(k).start_ms);
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_out_of_range_are_refused() {
        assert!(WindowSpec::try_tumble(0, 0).is_err());
        assert!(WindowSpec::try_tumble(i64::MAX, 0).is_err());
        assert!(WindowSpec::try_hop(10, 5, 0).unwrap_err().hint().unwrap().contains("slide, size"));
        assert!(WindowSpec::try_cumulate(0, 5, 0).is_err());
        assert!(WindowSpec::try_cumulate(10, 5, 0).is_err());
        assert!(WindowSpec::try_cumulate(2, 5, 0).unwrap_err().message().contains("multiple"));
        assert!(WindowSpec::try_session(0).is_err());
    }
}
