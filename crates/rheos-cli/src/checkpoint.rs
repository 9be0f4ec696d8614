//! `rheos checkpoint`: a look at the checkpoints in a state directory.

mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use rheos::state::{
    CheckpointStore, EntryNumber, Freed, JobPhase, Journal, Listing, Manifest, Note, SourceState, SplitProgress,
    StoreOptions, TableKind, damaged_files, delete as delete_one, find, list as all, read_journal, rewrite,
    unreadable_newest,
};
use serde_json::{Value, json};

use crate::args::{
    CheckpointArgs, CheckpointCommand, CheckpointDeleteArgs, CheckpointEncryptArgs, CheckpointOneArgs, Cli, CopyArgs,
    ListFormat, PlaceArgs,
};
use crate::list::{columns, document};
use crate::program::print_text;
use crate::report::{Failure, code};

/// Carries out one of them.
pub(crate) fn run(command: &CheckpointCommand, cli: &Cli) -> Result<()> {
    match command {
        CheckpointCommand::List(args) => list(args),
        CheckpointCommand::Inspect(args) => inspect(args),
        CheckpointCommand::Verify(args) => verify::run(args),
        CheckpointCommand::Delete(args) => delete(args, cli),
        CheckpointCommand::Encrypt(args) => encrypt(args, cli),
    }
}

pub(crate) fn options(place: &PlaceArgs) -> StoreOptions {
    let mut options = StoreOptions::at(&place.folder);
    options.key_file = place.keys.encryption_key_file.clone();
    options
}

pub(crate) fn note() -> Note {
    Arc::new(|error| eprintln!("warning: {error}"))
}

pub(crate) fn open(place: &PlaceArgs) -> Result<(Arc<dyn CheckpointStore>, Journal), Failure> {
    let store = options(place).view(&note()).map_err(Failure::plain)?;
    let journal = read_journal(store.as_ref()).map_err(Failure::plain)?;
    Ok((store, journal))
}

/// One that there is not has an exit code of its own. Where the newest is asked for and cannot be read, that is told.
pub(crate) fn found<'a>(journal: &'a Journal, which: Option<&str>) -> Result<(EntryNumber, &'a Manifest), Failure> {
    let found = find(journal, which).map_err(|error| match error.kind() {
        rheos::ErrorKind::Corrupt => Failure::plain(error),
        _ => Failure::Plain { error, code: code::NOT_FOUND },
    })?;
    if let Some((newest, why)) = unreadable_newest(journal).filter(|_| which.is_none()) {
        eprintln!("warning: checkpoint {newest} is newer than {}, and cannot be read: {why}", found.0);
    }
    Ok(found)
}

fn list(args: &CheckpointArgs) -> Result<()> {
    let (_, journal) = open(&args.place)?;
    let listings = all(&journal);
    if listings.is_empty() && args.output.format() == ListFormat::Table {
        eprintln!("there are no checkpoints yet");
        return Ok(());
    }
    print_text(&match args.output.format() {
        ListFormat::Json => document(listings.iter().map(listing_json).collect()),
        ListFormat::Table => {
            let header = ["NUMBER", "TAKEN", "EPOCH", "RUN", "WORKERS", "STATE", "WHAT IT IS"];
            columns(listings.iter().map(listing_row), &header)
        }
    })
}

fn listing_row(listing: &Listing) -> Vec<String> {
    let number = listing.number.to_string();
    match listing.manifest {
        Ok(m) => vec![
            number,
            time(m.wall_time_ms),
            m.epoch.to_string(),
            m.generation.to_string(),
            m.parallelism.to_string(),
            size(state_bytes(m)),
            what_it_is(listing, m),
        ],
        Err(why) => {
            let mut row = vec![String::from("-"); 6];
            row[0] = number;
            row.push(format!("cannot be read: {why}"));
            row
        }
    }
}

