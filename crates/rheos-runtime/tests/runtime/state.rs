//! Jobs that keep state, on a store with faults.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use rheos_checkpoint::manifest::{JobPhase, Manifest};
use rheos_checkpoint::recovery::{DroppedState, Duplicates, RestoreFrom};
use rheos_core::graph::NodeKind;
use rheos_core::operator::OperatorInit;
use rheos_core::state::{Run, StateDelta, TableDelta, TableKind};
use rheos_core::{Epoch, Error, Exchange, JobGraph, Operator, OperatorContext, OperatorFactory, Progress, Result};
use rheos_runtime::{JobControl, JobReport, RunConfig, StateConfig, StopMode};
use rheos_state::store::{CheckpointStore, Creation, Fault, Listed, MemoryStore, Operation, WriteFailure};
use rheos_state::{contents, journal};

use crate::support::*;

/// Epochs that have ended, in their order.
type Epochs = Arc<Mutex<Vec<Epoch>>>;

/// Hands over one row in each epoch: how many have ended before it.
#[derive(Debug)]
struct Diary(Epochs);

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

    fn on_epoch_end(&mut self, epoch: Epoch, _ctx: &mut OperatorContext) -> Result<StateDelta> {
        let mut epochs = self.0.lock().unwrap();
        let number = epochs.len() as i64;
        epochs.push(epoch);
        let schema = Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![number]))])?;
        let (table, layout, kind) = ("pages".to_string(), "diary/v1".to_string(), TableKind::Single);
        let runs = vec![Run { key_groups: vec![], rows }];
        let table = TableDelta { table, kind, layout, replaces_by: vec![], gone_by: None, tombstones: vec![], runs };
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

/// A job that writes a page an epoch, on its way. Its source never ends.
struct Running {
    control: JobControl,
    job: JoinHandle<Result<JobReport>>,
    epochs: Epochs,
    warnings: Arc<Mutex<Vec<Error>>>,
}

fn run_diary(store: Arc<dyn CheckpointStore>) -> Running {
    let (epochs, warnings, traffic) = (Arc::default(), Arc::default(), Arc::default());
    let source =
        TestSource { splits: vec![vec![(1, 1)]], unbounded: true, traffic: Arc::clone(&traffic), ..Default::default() };
    let mut graph = JobGraph::default();
    let source = graph.add("source", NodeKind::Source { source: Arc::new(source), watermark: watermark(0) }, vec![]);
    let diary = NodeKind::Stateful(Arc::new(Diary(Arc::clone(&epochs))));
    let diary = graph.add("diary", diary, vec![edge(source, Exchange::Single)]);
    let sink = TestSink::new(schema(), &traffic);
    graph.add("sink", NodeKind::Sink(Arc::new(sink)), vec![edge(diary, Exchange::Single)]);
    let told: Arc<Mutex<Vec<Error>>> = Arc::clone(&warnings);
    let state = StateConfig {
        store,
        from: RestoreFrom::Newest,
        duplicates: Duplicates::Refused,
        dropped_state: DroppedState::Refused,
        checkpoints_kept: NonZeroU32::MIN,
        context: vec![],
        warn: Arc::new(move |error| told.lock().unwrap().push(error.clone())),
    };
    let config = RunConfig { parallelism: 1, epoch_interval_ms: 2, state: Some(state), ..Default::default() };
    let control = JobControl::new();
    let stopper = control.clone();
    let job = std::thread::spawn(move || run_with(graph, config, control));
    Running { control: stopper, job, epochs, warnings }
}

