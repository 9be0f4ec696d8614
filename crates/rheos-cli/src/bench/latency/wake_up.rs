//! The control: how long a parked thread takes to run after it was unparked, with nothing of Rheos between.
//!
//! On a machine that others share this alone can take tens of milliseconds; what an engine of threads adds is what lies
//! above it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::{Latencies, latencies};

/// Wake-ups of one measurement.
const SAMPLES: u32 = 1000;

/// Time between two of them.
const INTERVAL: Duration = Duration::from_millis(1);

/// "No wake-up yet", and "there will be none": no time of a run reaches them.
const NONE: u64 = u64::MAX;
const OVER: u64 = u64::MAX - 1;

/// Wakes a thread [`SAMPLES`] times, about one second in all.
///
/// Errors: where no thread can be started.
pub(super) fn measure() -> Result<Latencies> {
    let started = Instant::now();
    let elapsed_ns = move || u64::try_from(started.elapsed().as_nanos()).unwrap_or(OVER - 1);
    let unparked_at = Arc::new(AtomicU64::new(NONE));
    let seen = Arc::clone(&unparked_at);
    let mut found = latencies()?;
    let sleeper = std::thread::Builder::new().name("rheos-wake-up".into()).spawn(move || {
        loop {
            std::thread::park();
            // A park may end for no reason; the time says whether somebody asked.
            match seen.swap(NONE, Ordering::SeqCst) {
                NONE => {}
                OVER => return found,
                at => found.saturating_record(elapsed_ns().saturating_sub(at)),
            }
        }
    });
    let sleeper = sleeper.context("cannot start a thread")?;
    for _ in 0..SAMPLES {
        std::thread::sleep(INTERVAL);
        unparked_at.store(elapsed_ns(), Ordering::SeqCst);
        sleeper.thread().unpark();
    }
    std::thread::sleep(INTERVAL);
    unparked_at.store(OVER, Ordering::SeqCst);
    sleeper.thread().unpark();
    sleeper.join().map_err(|_| anyhow!("the thread that is woken has panicked"))
}
