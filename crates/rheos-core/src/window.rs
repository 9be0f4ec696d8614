//! Window arithmetic: slices and windows, in milliseconds, with floor division so that it also holds before 1970.
//!
//! Overlapping windows share *slices*. With slide `s` and size `n*s + r` (0 <= r < s), the edges lie at `k*s + offset`
//! and, if r > 0, at `k*s + offset + r`: at most two slices a slide, whatever the numbers (paired windows, Krishnamurthy
//! et al., SIGMOD 2006). Slices are numbered, so a window is a contiguous range of slice numbers.
//!
//! ```text
//!   size 5, slide 3 (n=1, r=2):   |--2--|-1-|--2--|-1-|--2--|
//!   window [0,5)                  |---------------|             slices 0,1,2
//!   window [3,8)                            |---------------|   slices 2,3,4
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
        Ok(Self::Hop { size_ms, slide_ms, offset_ms: offset_ms.rem_euclid(slide_ms) })
    }

    fn parts(self) -> Option<(i64, i64, i64)> {
        match self {
            Self::Tumble { size_ms, offset_ms } => Some((size_ms, size_ms, offset_ms)),
            Self::Hop { size_ms, slide_ms, offset_ms } => Some((size_ms, slide_ms, offset_ms)),
            Self::Global => None,
        }
    }

    /// Slices in one slide: 1, or 2 where the size is no multiple of the slide.
    pub fn slices_per_slide(self) -> i64 {
        self.parts().map_or(1, |(size, slide, _)| if size % slide == 0 { 1 } else { 2 })
    }

    /// Slices in one window.
    pub fn slices_per_window(self) -> i64 {
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

    /// The number of the first window that contains slice `n`. Window `k` starts at `k*slide + offset`.
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
        n.div_euclid(self.slices_per_slide())
    }

    /// Window number `k`.
    pub fn window(self, k: i64) -> Window {
        match self.parts() {
            Some((size, slide, offset)) => Window { start_ms: k * slide + offset, end_ms: k * slide + offset + size },
            None => Window { start_ms: i64::MIN, end_ms: i64::MAX },
        }
    }

    /// The slices of window `k`.
    pub fn slices(self, k: i64) -> Range<i64> {
        let first = k * self.slices_per_slide();
        first..first + self.slices_per_window()
    }
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
    fn lengths_out_of_range_are_refused() {
        assert!(WindowSpec::try_tumble(0, 0).is_err());
        assert!(WindowSpec::try_tumble(i64::MAX, 0).is_err());
        assert!(WindowSpec::try_hop(10, 5, 0).unwrap_err().hint().unwrap().contains("slide, size"));
    }
}
