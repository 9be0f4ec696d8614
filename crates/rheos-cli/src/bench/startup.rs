//! `rheos bench startup`: from the start of a process to the first row of a small query on its stdout.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::args::{StartupArgs, TableOrJson};
use super::process::{Runner, failed};
use crate::args::Cli;
use crate::program::print_text;
use crate::summary::grouped;

/// The query: a table, a filter, a few thousand rows.
const PROGRAM: &str = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '10000', \
                       'fields.id.kind' = 'sequence'); SELECT id, id * 2 AS twice FROM n WHERE id % 10 = 0";

/// Starts the process as often as asked, and once before, so that its file is in memory.
pub(crate) fn run(args: &StartupArgs, cli: &Cli) -> Result<()> {
    let runner = Runner::try_new(cli.quiet)?;
    first_row(&runner)?;
    let mut times = (0..args.runs).map(|_| first_row(&runner)).collect::<Result<Vec<Duration>>>()?;
    times.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let (least, most) = (times.first().copied().unwrap_or_default(), times.last().copied().unwrap_or_default());
    let median = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2;
    print_text(&match args.output {
        TableOrJson::Table => format!(
            "FIRST ROW AFTER  MEDIAN MS  LEAST MS  MOST MS  RUNS\nprocess start    {:>9.1}  {:>8.1}  {:>7.1}  {:>4}\n",
            ms(median),
            ms(least),
            ms(most),
            grouped(u64::from(args.runs)),
        ),
        TableOrJson::Json => {
            let found = json!({
                "benchmark": "startup", "rheos": env!("CARGO_PKG_VERSION"), "median_ms": ms(median), "least_ms": ms(least),
                "most_ms": ms(most), "runs_ms": times.iter().map(|t| ms(*t)).collect::<Vec<_>>(),
            });
            format!("{found:#}\n")
        }
    })
}

fn first_row(runner: &Runner) -> Result<Duration> {
    let mut command = runner.command();
    command.args(["run", "--quiet", "--output", "jsonl", "--command", PROGRAM]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().context("cannot start the process of a run")?;
    let mut stdout = BufReader::new(child.stdout.take().context("the process of a run has no stdout")?);
    let mut row = String::new();
    stdout.read_line(&mut row).context("cannot read from the process of a run")?;
    let took = started.elapsed();
    let came = row.ends_with('\n');
    // The rest is read, so that the process ends as it would.
    stdout.read_to_string(&mut row).context("cannot read from the process of a run")?;
    let status = child.wait().context("cannot wait for the process of a run")?;
    if !status.success() {
        return Err(failed("the start of a query", status));
    }
    anyhow::ensure!(came, "the process of a run printed no row");
    Ok(took)
}
