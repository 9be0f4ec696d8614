//! `rheos bench latency`: how long after a record is due its result is there, at a fixed rate.
//!
//! ```text
//!   nexmark at N events/s ─► query ─► arrivals: now - due, into a histogram        (tap)
//!   park ◄─ unpark, a second before and a second after: what a thread's wake-up costs here (wake_up)
//! ```
//!
//! Invariant: a record is due at its number / rate after the first, whatever the engine does. One that is read late
//! because the engine was busy counts with its wait: the figures cannot get better by sending less (coordinated omission).

mod tap;
mod wake_up;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use hdrhistogram::Histogram;
use rheos::{Counter, JobReport};
use serde_json::{Value, json};

use super::args::{LatencyArgs, LatencyQuery, TableOrJson};
use super::measure::usage;
use crate::args::Cli;
use crate::program::print_text;
use crate::report::Failure;
use crate::summary::grouped;
use tap::{Due, Timeline};

/// Records that are due in the first second are not counted: threads start, memory is touched for the first time.
const WARM_UP: Duration = Duration::from_secs(1);

/// Relative error of a percentile: three digits.
const DIGITS: u8 = 3;

/// What is told of a distribution.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Latencies in nanoseconds.
pub(super) type Latencies = Histogram<u64>;

/// The longest latency that is told from longer ones: the longest measurement.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// An empty histogram with bounds of its own: recording must not fail on a worker, and one that grows would cut what is
/// recorded so to the little that it starts with.
pub(super) fn latencies() -> Result<Latencies> {
    Ok(Histogram::new_with_bounds(1, u64::try_from(LATENCY_MAX.as_nanos())?, DIGITS)?)
}

/// Measures, and prints what was found.
///
/// Errors: what the job reports; nothing is judged.
pub(crate) fn run(args: &LatencyArgs, cli: &Cli) -> Result<()> {
    let timeline = Timeline::new(due(args.query), args.rate_per_s, WARM_UP, args.duration);
    let mut control = wake_up::measure()?;
    if !cli.quiet {
        let events = grouped(timeline.records);
        eprintln!("{} over {events} events at {}/s", args.query.name(), grouped(args.rate_per_s));
    }
    let before = usage()?.0;
    let taken = Arc::new(Mutex::new(latencies()?));
    let registry = tap::registry(timeline.clone(), Arc::clone(&taken), Arc::new(OnceLock::new()))?;
    let mut program = rheos::sql(program(args.query, &timeline)).connectors(registry);
    if let Some(workers) = args.parallelism {
        program = program.parallelism(usize::from(workers));
    }
    let job = program.plan().map_err(Failure::plain)?;
    let parallelism = job.parallelism();
    let report = job.start().and_then(rheos::RunningJob::wait).map_err(Failure::plain)?;
    let cpu = usage()?.0.saturating_sub(before);
    control.add(wake_up::measure()?)?;
    let taken = tap::lock(&taken);
    say_late(report.as_ref(), cli);
    print_text(&match args.output {
        TableOrJson::Table => table(args.query.name(), &taken, &control),
        TableOrJson::Json => {
            let found = json!({
                "benchmark": "latency", "rheos": env!("CARGO_PKG_VERSION"), "query": args.query.name(),
                "rate_per_s": args.rate_per_s, "duration_s": args.duration.as_secs_f64(), "parallelism": parallelism,
                "cpu_s": cpu.as_secs_f64(), "latency": figures(&taken), "wake_up": figures(&control),
            });
            format!("{found:#}\n")
        }
    })
}

/// Late rows have no result, so their latency is unknown: the figures must not look complete.
fn say_late(report: Option<&JobReport>, cli: &Cli) {
    let late = report.and_then(|r| r.snapshot.counters.get(&Counter::LateRecords)).copied().unwrap_or(0);
    if late > 0 && !cli.quiet {
        eprintln!("{} records were late and are not in the result", grouped(late));
    }
}

fn due(query: LatencyQuery) -> Due {
    match query {
        LatencyQuery::Q1 => Due::Record,
        LatencyQuery::Tumble => Due::Window,
    }
}

