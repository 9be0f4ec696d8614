//! `rheos savepoint`: checkpoints that are asked for, have a name, and are kept.

use anyhow::Result;
use rheos::state::{
    AfterSavepoint, EntryNumber, Journal, Manifest, create_savepoint, delete as delete_one, read_journal,
    request_savepoint,
};
use serde_json::{Value, json};

use crate::args::{CheckpointArgs, Cli, ListFormat, SavepointCommand, SavepointCreateArgs, SavepointDeleteArgs};
use crate::checkpoint::{note, open, options, size, state_bytes, take, time, with_files};
use crate::list::{columns, document};
use crate::program::print_text;
use crate::report::{Failure, code, exit_code};

/// Carries out one of them.
pub(crate) fn run(command: &SavepointCommand, cli: &Cli) -> Result<()> {
    match command {
        SavepointCommand::Create(args) => create(args, cli),
        SavepointCommand::List(args) => list(args),
        SavepointCommand::Delete(args) => delete(args, cli),
    }
}

/// No job has taken up the request.
const NOBODY: &str = "R0671";

fn create(args: &SavepointCreateArgs, cli: &Cli) -> Result<()> {
    let then = if args.stop { AfterSavepoint::Stop } else { AfterSavepoint::GoOn };
    let asked = match options(&args.place).is_folder() {
        true => create_savepoint(&args.place.folder, &args.name, then, args.timeout),
        false => options(&args.place)
            .view(&note())
            .and_then(|store| request_savepoint(store.as_ref(), &args.name, then, args.timeout)),
    };
    let number = asked.map_err(|error| {
        let code = if error.code() == NOBODY { code::NOT_REACHED } else { exit_code(&error) };
        Failure::Plain { error, code }
    })?;
    if !cli.quiet {
        let stops = if args.stop { ", and the job stops with it" } else { "" };
        eprintln!("savepoint '{}' is complete{stops}", args.name);
    }
    print_text(&format!("{number}\n"))
}

type Savepoint<'a> = (EntryNumber, &'a str, &'a Manifest);

fn list(args: &CheckpointArgs) -> Result<()> {
    let (_, journal) = open(&args.place)?;
    let savepoints: Vec<Savepoint<'_>> = journal.savepoints().rev().collect();
    if savepoints.is_empty() && args.output.format() == ListFormat::Table {
        eprintln!("there are no savepoints");
        return Ok(());
    }
    print_text(&match args.output.format() {
        ListFormat::Json => document(savepoints.iter().map(json_of).collect()),
        ListFormat::Table => {
            columns(savepoints.iter().map(row_of), &["NAME", "NUMBER", "TAKEN", "EPOCH", "WORKERS", "STATE"])
        }
    })
}

fn row_of((number, name, manifest): &Savepoint<'_>) -> Vec<String> {
    vec![
        (*name).to_string(),
        number.to_string(),
        time(manifest.wall_time_ms),
        manifest.epoch.to_string(),
        manifest.parallelism.to_string(),
        size(state_bytes(manifest)),
    ]
}

fn json_of((number, name, manifest): &Savepoint<'_>) -> Value {
    json!({
        "name": name, "number": number.0, "taken": time(manifest.wall_time_ms), "epoch": manifest.epoch,
        "workers": manifest.parallelism, "state_bytes": state_bytes(manifest),
    })
}

fn delete(args: &SavepointDeleteArgs, cli: &Cli) -> Result<()> {
    let store = take(&args.place, &args.copy)?;
    let journal = read_journal(store.as_ref()).map_err(Failure::plain)?;
    let freed = delete_one(store.as_ref(), number_of(&journal, &args.name)?).map_err(Failure::plain)?;
    if !cli.quiet {
        eprintln!("savepoint '{}' is deleted, {}", args.name, with_files(&freed));
    }
    Ok(())
}

fn number_of(journal: &Journal, name: &str) -> Result<EntryNumber, Failure> {
    let found = journal.savepoints().rev().find(|(_, n, _)| *n == name).map(|(number, ..)| number);
    found.ok_or_else(|| {
        let error = rheos::Error::invalid(608, format!("there is no savepoint '{name}'"))
            .with_hint("'rheos savepoint list DIR' shows what there is");
        Failure::Plain { error, code: code::NOT_FOUND }
    })
}
