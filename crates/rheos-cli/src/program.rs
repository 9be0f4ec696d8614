//! Where a program comes from, and the commands that only look at it: `validate` and `explain`.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Result;
use rheos::graph::{Node, NodeKind};
use rheos::{Boundedness, Error, ErrorKind, Job, PlanFormat, ResultRows, SqlProgram};

use crate::args::{Cli, ExplainArgs, ExplainFormat, ProgramArgs};
use crate::config;
use crate::report::{Failure, code, exit_code};
use crate::summary;

/// What a program from stdin is called in messages.
const STDIN: &str = "<stdin>";

/// A program's text and the name under which its errors are shown.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) text: String,
    pub(crate) name: String,
}

impl Source {
    /// Reads the program that the arguments name.
    pub(crate) fn load(args: &ProgramArgs) -> Result<Self> {
        if let Some(text) = &args.command {
            return Ok(Self { text: text.clone(), name: "<command>".into() });
        }
        // Clap has made sure that there is one or the other.
        let path = args.file.as_deref().unwrap_or(Path::new("-"));
        let from_stdin = path == Path::new("-");
        let name = if from_stdin { STDIN.to_string() } else { path.display().to_string() };
        let mut bytes = Vec::new();
        let read = if from_stdin {
            std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
        } else {
            std::fs::read(path).map(|content| bytes = content)
        };
        read.map_err(|e| Failure::plain(missing_program(&name, &e)))?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            let error = Error::invalid(505, format!("'{name}' is not text: byte {at} is not UTF-8"));
            Failure::plain(error.with_hint("give a file with SQL in UTF-8; data goes into a table with 'path' = '...'"))
        })?;
        Ok(Self { text: text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text), name })
    }

    /// The program with the arguments' variables and settings. `refused`: the exit code where a setting is wrong.
    pub(crate) fn with_args(&self, args: &ProgramArgs, refused: u8) -> Result<SqlProgram> {
        args.settings.iter().try_for_each(|(name, value)| check_setting(name, value, refused))?;
        let mut program = rheos::sql(&self.text);
        for (name, value) in config::variables().iter().chain(&args.variables) {
            program = program.variable(name, value);
        }
        for (name, value) in config::settings().iter().chain(&args.settings) {
            program = program.set(name, value);
        }
        Ok(match args.parallelism {
            Some(workers) => program.parallelism(usize::from(workers)),
            None => program,
        })
    }

    /// An error of planning or running this program.
    pub(crate) fn failure(&self, error: Error, code: u8) -> anyhow::Error {
        Failure::Program { error, text: self.text.clone(), name: self.name.clone(), code }.into()
    }

    /// Plans the program.
    pub(crate) fn plan(&self, program: SqlProgram) -> Result<Job> {
        program.plan().map_err(|error| {
            let code = exit_code(&error);
            self.failure(error, code)
        })
    }

    /// Refuses to run a program from stdin that also reads a table from there: the table would be empty.
    pub(crate) fn check_stdin(&self, job: &Job) -> Result<()> {
        if self.name == STDIN && stdin_tables(job) > 0 {
            let error = Error::invalid(501, "the program and a table of it both want standard input");
            return Err(Failure::plain(error.with_hint("put the program into a file, or give it with -c")).into());
        }
        Ok(())
    }
}

/// A setting of `--set` or its variable, told here, where it is known which: no line of the program is wrong.
fn check_setting(name: &str, value: &str, refused: u8) -> Result<()> {
    let Err(error) = rheos::query::check_setting(name, value) else { return Ok(()) };
    let text = format!("{name}={value}");
    // Clap looks at the variable only where there is no flag.
    let is_flag = |arg: &str| arg == "--set" || arg.starts_with("--set=");
    let flag = std::env::args_os().any(|arg| is_flag(&arg.to_string_lossy()));
    let name = if flag { "--set" } else { "RHEOS_SET" };
    Err(Failure::Program { error, text, name: name.into(), code: refused }.into())
}

/// How many tables of a job read standard input.
fn stdin_tables(job: &Job) -> usize {
    let reads_stdin = |node: &&Node| {
        matches!(node.kind, NodeKind::Source { .. })
            && node.describe().iter().any(|(name, value)| name == "connector" && value == "stdin")
    };
    job.graph().map_or(0, |graph| graph.nodes().iter().filter(reads_stdin).count())
}

/// What a run would refuse before it reads anything. The folders that are there are looked at, nothing is written.
fn check(job: &Job) -> rheos::Result<()> {
    if stdin_tables(job) > 1 {
        return Err(Error::invalid(220, "standard input can be read only once")
            .with_hint("read it into one table and select from that table once, or save it to a file"));
    }
    job.check()
}

fn missing_program(name: &str, error: &std::io::Error) -> Error {
    let error = Error::io("read the program", name, error);
    match error.kind() {
        ErrorKind::InputMissing => error.with_hint("give a file with SQL, - for stdin, or the text with -c"),
        _ => error,
    }
}

/// `rheos validate`.
pub(crate) fn validate(args: &ProgramArgs, cli: &Cli) -> Result<()> {
    let source = Source::load(args)?;
    // Whether changes can be printed is a matter of the run.
    let program = source.with_args(args, code::NOT_VALID)?.results(ResultRows::ChangesOfEndless);
    let planned = program.plan().and_then(|job| check(&job).map(|()| job));
    let job = planned.map_err(|error| {
        let refused = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::User);
        let code = if refused { code::NOT_VALID } else { exit_code(&error) };
        source.failure(error, code)
    })?;
    job.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    if !cli.quiet {
        let ends = match job.boundedness() {
            Boundedness::Bounded => "ends with its input",
            Boundedness::Unbounded => "runs until it is stopped",
        };
        match job.graph() {
            Some(graph) => eprintln!("{} is valid: {} steps; it {ends}", source.name, graph.nodes().len()),
            None => eprintln!("{} is valid; it runs nothing", source.name),
        }
    }
    Ok(())
}

/// `rheos explain`.
pub(crate) fn explain(args: &ExplainArgs) -> Result<()> {
    let source = Source::load(&args.program)?;
    let program = source.with_args(&args.program, code::REFUSED)?;
    let job = source.plan(program.results(ResultRows::ChangesOfEndless))?;
    job.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    let mut text = job.explain_as(match args.format {
        ExplainFormat::Text => PlanFormat::Text,
        ExplainFormat::Mermaid => PlanFormat::Mermaid,
        ExplainFormat::Dot => PlanFormat::Dot,
    });
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let guarantees = summary::guarantees(&job);
    if args.format == ExplainFormat::Text && !guarantees.is_empty() {
        text.push_str("with --state-dir:\n");
        guarantees.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    print_text(&text)
}

/// Text on stdout; a reader that has gone away ends the program quietly.
pub(crate) fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(write_failed)
}

/// Writing to stdout failed.
pub(crate) fn write_failed(error: std::io::Error) -> anyhow::Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Failure::BrokenPipe.into();
    }
    let error = Error::new(ErrorKind::External, 506, format!("cannot write to stdout: {error}"));
    Failure::plain(error.with_hint("look at where the output goes, or insert into a table of files")).into()
}