/// The program. A row's event time tells when it was due, see [`Due`].
fn program(query: LatencyQuery, timeline: &Timeline) -> String {
    let (rate, records) = (timeline.rate_per_s, timeline.records);
    let bids = |columns: &str, event_rate: u64| {
        format!(
            "CREATE TABLE bid ({columns}, `dateTime` TIMESTAMP(3), WATERMARK FOR `dateTime` AS `dateTime`) WITH (\
             'connector' = 'nexmark', 'table' = 'bid', 'events.num' = '{records}', 'rows-per-second' = '{rate}/s', \
             'first-event.rate' = '{event_rate}', 'start-time' = '{}');\n",
            tap::START_TIME
        )
    };
    let arrivals =
        |columns: &str| format!("CREATE TABLE taken ({columns}) WITH ('connector' = '{}');\n", tap::ARRIVALS);
    match query {
        LatencyQuery::Q1 => format!(
            "{}{}INSERT INTO taken SELECT `dateTime`, auction, bidder, price * 0.908, extra FROM bid;",
            bids("auction BIGINT, bidder BIGINT, price BIGINT, extra STRING", tap::RECORDS_PER_EVENT_S),
            arrivals("due TIMESTAMP(3), auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), extra STRING"),
        ),
        LatencyQuery::Tumble => format!(
            "{}{}INSERT INTO taken SELECT window_end, auction, count(*), max(price) \
             FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND)) \
             GROUP BY window_start, window_end, auction;",
            bids("auction BIGINT, price BIGINT", rate),
            arrivals("due TIMESTAMP(3), auction BIGINT, bids BIGINT, highest BIGINT"),
        ),
    }
}

fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn figures(latencies: &Latencies) -> Value {
    let mut found = json!({ "samples": latencies.len(), "max_ms": ms(latencies.max()) });
    if let Value::Object(members) = &mut found {
        for (name, quantile) in QUANTILES {
            members.insert(format!("{name}_ms"), ms(latencies.value_at_quantile(quantile)).into());
        }
    }
    found
}

fn table(query: &str, taken: &Latencies, control: &Latencies) -> String {
    let mut table = Table::new();
    let quantiles = QUANTILES.iter().map(|(name, _)| format!("{} MS", name.to_uppercase()));
    let header = std::iter::once("LATENCY".to_string()).chain(quantiles);
    table.load_style(NOTHING).set_header(header.chain(["MAX MS", "SAMPLES"].map(String::from)));
    for (name, latencies) in [(query, taken), ("thread wake-up", control)] {
        let values = QUANTILES.iter().map(|(_, q)| latencies.value_at_quantile(*q)).chain([latencies.max()]);
        let cells = values.map(|nanos| format!("{:.3}", ms(nanos))).chain([grouped(latencies.len())]);
        table.add_row(std::iter::once(name.to_string()).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_string()).collect();
    format!("{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_all_samples() {
        let mut taken = latencies().unwrap();
        // As the sink and the control record.
        (1..=1000).for_each(|n| taken.saturating_record(n * 1_000_000));
        let found = figures(&taken);
        assert_eq!(found["samples"], 1000);
        for (name, want) in [("p50_ms", 500.0), ("p90_ms", 900.0), ("p99_ms", 990.0), ("max_ms", 1000.0)] {
            let value = found[name].as_f64().unwrap();
            assert!((value - want).abs() <= want / 1000.0, "{name}: {value}");
        }
        let text = table("q1", &taken, &taken);
        assert!(text.starts_with("LATENCY"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn programs_can_be_planned() {
        for query in [LatencyQuery::Q1, LatencyQuery::Tumble] {
            let timeline = Timeline::new(due(query), 1000, WARM_UP, Duration::from_secs(1));
            let taken = Arc::new(Mutex::new(latencies().unwrap()));
            let registry = tap::registry(timeline.clone(), taken, Arc::default()).unwrap();
            rheos::sql(program(query, &timeline)).connectors(registry).plan().unwrap();
        }
    }
}
