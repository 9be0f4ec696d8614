//! The command line of `rheos bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use rheos::units::{parse_duration_ms, parse_rate_per_s};

/// Most events of a run: two days of a fast machine.
const EVENTS_MAX: u64 = 1_000_000_000_000;

/// More events a second than a generator on one core makes.
const RATE_MAX: u64 = 10_000_000;

/// The kinds of benchmarks.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Run queries of the Nexmark benchmark and tell what they took
    #[command(after_help = NEXMARK_EXAMPLES)]
    Nexmark(NexmarkArgs),
    /// Run a query at a fixed rate and tell how late its results are
    #[command(after_help = LATENCY_EXAMPLES)]
    Latency(LatencyArgs),
    /// Tell how long a process takes from its start to its first row
    #[command(after_help = STARTUP_EXAMPLES)]
    Startup(StartupArgs),
    /// Run the program on stdin, forget the rows of its SELECTs, and print what it took as one line of JSON
    #[command(hide = true)]
    Measure(MeasureArgs),
}

const NEXMARK_EXAMPLES: &str = "\
An online auction: of 50 events 46 are bids, 3 are new auctions, one is a new person; 100,000 events make one second of
event time. The rows of the queries are computed and forgotten. Each run has a process of its own; the figures are the
medians of the runs.

Examples:
  rheos bench nexmark
  rheos bench nexmark --queries q0,q5 --events 10M --runs 5
  rheos bench nexmark --source parquet --data /var/tmp/nexmark -o json";

const LATENCY_EXAMPLES: &str = "\
Bids come at the rate, one by one. Latency is the time from when a bid was due (not from when it was read) until the sink
has the row; of a window, from when the first bid behind it was due. The first second is not counted. Beside it stands what
this machine takes to wake a thread, measured right before and after.

Examples:
  rheos bench latency
  rheos bench latency --query tumble --rate 100000/s --duration '30 s' -o json";

const STARTUP_EXAMPLES: &str = "\
Starts `rheos run` with a small query again and again.

Examples:
  rheos bench startup
  rheos bench startup --runs 50 -o json";

/// `rheos bench nexmark`.
#[derive(Debug, Args)]
pub(crate) struct NexmarkArgs {
    /// The queries, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", env = "RHEOS_QUERIES", value_delimiter = ',')]
    pub(crate) queries: Vec<String>,

    /// Events of all kinds together, such as 500k or 10M
    #[arg(long, value_name = "N", env = "RHEOS_EVENTS", default_value = "10M", value_parser = count)]
    pub(crate) events: u64,

    /// Where the events come from
    #[arg(long, value_enum, value_name = "SOURCE", env = "RHEOS_SOURCE", default_value = "generator")]
    pub(crate) source: EventSource,

    /// Where the files of --source parquet and json are kept and looked for [default: a folder of your own in /tmp]
    #[arg(long, value_name = "DIR", env = "RHEOS_DATA", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,

    /// Worker threads [default: one a core]
    #[arg(long, short, value_name = "N", env = "RHEOS_PARALLELISM", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) parallelism: Option<u16>,

    /// Runs of each query
    #[arg(long, value_name = "N", env = "RHEOS_RUNS", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) runs: u16,

    /// How the figures are printed
    #[arg(long, short, value_enum, value_name = "FORMAT", env = "RHEOS_OUTPUT", default_value = "table")]
    pub(crate) output: FigureFormat,
}

/// `rheos bench latency`.
#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    /// What is done with the bids
    #[arg(long, value_enum, value_name = "QUERY", env = "RHEOS_QUERY", default_value = "q1")]
    pub(crate) query: LatencyQuery,

    /// Events per second
    #[arg(long = "rate", value_name = "RATE", env = "RHEOS_RATE", default_value = "100000/s", value_parser = rate)]
    pub(crate) rate_per_s: u64,

    /// How long, after a first second that is not counted
    #[arg(long, value_name = "TIME", env = "RHEOS_DURATION", default_value = "10 s", value_parser = span)]
    pub(crate) duration: Duration,

    /// Worker threads [default: one a core]
    #[arg(long, short, value_name = "N", env = "RHEOS_PARALLELISM", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) parallelism: Option<u16>,

    /// How the figures are printed
    #[arg(long, short, value_enum, value_name = "FORMAT", env = "RHEOS_OUTPUT", default_value = "table")]
    pub(crate) output: TableOrJson,
}

