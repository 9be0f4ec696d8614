//! One window that fires: from the rows of both sides to results, a bounded step at a time.
//!
//! 1. One side is put into a hash table. The rows of the other look up their key and walk the chain of equal ones; a step
//!    takes as many candidate pairs as make a chunk, and the place in the chain is kept. So n times m equal rows never
//!    stand in memory together.
//! 2. The further condition drops candidates; what is left is noted in a bitmap a side, and goes out.
//! 3. Then the rows of each side go out that the kind of join wants by themselves: unmatched, matched, or all with a mark.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;
use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::letters::DeadLetter;
use rheos_core::operator::CHUNK_ROWS_MAX;

use super::first_pairs::{FirstPairs, Rank};
use super::key_table::KeyTable;
use super::side::{Pairs, PairsOf, Place, Side};
use super::spec::Plan;
use crate::evaluation::new_batch;
use crate::joining::failed::FailedPairs;
use crate::joining::keys::joinable_rows;
use crate::joining::kind::Rest;
use crate::joining::{LEFT, RIGHT};
use crate::row_keys::{EncodedKeys, RowKeys};

/// See the module.
pub(crate) struct Matching {
    sides: [Side; 2],
    /// The side whose rows look up; the other one is in the table.
    pub(crate) probe: usize,
    table: KeyTable,
    stage: Stage,
    /// `None`: a pair that cannot be computed with ends the job.
    failed: Option<FailedPairs>,
    /// Rows that make a chunk, by the size of the rows.
    chunk_rows: usize,
    /// Where readers want the first pairs alone.
    first: Option<FirstPairs>,
}

enum Stage {
    Probe(Cursor),
    Rest { side: usize, next: usize },
    Done,
}

/// The place in the side that looks up.
struct Cursor {
    batch: usize,
    row: usize,
    /// The next candidate for the row before `row`.
    chain: Option<usize>,
    /// What the batch looks up, once it is begun.
    lookups: Option<Lookups>,
}

/// What the rows of a batch look up.
struct Lookups {
    keys: EncodedKeys,
    /// Which rows can join at all; `None`: all.
    joinable: Option<NullBuffer>,
    /// Where only the first pairs count.
    ranks: Option<Vec<Rank>>,
}

impl Matching {
    pub(crate) fn try_new(
        plan: &Plan,
        keys: &[RowKeys; 2],
        rows: [Vec<RecordBatch>; 2],
        failed: Option<FailedPairs>,
    ) -> Result<Self> {
        let [left, right] = rows;
        let sides = [Side::new(left)?, Side::new(right)?];
        let probe = match plan.rest {
            // Where only the existence of a partner counts, a row that looks up may stop at the first one.
            [Some(_), _] if !plan.emits_pairs => LEFT,
            [_, Some(_)] if !plan.emits_pairs => RIGHT,
            _ if sides[LEFT].rows() < sides[RIGHT].rows() => RIGHT,
            _ => LEFT,
        };
        Self::with_probe(plan, keys, sides, probe, failed)
    }

    /// Of bounded inputs, one of which has ended: its rows are in the table, and those of `probe` look up as they come.
    pub(crate) fn streaming(
        plan: &Plan,
        keys: &[RowKeys; 2],
        rows: [Vec<RecordBatch>; 2],
        probe: usize,
    ) -> Result<Self> {
        let [left, right] = rows;
        Self::with_probe(plan, keys, [Side::new(left)?, Side::new(right)?], probe, None)
    }

    fn with_probe(
        plan: &Plan,
        keys: &[RowKeys; 2],
        sides: [Side; 2],
        probe: usize,
        failed: Option<FailedPairs>,
    ) -> Result<Self> {
        let build = 1 - probe;
        let table = build_table(plan, &keys[build], &sides[build])?;
        let chunk_rows = sides.iter().filter_map(Side::chunk_rows).min().unwrap_or(CHUNK_ROWS_MAX);
        let stage = first_stage(&sides[build]);
        let first = FirstPairs::try_new(plan, probe, sides[build].rows())?;
        Ok(Self { sides, probe, table, stage, failed, chunk_rows, first })
    }

    /// More rows that look up, in the place of those before, which are done.
    pub(crate) fn feed(&mut self, batch: RecordBatch) -> Result<()> {
        self.sides[self.probe] = Side::new(vec![batch])?;
        self.chunk_rows = self.sides.iter().filter_map(Side::chunk_rows).min().unwrap_or(CHUNK_ROWS_MAX);
        self.stage = first_stage(&self.sides[1 - self.probe]);
        Ok(())
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// The dead letters since the last call.
    pub(crate) fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.failed.as_mut().map(FailedPairs::take).unwrap_or_default()
    }

