//! Windows in Rust: `Tumble::of("1 h")`, `Hop::of("3 h").every("1 h")`, `Cumulate::of("1 d").every("1 h")`,
//! `Session::gap("10 min")`.

use rheos_core::error::Result;
use rheos_core::units::parse_duration_ms;
use rheos_core::window::WindowSpec;

/// How rows are put into windows of event time.
pub trait IntoWindow {
    /// The window. Errors: `Invalid` for a duration that cannot be read, or a slide longer than the size.
    fn into_window(self) -> Result<WindowSpec>;
}

/// Windows that follow each other without a gap.
///
/// ```
/// use rheos::{IntoWindow, Tumble};
///
/// assert_eq!(Tumble::of("1 h").into_window()?.to_string(), "tumble 3600000 ms");
/// assert!(Tumble::of("1 fortnight").into_window().is_err());
/// # Ok::<(), rheos::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Tumble {
    size: String,
    offset: Option<String>,
}

impl Tumble {
    /// Windows of this length.
    pub fn of(size: impl Into<String>) -> Self {
        Self { size: size.into(), offset: None }
    }

    /// Shifts the windows against 1970-01-01 00:00 UTC.
    pub fn offset(mut self, offset: impl Into<String>) -> Self {
        self.offset = Some(offset.into());
        self
    }
}

impl IntoWindow for Tumble {
    fn into_window(self) -> Result<WindowSpec> {
        WindowSpec::try_tumble(parse_duration_ms(&self.size)?, offset_ms(self.offset)?)
    }
}

/// Windows that overlap: one of length `size` begins every `slide`.
///
/// ```
/// use rheos::{Hop, IntoWindow};
///
/// assert!(Hop::of("3 h").every("1 h").into_window().is_ok());
/// assert!(Hop::of("1 h").every("3 h").into_window().is_err());
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Hop {
    size: String,
    slide: String,
    offset: Option<String>,
}

impl Hop {
    /// Windows of this length, one behind the other until [`every`](Self::every) says otherwise.
    pub fn of(size: impl Into<String>) -> Self {
        let size = size.into();
        Self { slide: size.clone(), size, offset: None }
    }

    /// How far the windows' starts lie apart.
    pub fn every(mut self, slide: impl Into<String>) -> Self {
        self.slide = slide.into();
        self
    }

    /// Shifts the windows against 1970-01-01 00:00 UTC.
    pub fn offset(mut self, offset: impl Into<String>) -> Self {
        self.offset = Some(offset.into());
        self
    }
}

impl IntoWindow for Hop {
    fn into_window(self) -> Result<WindowSpec> {
        WindowSpec::try_hop(parse_duration_ms(&self.slide)?, parse_duration_ms(&self.size)?, offset_ms(self.offset)?)
    }
}

/// Windows that begin together and end one `step` after the other, until the next bucket of length `size` begins.
///
/// ```
/// use rheos::{Cumulate, IntoWindow};
///
/// // What has come in since midnight, told every hour.
/// let hourly = Cumulate::of("1 d").every("1 h").into_window()?;
/// assert_eq!(hourly.slices_per_window(), 24);
/// assert!(Cumulate::of("1 h").every("25 min").into_window().is_err());
/// # Ok::<(), rheos::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Cumulate {
    size: String,
    step: String,
    offset: Option<String>,
}

impl Cumulate {
    /// Buckets of this length, each one window until [`every`](Self::every) says otherwise.
    pub fn of(size: impl Into<String>) -> Self {
        let size = size.into();
        Self { step: size.clone(), size, offset: None }
    }

    /// How far the windows' ends lie apart. The size is a multiple of it.
    pub fn every(mut self, step: impl Into<String>) -> Self {
        self.step = step.into();
        self
    }

    /// Shifts the windows against 1970-01-01 00:00 UTC.
    pub fn offset(mut self, offset: impl Into<String>) -> Self {
        self.offset = Some(offset.into());
        self
    }
}

impl IntoWindow for Cumulate {
    fn into_window(self) -> Result<WindowSpec> {
        let (step_ms, size_ms) = (parse_duration_ms(&self.step)?, parse_duration_ms(&self.size)?);
        WindowSpec::try_cumulate(step_ms, size_ms, offset_ms(self.offset)?)
    }
}

/// Windows that follow from the rows: those of a key that lie at most `gap` apart are one session. The key is that of
/// [`Stream::key_by`](crate::Stream::key_by).
///
/// ```
/// use rheos::{IntoWindow, Session};
///
/// assert!(Session::gap("10 min").into_window()?.is_session());
/// assert!(Session::gap("0 s").into_window().is_err());
/// # Ok::<(), rheos::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Session {
    gap: String,
}

impl Session {
    /// Sessions that end after this long without a row.
    pub fn gap(gap: impl Into<String>) -> Self {
        Self { gap: gap.into() }
    }
}

impl IntoWindow for Session {
    fn into_window(self) -> Result<WindowSpec> {
        WindowSpec::try_session(parse_duration_ms(&self.gap)?)
    }
}

fn offset_ms(offset: Option<String>) -> Result<i64> {
    offset.map_or(Ok(0), |o| parse_duration_ms(&o))
}