fn what_it_is(listing: &Listing, manifest: &Manifest) -> String {
    let mut words = vec![listing.standing.to_string()];
    if manifest.phase != JobPhase::Running {
        words.push(format!("the job {}", phase(manifest.phase)));
    }
    words.extend(manifest.savepoint.as_ref().map(|name| format!("savepoint '{name}'")));
    words.join(", ")
}

fn listing_json(listing: &Listing) -> Value {
    let number = listing.number.0;
    match listing.manifest {
        Ok(m) => json!({
            "number": number, "standing": listing.standing.to_string(), "taken": time(m.wall_time_ms),
            "epoch": m.epoch, "generation": m.generation.0, "workers": m.parallelism, "state_bytes": state_bytes(m),
            "phase": phase(m.phase), "savepoint": m.savepoint, "error": null,
        }),
        Err(why) => json!({ "number": number, "standing": listing.standing.to_string(), "error": why }),
    }
}

fn inspect(args: &CheckpointOneArgs) -> Result<()> {
    let (_, journal) = open(&args.place)?;
    let (number, manifest) = found(&journal, args.checkpoint.as_deref())?;
    print_text(&match args.output.format() {
        ListFormat::Json => document(json!({ "number": number.0, "manifest": manifest })),
        ListFormat::Table => inspect_text(number, manifest),
    })
}

fn inspect_text(number: EntryNumber, m: &Manifest) -> String {
    let groups = m.owners.last().map_or(0, |o| u32::from(o.last) + 1);
    let facts = [
        ("checkpoint", number.to_string()),
        ("taken", time(m.wall_time_ms)),
        ("epoch", m.epoch.to_string()),
        ("run", m.generation.to_string()),
        ("the job", phase(m.phase).to_string()),
        ("savepoint", m.savepoint.clone().unwrap_or_else(|| "-".into())),
        ("program", m.program.fingerprint.clone()),
        ("workers", format!("{}, over {groups} key groups", m.parallelism)),
        ("state", format!("{} in {} files", size(state_bytes(m)), m.objects.len())),
    ];
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text: String = facts.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect();
    let mut section = |rows: Vec<Vec<String>>, header: &[&str]| {
        if !rows.is_empty() {
            text.push_str(&format!("\n{}", columns(rows.into_iter(), header)));
        }
    };
    section(m.sources.iter().map(source_row).collect(), &["SOURCE", "WATERMARK", "READING", "PENDING"]);
    section(table_rows(m), &["OPERATOR", "TABLE", "LAYOUT", "SPREAD", "STATE", "PARTS"]);
    let sink = |s: &rheos::state::SinkState| {
        let released = s.last_release.map_or("-".to_string(), |r| format!("epoch {}", r.through));
        let to_commit: usize = s.releases.iter().map(|r| r.committables.len()).sum();
        vec![s.operator.to_string(), released, to_commit.to_string(), s.held.len().to_string()]
    };
    section(m.sinks.iter().map(sink).collect(), &["SINK", "RELEASED THROUGH", "TO COMMIT", "HELD BACK"]);
    let counter = |(name, n): (&String, &u64)| vec![name.clone(), n.to_string()];
    section(m.counters.iter().map(counter).collect(), &["COUNTER", "TOTAL"]);
    text
}

fn source_row(source: &SourceState) -> Vec<String> {
    let count = |is: fn(&SplitProgress) -> bool| source.splits.iter().filter(|s| is(&s.progress)).count().to_string();
    vec![
        source.operator.to_string(),
        watermark(source.watermark_ms),
        count(|p| matches!(p, SplitProgress::Reading(_))),
        count(|p| matches!(p, SplitProgress::Pending)),
    ]
}

