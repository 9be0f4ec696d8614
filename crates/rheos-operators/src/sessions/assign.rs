//! `TABLE(SESSION(...))` by itself: every row with `window_start`, `window_end` and `window_time` behind its own columns.
//!
//! The window of a row is known when its session closes, so rows wait till then. Where a GROUP BY follows directly, the
//! planner puts the session into the aggregate instead and no row is kept.
//!
//! State, in three tables by key group:
//!
//! | table | row | changes in an epoch |
//! |---|---|---|
//! | `rows` | a number, and a row that waits | the rows that came and still wait; a tombstone for numbers of which none waits |
//! | `closed` | a number, a key, and the bounds of a session of which rows had been saved and that has fired | such sessions; a tombstone for those whose rows are gone |
//! | `fired` | a key group and the watermark up to which its sessions have fired | the owned groups, when the watermark rose |
//!
//! The number grows from epoch to epoch: `closed` takes away what lies within its bounds and has a smaller number. (At
//! that time no other session of the key lies there, so it is the closed one.) A session may also be handed over anew: it is
//! closed, and all its rows come with the epoch's number (see `stored`).

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;
use rheos_core::operator::{CHUNK_ROWS_MAX, OperatorInit, WatermarkChange};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, Tombstone};
use rheos_core::window::WindowSpec;
use rheos_core::{Epoch, Error, Operator, OperatorContext, OperatorFactory, Port, Progress, Result, Watermark};

use super::cut::cut;
use super::index::{Place, Sessions, UNSAVED};
use super::keys::KeyCodec;
use super::rows::Rows;
use super::stored::Stored;
use super::{timed_rows, watermark_behind};
use crate::assign_windows::{time_zone, window_columns, window_fields};
use crate::chunk_queue::ChunkQueue;
use crate::evaluation::{canonical_key, check_expression, evaluate, new_batch, plan_error};
use crate::late::LatePort;
use crate::state::{FiredMarks, StateKeys, check_layout};

const ROWS: &str = "rows";
const ROWS_LAYOUT: &str = "session-rows/v1";
const CLOSED: &str = "closed";
const CLOSED_LAYOUT: &str = "session-closed/v1";

/// Makes session assigners.
///
/// Shape: the input's columns, then three timestamps in the zone of the time column, not null. `window_time` is
/// `window_end - 1 ms`. Rows of one session follow each other; sessions come in the order of their ends, then keys. The
/// rows of a key must reach one worker. Time: a session's rows come out when the watermark is beyond its end; the event
/// time behind it is `window_time`. Rows without an event time are dropped and counted, late ones too (see the module
/// `sessions`). State: the rows of open sessions.
/// Errors: `User` for an event time beyond the years that windows can be computed for.
#[derive(Debug, Clone)]
pub struct AssignSessionsFactory {
    plan: Arc<Plan>,
    late: Option<LatePort>,
}

#[derive(Debug)]
struct Plan {
    input: SchemaRef,
    time_column: usize,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    gap_ms: i64,
    zone: Option<Arc<str>>,
    key_schema: SchemaRef,
    rows_schema: SchemaRef,
    closed_schema: SchemaRef,
    output_schema: SchemaRef,
}

impl AssignSessionsFactory {
    /// Sessions of the rows that are equal in `keys`, over the event times of column `time_column`. `window` must be a
    /// [`WindowSpec::Session`]. Errors: `Invalid` for keys that do not fit the input.
    pub fn try_new(
        input: SchemaRef,
        time_column: usize,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        window: WindowSpec,
    ) -> Result<Self> {
        let WindowSpec::Session { gap_ms } = window else {
            return Err(Error::internal(format!("sessions were asked for, but the window is {window}")));
        };
        let zone = time_zone(&input, time_column)?;
        let mut key_fields = vec![];
        for (i, key) in keys.iter().enumerate() {
            check_expression(key, &input)?;
            let field = key.return_field(&input).map_err(plan_error)?;
            key_fields.push(Field::clone(&field).with_name(format!("key_{i}")).with_nullable(true));
        }
        let int = |name: &str| Field::new(name, DataType::Int64, false);
        let own = || input.fields().iter().map(|f| Field::clone(f));
        let schema = |fields: Vec<Field>| Arc::new(Schema::new(fields));
        let closed = std::iter::once(int("number")).chain(key_fields.iter().cloned());
        let plan = Plan {
            time_column,
            gap_ms,
            rows_schema: schema(std::iter::once(int("number")).chain(own()).collect()),
            closed_schema: schema(closed.chain([int("session_start"), int("session_end")]).collect()),
            output_schema: schema(own().chain(window_fields(&zone)).collect()),
            key_schema: schema(key_fields),
            zone,
            keys,
            input,
        };
        Ok(Self { plan: Arc::new(plan), late: None })
    }