impl Running {
    fn wait_for(&self, what: &str, is_so: &dyn Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(50);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            assert!(!self.job.is_finished(), "the job has ended: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many epochs have ended.
    fn ended(&self) -> usize {
        self.epochs.lock().unwrap().len()
    }

    /// Stops it. Gives the numbers that its last checkpoint must hold: an operator may end one epoch more, behind the last.
    fn stop(self, store: &MemoryStore) -> Vec<i64> {
        self.control.stop(StopMode::Stop);
        let Self { epochs, job, .. } = self;
        job.join().unwrap().unwrap();
        let last = newest(store).unwrap();
        assert_eq!(last.phase, JobPhase::Stopped);
        let epochs = epochs.lock().unwrap();
        let ended = epochs.iter().filter(|epoch| **epoch <= last.epoch).count();
        assert!(ended + 1 >= epochs.len(), "{ended} of {} epochs are in the last checkpoint", epochs.len());
        (0..ended as i64).collect()
    }
}

#[test]
fn what_waits_for_a_full_store_is_of_few_epochs_and_all_there_when_it_has_room_again() {
    let store = Arc::new(MemoryStore::new());
    store.inject(Operation::Write, "objects/", usize::MAX, Fault::Full);
    let job = run_diary(Arc::clone(&store) as _);
    job.wait_for("no checkpoint fails", &|| job.warnings.lock().unwrap().len() >= 9);
    let ended = job.ended();
    assert!(ended <= 5, "{ended} epochs have ended while nine tries to store one have failed");
    assert_eq!(newest(&store).map(|m| m.epoch), None);
    store.heal();
    job.wait_for("no checkpoint is written", &|| newest(&store).is_some());
    job.wait_for("the job does not go on", &|| job.ended() > ended + 3);
    let expected = job.stop(&store);
    assert_eq!(pages(&store, &newest(&store).unwrap()), expected);
}

/// A store in which merges stand still: what reads from within an object waits until it may go on.
#[derive(Debug, Default)]
struct SlowMerges {
    store: Arc<MemoryStore>,
    waiting: AtomicBool,
    may_go_on: AtomicBool,
}

impl CheckpointStore for SlowMerges {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure> {
        self.store.create(name, bytes)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.store.replace(name, bytes)
    }

    fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        self.store.read(name, limit_bytes)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        while range.start > 0 && !self.may_go_on.load(Ordering::SeqCst) {
            self.waiting.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        self.store.read_range(name, range)
    }

    fn length_bytes(&self, name: &str) -> Result<Option<u64>> {
        self.store.length_bytes(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.store.list(prefix)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.store.delete(name)
    }

    fn keep(&self, name: &str) -> Result<()> {
        self.store.keep(name)
    }

    fn place(&self) -> String {
        self.store.place()
    }
}

#[test]
fn a_merge_that_takes_long_holds_up_no_checkpoint_and_no_stop() {
    let store = Arc::new(SlowMerges::default());
    let job = run_diary(Arc::clone(&store) as _);
    let behind = |epochs| newest(&store.store).is_some_and(|m| m.epoch.0 >= epochs);
    job.wait_for("nothing is merged", &|| store.waiting.load(Ordering::SeqCst));
    let epoch = newest(&store.store).map_or(0, |m| m.epoch.0);
    job.wait_for("a checkpoint waits for a merge", &|| behind(epoch + 20));
    job.control.stop(StopMode::Stop);
    let is_last = |m: Manifest| m.phase == JobPhase::Stopped;
    job.wait_for("the last checkpoint waits for a merge", &|| newest(&store.store).is_some_and(is_last));
    store.may_go_on.store(true, Ordering::SeqCst);
    let expected = job.stop(&store.store);
    assert_eq!(pages(&store.store, &newest(&store.store).unwrap()), expected);
}

#[test]
fn what_a_long_merge_makes_is_in_a_later_checkpoint_and_no_garbage_before() {
    let store = Arc::new(SlowMerges::default());
    let job = run_diary(Arc::clone(&store) as _);
    let segments = || newest(&store.store).map_or(0, |m| m.objects.iter().map(|o| o.segments.len()).sum());
    job.wait_for("nothing is merged", &|| store.waiting.load(Ordering::SeqCst));
    job.wait_for("the store grows", &|| segments() > 30);
    store.may_go_on.store(true, Ordering::SeqCst);
    job.wait_for("what was merged is in no checkpoint", &|| segments() < 15);
    let expected = job.stop(&store.store);
    assert_eq!(pages(&store.store, &newest(&store.store).unwrap()), expected);
    // And the next run goes on from there, with all of it.
    let job = run_diary(Arc::clone(&store) as _);
    job.wait_for("the next run makes no checkpoint", &|| job.ended() > 3);
    let both = [expected, job.stop(&store.store)].concat();
    assert_eq!(pages(&store.store, &newest(&store.store).unwrap()), both);
}

#[test]
fn a_damaged_object_is_told_once_and_all_others_are_merged() {
    let slow = Arc::new(SlowMerges::default());
    let job = run_diary(Arc::clone(&slow) as _);
    let store = Arc::clone(&slow.store);
    let objects = || newest(&store).map(|m| m.objects).unwrap_or_default();
    // The first merge is about to read the newest of its inputs; the oldest object is another of them.
    job.wait_for("nothing is merged", &|| slow.waiting.load(Ordering::SeqCst) && !objects().is_empty());
    let first = objects().remove(0);
    let (name, at) = (first.name, first.segments[0].offset as usize + 10);
    assert!(store.flip_bit(&format!("objects/{name}"), at, 3));
    slow.may_go_on.store(true, Ordering::SeqCst);
    job.wait_for("nobody tells of the damage", &|| !job.warnings.lock().unwrap().is_empty());
    let epochs = job.ended();
    job.wait_for("the job does not go on", &|| job.ended() > epochs + 200);
    let warnings = job.warnings.lock().unwrap().clone();
    assert_eq!(warnings.iter().map(Error::code).collect::<Vec<_>>(), ["R0691"], "{warnings:?}");
    assert!(warnings[0].message().contains(&name), "{}", warnings[0].message());
    assert!(objects().iter().any(|o| o.name == name) && objects().len() < 20, "{} objects", objects().len());
    assert!(store.flip_bit(&format!("objects/{name}"), at, 3));
    let expected = job.stop(&store);
    assert_eq!(pages(&store, &newest(&store).unwrap()), expected);
}
