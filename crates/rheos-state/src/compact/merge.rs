//! Carries out one step: reads segments, drops what is gone, writes one object.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use rheos_checkpoint::manifest::KeyGroupSet;
use rheos_checkpoint::recovery::SegmentId;
use rheos_core::key::KeyGroup;
use rheos_core::state::{Combine, Run, TableKind};
use rheos_core::{Error, ErrorKind, OperatorId};

use super::{Part, Step, newest};
use crate::groups::{self, counted};
use crate::holdings::Held;
use crate::names::ObjectName;
use crate::object::{Compression, Contents, ObjectBuilder, SEGMENT_BYTES, StoredTombstone, WrittenObject, batch_bytes};
use crate::reach::Horizon;
use crate::restore::{Reader, read_segment};
use crate::spare::Spare;
use crate::store::CheckpointStore;

/// What is put together at once, about, in bytes: two segments, which become one where most rows have come twice.
const PIECE_BYTES: usize = 2 * SEGMENT_BYTES;

/// By operator and table: how its rows are put together.
pub type Combiners<'a> = &'a dyn Fn(&OperatorId, &str) -> Option<Arc<dyn Combine>>;

/// Why there is no merged object.
#[derive(Debug, Clone)]
pub enum Unmerged {
    /// It was given up.
    Over,
    /// The store cannot be read or written now.
    Store(Error),
    /// These segments cannot be merged: one is damaged, or its rows are not as they must be.
    Stuck(Error, BTreeSet<SegmentId>),
}

impl Unmerged {
    /// What a failure to read or put together these segments says.
    fn of(error: Error, segments: &[Held]) -> Self {
        match error.kind() {
            ErrorKind::External | ErrorKind::InputMissing | ErrorKind::NotAllowed | ErrorKind::InUse => {
                Self::Store(error)
            }
            ErrorKind::Invalid | ErrorKind::User | ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::Internal => {
                Self::Stuck(error, segments.iter().map(Held::id).collect())
            }
        }
    }
}

impl From<Unmerged> for Error {
    fn from(unmerged: Unmerged) -> Self {
        match unmerged {
            Unmerged::Over => Error::internal("a merge was given up"),
            Unmerged::Store(error) | Unmerged::Stuck(error, _) => error,
        }
    }
}

/// The merged object; `None` if nothing is left. It is not stored yet. `is_over`: asked before each segment is read; nobody
/// wants the result any more. `spare`: for the next step on this thread.
///
/// State: the rows of a part of the step are in memory meanwhile, about twice.
///
/// Errors: those of the store; `Corrupt` for damage, naming object and operator.
pub fn merge(
    store: &dyn CheckpointStore,
    step: &Step,
    name: ObjectName,
    compression: Compression,
    combiners: Combiners<'_>,
    is_over: &dyn Fn() -> bool,
    spare: &mut Spare,
) -> Result<Option<WrittenObject>, Unmerged> {
    let mut builder = ObjectBuilder::new(name, compression);
    for part in &step.parts {
        let (runs, own) = read(&mut Reader::reusing(store, spare), part, is_over)?;
        let combiner = combiners(&part.operator, &part.table).filter(|c| c.layout() == part.layout);
        for (groups, runs) in pieces(part, runs, combiner.is_some()) {
            let contents = contents(part, groups, (runs, &own), combiner.as_deref());
            let pushed = contents.and_then(|contents| builder.push(contents));
            pushed.map_err(|error| Unmerged::of(error, &part.inputs))?;
        }
        spare.reclaim();
    }
    builder.finish().map_err(Unmerged::Store)
}

/// The rows of a part's inputs, and their tombstones.
fn read(reader: &mut Reader<'_>, part: &Part, is_over: &dyn Fn() -> bool) -> Result<(Vec<Run>, Horizon), Unmerged> {
    let wanted = groups::of(part.kind, &part.groups);
    let (mut own, mut runs): (Horizon, Vec<Run>) = (Horizon::default(), Vec::new());
    for unit in part.inputs.chunk_by(|a, b| a.unit == b.unit) {
        let (mut horizon, mut of_unit): (Horizon, VecDeque<Run>) = (part.newer.clone(), VecDeque::new());
        for held in unit.iter().rev() {
            if held.segment.layout != part.layout {
                let (table, operator) = (&part.table, &part.operator);
                let error = Error::internal(format!("table '{table}' of '{operator}' is merged over two layouts"));
                return Err(Unmerged::of(error, &part.inputs));
            }
            if is_over() {
                return Err(Unmerged::Over);
            }
            let groups = wanted.intersection(counted(&held.segment));
            let found = read_segment(reader, &held.object, &held.segment, &groups, &horizon);
            let (header, found) = found.map_err(|error| Unmerged::of(error, std::slice::from_ref(held)))?;
            found.into_iter().rev().for_each(|run| of_unit.push_front(run));
            horizon.add(&header.tombstones, &groups);
            own.add(&header.tombstones, &groups);
        }
        runs.extend(of_unit);
    }
    Ok((runs, own))
}

/// Runs by key groups, as far as they can be put together piece by piece: what a piece takes stays in the processor's cache, and the
/// next has its memory again. `are_combined`: others are written as they are, and cut there.
fn pieces(part: &Part, runs: Vec<Run>, are_combined: bool) -> Vec<(KeyGroupSet, Vec<Run>)> {
    let bytes: usize = runs.iter().map(|run| batch_bytes(&run.rows)).sum();
    let count = (bytes / PIECE_BYTES).min(part.groups.len());
    let is_sorted = runs.iter().all(|run| run.key_groups.is_sorted());
    if !are_combined || part.kind != TableKind::Keyed || count < 2 || !is_sorted {
        return vec![(part.groups.clone(), runs)];
    }
    let groups: Vec<KeyGroup> = part.groups.iter().collect();
    let piece = |groups: &[KeyGroup]| {
        let (first, last) = (groups[0], groups[groups.len() - 1]);
        let of_piece = runs.iter().filter_map(|run| {
            let begin = run.key_groups.partition_point(|g| *g < first);
            let end = run.key_groups.partition_point(|g| *g <= last);
            let rows = || run.rows.slice(begin, end - begin);
            (begin < end).then(|| Run { key_groups: run.key_groups[begin..end].to_vec(), rows: rows() })
        });
        (part.groups.intersection(&KeyGroupSet::range(first.0, last.0)), of_piece.collect())
    };
    groups.chunks(groups.len().div_ceil(count)).map(piece).collect()
}

