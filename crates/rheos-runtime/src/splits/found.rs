//! What sources remember of what they have found, as a table of the state of each: a row an entry, in their order.
//!
//! Not in the manifest: a folder of 100,000 files would be written anew with each checkpoint. As a table it grows by what was
//! found in an epoch.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use rheos_core::source::Found;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};
use rheos_core::{Error, ErrorKind, Result};

const TABLE: &str = "found";
const LAYOUT: &str = "found-entries/v1";

/// The change of one epoch; worker 0 hands it over.
pub(crate) fn delta(found: Found) -> Result<StateDelta> {
    let schema = Arc::new(Schema::new(vec![Field::new("entry", DataType::Utf8, false)]));
    let entries = Arc::new(StringArray::from(found.entries));
    let runs = match entries.len() {
        0 => vec![],
        _ => vec![Run { key_groups: vec![], rows: RecordBatch::try_new(schema, vec![entries])? }],
    };
    let tombstones = if found.anew { vec![Tombstone::All] } else { vec![] };
    let (table, layout, kind) = (TABLE.to_string(), LAYOUT.to_string(), TableKind::Single);
    Ok(StateDelta {
        tables: vec![TableDelta { table, kind, layout, replaces_by: vec![], gone_by: None, tombstones, runs }],
    })
}

/// All entries. Errors: `Corrupt` (R0404) for a layout that this version does not read.
pub(crate) fn read(state: &dyn SnapshotReader) -> Result<Vec<String>> {
    let mut entries = vec![];
    for delta in state.deltas(TABLE) {
        for run in &delta.runs {
            let texts = run.rows.columns().first().and_then(|c| c.as_string_opt::<i32>());
            let texts = texts.filter(|_| delta.layout == LAYOUT).ok_or_else(|| {
                let message = format!("what a source has found is stored as '{}'", delta.layout);
                Error::new(ErrorKind::Corrupt, 404, message).with_hint("use the version of Rheos that wrote it")
            })?;
            entries.extend(texts.iter().flatten().map(str::to_string));
        }
    }
    Ok(entries)
}
