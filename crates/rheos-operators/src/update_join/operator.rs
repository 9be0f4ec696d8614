//! The operator: what comes of each batch at once, what at a flush.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter_record_batch, take, take_record_batch};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use rheos_core::change::{split, weighted};
use rheos_core::operator::{CHUNK_ROWS_MAX, Counter, OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::time::micros_to_ms;
use rheos_core::{Epoch, Operator, OperatorContext, Progress, Result, Watermark};

use super::inputs::Inputs;
use super::pairs::{Cursor, Pairs, PairsOf};
use super::rest::RestRows;
use super::side::Change;
use super::spec::{Plan, UpdateJoinInput, UpdateJoinSpec};
use crate::chunk_queue::{ChunkQueue, STEPS_MAX, chunk_rows};
use crate::evaluation::new_batch;
use crate::joining::failed::FailedPairs;
use crate::joining::keys::joinable_rows;
use crate::joining::{LEFT, Letters, RIGHT};
use crate::lenient::emit;
use crate::row_keys::RowKeys;

/// The inputs in the state.
const TABLES: [&str; 2] = ["left", "right"];

/// See the module.
pub(crate) struct UpdateJoin {
    plan: Arc<Plan>,
    inputs: Inputs,
    rest: [Option<RestRows>; 2],
    /// The changes whose pairs are on their way out.
    cursor: Option<Cursor>,
    queue: ChunkQueue,
    /// Rows that make a chunk, by the size of the largest.
    chunk_rows: usize,
    letters: Option<(Letters, FailedPairs)>,
    /// Of each input.
    watermarks: [Watermark; 2],
    /// When the clock said last that what has changed is to be told.
    told_ms: i64,
    /// A flush has closed the epoch, and its changes have not been asked for.
    is_stale: bool,
}

/// Rows with their weights and keys.
type Joinable = (RecordBatch, Option<Int64Array>, Vec<ArrayRef>);

impl UpdateJoin {
    pub(crate) fn try_new(
        spec: &UpdateJoinSpec,
        plan: Arc<Plan>,
        letters: Option<Letters>,
        init: &OperatorInit,
    ) -> Result<Self> {
        let input = |(side, of_side): (usize, &UpdateJoinInput)| {
            let keys = RowKeys::try_unordered(&of_side.keys, &plan.inputs[side])?;
            Ok((TABLES[side].to_string(), plan.side(side), keys))
        };
        let inputs = [(LEFT, &spec.left), (RIGHT, &spec.right)].into_iter().map(input).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            inputs: Inputs::try_new(inputs, spec.left.keys.len(), plan.state_ttl_ms, init)?,
            rest: [LEFT, RIGHT].map(|side| plan.rest[side].map(|rest| RestRows::new(side, rest))),
            cursor: None,
            queue: ChunkQueue::default(),
            chunk_rows: CHUNK_ROWS_MAX,
            letters: letters.map(|letters| (letters, FailedPairs::new(&plan.pairs))),
            watermarks: [Watermark::MIN; 2],
            told_ms: i64::MIN,
            is_stale: false,
            plan,
        })
    }

    /// Takes rows into their side.
    fn apply(&mut self, side: usize, rows: RecordBatch, weights: Option<Int64Array>) -> Result<Vec<Change>> {
        let Some((rows, weights, keys)) = self.joinable(side, rows, weights)? else { return Ok(vec![]) };
        self.chunk_rows = self.chunk_rows.min(chunk_rows(&rows));
        let changes = self.inputs.apply(side, rows, &keys, weights.as_ref(), self.combined())?;
        if let Some(rest) = &mut self.rest[side] {
            changes.iter().for_each(|change| rest.touch(change.row, change.key));
        }
        let new: Vec<u32> = changes.iter().filter(|change| change.is_new).map(|change| change.row).collect();
        self.inputs.sides[side].expire_later(&new)?;
        Ok(changes)
    }

    fn combined(&self) -> Watermark {
        self.watermarks[LEFT].min(self.watermarks[RIGHT])
    }

    /// The rows that are in time, where the join is bounded in it: what they may be joined with is still there.
    fn in_time(&self, side: usize, rows: RecordBatch, ctx: &mut OperatorContext) -> Result<RecordBatch> {
        let Some(expiry) = &self.inputs.sides[side].expiry else { return Ok(rows) };
        let column = rows.column(expiry.column());
        let watermark_ms = self.watermarks[side].ms();
        let times = expiry.times_us(column)?;
        let is_late = |at: usize| column.is_valid(at) && micros_to_ms(times[at]) < watermark_ms;
        if !(0..times.len()).any(is_late) {
            return Ok(rows);
        }
        for at in (0..times.len()).filter(|at| is_late(*at)) {
            ctx.count(Counter::LateRecords, 1);
            ctx.observe_lateness(watermark_ms.saturating_sub(micros_to_ms(times[at])), 1);
        }
        let kept: BooleanArray = (0..times.len()).map(|at| Some(!is_late(at))).collect();
        Ok(filter_record_batch(&rows, &kept)?)
    }

    /// The rows that can join at all, with their weights and keys. The others go out where the kind of join wants them, and
    /// nothing is kept of them.
    fn joinable(&mut self, side: usize, rows: RecordBatch, weights: Option<Int64Array>) -> Result<Option<Joinable>> {
        let keys = self.inputs.key_values(side, &rows)?;
        let mut joinable = joinable_rows(self.plan.null_equality, &keys);
        if let Some(expiry) = &self.inputs.sides[side].expiry {
            let times = rows.column(expiry.column()).logical_nulls();
            joinable = NullBuffer::union(joinable.as_ref(), times.as_ref());
        }
        let Some(joinable) = joinable else { return Ok(Some((rows, weights, keys))) };
        let part = |wanted: bool| -> Result<_> {
            let indices = (0..rows.num_rows() as u32).filter(|row| joinable.is_valid(*row as usize) == wanted);
            let indices = UInt32Array::from_iter_values(indices);
            let weights = weights.as_ref().map(|w| take(w, &indices, None)).transpose()?;
            let weights = weights.map(|w| w.as_primitive::<Int64Type>().clone());
            Ok((take_record_batch(&rows, &indices)?, weights, indices))
        };
        if let Some(rest) = self.rest[side].as_ref().filter(|_| self.plan.wants_unmatched(side)) {
            let (alone, weights, _) = part(false)?;
            self.queue.push(rest.alone(&self.plan, alone, weights)?);
        }
        let (rows, weights, indices) = part(true)?;
        let keys = keys.iter().map(|key| Ok(take(key, &indices, None)?)).collect::<Result<_>>()?;
        Ok((rows.num_rows() > 0).then_some((rows, weights, keys)))
    }

    /// One bounded step. `false`: nothing is left to do.
    fn step(&mut self) -> Result<bool> {
        if let Some(mut cursor) = self.cursor.take() {
            let pairs = cursor.step(&self.inputs.sides, self.chunk_rows)?;
            self.join(&cursor, pairs)?;
            self.cursor = Some(cursor).filter(|cursor| !cursor.is_done());
            return Ok(true);
        }
        for (side, rest) in self.rest.iter_mut().enumerate() {
            if let Some(rest) = rest.as_mut().filter(|rest| rest.is_flushing()) {
                let sides = &self.inputs.sides;
                let results = rest.step(&self.plan, &sides[side], &sides[1 - side], self.chunk_rows)?;
                results.into_iter().for_each(|results| self.queue.push(results));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What comes of candidate pairs.
    fn join(&mut self, cursor: &Cursor, mut pairs: Pairs) -> Result<()> {
        if pairs.len() == 0 {
            return Ok(());
        }
        if let Some(residual) = &self.plan.residual {
            let failed = self.letters.as_mut().map(|(_, failed)| failed);
            pairs.retain(&residual.mask(&PairsOf(&pairs, &self.inputs.sides), failed)?);
            self.count_matches(cursor, &pairs)?;
            pairs.retain_those_there();
        }
        if !self.plan.emits_pairs || pairs.len() == 0 {
            return Ok(());
        }
        let columns = |side: usize| -> Result<Vec<ArrayRef>> {
            Ok(self.inputs.sides[side].rows.gather(&pairs.rows[side])?.columns().to_vec())
        };
        let columns: Vec<_> = [columns(LEFT)?, columns(RIGHT)?].concat();
        let count = pairs.len();
        self.queue.push(match self.plan.emits_weights() {
            true => weighted(&self.plan.schema_of_rows(), columns, Int64Array::from(pairs.weights))?,
            false => new_batch(&self.plan.schema, columns, count)?,
        });
        Ok(())
    }

    /// Counts for each row with how many it is joined, where the further condition decides.
    fn count_matches(&mut self, cursor: &Cursor, pairs: &Pairs) -> Result<()> {
        let (side, other) = (cursor.side, 1 - cursor.side);
        for at in 0..pairs.len() {
            let change = cursor.change(pairs, at);
            let (own_row, other_row) = (pairs.rows[side][at], pairs.rows[other][at]);
            if let Some(rest) = &mut self.rest[other] {
                self.inputs.sides[other].matched(other_row, change.weight)?;
                self.inputs.sides[other].changed.mark(other_row);
                rest.touch(other_row, change.key);
            }
            // What a known row is joined with does not change by its being there more often.
            if change.is_new && self.rest[side].is_some() {
                let weight = self.inputs.sides[other].weight(other_row);
                self.inputs.sides[side].matched(own_row, weight)?;
            }
        }
        Ok(())
    }

    /// Goes on with what is to be done, and emits a chunk.
    fn proceed(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let mut is_done = false;
        for _ in 0..STEPS_MAX {
            if self.queue.has_full_chunk() {
                break;
            }
            if !self.step()? {
                is_done = true;
                break;
            }
        }
        if let Some((Letters { operator_id, table }, failed)) = &mut self.letters {
            emit(&failed.take(), operator_id, table, ctx)?;
        }
        match self.queue.emit_one(ctx)? {
            Progress::Done if !is_done => Ok(Progress::More),
            progress => Ok(progress),
        }
    }

    /// Ends the epoch that a flush has closed, where the job keeps no state and nobody else does.
    fn forget_stale(&mut self) -> Result<()> {
        if !self.is_stale {
            return Ok(());
        }
        self.expire();
        self.end_epoch()
    }

    /// Lets go, without a word, what time has made needless.
    fn expire(&mut self) {
        for side in [LEFT, RIGHT] {
            for row in self.inputs.take_expired(side, self.watermarks[1 - side]) {
                self.let_go(side, row);
            }
        }
        for (side, row) in self.inputs.vanish_untouched(self.combined()) {
            self.rest[side].iter_mut().for_each(|rest| rest.forget_row(row));
        }
    }

    /// Frees the slot of a row.
    fn let_go(&mut self, side: usize, row: u32) {
        if let Some((_, failed)) = &mut self.letters {
            failed.forget(side, row as usize);
        }
        if let Some(rest) = &mut self.rest[side] {
            rest.forget_row(row);
        }
        if let Some(key) = self.inputs.let_go(side, row) {
            self.rest.iter_mut().flatten().for_each(|rest| rest.forget_key(key));
        }
    }

    /// Lets go what is not there any more, now that it has been told and stored.
    fn end_epoch(&mut self) -> Result<()> {
        for side in [LEFT, RIGHT] {
            for row in self.inputs.take_gone(side) {
                self.let_go(side, row);
            }
            self.inputs.sides[side].rows.tidy()?;
        }
        self.is_stale = false;
        Ok(())
    }

    /// Behind a restore: which rows are in a letter already is what failing pairs of the restored rows say again.
    fn recall_letters(&mut self) -> Result<()> {
        let (Some((_, failed)), Some(residual)) = (&mut self.letters, &self.plan.residual) else { return Ok(()) };
        let sides = &self.inputs.sides;
        let of_key = |key: u32| sides[LEFT].chains.of(key).map(move |row| (key, row));
        let known = self.inputs.keys().flat_map(of_key);
        let changes = known.map(|(key, row)| Change { row, key, weight: sides[LEFT].weight(row), is_new: false });
        let mut cursor = Cursor::new(LEFT, changes.collect());
        while !cursor.is_done() {
            let pairs = cursor.step(sides, CHUNK_ROWS_MAX)?;
            residual.mask(&PairsOf(&pairs, sides), Some(failed))?;
        }
        // They have been told.
        failed.take();
        Ok(())
    }

    /// Begins to tell what has changed of the rows that go out by themselves.
    fn begin_flush(&mut self) {
        for side in [LEFT, RIGHT] {
            if let (Some(rest), [left, right]) = (&mut self.rest[side], self.inputs.sides.as_mut_slice()) {
                let (own, other) = if side == LEFT { (left, right) } else { (right, left) };
                rest.begin_flush(own, other);
            }
        }
    }
}

impl Operator for UpdateJoin {
    fn on_batch(&mut self, input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        self.forget_stale()?;
        let (rows, weights) = split(&batch)?;
        let rows = self.in_time(input, rows, ctx)?;
        if rows.num_rows() > 0 {
            let changes = self.apply(input, rows, weights)?;
            if self.plan.forms_pairs() && !changes.is_empty() {
                self.cursor = Some(Cursor::new(input, changes));
            }
        }
        self.proceed(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.proceed(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.forget_stale()?;
        self.is_stale = true;
        self.begin_flush();
        self.proceed(ctx)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        self.forget_stale()?;
        self.watermarks[change.input] = change.watermark;
        // What is told later would be late behind the watermark that follows this one.
        if self.plan.bounds.is_some() || change.combined == Watermark::MAX {
            self.begin_flush();
        }
        self.proceed(ctx)
    }

    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        let is_due = self.plan.emit_interval_ms.is_some_and(|interval| now_ms.saturating_sub(self.told_ms) >= interval);
        if is_due {
            self.forget_stale()?;
            self.told_ms = now_ms;
            self.begin_flush();
        }
        self.proceed(ctx)
    }

    fn wants_clock(&self) -> bool {
        self.plan.emit_interval_ms.is_some()
    }

    fn state_size(&self) -> StateSize {
        self.inputs.size()
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.expire();
        let delta = self.inputs.delta()?;
        self.end_epoch()?;
        Ok(delta)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.inputs.restore(snapshot)?;
        for side in [LEFT, RIGHT] {
            if let Some(rest) = &mut self.rest[side] {
                let sides = &self.inputs.sides;
                rest.assume_told(&sides[side], &sides[1 - side], self.inputs.keys());
            }
        }
        self.recall_letters()
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        match &self.plan.bounds {
            Some(bounds) => bounds.watermark(combined),
            // A row joins what comes much later.
            None => combined.held_until_the_end(),
        }
    }
}