    /// One step forward. It may have no results.
    pub(crate) fn step(&mut self, plan: &Plan, keys: &[RowKeys; 2]) -> Result<Option<RecordBatch>> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Probe(cursor) => self.join(cursor, plan, &keys[self.probe]),
            Stage::Rest { side, next } => self.emit_rest(side, next, plan),
            Stage::Done => Ok(None),
        }
    }

    fn join(&mut self, mut cursor: Cursor, plan: &Plan, keys: &RowKeys) -> Result<Option<RecordBatch>> {
        let mut pairs = Pairs::default();
        let more = self.candidates(&mut cursor, &mut pairs, plan, keys)?;
        if pairs.len() > 0
            && let Some(residual) = &plan.residual
        {
            let mask = residual.mask(&PairsOf(&pairs, &self.sides), self.failed.as_mut())?;
            pairs.retain(|at| mask.value(at));
        }
        if let Some(first) = &mut self.first {
            first.retain(&mut pairs, 1 - self.probe, &self.sides);
        }
        for side in [LEFT, RIGHT] {
            if plan.rest[side].is_some() {
                self.sides[side].mark(&pairs.places[side]);
            }
        }
        if !plan.emits_pairs && cursor.chain.is_some() {
            let current = (cursor.batch, cursor.row - 1);
            if self.sides[self.probe].is_matched_at(current) {
                cursor.chain = None;
            }
        }
        self.stage = if more { Stage::Probe(cursor) } else { Stage::Rest { side: LEFT, next: 0 } };
        if !plan.emits_pairs || pairs.len() == 0 {
            return Ok(None);
        }
        let mut columns = self.columns(LEFT, plan, &pairs.places[LEFT])?;
        columns.extend(self.columns(RIGHT, plan, &pairs.places[RIGHT])?);
        new_batch(&plan.schema, columns, pairs.len()).map(Some)
    }

    /// Pairs of equal keys, as many as make a chunk, but for those that cannot be wanted. `false`: these were the last.
    fn candidates(&self, cursor: &mut Cursor, pairs: &mut Pairs, plan: &Plan, keys: &RowKeys) -> Result<bool> {
        let (probe, build) = (&self.sides[self.probe], &self.sides[1 - self.probe]);
        let one_is_enough = !plan.emits_pairs && plan.residual.is_none();
        let mut left_out = 0;
        while pairs.len() + left_out < self.chunk_rows {
            if let Some(candidate) = cursor.chain {
                cursor.chain = if one_is_enough { None } else { self.table.next(candidate) };
                let row = cursor.row - 1;
                if let Some(first) = &self.first {
                    let ranks = cursor.lookups.as_ref().and_then(|lookups| lookups.ranks.as_ref());
                    let rank = ranks.map_or(0, |ranks| ranks[row]);
                    if !first.may_be_first(candidate, rank) {
                        left_out += 1;
                        continue;
                    }
                    pairs.ranks.push(rank);
                }
                pairs.places[self.probe].push((cursor.batch, row));
                pairs.places[1 - self.probe].push(build.place(candidate));
                continue;
            }
            let Some(batch) = probe.batches().get(cursor.batch) else { return Ok(false) };
            if cursor.row == batch.num_rows() {
                (cursor.batch, cursor.row, cursor.lookups) = (cursor.batch + 1, 0, None);
                continue;
            }
            let lookups = match &mut cursor.lookups {
                Some(known) => known,
                None => cursor.lookups.insert(self.lookups(plan, keys, batch)?),
            };
            if lookups.joinable.as_ref().is_none_or(|j| j.is_valid(cursor.row)) {
                cursor.chain = self.table.first(lookups.keys.get(cursor.row));
            }
            cursor.row += 1;
        }
        Ok(true)
    }

    fn lookups(&self, plan: &Plan, keys: &RowKeys, batch: &RecordBatch) -> Result<Lookups> {
        let values = keys.values(batch)?;
        Ok(Lookups {
            keys: keys.encode_values(&values)?,
            joinable: joinable_rows(plan.null_equality, &values),
            ranks: self.first.as_ref().map(|first| first.ranks(batch)).transpose()?,
        })
    }

    fn emit_rest(&mut self, side: usize, next: usize, plan: &Plan) -> Result<Option<RecordBatch>> {
        let rows = &self.sides[side];
        let Some(rest) = plan.rest[side].filter(|_| next < rows.rows()) else {
            self.stage = if side == LEFT { Stage::Rest { side: RIGHT, next: 0 } } else { Stage::Done };
            return Ok(None);
        };
        let wanted = |number: &usize| match rest {
            Rest::Padded | Rest::Unmatched => !rows.is_matched(*number),
            Rest::Matched => rows.is_matched(*number),
            Rest::Marked => true,
        };
        let numbers: Vec<usize> = (next..rows.rows()).filter(wanted).take(self.chunk_rows).collect();
        let full = numbers.len() == self.chunk_rows;
        let next = numbers.last().filter(|_| full).map_or(rows.rows(), |last| last + 1);
        self.stage = Stage::Rest { side, next };
        if numbers.is_empty() {
            return Ok(None);
        }
        let places: Vec<Place> = numbers.iter().map(|number| rows.place(*number)).collect();
        let marks: BooleanArray = numbers.iter().map(|number| Some(rows.is_matched(*number))).collect();
        let columns = rest.columns(side, self.columns(side, plan, &places)?, marks, &plan.inputs[1 - side]);
        new_batch(&plan.schema, columns, numbers.len()).map(Some)
    }

    fn columns(&self, side: usize, plan: &Plan, places: &[Place]) -> Result<Vec<ArrayRef>> {
        self.sides[side].gather_all(plan.inputs[side].fields().len(), places)
    }
}

fn first_stage(build: &Side) -> Stage {
    match build.rows() {
        0 => Stage::Rest { side: LEFT, next: 0 },
        _ => Stage::Probe(Cursor { batch: 0, row: 0, chain: None, lookups: None }),
    }
}

fn build_table(plan: &Plan, keys: &RowKeys, side: &Side) -> Result<KeyTable> {
    let mut encoded = keys.none();
    let mut joinable = vec![];
    for batch in side.batches() {
        let values = keys.values(batch)?;
        keys.append(&mut encoded, &values)?;
        joinable.push((batch.num_rows(), joinable_rows(plan.null_equality, &values)));
    }
    Ok(KeyTable::new(encoded, &joinable))
}