fn contents(
    part: &Part,
    groups: KeyGroupSet,
    (runs, own): (Vec<Run>, &Horizon),
    combiner: Option<&dyn Combine>,
) -> rheos_core::Result<Contents> {
    let keyed = part.kind == TableKind::Keyed;
    let wanted = groups::of(part.kind, &groups);
    // A table is of one kind, but versions of Rheos may differ: where the newest segment says nothing, rows add up.
    let newest = part.inputs.iter().max_by_key(|h| h.segment.last_epoch);
    let (replaces_by, gone_by) = newest.map_or((Vec::new(), None), |h| h.header.replacing());
    // What says that a row is gone is needed as long as an older segment may have that row.
    let is_whole = |group: KeyGroup| !part.older.contains(group);
    let runs = newest::of_each(runs, &replaces_by).and_then(|runs| newest::without_gone(runs, gone_by, is_whole));
    let runs = runs.map_err(|e| {
        let (table, operator) = (&part.table, &part.operator);
        Error::internal(format!("table '{table}' of '{operator}' cannot be merged: {e}"))
    })?;
    let runs = match combiner {
        Some(combiner) => combiner.combine(runs)?,
        None => runs,
    };
    let mut tombstones = own.tombstones(&wanted.intersection(&part.older));
    if !keyed {
        let everywhere = |t: StoredTombstone| StoredTombstone { groups: KeyGroupSet::default(), up_to: t.up_to };
        tombstones = tombstones.into_iter().map(everywhere).collect();
    }
    Ok(Contents {
        operator: part.operator.clone(),
        table: part.table.clone(),
        kind: part.kind,
        layout: part.layout.clone(),
        replaces_by,
        gone_by,
        groups,
        first_epoch: part.first_epoch,
        last_epoch: part.last_epoch,
        tombstones,
        runs,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
    use rheos_core::Epoch;

    use super::*;

    const LETTERS: usize = PIECE_BYTES / 40;

    fn part(groups: KeyGroupSet) -> Part {
        Part {
            operator: "aggregate-1".into(),
            table: "slices".into(),
            kind: TableKind::Keyed,
            layout: "a/v1".into(),
            groups,
            first_epoch: Epoch(1),
            last_epoch: Epoch(2),
            inputs: vec![],
            newer: Horizon::default(),
            older: KeyGroupSet::default(),
            bytes: 0,
        }
    }

    /// Rows of these key groups, each with its group as a text of so many digits.
    fn run(groups: impl Iterator<Item = u16>, letters: usize) -> Run {
        let key_groups: Vec<KeyGroup> = groups.map(KeyGroup).collect();
        let texts = StringArray::from_iter_values(key_groups.iter().map(|g| {
            let digits = g.0.to_string();
            "0".repeat(letters - digits.len()) + &digits
        }));
        let rows = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        Run { key_groups, rows }
    }

    #[test]
    fn pieces_have_all_rows_of_their_key_groups_and_no_others() {
        let owned = KeyGroupSet::range(3, 40).union(&KeyGroupSet::range(60, 90));
        // Some groups have no rows, and not every run has rows in each piece.
        let groups = || owned.iter().map(|g| g.0).filter(|g| g % 7 != 0);
        let twice = groups().flat_map(|g| [g, g]);
        let runs = vec![run(twice, LETTERS), run(groups(), LETTERS + 1), run([5, 5, 88].into_iter(), LETTERS + 2)];
        let rows: usize = runs.iter().map(|r| r.rows.num_rows()).sum();
        let pieces = pieces(&part(owned.clone()), runs, true);
        assert!(pieces.len() > 2, "{} pieces", pieces.len());
        let (mut seen, mut found) = (KeyGroupSet::default(), 0);
        for (groups, runs) in &pieces {
            assert!(seen.intersection(groups).is_empty());
            seen = seen.union(groups);
            // The oldest first, as they came.
            assert!(runs.iter().map(|r| r.rows.column(0).as_string::<i32>().value(0).len()).is_sorted());
            for run in runs {
                found += run.rows.num_rows();
                assert_eq!(run.key_groups.len(), run.rows.num_rows());
                for (group, text) in run.key_groups.iter().zip(run.rows.column(0).as_string::<i32>()) {
                    assert!(groups.contains(*group));
                    assert_eq!(text.unwrap().parse::<u16>(), Ok(group.0));
                }
            }
        }
        assert_eq!((seen, found), (owned, rows));
    }

    #[test]
    fn what_is_not_put_together_or_has_no_order_is_one_piece() {
        let owned = KeyGroupSet::range(0, 99);
        let sorted = || run(0..100, LETTERS);
        assert!(pieces(&part(owned.clone()), vec![sorted()], true).len() > 1);
        assert_eq!(pieces(&part(owned.clone()), vec![sorted()], false).len(), 1);
        assert_eq!(pieces(&part(owned.clone()), vec![sorted(), run((0..100).rev(), LETTERS)], true).len(), 1);
        assert_eq!(pieces(&part(owned), vec![run(0..100, 10)], true).len(), 1);
    }
}
