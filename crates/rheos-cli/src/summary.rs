//! What is said on stderr when a job has ended.

use std::fmt::Write;
use std::time::Duration;

use rheos::graph::Guarantee;
use rheos::letters::SINK_PREFIX;
use rheos::{Counter, Job, JobReport};

/// The share of the late records that the hint's wider watermark would have kept.
const KEPT_SHARE: f64 = 0.99;

/// The closing lines. `stopped`: by a signal.
pub(crate) fn text(report: &JobReport, stopped: bool, drain: bool, keeps_state: bool) -> String {
    let snapshot = &report.snapshot;
    let count = |counter| snapshot.counters.get(&counter).copied().unwrap_or(0);
    let mut text = String::new();
    let seconds = snapshot.elapsed.as_secs_f64();
    let per_second = if seconds > 0.0 { (snapshot.records_in as f64 / seconds) as u64 } else { 0 };
    let _ = writeln!(
        text,
        "{} in, {} out, {} ({} records/s)",
        records(snapshot.records_in),
        grouped(snapshot.records_out),
        duration(snapshot.elapsed),
        grouped(per_second)
    );
    if report.restarts > 0 {
        let times = if report.restarts == 1 { "once".into() } else { format!("{} times", report.restarts) };
        let _ = writeln!(text, "started again {times}; these are the counts since then");
    }
    if snapshot.skipped > 0 {
        let _ = writeln!(text, "{} skipped", plural(snapshot.skipped, "bad record", "bad records"));
        for first in &report.skipped {
            let _ = writeln!(text, "  such as {first}");
        }
    }
    for source in report.sources.iter().filter(|s| s.skipped + s.dead_lettered > 0) {
        let _ = writeln!(
            text,
            "{}: {} read = {} decoded + {} dead-lettered + {} skipped",
            source.table,
            grouped(source.read),
            grouped(source.decoded),
            grouped(source.dead_lettered),
            grouped(source.skipped)
        );
    }
    for node in &report.nodes {
        let count = |counter| node.counters.get(&counter).copied().unwrap_or(0);
        let (filtered, letters) = (count(Counter::FilteredRows), count(Counter::DeadLetters));
        if letters > 0 && matches!(node.name.as_str(), "join" | "window-join") {
            // Of a join pairs fail: the rows of each may have joined others.
            let _ = writeln!(text, "{}: {}", node.name, plural(letters, "dead-lettered pair", "dead-lettered pairs"));
        } else if letters > 0 {
            // What goes out of an aggregate are no rows that came in.
            let aggregates = count(Counter::PartialRowsOut) + count(Counter::SliceInserts) > 0;
            let used = if aggregates { node.rows_in.saturating_sub(filtered + letters) } else { node.rows_out };
            let _ = writeln!(
                text,
                "{}: {} in = {} used + {} filtered + {} dead-lettered",
                node.name,
                grouped(node.rows_in),
                grouped(used),
                grouped(filtered),
                grouped(letters)
            );
        }
    }
    let nulls = count(Counter::NullEventTimes);
    if nulls > 0 {
        let what = plural(nulls, "record without an event time was", "records without an event time were");
        let _ = writeln!(text, "{what} in no window");
    }
    let late = count(Counter::LateRecords);
    if late > 0 {
        let _ = writeln!(text, "{}{}", plural(late, "late record", "late records"), widen(report));
    }
    text.push_str(&stop(report, count(Counter::OpenWindows), stopped, drain, keeps_state));
    text
}

/// What a stop means for what is not done.
fn stop(report: &JobReport, open: u64, stopped: bool, drain: bool, keeps_state: bool) -> String {
    let mut text = String::new();
    if (stopped || report.stopped) && !drain && open > 0 {
        // Each worker counts those that it has rows of: several may be one.
        let (windows, they, fires) = match open {
            1 => ("an open window", "it goes", "it"),
            _ => ("open windows", "they go", "them"),
        };
        let _ = match keeps_state {
            true => writeln!(text, "stopped with {windows}; {they} on with the job"),
            false => writeln!(text, "stopped with {windows}; --drain fires {fires}"),
        };
    }
    if report.stopped && !stopped && keeps_state {
        text.push_str(
            "stopped with a savepoint; records that were read behind it are counted, too, and are read again\n",
        );
    }
    text
}

