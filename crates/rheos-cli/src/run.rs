//! `rheos run`: plans a program, runs it, prints its results in program order, and says at the end how it went.

use anyhow::Result;
use rheos::{Boundedness, Error, Job, JobReport, Output, RunningJob, StateOptions, StopMode};

use crate::args::{Cli, RunArgs};
use crate::print::{self, Printer};
use crate::program::{Source, print_text};
use crate::progress::Progress;
use crate::report::{Failure, code, exit_code};
use crate::{signals, summary};

pub(crate) fn run(args: &RunArgs, cli: &Cli) -> Result<()> {
    let source = Source::load(&args.program)?;
    let mut program = source.with_args(&args.program, code::REFUSED)?;
    program = program.results(print::taken(args.output));
    if let Some(rows) = args.batch_rows {
        program = program.batch_rows(rows as usize);
    }
    let job = source.plan(program.state(state_options(args)))?;
    source.check_stdin(&job)?;
    if args.from.is_some() && !job.keeps_state() {
        let error = Error::invalid(521, "--from says where to go on, but nothing says where state lies")
            .with_hint("give --state-dir DIR, or set 'checkpoint.dir'");
        return Err(Failure::Plain { error, code: code::USAGE }.into());
    }
    job.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    if cli.verbose {
        eprint!("{}", job.explain());
        eprintln!("{} workers", job.parallelism());
    }
    if let Some(place) = state_shown(args, &job).filter(|_| !cli.quiet) {
        eprint!("{}", summary::state(&place, &job));
    }
    let endless = job.boundedness() == Boundedness::Unbounded;
    // Who runs a query that ends and reads its rows has nothing to lose.
    if !job.keeps_state() && !cli.quiet && (endless || job.writes_tables()) {
        eprintln!("no state is kept: what a crash interrupts begins anew (--state-dir DIR keeps it)");
    }
    if endless && !cli.quiet {
        job.growth().iter().for_each(|line| eprintln!("state grows for ever in {line}"));
    }
    let runs = job.graph().is_some();
    let (letters, keeps_state) = (job.letters(), job.keeps_state());
    let mut running = job.start().map_err(Failure::plain)?;
    if runs {
        let mode = if args.drain { StopMode::Drain } else { StopMode::Stop };
        signals::stop_on_signal(running.control(), mode, cli.quiet)?;
    }
    let progress = Progress::start(running.control(), runs && !cli.quiet, endless);
    let printed = print_outputs(&mut running, Printer::new(args.output, endless), &progress);
    if printed.is_err() {
        // Nobody reads any more (`| head`), or the disk behind stdout is full: the rest would be work for nothing.
        running.control().stop(StopMode::Stop);
    }
    let ended = running.wait();
    progress.finish();
    let report = match (ended, printed) {
        // Rows that could not be printed are the cause; what the job says then is the consequence.
        (_, Err(error)) => return Err(error),
        (Err(error), Ok(())) if summary::is_broken_pipe(&error) => return Err(Failure::BrokenPipe.into()),
        (Err(error), Ok(())) => {
            let code = exit_code(&error);
            return Err(source.failure(error, code));
        }
        (Ok(report), Ok(())) => report,
    };
    if let Some(report) = report {
        close(&report, &letters, keeps_state, args, cli);
    }
    Ok(())
}

/// What the flags say; where they do not, the settings do.
fn state_options(args: &RunArgs) -> StateOptions {
    let mut state = args.state_dir.as_ref().map_or_else(StateOptions::as_set, StateOptions::at);
    state = state.on_warning(|error: &rheos::Error| eprintln!("warning: {error}"));
    if let Some(copy) = &args.copy_dir {
        state = state.copy_to(copy);
    }
    if let Some(file) = &args.keys.encryption_key_file {
        state = state.encryption_keys(file);
    }
    if let Some(from) = &args.from {
        state = state.from(from.clone());
    }
    if args.accept_duplicates {
        state = state.accept_duplicates();
    }
    if args.allow_dropped_state {
        state = state.allow_dropped_state();
    }
    state
}

/// Where state lies: as the flag says it, or the setting; nothing for a job without state.
fn state_shown(args: &RunArgs, job: &Job) -> Option<String> {
    let place = job.state_place()?;
    Some(args.state_dir.as_ref().map_or_else(|| place.trim_matches('\'').to_string(), |d| d.display().to_string()))
}

fn print_outputs(running: &mut RunningJob, mut printer: Printer, progress: &Progress) -> Result<()> {
    while let Some(output) = running.next_output() {
        match output {
            Output::Text(text) => progress.suspend(|| print_text(&format!("{}\n", text.trim_end())))?,
            Output::Rows(rows) => printer.print(rows, progress)?,
        }
    }
    Ok(())
}

fn close(report: &JobReport, letters: &[(String, String)], keeps_state: bool, args: &RunArgs, cli: &Cli) {
    if cli.quiet {
        return;
    }
    if report.finished_before {
        eprintln!("the job had come to its end before: there is nothing to do");
        return;
    }
    if cli.verbose {
        eprint!("{}", summary::steps(report));
    }
    eprint!("{}", summary::text(report, signals::stopped(), args.drain, keeps_state));
    eprint!("{}", summary::letters(report, letters));
}
