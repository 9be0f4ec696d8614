//! Real-time pacing: when row `n` of a generated table is due, and a thread that wakes workers at that time.
//!
//! Row `n` is due at `anchor + (n - first) / rate`, whoever reads it: a split that lies in the future waits, so rows
//! leave in order however the table is cut. `first` is row 0, or where a restored job goes on.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rheos_core::credit::Wake;
use rheos_core::{Error, ErrorKind, Result};

/// Rows of this much time leave together: a high rate must not make a batch and a wake-up of each row, nor may a row wait long.
const TICK: Duration = Duration::from_millis(1);

/// The pace of one table; shared by its readers.
#[derive(Debug)]
pub(crate) struct Pace {
    rows_per_s: f64,
    first: AtomicU64,
    /// When `first` was due.
    start: OnceLock<Instant>,
}

impl Pace {
    /// A pace of so many rows per second; it starts with the first row that is asked for.
    pub(crate) fn new(rows_per_s: f64) -> Self {
        Self { rows_per_s, first: AtomicU64::new(0), start: OnceLock::new() }
    }

    /// The rate.
    pub(crate) fn rows_per_s(&self) -> f64 {
        self.rows_per_s
    }

    /// The table goes on at this row: called before any is asked for.
    pub(crate) fn begin_at(&self, row: u64) {
        self.first.store(row, Ordering::SeqCst);
    }

    /// When which row was due.
    fn anchored(&self) -> (Instant, u64) {
        (*self.start.get_or_init(Instant::now), self.first.load(Ordering::SeqCst))
    }

    /// The first row that is not due yet.
    fn due_end(&self) -> u64 {
        let (start, first) = self.anchored();
        first + (start.elapsed().as_secs_f64() * self.rows_per_s) as u64 + 1
    }

    /// When to look again for row `n`: when it and the rows of the same tick are due.
    fn wake_at(&self, n: u64) -> Instant {
        let (start, first) = self.anchored();
        let due = n.saturating_sub(first) as f64 / self.rows_per_s;
        let due = Duration::try_from_secs_f64(due).unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
        start + look_after(start.elapsed(), due)
    }
}

/// When to look for a row that is due at `due`; all times since the start.
///
/// A row that is far away has a look of its own. Others share the next tick, counted from the start and not from now: the
/// time that each look takes would add up, and rows would wait for it.
fn look_after(now: Duration, due: Duration) -> Duration {
    if due > now + TICK {
        return due;
    }
    let ticks = due.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks * TICK.as_nanos()).map_or(due, Duration::from_nanos)
}

/// The end of the part of `rows` that may be given now; all of them where there is no pace. `None`: not one is due, and
/// `wake` will be called when the first is.
///
/// Errors: `External` if the thread that wakes cannot be started.
pub(crate) fn due_end(pace: Option<&Pace>, rows: Range<u64>, wake: &Wake) -> Result<Option<u64>> {
    let Some(pace) = pace else { return Ok(Some(rows.end)) };
    let end = rows.end.min(pace.due_end());
    if end > rows.start {
        return Ok(Some(end));
    }
    wake_at(pace.wake_at(rows.start), Arc::clone(wake))?;
    Ok(None)
}

/// Calls `wake` at `at`, from a thread of its own that all tables share.
///
/// Errors: `External` if the thread cannot be started.
fn wake_at(at: Instant, wake: Wake) -> Result<()> {
    static TIMER: OnceLock<Option<Sender<(Instant, Wake)>>> = OnceLock::new();
    let sender = TIMER.get_or_init(|| {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("rheos-pace".into());
        thread.spawn(move || run_timer(&receiver)).ok().map(|_| sender)
    });
    let failed = || Error::new(ErrorKind::External, 280, "the thread that paces generated rows could not be started");
    sender.as_ref().ok_or_else(failed)?.send((at, wake)).map_err(|_| failed())
}

fn run_timer(requests: &Receiver<(Instant, Wake)>) {
    // Ordered by time; the number keeps requests of the same instant apart.
    let mut waiting: BTreeMap<(Instant, Reverse<u64>), Wake> = BTreeMap::new();
    let mut number = 0;
    loop {
        let now = Instant::now();
        while let Some(entry) = waiting.first_entry().filter(|e| e.key().0 <= now) {
            (entry.remove())();
        }
        let next = waiting.first_key_value().map_or(Duration::from_secs(3600), |((at, _), _)| *at - now);
        match requests.recv_timeout(next) {
            Ok((at, wake)) => {
                number += 1;
                waiting.insert((at, Reverse(number)), wake);
            }
            Err(RecvTimeoutError::Timeout) => (),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_waits_for_its_tick_and_no_longer() {
        let us = Duration::from_micros;
        assert_eq!(look_after(us(5_100), us(5_110)), us(6_000), "with the others of the tick");
        assert_eq!(look_after(us(5_100), us(6_000)), us(6_000), "on time, however late the last look was");
        assert_eq!(look_after(us(5_100), us(6_350)), us(6_350), "alone, at its own time");
    }

    #[test]
    fn rows_fall_due_at_the_rate_and_the_thread_wakes() {
        let pace = Pace::new(1000.0);
        pace.begin_at(500);
        let (sender, receiver) = channel();
        let start = Instant::now();
        let wake: Wake = Arc::new(move || sender.send(()).unwrap_or(()));
        assert_eq!(due_end(None, 550..600, &wake).unwrap(), Some(600), "without a pace all rows are due");
        assert_eq!(due_end(Some(&pace), 500..501, &wake).unwrap(), Some(501), "the first row is due at once");
        assert_eq!(due_end(Some(&pace), 100_550..100_600, &wake).unwrap(), None);
        wake_at(pace.wake_at(550), wake).unwrap();
        receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(49), "50 rows at 1000/s take 50 ms");
        let due = pace.due_end();
        assert!(due >= 549 && due <= 500 + start.elapsed().as_millis() as u64 + 2, "{due}");
    }
}