/// `rheos bench startup`.
#[derive(Debug, Args)]
pub(crate) struct StartupArgs {
    /// Processes
    #[arg(long, value_name = "N", env = "RHEOS_RUNS", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) runs: u16,

    /// How the figures are printed
    #[arg(long, short, value_enum, value_name = "FORMAT", env = "RHEOS_OUTPUT", default_value = "table")]
    pub(crate) output: TableOrJson,
}

/// `rheos bench measure`.
#[derive(Debug, Args)]
pub(crate) struct MeasureArgs {
    /// Worker threads [default: one a core]
    #[arg(long, short, value_name = "N", env = "RHEOS_PARALLELISM", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) parallelism: Option<u16>,
}

/// Where the events of a benchmark come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventSource {
    /// Made as they are read; making them is part of the figures
    Generator,
    /// Read from Parquet files, written beforehand
    Parquet,
    /// Read from JSON lines, written beforehand
    Json,
}

impl EventSource {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            EventSource::Generator => "generator",
            EventSource::Parquet => "parquet",
            EventSource::Json => "json",
        }
    }
}

/// What `bench latency` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LatencyQuery {
    /// Prices in another currency: a row for each bid
    Q1,
    /// Bids of each auction in windows of one second
    Tumble,
}

impl LatencyQuery {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            LatencyQuery::Q1 => "q1",
            LatencyQuery::Tumble => "tumble",
        }
    }
}

/// How the figures of one measurement are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableOrJson {
    /// Aligned columns, for people
    Table,
    /// One JSON document
    Json,
}

/// How figures are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FigureFormat {
    /// Aligned columns, for people
    Table,
    /// One JSON document
    Json,
    /// One JSON object a query, as soon as its runs are done
    Jsonl,
}

/// `10000`, `10_000`, `500k`, `10M`, `1.5M`, `2G`.
fn count(text: &str) -> Result<u64, String> {
    let wrong = || format!("write a number from 1 to {EVENTS_MAX}, such as 500k or 10M");
    let plain = text.trim().replace('_', "");
    let unit = match plain.chars().last() {
        Some('k' | 'K') => 1_000,
        Some('m' | 'M') => 1_000_000,
        Some('g' | 'G') => 1_000_000_000,
        _ => 1,
    };
    let digits = if unit == 1 { &*plain } else { &plain[..plain.len() - 1] };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    // Fractions are of the unit, and must come out even: 1.5M, not 1.5.
    let scale = u32::try_from(part.len()).ok().and_then(|n| 10_u64.checked_pow(n)).ok_or_else(wrong)?;
    if whole.is_empty() || !whole.chars().chain(part.chars()).all(|c| c.is_ascii_digit()) || unit % scale != 0 {
        return Err(wrong());
    }
    let number: u64 = format!("{whole}{part}").parse().map_err(|_| wrong())?;
    number.checked_mul(unit / scale).filter(|n| (1..=EVENTS_MAX).contains(n)).ok_or_else(wrong)
}

/// `100000/s`: whole events per second.
fn rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("write a rate from 1/s to {RATE_MAX}/s, such as 100000/s");
    let rate = parse_rate_per_s(text).map_err(|_| wrong())?.round();
    if (1.0..=RATE_MAX as f64).contains(&rate) { Ok(rate as u64) } else { Err(wrong()) }
}

/// `10 s`: the time of a measurement.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time from 1 s to 1 h, such as '30 s'".to_string();
    let ms = parse_duration_ms(text).map_err(|_| wrong())?;
    if (1_000..=3_600_000).contains(&ms) { Ok(Duration::from_millis(ms.unsigned_abs())) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_have_units_and_bounds() {
        assert_eq!((rate("100000/s"), rate("1/s")), (Ok(100_000), Ok(1)));
        assert_eq!(span("1500 ms"), Ok(Duration::from_millis(1500)));
        for text in ["100000", "0/s", "11000000/s", "-5/s", "fast"] {
            assert!(rate(text).is_err(), "{text}");
        }
        for text in ["10", "999 ms", "2 h", "-1 s", "long"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_have_units() {
        let cases = [
            ("1", 1),
            ("10_000", 10_000),
            ("500k", 500_000),
            ("10M", 10_000_000),
            ("1.5M", 1_500_000),
            ("2g", 2_000_000_000),
        ];
        for (text, want) in cases {
            assert_eq!(count(text), Ok(want), "{text}");
        }
        for text in
            ["", "k", "0", "-1", "1.5", "1e6", "ten", "10 M", "5000G", "1.0000001M", "99999999999999999999", ".5M"]
        {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
