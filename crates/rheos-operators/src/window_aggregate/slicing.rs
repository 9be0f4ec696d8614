//! Slices and windows of a window aggregate, by number.
//!
//! Two kinds look alike from here: windows over event time, whose arithmetic is [`WindowSpec`]'s, and windows that rows
//! carry in columns, where the slice *is* the window and its number is the window's end in ms.

use std::ops::Range;

use rheos_core::window::{EVENT_TIME_MS_MAX, WindowSpec};

use super::spec::AggregateWindow;

/// Numbers of slices and windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slicing {
    Time(WindowSpec),
    Columns,
}

impl Slicing {
    pub(crate) fn new(window: AggregateWindow) -> Self {
        match window {
            AggregateWindow::Assign(spec) => Self::Time(spec),
            AggregateWindow::Columns { .. } => Self::Columns,
        }
    }

    /// The slices of a window.
    pub(crate) fn slices(self, window: i64) -> Range<i64> {
        match self {
            Self::Time(spec) => spec.slices(window),
            Self::Columns => window..window + 1,
        }
    }

    /// Whether a window is the one before it and one slice more (except at the start of a bucket).
    pub(crate) fn is_cumulating(self) -> bool {
        matches!(self, Self::Time(WindowSpec::Cumulate { .. }))
    }

    /// Slices in a window, at most.
    pub(crate) fn slices_per_window(self) -> i64 {
        match self {
            Self::Time(spec) => spec.slices_per_window(),
            Self::Columns => 1,
        }
    }

    pub(crate) fn first_window(self, slice: i64) -> i64 {
        match self {
            Self::Time(spec) => spec.first_window(slice),
            Self::Columns => slice,
        }
    }

    pub(crate) fn last_window(self, slice: i64) -> i64 {
        match self {
            Self::Time(spec) => spec.last_window(slice),
            Self::Columns => slice,
        }
    }

    /// Where a window ends; it fires when the watermark is there.
    pub(crate) fn window_end_ms(self, window: i64) -> i64 {
        match self {
            Self::Time(spec) => spec.window(window).end_ms,
            Self::Columns => window,
        }
    }

    /// Where a slice ends; no row that is in time enters it later.
    pub(crate) fn slice_end_ms(self, slice: i64) -> i64 {
        match self {
            Self::Time(spec) => spec.slice_end_ms(slice),
            Self::Columns => slice,
        }
    }

    /// The first window that has not fired at `watermark_ms`.
    pub(crate) fn first_open_window(self, watermark_ms: i64) -> i64 {
        match self {
            // Far outside of all event times nothing is open, or everything; the bound keeps the sums within an i64.
            Self::Time(spec @ (WindowSpec::Tumble { .. } | WindowSpec::Hop { .. })) => {
                let w = watermark_ms.clamp(-EVENT_TIME_MS_MAX / 2 * 3, EVENT_TIME_MS_MAX / 2 * 3);
                let zero = spec.window(0);
                let slide = spec.window(1).start_ms - zero.start_ms;
                (w - zero.end_ms).div_euclid(slide) + 1
            }
            Self::Time(WindowSpec::Cumulate { step_ms, offset_ms, .. }) => {
                let w = watermark_ms.clamp(-EVENT_TIME_MS_MAX / 2 * 3, EVENT_TIME_MS_MAX / 2 * 3);
                (w - offset_ms).div_euclid(step_ms)
            }
            // Sessions have an operator of their own.
            Self::Time(WindowSpec::Global | WindowSpec::Session { .. }) => i64::from(watermark_ms == i64::MAX),
            Self::Columns => watermark_ms.saturating_add(1),
        }
    }

    /// By how many ms the watermark is ahead of the last one at which a row of this slice was in time.
    pub(crate) fn lateness_ms(self, slice: i64, watermark_ms: i64) -> i64 {
        watermark_ms.saturating_sub(self.window_end_ms(self.last_window(slice))).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_open_window_is_the_first_that_ends_behind_the_watermark() {
        let hops = [(5, 5, 0), (3, 7, 1), (10, 600, 3), (1, 1, 0)];
        let hops = hops.map(|(slide, size, offset)| WindowSpec::try_hop(slide, size, offset));
        let cumulates = [(5, 5, 0), (3, 9, 7), (10, 600, 3), (1, 1, 0)];
        let cumulates = cumulates.map(|(step, size, offset)| WindowSpec::try_cumulate(step, size, offset));
        for spec in hops.into_iter().chain(cumulates) {
            let slicing = Slicing::Time(spec.unwrap());
            for w in -50..50 {
                let k = slicing.first_open_window(w);
                assert!(slicing.window_end_ms(k) > w && slicing.window_end_ms(k - 1) <= w, "watermark {w}");
            }
            let end = slicing.first_open_window(i64::MAX);
            assert!(slicing.window_end_ms(end) > EVENT_TIME_MS_MAX);
            assert!(slicing.window_end_ms(slicing.first_open_window(i64::MIN)) < -EVENT_TIME_MS_MAX);
        }
    }
}