/// A row a table: the bytes of its segments, and how many there are.
fn table_rows(manifest: &Manifest) -> Vec<Vec<String>> {
    let mut tables: BTreeMap<[&str; 4], (u64, usize)> = BTreeMap::new();
    for s in manifest.objects.iter().flat_map(|o| &o.segments) {
        let (bytes, parts) = tables.entry([&s.operator.0, &s.table, &s.layout, spread(s.kind)]).or_default();
        *bytes += s.length_bytes;
        *parts += 1;
    }
    let row = |(names, (bytes, parts)): ([&str; 4], (u64, usize))| {
        names.iter().map(|n| n.to_string()).chain([size(bytes), parts.to_string()]).collect()
    };
    tables.into_iter().map(row).collect()
}

pub(crate) fn spread(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Keyed => "by key",
        TableKind::Split => "in parts",
        TableKind::Broadcast => "to all workers",
        TableKind::Single => "one worker",
    }
}

fn delete(args: &CheckpointDeleteArgs, cli: &Cli) -> Result<()> {
    let store = take(&args.place, &args.copy)?;
    let journal = read_journal(store.as_ref()).map_err(Failure::plain)?;
    let (number, _) = found(&journal, Some(&args.checkpoint))?;
    let freed = delete_one(store.as_ref(), number).map_err(Failure::plain)?;
    if !cli.quiet {
        eprintln!("checkpoint {number} is deleted, {}", with_files(&freed));
    }
    Ok(())
}

/// The state directory, which no run may use meanwhile.
pub(crate) fn take(place: &PlaceArgs, copy: &CopyArgs) -> Result<Arc<dyn CheckpointStore>, Failure> {
    // A look first: the folder must not be made.
    let _ = open(place)?;
    StoreOptions { copy: copy.copy_dir.clone(), ..options(place) }.open(&note()).map_err(Failure::plain)
}

fn encrypt(args: &CheckpointEncryptArgs, cli: &Cli) -> Result<()> {
    if args.place.keys.encryption_key_file.is_none() {
        let error = rheos::Error::invalid(650, "nothing says what to encrypt with");
        return Err(Failure::plain(error.with_hint("give a file of keys, with --encryption-key-file")).into());
    }
    let store = take(&args.place, &args.copy)?;
    let files = rewrite(store.as_ref()).map_err(Failure::plain)?;
    let damaged = damaged_files(store.as_ref()).map_err(Failure::plain)?;
    if damaged > 0 {
        let place = store.place();
        eprintln!(
            "warning: {damaged} damaged files under 'damaged/' in {place} stay as they were, plain or with their old keys; \
             remove them when you have looked at them"
        );
    }
    if !cli.quiet {
        eprintln!("{files} files are encrypted with the first key; the others are not needed for them any more");
        if args.copy.copy_dir.is_none() {
            eprintln!("a second copy is not looked at unless --copy-dir names it");
        }
    }
    Ok(())
}

/// What has gone with a checkpoint.
pub(crate) fn with_files(freed: &Freed) -> String {
    format!("with {} files of state ({})", freed.objects, size(freed.bytes))
}

fn phase(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Running => "ran on",
        JobPhase::Draining => "was being drained",
        JobPhase::Stopped => "was stopped",
        JobPhase::Finished => "had finished",
    }
}

pub(crate) fn state_bytes(manifest: &Manifest) -> u64 {
    manifest.objects.iter().map(|o| o.length_bytes).sum()
}

/// A processing time, in UTC.
pub(crate) fn time(ms: i64) -> String {
    format!("{}Z", timestamp(ms))
}

/// An event time; before the first and behind the last record there is none.
fn watermark(ms: i64) -> String {
    match ms {
        i64::MIN => "-".into(),
        i64::MAX => "the end".into(),
        ms => timestamp(ms),
    }
}

fn timestamp(ms: i64) -> String {
    let mut text = Vec::new();
    rheos::state::write_timestamp(ms.saturating_mul(1000), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_for_people() {
        let sizes =
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_500_000, "1.4 MiB"), (u64::MAX, "16384.0 PiB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(time(1_700_000_000_123), "2023-11-14 22:13:20.123Z");
        assert_eq!(watermark(i64::MAX), "the end");
    }
}
