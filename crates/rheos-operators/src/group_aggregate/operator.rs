//! When groups take rows, and when their changes go out.
//!
//! Changes go out at an epoch's end, before the end of the input is told, and between, where there is an interval for it. Until
//! they are out the watermark behind the operator stays where it was when the ones before went out.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::record_batch::RecordBatch;
use rheos_core::change;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, StateSize, WatermarkChange};
use rheos_core::state::{SnapshotReader, StateDelta};
use rheos_core::{Epoch, Operator, OperatorContext, Port, Progress, Result, Watermark};

use super::groups::{Assigned, Emission, Groups};
use super::state::GroupState;
use super::{GroupAggregateFactory, GroupEmits};
use crate::chunk_queue::chunk_rows;
use crate::evaluation::{coerce, new_batch};
use crate::window_aggregate::input::RowInput;
use crate::window_aggregate::table::RowColumns;

/// Groups in one chunk: each may give two rows.
const CHUNK_GROUPS_MAX: usize = CHUNK_ROWS_MAX / 2;

/// See the module.
pub(super) struct GroupAggregate {
    emits: GroupEmits,
    input: RowInput,
    groups: Groups,
    state: GroupState,
    stage: Stage,
    chunk_groups: usize,
    emit_interval_ms: Option<i64>,
    emitted_ms: i64,
    /// Of everything below it, changes are out.
    watermark: Watermark,
    /// Whether the epoch's changes are out, and what it has emptied can go.
    is_settled: bool,
    /// Whether this worker answers for an aggregate without keys.
    answers_for_nothing: bool,
}

/// What is on its way out.
enum Stage {
    Idle,
    Changes {
        emission: Emission,
        ends_epoch: bool,
    },
    /// All groups, each as often as it is there.
    Rows {
        slots: Vec<u32>,
        next: usize,
        /// How often the next one is out already.
        times: i64,
    },
}

impl GroupAggregate {
    pub(super) fn try_new(factory: &GroupAggregateFactory, init: &OperatorInit) -> Result<Self> {
        let spec = &factory.spec;
        let groups = Groups::try_new(spec, factory.keys.clone(), factory.results.clone())?;
        let changes = spec.emits == GroupEmits::Changes;
        Ok(Self {
            emits: spec.emits,
            input: RowInput::new(&spec.rows()),
            state: GroupState::new(&groups, init),
            groups,
            stage: Stage::Idle,
            chunk_groups: CHUNK_GROUPS_MAX,
            emit_interval_ms: spec.emit_interval_ms.filter(|_| changes),
            emitted_ms: i64::MIN,
            watermark: Watermark::MIN,
            is_settled: false,
            answers_for_nothing: changes && spec.keys.is_empty() && init.worker == 0,
        })
    }

    /// Before anything changes in a new epoch.
    fn open(&mut self) {
        if std::mem::take(&mut self.is_settled) {
            self.groups.settle();
        }
    }

    /// The groups that come with a batch of rows that only come.
    fn emit_new(&self, columns: &RowColumns, assigned: &Assigned, ctx: &mut OperatorContext) -> Result<()> {
        let rows = UInt32Array::from(assigned.new.clone());
        let fields = self.groups.key_schema.fields();
        let keys = columns.groups.iter().zip(fields);
        let keys = keys.map(|(c, f)| Ok(take(&coerce(ArrayRef::clone(c), f.data_type())?, &rows, None)?));
        let batch = new_batch(&self.groups.key_schema, keys.collect::<Result<_>>()?, assigned.new.len())?;
        for start in (0..batch.num_rows()).step_by(CHUNK_ROWS_MAX) {
            ctx.emit(Port::MAIN, batch.slice(start, CHUNK_ROWS_MAX.min(batch.num_rows() - start)));
        }
        Ok(())
    }

    /// Notes what the state of rows' groups needs beside their results.
    fn note(&mut self, slots: &[u32], ctx: &OperatorContext) {
        let is_stored_anew = self.emits != GroupEmits::New;
        for slot in slots {
            if self.groups.ttl.touch(*slot, ctx.watermark.ms()) || is_stored_anew {
                self.groups.changed.mark(*slot);
            }
        }
    }

    fn begin(&mut self, ends_epoch: bool, ctx: &mut OperatorContext) -> Result<Progress> {
        self.emitted_ms = ctx.now_ms;
        if self.answers_for_nothing && !self.groups.is_announced {
            self.groups.announce()?;
        }
        self.stage = Stage::Changes { emission: self.groups.emission()?, ends_epoch };
        self.resume(ctx)
    }

    fn emit_changes(&mut self, emission: &mut Emission, ctx: &mut OperatorContext) -> Result<()> {
        while !emission.is_done() {
            let batch = self.groups.changes(emission, self.chunk_groups)?;
            if batch.num_rows() > 0 {
                // Rows may be wide: the next chunk has as many as fit, and the two of a group stay together.
                self.chunk_groups = (chunk_rows(&batch) / 2).clamp(1, CHUNK_GROUPS_MAX);
                ctx.emit(Port::MAIN, batch);
                return Ok(());
            }
        }
        Ok(())
    }