    /// Late rows leave by [`Port::LATE`](rheos_core::Port::LATE), if anything is given.
    #[must_use]
    pub fn with_late(self, late: Option<LatePort>) -> Self {
        Self { late, ..self }
    }
}

impl OperatorFactory for AssignSessionsFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        let state_keys = StateKeys::new(self.plan.keys.len(), init);
        Ok(Box::new(AssignSessions {
            codec: KeyCodec::try_new(Arc::clone(&self.plan.key_schema))?,
            plan: Arc::clone(&self.plan),
            late: self.late.clone(),
            sessions: Sessions::default(),
            rows: Rows::default(),
            leaving: None,
            queue: ChunkQueue::default(),
            watermark_ms: i64::MIN,
            marks: FiredMarks::new(&state_keys),
            state_keys,
            closed: vec![],
            stored: Stored::default(),
            rows_came: 0,
            number: 0,
        }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.plan.output_schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let window = WindowSpec::Session { gap_ms: self.plan.gap_ms };
        let mut facts = vec![
            ("window".into(), window.to_string()),
            ("time".into(), self.plan.input.field(self.plan.time_column).name().clone()),
        ];
        if !self.plan.keys.is_empty() {
            let keys = self.plan.keys.iter().map(ToString::to_string).collect::<Vec<_>>();
            facts.push(("partition by".into(), keys.join(", ")));
        }
        facts
    }
}

struct AssignSessions {
    plan: Arc<Plan>,
    late: Option<LatePort>,
    codec: KeyCodec,
    sessions: Sessions,
    rows: Rows,
    /// The session on its way out, and its rows that have not left.
    leaving: Option<(u32, std::vec::IntoIter<Place>)>,
    queue: ChunkQueue,
    /// Sessions that end before this have fired.
    watermark_ms: i64,
    state_keys: StateKeys,
    marks: FiredMarks,
    /// Since the last epoch's end: key and bounds of sessions that fired and had been saved in part.
    closed: Vec<(Box<[u8]>, i64, i64)>,
    stored: Stored,
    /// Rows since the last epoch's end.
    rows_came: usize,
    /// The number of the next epoch's rows.
    number: i64,
}

