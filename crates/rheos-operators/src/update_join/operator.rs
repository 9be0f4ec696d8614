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

use super::pairs::{Cursor, Pairs, PairsOf};
use super::rest::RestRows;
use super::side::{Change, Side};
use super::spec::{Plan, UpdateJoinSpec};
use super::state::JoinState;
use crate::chunk_queue::{ChunkQueue, chunk_rows};
use crate::evaluation::new_batch;
use crate::joining::failed::FailedPairs;
use crate::joining::keys::joinable_rows;
use crate::joining::{LEFT, Letters, RIGHT};
use crate::keyed::slots::KeySlots;
use crate::keyed::time_to_live::{TimeToLive, UNTOUCHED_MS};
use crate::lenient::emit;
use crate::row_keys::RowKeys;

/// Steps without a full chunk before other operators get their turn.
const STEPS_MAX: usize = 16;

/// See the module.
pub(crate) struct UpdateJoin {
    plan: Arc<Plan>,
    keys: [RowKeys; 2],
    slots: KeySlots,
    sides: [Side; 2],
    rest: [Option<RestRows>; 2],
    /// The changes whose pairs are on their way out.
    cursor: Option<Cursor>,
    queue: ChunkQueue,
    /// Rows that make a chunk, by the size of the largest.
    chunk_rows: usize,
    letters: Option<(Letters, FailedPairs)>,
    state: JoinState,
    /// Of each input.
    watermarks: [Watermark; 2],
    time_to_live: TimeToLive,
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
        let keys = |side: usize| {
            let keys = if side == LEFT { &spec.left.keys } else { &spec.right.keys };
            RowKeys::try_unordered(keys, &plan.inputs[side])
        };
        Ok(Self {
            keys: [keys(LEFT)?, keys(RIGHT)?],
            slots: KeySlots::default(),
            sides: [Side::try_new(&plan, LEFT)?, Side::try_new(&plan, RIGHT)?],
            rest: [LEFT, RIGHT].map(|side| plan.rest[side].map(|rest| RestRows::new(side, rest))),
            cursor: None,
            queue: ChunkQueue::default(),
            chunk_rows: CHUNK_ROWS_MAX,
            letters: letters.map(|letters| (letters, FailedPairs::new(&plan.pairs))),
            state: JoinState::new(spec.left.keys.len(), init),
            watermarks: [Watermark::MIN; 2],
            time_to_live: TimeToLive::new(plan.state_ttl_ms),
            told_ms: i64::MIN,
            is_stale: false,
            plan,
        })
    }

    /// Takes rows into their side.
    fn apply(&mut self, side: usize, rows: RecordBatch, weights: Option<Int64Array>) -> Result<Vec<Change>> {
        let Some((rows, weights, keys)) = self.joinable(side, rows, weights)? else { return Ok(vec![]) };
        self.chunk_rows = self.chunk_rows.min(chunk_rows(&rows));
        let mut new_keys = vec![];
        let encoded = self.keys[side].encode_values(&keys)?;
        let mut slot = |row: usize| {
            let (slot, is_new) = self.slots.find_or_insert(encoded.get(row));
            if is_new {
                new_keys.push(slot);
            }
            slot
        };
        let keys: Vec<u32> = (0..rows.num_rows()).map(&mut slot).collect();
        let changes = self.sides[side].apply(rows, &keys, weights.as_ref().map(|w| w.values().as_ref()))?;
        // Those of rows that have cancelled out.
        for key in new_keys {
            self.free_key(key);
        }
        if let Some(rest) = &mut self.rest[side] {
            changes.iter().for_each(|change| rest.touch(change.row, change.key));
        }
        let now_ms = self.combined().ms();
        for change in &changes {
            self.time_to_live.touch(change.key, now_ms);
        }
        let new: Vec<u32> = changes.iter().filter(|change| change.is_new).map(|change| change.row).collect();
        self.sides[side].expire_later(&new)?;
        Ok(changes)
    }

    fn combined(&self) -> Watermark {
        self.watermarks[LEFT].min(self.watermarks[RIGHT])
    }

    /// The rows that are in time, where the join is bounded in it: what they may be joined with is still there.
    fn in_time(&self, side: usize, rows: RecordBatch, ctx: &mut OperatorContext) -> Result<RecordBatch> {
        let Some(expiry) = &self.sides[side].expiry else { return Ok(rows) };
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
        let keys = self.keys[side].values(&rows)?;
        let mut joinable = joinable_rows(self.plan.null_equality, &keys);
        if let Some(expiry) = &self.sides[side].expiry {
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
            let pairs = cursor.step(&self.sides, self.chunk_rows)?;
            self.join(&cursor, pairs)?;
            self.cursor = Some(cursor).filter(|cursor| !cursor.is_done());
            return Ok(true);
        }
        for (side, rest) in self.rest.iter_mut().enumerate() {
            if let Some(rest) = rest.as_mut().filter(|rest| rest.is_flushing()) {
                let results = rest.step(&self.plan, &self.sides[side], &self.sides[1 - side], self.chunk_rows)?;
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
            pairs.retain(&residual.mask(&PairsOf(&pairs, &self.sides), failed)?);
            self.count_matches(cursor, &pairs)?;
            pairs.retain_those_there();
        }
        if !self.plan.emits_pairs || pairs.len() == 0 {
            return Ok(());
        }
        let columns = |side: usize| -> Result<Vec<ArrayRef>> {
            Ok(self.sides[side].rows.gather(&pairs.rows[side])?.columns().to_vec())
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
                self.sides[other].matched(other_row, change.weight)?;
                self.sides[other].changed.mark(other_row);
                rest.touch(other_row, change.key);
            }
            // What a known row is joined with does not change by its being there more often.
            if change.is_new && self.rest[side].is_some() {
                let weight = self.sides[other].weight(other_row);
                self.sides[side].matched(own_row, weight)?;
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
        self.expire()?;
        self.end_epoch()
    }

    /// Lets go, without a word, what time has made needless.
    fn expire(&mut self) -> Result<()> {
        for side in [LEFT, RIGHT] {
            let watermark = self.watermarks[1 - side];
            let Some(expiry) = &mut self.sides[side].expiry else { continue };
            let (rows, reached) = expiry.take(watermark);
            self.state.reached(side, reached);
            for row in rows {
                self.let_go(side, row);
            }
        }
        for key in self.time_to_live.expired(self.combined().ms()) {
            for side in [LEFT, RIGHT] {
                let rows: Vec<u32> = self.sides[side].chains.of(key).collect();
                for row in rows {
                    self.sides[side].vanish(key, row);
                    self.rest[side].iter_mut().for_each(|rest| rest.forget_row(row));
                }
            }
        }
        Ok(())
    }

    /// Frees the slot of a row.
    fn let_go(&mut self, side: usize, row: u32) {
        if let Some((_, failed)) = &mut self.letters {
            failed.forget(side, row as usize);
        }
        let key = self.sides[side].purge(row);
        if let Some(rest) = &mut self.rest[side] {
            rest.forget_row(row);
        }
        if let Some(key) = key {
            self.free_key(key);
        }
    }

    /// Lets go what is not there any more, now that it has been told and stored.
    fn end_epoch(&mut self) -> Result<()> {
        for side in [LEFT, RIGHT] {
            for row in self.sides[side].changed.take() {
                if self.sides[side].rows.contains(row) && self.sides[side].weight(row) == 0 {
                    self.let_go(side, row);
                }
            }
            self.sides[side].rows.tidy()?;
        }
        self.is_stale = false;
        Ok(())
    }

    /// Frees the slot of a key that has no rows.
    fn free_key(&mut self, key: u32) {
        if self.sides.iter().all(|side| side.chains.first(key).is_none()) {
            self.slots.remove(key);
            self.time_to_live.forget(key);
            self.rest.iter_mut().flatten().for_each(|rest| rest.forget_key(key));
        }
    }

    /// Begins to tell what has changed of the rows that go out by themselves.
    fn begin_flush(&mut self) {
        for side in [LEFT, RIGHT] {
            if let Some(rest) = &mut self.rest[side] {
                let [left, right] = &mut self.sides;
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
        let shared = StateSize::new(0, self.slots.size() + self.time_to_live.size());
        self.sides.iter().map(Side::size).fold(shared, |sum, side| sum + side)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        self.expire()?;
        let delta = self.state.delta(&self.plan, &self.keys, &self.sides)?;
        self.end_epoch()?;
        Ok(delta)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        for side in [LEFT, RIGHT] {
            let (keys, slots) = (&self.keys[side], &mut self.slots);
            self.state.restore(snapshot, &self.plan, side, keys, slots, &mut self.sides[side])?;
        }
        for side in [LEFT, RIGHT] {
            self.end_restore(side)?;
            let rows: Vec<u32> = self.sides[side].rows.iter().collect();
            rows.chunks(CHUNK_ROWS_MAX).try_for_each(|rows| self.sides[side].expire_later(rows))?;
        }
        // How long ago it was touched is not known.
        for key in self.slots.iter() {
            self.time_to_live.touch(key, UNTOUCHED_MS);
        }
        for side in [LEFT, RIGHT] {
            if let Some(rest) = &mut self.rest[side] {
                rest.assume_told(&self.sides[side], &self.sides[1 - side], self.slots.iter());
            }
        }
        Ok(())
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        match &self.plan.bounds {
            Some(bounds) => bounds.watermark(combined),
            // A row joins what comes much later.
            None => combined.held_until_the_end(),
        }
    }
}

impl UpdateJoin {
    /// Lets go what was stored and is not there any more, and counts what is.
    fn end_restore(&mut self, side: usize) -> Result<()> {
        let keys: Vec<u32> = self.slots.iter().collect();
        for key in keys {
            let rows: Vec<u32> = self.sides[side].chains.of(key).collect();
            for row in rows {
                let weight = self.sides[side].weight(row);
                if weight != 0 {
                    self.sides[side].count(key, weight)?;
                } else if let Some(key) = self.sides[side].purge(row) {
                    self.free_key(key);
                }
            }
        }
        Ok(())
    }
}
