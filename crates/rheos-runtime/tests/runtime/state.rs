//! Jobs that keep state, on a store with faults.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use rheos_checkpoint::manifest::Manifest;
use rheos_checkpoint::recovery::{DroppedState, Duplicates, RestoreFrom};
use rheos_core::graph::NodeKind;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, StateDelta, TableDelta, TableKind};
use rheos_core::{Epoch, Exchange, JobGraph, Operator, OperatorContext, OperatorFactory, Progress, Result};
use rheos_runtime::{JobControl, RunConfig, StateConfig, StopMode};
use rheos_state::store::{Fault, MemoryStore, Operation};
use rheos_state::{contents, journal};

use crate::support::*;

/// Hands over one row in each epoch: its number. Counts epochs.
#[derive(Debug)]
struct Diary(Arc<AtomicI64>);

impl OperatorFactory for Diary {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Diary(Arc::clone(&self.0))))
    }

    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

impl Operator for Diary {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        ctx.emit(rheos_core::Port::MAIN, batch);
        Ok(Progress::Done)
    }

    fn on_epoch_end(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        let schema = Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![number]))])?;
        let (table, layout, kind) = ("pages".to_string(), "diary/v1".to_string(), TableKind::Single);
        let runs = vec![Run { key_groups: vec![], rows }];
        let table = TableDelta { table, kind, layout, replaces_by: vec![], tombstones: vec![], runs };
        Ok(StateDelta { tables: vec![table] })
    }
}

fn newest(store: &MemoryStore) -> Option<Manifest> {
    let journal = journal::read(store).unwrap();
    journal.manifests().last().map(|(_, manifest)| manifest.clone())
}

/// The numbers that a checkpoint holds.
fn pages(store: &MemoryStore, manifest: &Manifest) -> Vec<i64> {
    let tables = contents::tables(manifest);
    let batches = tables.iter().flat_map(|table| contents::rows(store, manifest, table).unwrap());
    batches.flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[test]
fn what_waits_for_a_full_store_is_of_few_epochs_and_all_there_when_it_has_room_again() {
    let (store, epochs, warnings) = (Arc::new(MemoryStore::new()), Arc::default(), Arc::new(AtomicUsize::new(0)));
    store.inject(Operation::Write, "objects/", usize::MAX, Fault::Full);
    let traffic = Arc::default();
    let source =
        TestSource { splits: vec![vec![(1, 1)]], unbounded: true, traffic: Arc::clone(&traffic), ..Default::default() };
    let mut graph = JobGraph::default();
    let source = graph.add("source", NodeKind::Source { source: Arc::new(source), watermark: watermark(0) }, vec![]);
    let diary = NodeKind::Stateful(Arc::new(Diary(Arc::clone(&epochs))));
    let diary = graph.add("diary", diary, vec![edge(source, Exchange::Single)]);
    let sink = TestSink::new(schema(), &traffic);
    graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(diary, Exchange::Single)]);
    let told = Arc::clone(&warnings);
    let state = StateConfig {
        store: Arc::clone(&store) as _,
        from: RestoreFrom::Newest,
        duplicates: Duplicates::Refused,
        dropped_state: DroppedState::Refused,
        checkpoints_kept: NonZeroU32::MIN,
        context: vec![],
        warn: Arc::new(move |_| {
            told.fetch_add(1, Ordering::SeqCst);
        }),
    };
    let config = RunConfig { parallelism: 1, epoch_interval_ms: 2, state: Some(state), ..Default::default() };
    let control = JobControl::new();
    let wait_for = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(50);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let (watched, stopper) = (Arc::clone(&store), control.clone());
    let job = std::thread::spawn(move || run_with(graph, config, control));
    wait_for("no checkpoint fails", &|| warnings.load(Ordering::SeqCst) >= 9);
    let ended = epochs.load(Ordering::SeqCst);
    assert!(ended <= 5, "{ended} epochs have ended while nine tries to store one have failed");
    assert_eq!(newest(&watched).map(|m| m.epoch), None);
    store.heal();
    wait_for("no checkpoint is written", &|| newest(&watched).is_some());
    wait_for("the job does not go on", &|| epochs.load(Ordering::SeqCst) > ended + 3);
    stopper.stop(StopMode::Stop);
    job.join().unwrap().unwrap();
    let last = newest(&watched).unwrap();
    assert_eq!(pages(&watched, &last), (0..epochs.load(Ordering::SeqCst)).collect::<Vec<_>>());
}