/// Where the dead letters are that no query reads, of tables that had some. `folders`: by table.
pub(crate) fn letters(report: &JobReport, folders: &[(String, String)]) -> String {
    let has_some = |table: &str| {
        let is_writer = |name: &str| name.strip_prefix(SINK_PREFIX) == Some(table);
        report.nodes.iter().any(|node| node.rows_in > 0 && is_writer(&node.name))
    };
    let told = folders.iter().filter(|(table, _)| has_some(table));
    told.map(|(table, folder)| format!("dead letters of {table} are in {folder}\n")).collect()
}

/// Where a job keeps its state, and what that promises for its output.
pub(crate) fn state(folder: &str, job: &Job) -> String {
    format!("state in {folder}\n{}", guarantees(job))
}

/// What holds for each output of a job that keeps state, and for the whole of it.
pub(crate) fn guarantees(job: &Job) -> String {
    let mut text = String::new();
    let all = job.guarantees();
    for (sink, guarantee) in &all {
        let name = sink.strip_prefix("sink:").unwrap_or(sink);
        let why = match guarantee {
            Guarantee::ExactlyOnce => "",
            Guarantee::AtLeastOnce => ": after a crash, rows may show again",
            Guarantee::AtMostOnce => ": after a crash, what was read from standard input is lost",
        };
        let _ = writeln!(text, "{name} is written {guarantee}{why}");
    }
    // The whole is as good as its weakest part.
    if let (2.., Some(weakest)) = (all.len(), all.iter().map(|(_, guarantee)| *guarantee).min()) {
        let _ = writeln!(text, "the job is {weakest}");
    }
    text
}

fn widen(report: &JobReport) -> String {
    match report.lateness.quantile_ms(KEPT_SHARE) {
        Some(ms) => format!("; widen the watermark by {} to keep 99 %", rounded_up(ms)),
        None => String::new(),
    }
}

/// The counts of each step, for `-v`.
pub(crate) fn steps(report: &JobReport) -> String {
    let mut text = String::new();
    for node in &report.nodes {
        let _ = write!(text, "{:<20} {:>14} in {:>14} out", node.name, grouped(node.rows_in), grouped(node.rows_out));
        for (counter, n) in &node.counters {
            let _ = write!(text, "  {counter:?} {}", grouped(*n));
        }
        text.push('\n');
    }
    text
}

/// Whether a job failed because nobody reads what its `print` tables write any more.
pub(crate) fn is_broken_pipe(error: &rheos::Error) -> bool {
    error.code() == "R0216"
}

/// `1204` as `1,204`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

fn records(n: u64) -> String {
    plural(n, "record", "records")
}

/// `850 ms`, `12.3 s`, `4 min 5 s`, `2 h 3 min`, `5 d 2 h`.
pub(crate) fn duration(d: Duration) -> String {
    let seconds = d.as_secs();
    match seconds {
        0 => format!("{} ms", d.as_millis()),
        1..60 => format!("{:.1} s", (d.as_secs_f64() * 10.0).floor() / 10.0),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A duration as one would write it in a watermark, never smaller.
fn rounded_up(ms: i64) -> String {
    let up = |unit: i64| (ms + unit - 1) / unit;
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{} s", up(1000)),
        120_000..7_200_000 => format!("{} min", up(60_000)),
        7_200_000..172_800_000 => format!("{} h", up(3_600_000)),
        _ => format!("{} d", up(86_400_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (n, want) in cases {
            assert_eq!(grouped(n), want);
        }
    }

    #[test]
    fn durations_read_well() {
        let cases = [(0, "0 ms"), (850, "850 ms"), (12_345, "12.3 s"), (245_000, "4 min 5 s"), (90_000_000, "1 d 1 h")];
        for (ms, want) in cases {
            assert_eq!(duration(Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn the_wider_watermark_is_never_too_small() {
        let cases = [
            (5, "5 ms"),
            (2001, "3 s"),
            (119_001, "120 s"),
            (121_000, "3 min"),
            (7_200_001, "3 h"),
            (172_800_001, "3 d"),
        ];
        for (ms, want) in cases {
            assert_eq!(rounded_up(ms), want);
        }
    }
}
