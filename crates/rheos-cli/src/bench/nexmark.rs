//! `rheos bench nexmark`: the queries one after another, each as often as asked.

use std::io::IsTerminal;

use anyhow::Result;
use serde_json::json;

use super::args::NexmarkArgs;
use super::figures::{Figures, Report};
use super::process::Runner;
use super::queries::{self, Query};
use super::{events, measure::Measurement};
use crate::args::Cli;
use crate::summary::grouped;

/// Measures the queries and prints their figures.
///
/// Errors: the first query that fails ends the benchmark; what was measured before it is printed all the same.
pub(crate) fn run(args: &NexmarkArgs, cli: &Cli) -> Result<()> {
    let queries = queries::select(&args.queries)?;
    let runner = Runner::try_new(cli.quiet)?;
    let declaration = events::declaration(args, &runner, cli.quiet)?;
    let setup = json!({ "benchmark": "nexmark", "rheos": env!("CARGO_PKG_VERSION"), "source": args.source.name() });
    let mut report = Report::new(args.output, setup);
    for query in queries {
        match runs(&query, &declaration, args, &runner, cli) {
            Ok(runs) => {
                say_late(&query, &runs, cli);
                report.add(Figures::new(query.name, args.events, runs))?;
            }
            Err(error) => {
                report.finish()?;
                return Err(error);
            }
        }
    }
    report.finish()
}

fn runs(query: &Query, declaration: &str, args: &NexmarkArgs, runner: &Runner, cli: &Cli) -> Result<Vec<Measurement>> {
    let program = format!("{declaration}{}", query.program);
    let one = |n: u16| {
        if !cli.quiet && std::io::stderr().is_terminal() {
            eprintln!("{}, run {n} of {}", query.name, args.runs);
        }
        runner.measure(query.name, &program, args.parallelism)
    };
    (1..=args.runs).map(one).collect()
}

/// Late rows are missing in the result: a benchmark that drops part of its work must not look fast.
fn say_late(query: &Query, runs: &[Measurement], cli: &Cli) {
    let late = runs.iter().map(|run| run.late).max().unwrap_or(0);
    if late > 0 && !cli.quiet {
        eprintln!("{}: {} records were late and are not in the result", query.name, grouped(late));
    }
}
