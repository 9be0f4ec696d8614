//! One program, measured: the job of the processes that a benchmark starts.
//!
//! ```text
//!   stdin: the program ─► plan ─► run, rows forgotten ─► stdout: Measurement as one JSON line
//! ```

use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rheos::{Boundedness, Counter, StateSize};
use serde_json::{Value, json};

use super::args::MeasureArgs;
use crate::args::Cli;
use crate::program::{Source, print_text};
use crate::progress::Progress;
use crate::report::{Failure, exit_code};

/// What one run of a program took.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measurement {
    /// Worker threads.
    pub(super) parallelism: u64,
    /// Rows that went into the sinks.
    pub(super) rows: u64,
    /// Rows that came after their window had fired: they are missing in the result.
    pub(super) late: u64,
    /// From the beginning of planning to the end of the job.
    pub(super) wall: Duration,
    /// User and system time of all threads of the process, from its start.
    pub(super) cpu: Duration,
    /// Largest resident size of the process.
    pub(super) peak_bytes: u64,
    /// Rows that operators keep at the end, and their bytes, where they tell.
    pub(super) state_rows: u64,
    /// See above.
    pub(super) state_bytes: u64,
}

/// Runs the program on stdin and prints its measurement.
pub(crate) fn run(args: &MeasureArgs, cli: &Cli) -> Result<()> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).context("cannot read the program from stdin")?;
    let source = Source { text, name: "<stdin>".into() };
    let began = Instant::now();
    let mut program = rheos::sql(&source.text).discard_rows();
    if let Some(workers) = args.parallelism {
        program = program.parallelism(usize::from(workers));
    }
    let job = source.plan(program)?;
    let parallelism = job.parallelism() as u64;
    let endless = job.boundedness() == Boundedness::Unbounded;
    let running = job.start().map_err(Failure::plain)?;
    let progress = Progress::start(running.control(), !cli.quiet, endless);
    let ended = running.wait();
    let wall = began.elapsed();
    progress.finish();
    let report = ended.map_err(|error| {
        let code = exit_code(&error);
        source.failure(error, code)
    })?;
    let (cpu, peak_bytes) = usage()?;
    let (rows, late, state) = report.map_or((0, 0, StateSize::default()), |report| {
        let late = report.snapshot.counters.get(&Counter::LateRecords).copied().unwrap_or(0);
        let state = report.nodes.iter().fold(StateSize::default(), |sum, node| sum + node.state);
        (report.snapshot.records_out, late, state)
    });
    let StateSize { rows: state_rows, bytes: state_bytes } = state;
    let measured = Measurement { parallelism, rows, late, wall, cpu, peak_bytes, state_rows, state_bytes };
    print_text(&format!("{}\n", measured.to_json()))
}

impl Measurement {
    /// As an object; times in seconds.
    pub(super) fn to_json(&self) -> Value {
        json!({ "parallelism": self.parallelism, "rows": self.rows, "late": self.late,
                "wall_s": self.wall.as_secs_f64(), "cpu_s": self.cpu.as_secs_f64(),
                "peak_memory_bytes": self.peak_bytes, "state_rows": self.state_rows, "state_bytes": self.state_bytes })
    }

    /// What [`Measurement::to_json`] has written; `None` for anything else.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let time = |name: &str| Duration::try_from_secs_f64(value.get(name)?.as_f64()?).ok();
        Some(Self {
            parallelism: number("parallelism")?,
            rows: number("rows")?,
            late: number("late")?,
            wall: time("wall_s")?,
            cpu: time("cpu_s")?,
            peak_bytes: number("peak_memory_bytes")?,
            state_rows: number("state_rows")?,
            state_bytes: number("state_bytes")?,
        })
    }
}

/// Processor time and largest resident size of this process.
pub(super) fn usage() -> Result<(Duration, u64)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("cannot ask for the processor time")?;
    // The BSDs count bytes, Linux KiB.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let peak = u64::try_from(usage.max_rss()).unwrap_or(0).saturating_mul(unit);
    Ok((duration(usage.user_time()) + duration(usage.system_time()), peak))
}

fn duration(time: TimeVal) -> Duration {
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec())) + Duration::from_micros(part(time.tv_usec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_survives_its_json() {
        let measurement = Measurement {
            parallelism: 2,
            rows: 92,
            late: 1,
            wall: Duration::from_millis(1250),
            cpu: Duration::from_millis(2500),
            peak_bytes: 1 << 26,
            state_rows: 10,
            state_bytes: 1000,
        };
        let text = measurement.to_json().to_string();
        assert_eq!(Measurement::from_json(&serde_json::from_str(&text).unwrap()), Some(measurement));
        assert_eq!(Measurement::from_json(&json!({ "rows": 3 })), None);
    }

    #[test]
    fn this_process_has_used_some_memory() {
        assert!(usage().unwrap().1 > 100_000);
    }
}
