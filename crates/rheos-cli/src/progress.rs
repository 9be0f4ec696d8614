//! The live line on stderr: only on a terminal, one line, refreshed ten times a second.
//!
//! ```text
//!  45 % ███████████░░░░░░░░░░░░░  12 s left   152,000 in   31,400 out   98,200 records/s   watermark 2013-05-01 10:00:00
//! ```

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rheos::{JobControl, Snapshot, Watermark};

use crate::summary::{duration, grouped};

const REFRESH: Duration = Duration::from_millis(100);

/// The live line, or nothing where none is wanted.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show how far the job is. `wanted`: but for a terminal, it would be shown.
    pub(crate) fn start(control: JobControl, wanted: bool, endless: bool) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        if !wanted || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), ended, thread: None };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let (shown, flag) = (bar.clone(), Arc::clone(&ended));
        let refresh = move || {
            let mut rate = Rate::default();
            let mut has_bar = None;
            while !flag.load(Ordering::SeqCst) {
                let snapshot = control.snapshot();
                let with_bar = snapshot.bytes_total.is_some() && !endless;
                if has_bar != Some(with_bar) {
                    has_bar = Some(with_bar);
                    shown.set_style(style(with_bar));
                }
                if let Some(total) = snapshot.bytes_total {
                    shown.set_length(total);
                    shown.set_position(snapshot.bytes_done.min(total));
                }
                shown.set_message(line(&snapshot, rate.next(&snapshot), endless));
                shown.tick();
                // Unparked by `finish`, so that the end does not wait for the next refresh.
                std::thread::park_timeout(REFRESH);
            }
        };
        // Without a thread there is just no line.
        let thread = std::thread::Builder::new().name("rheos-progress".into()).spawn(refresh).ok();
        Self { bar, ended, thread }
    }

    /// Takes the line away while `write` uses the terminal.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.thread.is_some() { self.bar.suspend(write) } else { write() }
    }

    /// Takes the line away for good.
    pub(crate) fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn style(with_bar: bool) -> ProgressStyle {
    let template = if with_bar { "{percent:>3} % {bar:24}  {eta} left   {wide_msg}" } else { "{wide_msg}" };
    ProgressStyle::with_template(template)
        .map(|s| s.progress_chars("█▉▊▋▌▍▎▏ "))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(snapshot: &Snapshot, per_second: u64, endless: bool) -> String {
    let mut line = format!(
        "{} in   {} out   {} records/s",
        grouped(snapshot.records_in),
        grouped(snapshot.records_out),
        grouped(per_second)
    );
    let watermark = snapshot.watermark;
    if watermark != Watermark::MIN && watermark != Watermark::MAX {
        line.push_str(&format!("   watermark {watermark}"));
        if endless && let Some(lag) = lag(watermark) {
            line.push_str(&format!("   lag {}", duration(lag)));
        }
    }
    if snapshot.skipped > 0 {
        line.push_str(&format!("   {} skipped", grouped(snapshot.skipped)));
    }
    line
}

/// How far the watermark is behind the clock.
fn lag(watermark: Watermark) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let watermark = Duration::from_millis(u64::try_from(watermark.ms()).ok()?);
    now.checked_sub(watermark)
}

/// Records a second over the last two seconds or so.
#[derive(Default)]
struct Rate {
    seen: std::collections::VecDeque<(Instant, u64)>,
}

impl Rate {
    fn next(&mut self, snapshot: &Snapshot) -> u64 {
        let now = Instant::now();
        self.seen.push_back((now, snapshot.records_in));
        while self.seen.len() > 20 {
            self.seen.pop_front();
        }
        let Some((then, records)) = self.seen.front().copied() else { return 0 };
        let seconds = now.duration_since(then).as_secs_f64();
        if seconds < 0.05 { 0 } else { ((snapshot.records_in - records) as f64 / seconds) as u64 }
    }
}
