//! The events of the Nexmark benchmark as tables: made by the generator, or written once and read as files.
//!
//! ```text
//!   DIR/json-10000000/data/part-0-0.json               all events in one file, in the order of their times
//!   DIR/parquet-10000000/data/bid/part-0-0.parquet     one file a kind, as other engines read it; auction, person
//!   DIR/parquet-10000000/manifest.json                 what they were made with; written last
//! ```
//!
//! The programs take the flat tables in place of their views of the kinds, which they declare only where nobody has.
//!
//! Invariant: files are used only where a manifest stands beside them that says they are the ones that are wanted.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rheos::Error;
use serde_json::{Value, json};

use super::args::{EventSource, NexmarkArgs};
use super::process::Runner;
use crate::report::Failure;
use crate::summary::{duration, grouped};

/// Events in one second of event time.
const EVENTS_PER_S: u64 = 100_000;

/// The columns of each kind, in the files; the generator knows its own.
const KINDS: [(&str, &str); 3] = [
    (
        "person",
        "id BIGINT, name STRING, `emailAddress` STRING, `creditCard` STRING, city STRING, state STRING, \
         `dateTime` TIMESTAMP(3), extra STRING",
    ),
    (
        "auction",
        "id BIGINT, `itemName` STRING, description STRING, `initialBid` BIGINT, reserve BIGINT, \
         `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING",
    ),
    (
        "bid",
        "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING",
    ),
];

const WATERMARK: &str = "WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND";

/// The statement that declares the table `events`, once it can be read.
///
/// Errors: files that cannot be written.
pub(super) fn declaration(args: &NexmarkArgs, runner: &Runner, quiet: bool) -> Result<String> {
    match args.source {
        EventSource::Generator => Ok(generator(args.events)),
        EventSource::Parquet | EventSource::Json => {
            let files = Files::new(args);
            files.prepare(runner, quiet)?;
            let tables = files.tables();
            Ok(tables.iter().map(|t| files.declaration(t, t.name, &format!(", {WATERMARK}"), "")).collect())
        }
    }
}

fn generator(events: u64) -> String {
    made("events", "events", events)
}

/// The generator's table of all events, or of one kind.
fn made(name: &str, kind: &str, events: u64) -> String {
    format!(
        "CREATE TABLE {name} ({WATERMARK}) WITH ('connector' = 'nexmark', 'table' = '{kind}', \
         'events.num' = '{events}', 'first-event.rate' = '{EVENTS_PER_S}');\n"
    )
}

/// A table in files.
struct FileTable {
    /// As the programs know it.
    name: &'static str,
    columns: String,
    /// Below the folder of the events.
    folder: PathBuf,
}

/// Events in files of one format.
struct Files {
    format: &'static str,
    events: u64,
    folder: PathBuf,
}

impl Files {
    fn new(args: &NexmarkArgs) -> Self {
        let format = args.source.name();
        let folder = args.data.clone().unwrap_or_else(default_folder);
        // A run has a folder of its own, so the path must hold everywhere.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { format, events: args.events, folder: folder.join(format!("{format}-{}", args.events)) }
    }

    /// Writes the files unless they are there.
    fn prepare(&self, runner: &Runner, quiet: bool) -> Result<()> {
        let say = |text: String| {
            if !quiet {
                eprintln!("{text}");
            }
        };
        let (place, events) = (self.folder.display(), grouped(self.events));
        let wanted = self.manifest();
        if read_manifest(&self.manifest_path()).is_some_and(|found| found == wanted) {
            say(format!("reading {events} events from {place}, which an earlier benchmark has written"));
            return Ok(());
        }
        say(format!("writing {events} events as {} to {place}; later benchmarks use them again", self.format));
        std::fs::create_dir_all(&self.folder).map_err(|e| io("write into", &self.folder, &e))?;
        // One writer, so that the events stand in the order of their times.
        let written = runner.measure("the writing of the events", &self.write_program(), Some(1))?;
        std::fs::write(self.manifest_path(), format!("{wanted:#}\n"))
            .map_err(|e| io("write", &self.manifest_path(), &e))?;
        say(format!("written in {}", duration(written.wall)));
        Ok(())
    }

    /// Parquet has a table for each kind, JSON lines one with a ROW column for each.
    fn tables(&self) -> Vec<FileTable> {
        let data = Path::new("data");
        if self.format == EventSource::Parquet.name() {
            let table = |(name, columns): (&'static str, &str)| FileTable {
                name,
                columns: columns.to_string(),
                folder: data.join(name),
            };
            return KINDS.map(table).into();
        }
        let rows: Vec<String> = KINDS.iter().map(|(name, columns)| format!("{name} ROW<{columns}>")).collect();
        let columns = format!("event_type INT, {}, `dateTime` TIMESTAMP(3)", rows.join(", "));
        vec![FileTable { name: "events", columns, folder: data.to_path_buf() }]
    }

    fn write_program(&self) -> String {
        // One file: a part is neither full nor committed before the last event.
        let options = ", 'sink.if-exists' = 'replace', 'sink.rolling-policy.file-size' = '900000 GiB', \
                       'sink.commit-interval' = '365 d'";
        let write = |table: &FileTable| {
            let (made_name, name) = (format!("made_{}", table.name), format!("{}_files", table.name));
            format!(
                "{}{}INSERT INTO {name} SELECT * FROM {made_name};\n",
                made(&made_name, table.name, self.events),
                self.declaration(table, &name, "", options),
            )
        };
        self.tables().iter().map(write).collect()
    }

    fn declaration(&self, table: &FileTable, name: &str, more_columns: &str, more_options: &str) -> String {
        let path = self.folder.join(&table.folder).display().to_string().replace('\'', "''");
        format!(
            "CREATE TABLE {name} ({}{more_columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', \
             'format' = '{}'{more_options});\n",
            table.columns, self.format
        )
    }

    fn manifest_path(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    /// What the files depend on. Another version of Rheos may make other values.
    fn manifest(&self) -> Value {
        json!({ "benchmark": "nexmark", "format": self.format,
                "tables": self.tables().iter().map(|t| t.name).collect::<Vec<_>>(), "events": self.events,
                "events_per_second": EVENTS_PER_S, "seed": 0, "rheos": env!("CARGO_PKG_VERSION") })
    }
}

/// A manifest that is not there or not readable is no manifest: the files are written again.
fn read_manifest(path: &Path) -> Option<Value> {
    std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok())
}

/// In the system's folder for temporary files, one for each user.
fn default_folder() -> PathBuf {
    std::env::temp_dir().join(format!("rheos-bench-{}", nix::unistd::getuid()))
}

fn io(what: &str, path: &Path, error: &std::io::Error) -> anyhow::Error {
    let error = Error::output(what, &path.display().to_string(), error);
    Failure::plain(error.with_hint("name a folder of your own with --data")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_quote_stays_one_literal() {
        let files = Files { format: "json", events: 5, folder: PathBuf::from("/tmp/it's") };
        assert!(files.declaration(&files.tables()[0], "files", "", "").contains("'path' = '/tmp/it''s/data'"));
    }

    #[test]
    fn files_of_other_parameters_are_not_taken() {
        let files = |events| Files { format: "json", events, folder: PathBuf::new() };
        assert_eq!(files(5).manifest(), files(5).manifest());
        assert_ne!(files(5).manifest(), files(6).manifest());
    }
}