impl AssignSessions {
    fn keys_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.plan.keys.iter().map(|key| Ok(canonical_key(evaluate(key, batch)?))).collect()
    }

    /// Keeps rows in their sessions; gives each session that got some, with their number.
    fn add(&mut self, batch: RecordBatch, times: &[i64]) -> Result<Vec<(u32, u64)>> {
        let keys = self.keys_of(&batch)?;
        let keys = self.codec.encode(&keys, batch.num_rows())?;
        let cut = cut(&keys.of_row, keys.count, |row| (times[row], times[row] + self.plan.gap_ms));
        let mut joined = Vec::with_capacity(cut.stretches.len());
        for stretch in &cut.stretches {
            let id = self.sessions.join(keys.bytes(stretch.key), stretch.start_ms, stretch.end_ms, 0);
            joined.push((id, 0));
        }
        let run = self.rows.push(batch);
        for (row, stretch) in cut.of_row.iter().enumerate() {
            let (id, rows) = &mut joined[*stretch as usize];
            self.sessions.push_piece(*id, Place { run, row: row as u32 });
            *rows += 1;
        }
        Ok(joined)
    }

    /// Drops the sessions that were over before their first row came, and gives their rows to who reads them.
    fn drop_late(&mut self, ctx: &mut OperatorContext) -> Result<()> {
        let Some(port) = self.late.clone() else {
            self.sessions.drop_late(self.watermark_ms, ctx);
            return Ok(());
        };
        while let Some(id) = self.sessions.next_late(self.watermark_ms, ctx) {
            let places: Vec<_> = self.sessions.pieces_of(id).collect();
            for places in places.chunks(CHUNK_ROWS_MAX) {
                let ends = vec![self.sessions.get(id).end_ms; places.len()];
                ctx.emit(Port::LATE, port.rows(&self.rows.take(places)?, ends, self.watermark_ms)?);
            }
            self.sessions.remove(id);
        }
        Ok(())
    }

    /// Emits a chunk of what is due.
    fn fire(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        while !self.queue.has_full_chunk() {
            match self.next_rows()? {
                Some(rows) => self.queue.push(rows),
                None => break,
            }
        }
        match self.queue.emit_one(ctx)? {
            Progress::Done if self.leaving.is_some() || self.sessions.has_due() => Ok(Progress::More),
            progress => Ok(progress),
        }
    }

    /// Up to a chunk of rows that are due, with their windows.
    fn next_rows(&mut self) -> Result<Option<RecordBatch>> {
        let (mut places, mut starts, mut ends) = (vec![], vec![], vec![]);
        let mut gone = vec![];
        while places.len() < CHUNK_ROWS_MAX {
            let (id, mut rest) = match self.leaving.take() {
                Some(leaving) => leaving,
                None => match self.sessions.take_due(1).first() {
                    Some(id) => (*id, self.sessions.pieces_of(*id).collect::<Vec<_>>().into_iter()),
                    None => break,
                },
            };
            places.extend(rest.by_ref().take(CHUNK_ROWS_MAX - places.len()));
            let session = self.sessions.get(id);
            starts.resize(places.len(), session.start_ms * 1000);
            ends.resize(places.len(), session.end_ms * 1000);
            if rest.len() > 0 {
                self.leaving = Some((id, rest));
            } else {
                gone.push(id);
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let rows = self.rows.take(&places)?;
        for id in gone {
            self.void_saved(id);
            self.sessions.remove(id);
        }
        if self.leaving.is_none() {
            self.rows.compact(&mut self.sessions)?;
        }
        let mut columns = rows.columns().to_vec();
        columns.extend(window_columns(starts, ends, &self.plan.zone));
        Ok(Some(new_batch(&self.plan.output_schema, columns, places.len())?))
    }

    /// Notes that what has been saved of a session is void.
    fn void_saved(&mut self, id: u32) {
        let session = self.sessions.get_mut(id);
        if std::mem::replace(&mut session.oldest, UNSAVED) != UNSAVED {
            let (start_ms, end_ms) = (session.start_ms, session.end_ms);
            self.closed.push((self.sessions.key_of(id).into(), start_ms, end_ms));
        }
    }

    fn table(&self, table: &str, layout: &str, run: Option<Run>, gone: Option<i64>) -> Option<TableDelta> {
        let (table, layout) = (table.to_string(), layout.to_string());
        let (kind, runs): (_, Vec<Run>) = (self.state_keys.kind(), run.into_iter().collect());
        let tombstones: Vec<Tombstone> = gone.map(Tombstone::NamespacesUpTo).into_iter().collect();
        let changes = !runs.is_empty() || !tombstones.is_empty();
        changes.then_some(TableDelta { table, kind, layout, replaces_by: vec![], gone_by: None, tombstones, runs })
    }

    /// The rows that are to be saved: those that have not been and still wait, and all of the sessions `anew`.
    fn rows_to_save(&mut self, anew: &[u32]) -> Result<Option<Run>> {
        let mut places = vec![];
        for id in anew {
            self.void_saved(*id);
            places.extend(self.sessions.pieces_of(*id));
            self.set_saved(*id, self.number);
        }
        let changed: Vec<u32> = self.sessions.ids().filter(|id| self.sessions.get(*id).changed).collect();
        for id in changed {
            places.extend(self.sessions.pieces_of(id).filter(|place| !self.rows.is_saved(*place)));
            self.set_saved(id, self.number);
        }
        if places.is_empty() {
            return Ok(None);
        }
        let rows = self.rows.take(&places)?;
        self.rows.set_saved();
        self.stored.add_rows(self.number, places.len());
        let key_groups = self.state_keys.groups(&self.keys_of(&rows)?, rows.num_rows())?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![self.number; rows.num_rows()]))];
        columns.extend(rows.columns().iter().cloned());
        Ok(Some(Run { key_groups, rows: new_batch(&self.plan.rows_schema, columns, rows.num_rows())? }))
    }

    fn set_saved(&mut self, id: u32, number: i64) {
        let session = self.sessions.get_mut(id);
        (session.changed, session.oldest) = (false, session.oldest.min(number));
    }

    fn closed_sessions(&mut self) -> Result<Option<Run>> {
        let closed = std::mem::take(&mut self.closed);
        if closed.is_empty() {
            return Ok(None);
        }
        self.stored.add_closed(self.number, closed.len());
        let keys = self.codec.decode(closed.iter().map(|(key, ..)| &**key))?;
        let key_groups = self.state_keys.groups(&keys, closed.len())?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![self.number; closed.len()]))];
        columns.extend(keys);
        columns.push(Arc::new(closed.iter().map(|c| c.1).collect::<Int64Array>()));
        columns.push(Arc::new(closed.iter().map(|c| c.2).collect::<Int64Array>()));
        Ok(Some(Run { key_groups, rows: new_batch(&self.plan.closed_schema, columns, closed.len())? }))
    }

    /// Applies what an epoch closed.
    fn restore_closed(&mut self, number: i64, closed: &RecordBatch) -> Result<()> {
        self.stored.add_closed(number, closed.num_rows());
        let keys = self.plan.keys.len();
        let bytes = self.codec.encode(&closed.columns()[1..=keys], closed.num_rows())?;
        let int = |at: usize| closed.column(at).as_primitive::<Int64Type>().values();
        let (starts, ends) = (int(keys + 1), int(keys + 2));
        for row in 0..closed.num_rows() {
            self.sessions.remove_within(bytes.bytes(bytes.of_row[row]), starts[row], ends[row]);
        }
        Ok(())
    }

    /// Takes back the rows that an epoch added.
    fn restore_rows(&mut self, number: i64, saved: &RecordBatch) -> Result<()> {
        self.stored.add_rows(number, saved.num_rows());
        let own = new_batch(&self.plan.input, saved.columns()[1..].to_vec(), saved.num_rows())?;
        let (own, times) = timed_rows(own, self.plan.time_column, &mut OperatorContext::default())?;
        for (id, _) in self.add(own, &times)? {
            self.set_saved(id, number);
        }
        Ok(())
    }
}