    /// A chunk of the rows that are there at the end.
    fn emit_rows(&mut self, slots: &[u32], next: &mut usize, times: &mut i64, ctx: &mut OperatorContext) -> Result<()> {
        let (mut chunk, mut rows) = (vec![], vec![]);
        while *next < slots.len() && rows.len() < CHUNK_ROWS_MAX {
            let slot = slots[*next];
            let left = self.groups.counts[slot as usize] - *times;
            let room = (CHUNK_ROWS_MAX - rows.len()) as i64;
            let emitted = left.min(room).max(0);
            rows.extend(std::iter::repeat_n(chunk.len() as u32, emitted as usize));
            chunk.push(slot);
            if left > room {
                *times += emitted;
            } else {
                (*next, *times) = (*next + 1, 0);
            }
        }
        let keys = self.groups.keys.decode(chunk.iter().map(|slot| self.groups.slots.key(*slot)))?;
        let rows = UInt32Array::from(rows);
        let keys = keys.iter().zip(self.groups.key_schema.fields());
        let keys = keys.map(|(c, f)| coerce(take(c, &rows, None)?, f.data_type())).collect::<Result<_>>()?;
        ctx.emit(Port::MAIN, new_batch(&self.groups.key_schema, keys, rows.len())?);
        Ok(())
    }

    /// What goes out when the input has ended. Errors: `Internal` (R0703) for a row that went and had not come.
    fn begin_end(&mut self) -> Result<()> {
        let mut slots: Vec<u32> = self.groups.slots.iter().collect();
        slots.sort_unstable();
        if let Some(slot) = slots.iter().find(|slot| self.groups.counts[**slot as usize] < 0) {
            return Err(self.groups.gone_without_coming(*slot));
        }
        self.stage = Stage::Rows { slots, next: 0, times: 0 };
        Ok(())
    }
}

impl Operator for GroupAggregate {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let columns = self.input.evaluate(&batch)?;
        self.open();
        let weights = change::weights(&batch).map(|weights| weights.values().as_ref());
        let assigned = self.groups.assign(&columns)?;
        match self.emits {
            GroupEmits::Changes => self.groups.update(&columns, &assigned.slots, weights)?,
            GroupEmits::RowsAtEnd => self.groups.count(&assigned.slots, weights)?,
            GroupEmits::New => {
                for row in &assigned.new {
                    let slot = assigned.slots[*row as usize];
                    self.groups.counts[slot as usize] = 1;
                    self.groups.changed.mark(slot);
                }
                self.emit_new(&columns, &assigned, ctx)?;
            }
        }
        self.note(&assigned.slots, ctx);
        Ok(Progress::Done)
    }

    fn check_rows(&self, _input: usize, batch: &RecordBatch) -> Result<()> {
        self.input.evaluate(batch).map(drop)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        match self.emits {
            GroupEmits::New => {}
            GroupEmits::RowsAtEnd if change.combined == Watermark::MAX => {
                self.begin_end()?;
                return self.resume(ctx);
            }
            GroupEmits::RowsAtEnd => {}
            GroupEmits::Changes if change.combined == Watermark::MAX => {
                self.open();
                let progress = self.begin(false, ctx)?;
                self.watermark = Watermark::MAX;
                return Ok(progress);
            }
            GroupEmits::Changes if !self.groups.is_touched() => self.watermark = change.combined,
            GroupEmits::Changes => {}
        }
        Ok(Progress::Done)
    }

    fn on_clock(&mut self, now_ms: i64, ctx: &mut OperatorContext) -> Result<Progress> {
        if self.emitted_ms == i64::MIN {
            self.emitted_ms = now_ms;
        }
        let is_due = self.emit_interval_ms.is_some_and(|interval| now_ms.saturating_sub(self.emitted_ms) >= interval);
        match is_due && self.groups.is_touched() {
            true => self.begin(false, ctx),
            false => Ok(Progress::Done),
        }
    }

    fn wants_clock(&self) -> bool {
        self.emit_interval_ms.is_some()
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => Ok(Progress::Done),
            Stage::Changes { mut emission, ends_epoch } => {
                self.emit_changes(&mut emission, ctx)?;
                if !emission.is_done() {
                    self.stage = Stage::Changes { emission, ends_epoch };
                    return Ok(Progress::More);
                }
                self.watermark = self.watermark.max(ctx.watermark);
                if ends_epoch {
                    self.groups.close(ctx.watermark.ms());
                    self.is_settled = true;
                }
                Ok(Progress::Done)
            }
            Stage::Rows { slots, mut next, mut times } => {
                self.emit_rows(&slots, &mut next, &mut times, ctx)?;
                if next < slots.len() {
                    self.stage = Stage::Rows { slots, next, times };
                    return Ok(Progress::More);
                }
                // Who takes this state back must not give the rows again.
                self.groups.empty(&slots);
                Ok(Progress::Done)
            }
        }
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        if self.emits == GroupEmits::Changes {
            self.open();
            return self.begin(true, ctx);
        }
        self.groups.close(ctx.watermark.ms());
        self.is_settled = true;
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        let delta = self.state.delta(&mut self.groups)?;
        self.open();
        Ok(delta)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        self.state.restore(snapshot, &mut self.groups)
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        match self.emits {
            GroupEmits::Changes => combined.min(self.watermark),
            GroupEmits::New => combined,
            GroupEmits::RowsAtEnd => combined.held_until_the_end(),
        }
    }

    fn state_size(&self) -> StateSize {
        self.groups.size()
    }
}
