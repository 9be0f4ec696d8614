//! The state of a session aggregate in a checkpoint: two tables.
//!
//! | table | row | changes in an epoch |
//! |---|---|---|
//! | `sessions` | one session of one key (the partial layout) | each session that changed, whole; a tombstone for what fired |
//! | `fired` | a key group and the watermark up to which its sessions have fired | the owned groups, when the watermark rose |
//!
//! A session only grows, so a later row of the same key takes the place of the earlier rows that it overlaps or touches.
//! Rows that end before their key group's watermark have fired, or were taken the place of before that. A worker that
//! inherits groups which are behind takes the highest watermark, and their sessions up to it fire first.

use rheos_core::Result;
use rheos_core::key::KeyGroup;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, Tombstone};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::index::Place;
use super::table::SessionTable;
use crate::state::{FiredMarks, StateKeys, check_layout};

const SESSIONS: &str = "sessions";
const SESSIONS_LAYOUT: &str = "window-sessions/v1";

/// Turns sessions into deltas and back.
pub(crate) struct SessionState {
    keys: StateKeys,
    marks: FiredMarks,
}

impl SessionState {
    /// For an aggregate with so many keys.
    pub(crate) fn new(keys: usize, init: &OperatorInit) -> Self {
        let keys = StateKeys::new(keys, init);
        Self { marks: FiredMarks::new(&keys), keys }
    }

    /// What changed since the last delta.
    pub(crate) fn delta(&mut self, table: &mut SessionTable, watermark_ms: i64) -> Result<StateDelta> {
        // While sessions wait that were behind when the job was restored, their groups stay where they were.
        let moved = self.marks.delta((!table.sessions.has_due()).then_some(watermark_ms))?;
        let mut delta = StateDelta::default();
        let changed: Vec<u32> = table.sessions.ids().filter(|id| table.sessions.get(*id).changed).collect();
        let mut runs = vec![];
        if !changed.is_empty() {
            let rows = table.partials(&changed)?;
            let keys = table.layout.keys;
            runs.push(Run {
                key_groups: self.keys.groups(&rows.columns()[1..=keys], rows.num_rows())?,
                rows: rows.clone(),
            });
            // What was merged to be saved need not be merged again.
            let run = table.states.push_run(rows.columns()[keys + 3..].to_vec())?;
            table.set_pieces(&changed, run);
            changed.iter().for_each(|id| table.sessions.get_mut(*id).changed = false);
            table.compact()?;
        }
        let tombstones = match moved {
            Some(_) => vec![Tombstone::NamespacesUpTo(watermark_ms.saturating_sub(1))],
            None => vec![],
        };
        if !runs.is_empty() || !tombstones.is_empty() {
            let (name, layout, kind) = (SESSIONS.into(), SESSIONS_LAYOUT.into(), self.keys.kind());
            // A session that begins at the same time is a later version of it. One that has got an earlier row as well, or was
            // joined to another, is put in their place by the restore.
            let replaces_by = (1..=table.layout.keys + 1).collect();
            delta.tables.push(TableDelta { table: name, kind, layout, replaces_by, gone_by: None, tombstones, runs });
        }
        delta.tables.extend(moved);
        Ok(delta)
    }

    /// Takes back the sessions of a snapshot, and gives the watermark that the worker has come to.
    pub(crate) fn restore(&mut self, snapshot: &dyn SnapshotReader, table: &mut SessionTable) -> Result<i64> {
        let marks = FiredMarks::read(snapshot)?;
        let keys = table.layout.keys;
        for delta in snapshot.deltas(SESSIONS) {
            check_layout(&delta, SESSIONS_LAYOUT)?;
            for Run { key_groups, rows } in &delta.runs {
                let bytes = table.codec.encode(&rows.columns()[1..=keys], rows.num_rows())?;
                let int = |at: usize| rows.column(at).as_primitive::<Int64Type>().values();
                let (ends, starts) = (int(0), int(keys + 1));
                let run = table.states.push_run(rows.columns()[keys + 3..].to_vec())?;
                for row in 0..rows.num_rows() {
                    let group = key_groups.get(row).copied().unwrap_or(KeyGroup(0));
                    if ends[row] < marks.of(group) {
                        continue;
                    }
                    let id = table.sessions.replace(bytes.bytes(bytes.of_row[row]), starts[row], ends[row]);
                    table.sessions.push_piece(id, Place { run, row: row as u32 });
                    table.sessions.get_mut(id).changed = false;
                }
            }
            table.compact()?;
        }
        table.sessions.close(marks.highest());
        Ok(marks.highest())
    }
}