/// Stored rows apart by their number. Runs of several epochs may have been merged since they were handed over.
fn by_number(rows: RecordBatch) -> Result<Vec<(i64, RecordBatch)>> {
    let numbers = rows.column(0).as_primitive::<Int64Type>().clone();
    let number = |row: &u32| numbers.value(*row as usize);
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_by_key(number);
    let alike = |rows_alike: &[u32]| {
        let taken = take_record_batch(&rows, &UInt32Array::from(rows_alike.to_vec()))?;
        Ok((number(&rows_alike[0]), taken))
    };
    order.chunk_by(|a, b| number(a) == number(b)).map(alike).collect()
}

impl Operator for AssignSessions {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        let (batch, times) = timed_rows(batch, self.plan.time_column, ctx)?;
        if times.is_empty() {
            return Ok(Progress::Done);
        }
        self.rows_came += times.len();
        for (id, rows) in self.add(batch, &times)? {
            self.sessions.get_mut(id).uncounted += rows;
            self.sessions.count(id, self.watermark_ms, ctx);
        }
        Ok(Progress::Done)
    }

    fn on_watermark(&mut self, change: WatermarkChange, ctx: &mut OperatorContext) -> Result<Progress> {
        self.drop_late(ctx)?;
        self.watermark_ms = self.watermark_ms.max(change.combined.ms());
        self.sessions.close(self.watermark_ms);
        self.fire(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.fire(ctx)
    }

    fn flush(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        self.drop_late(ctx)?;
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        // While sessions wait that were behind when the job was restored, their groups stay where they were.
        let mark = (!self.sessions.has_due()).then_some(self.watermark_ms);
        let mut delta = StateDelta::default();
        let anew = self.stored.worn(&self.sessions, std::mem::take(&mut self.rows_came).max(CHUNK_ROWS_MAX) * 2);
        let rows = self.rows_to_save(&anew)?;
        let closed = self.closed_sessions()?;
        let gone = self.stored.let_go(&self.sessions, self.number);
        // What was closed now and has no rows any more need not be told.
        let closed = closed.filter(|_| gone.closed < Some(self.number));
        delta.tables.extend(self.table(CLOSED, CLOSED_LAYOUT, closed, gone.closed));
        delta.tables.extend(self.table(ROWS, ROWS_LAYOUT, rows, gone.rows));
        self.number += 1;
        delta.tables.extend(self.marks.delta(mark)?);
        Ok(delta)
    }

    fn restore(&mut self, snapshot: &dyn SnapshotReader) -> Result<()> {
        let mut changes: Vec<(i64, bool, RecordBatch)> = vec![];
        for (table, layout) in [(CLOSED, CLOSED_LAYOUT), (ROWS, ROWS_LAYOUT)] {
            for delta in snapshot.deltas(table) {
                check_layout(&delta, layout)?;
                for run in delta.runs {
                    changes.extend(by_number(run.rows)?.into_iter().map(|(n, rows)| (n, table == ROWS, rows)));
                }
            }
        }
        // What an epoch closed applies to the rows of earlier ones.
        changes.sort_by_key(|(number, is_rows, _)| (*number, *is_rows));
        for (number, is_rows, change) in changes {
            self.number = self.number.max(number + 1);
            if is_rows { self.restore_rows(number, &change)? } else { self.restore_closed(number, &change)? }
        }
        self.rows.set_saved();
        self.rows.compact(&mut self.sessions)?;
        self.watermark_ms = FiredMarks::read(snapshot)?.highest();
        self.sessions.close(self.watermark_ms);
        Ok(())
    }

    fn output_watermark(&self, combined: Watermark) -> Watermark {
        watermark_behind(combined)
    }

    fn open_windows(&self) -> u64 {
        self.sessions.len() as u64
    }
}
