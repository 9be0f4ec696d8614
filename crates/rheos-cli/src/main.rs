//! The binary `rheos`: arguments, printing, exit codes. Everything else is in the crate `rheos`.
//!
//! ```text
//!   args ─ config ─► run ─► Job ─► rows ─► print (stdout)
//!                     │       └── snapshots ─► progress, summary (stderr)
//!                     └── signals ─► stop
//! ```
//!
//! Invariant: stdout carries data only; what is said to a person goes to stderr. The only crate that knows anyhow.

mod args;
mod bench;
mod checkpoint;
mod completion;
mod config;
mod list;
mod print;
mod program;
mod progress;
mod report;
mod run;
mod savepoint;
mod signals;
mod state;
mod summary;

use std::process::ExitCode;

/// Batches are made on one thread and dropped on another, large and often: the system's allocator gives their pages back
/// to the kernel each time (figures in docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::args::{Cli, Command, ConfigCommand};
use crate::bench::args::BenchCommand;

/// Fresh memory in pages of 4 KiB: a page of 2 MiB is cleared as a whole where a few KiB of it are used, and in virtual machines
/// the host has to find it first. What it cost: docs/benchmarks.md.
fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    // A kernel that knows of none has nothing to turn off.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

fn main() -> ExitCode {
    without_huge_pages();
    let matches = match matches() {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let done = match &cli.command {
        Command::Run(args) => run::run(args, &cli),
        Command::Validate(args) => program::validate(args, &cli),
        Command::Explain(args) => program::explain(args),
        Command::Connectors(args) => list::connectors(args),
        Command::Functions(args) => list::functions(args),
        Command::Bench(BenchCommand::Nexmark(args)) => bench::nexmark::run(args, &cli),
        Command::Bench(BenchCommand::Latency(args)) => bench::latency::run(args, &cli),
        Command::Bench(BenchCommand::Startup(args)) => bench::startup::run(args, &cli),
        Command::Bench(BenchCommand::Measure(args)) => bench::measure::run(args, &cli),
        Command::Checkpoint(command) => checkpoint::run(command, &cli),
        Command::Savepoint(command) => savepoint::run(command, &cli),
        Command::State(command) => state::run(command),
        Command::Config(ConfigCommand::Show(args)) => config::show::show(args, &matches),
        Command::Completion(args) => completion::completion(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::show(&error),
    }
}

/// The arguments, with the values of configuration files as the flags' defaults.
fn matches() -> Result<ArgMatches, ExitCode> {
    let args: Vec<_> = std::env::args_os().collect();
    let command = match config::with_file_defaults(Cli::command(), &args) {
        Ok(command) => command,
        Err(error) => return Err(report::show(&error)),
    };
    // Clap prints help to stdout with code 0 and mistakes to stderr with code 2, which is what the conventions ask for.
    command.try_get_matches_from(&args).map_err(|error| config::with_variable(error, &args).exit())
}
