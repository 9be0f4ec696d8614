//! Jobs whose sink fails or panics: the next generation has a sink of its own and goes on exactly where the checkpoint was.
//!
//! The sink `shaky` keeps what is committed beside itself, so that it can be compared with the numbers that were sent.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rheos::arrow::array::AsArray;
use rheos::arrow::datatypes::{Int64Type, SchemaRef};
use rheos::connector::TableDefinition;
use rheos::options::OptionDef;
use rheos::sink::{Committable, EpochEnd, Fence, ReleaseNumber, Sink, SinkWriter, WriterContext};
use rheos::source::Source;
use rheos::state::AfterSavepoint;
use rheos::time::Epoch;
use rheos::{Batch, Connector, Error, ErrorKind, JobReport, Result, SqlProgram, StateOptions, StopMode};

/// What goes wrong, once a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    PanicInWrite,
    ErrorInWrite(ErrorKind),
    ErrorInStage(ErrorKind),
    PanicInCommit,
    ErrorInCommit(ErrorKind),
}

/// What outlives the sinks.
#[derive(Debug, Default)]
struct World {
    /// Of the first generations, one each.
    faults: Mutex<Vec<Fault>>,
    /// The fault of this generation, until it has come.
    armed: Mutex<Option<Fault>>,
    committed: Mutex<Vec<i64>>,
    releases: Mutex<BTreeSet<ReleaseNumber>>,
    sinks: AtomicUsize,
    /// Of those that have begun a generation: sinks that were alive then.
    alive: Mutex<Vec<usize>>,
    warnings: Mutex<Vec<String>>,
}

impl World {
    fn new(faults: &[Fault]) -> Arc<Self> {
        let world = Self::default();
        world.faults.lock().unwrap().extend(faults.iter().rev());
        Arc::new(world)
    }

    fn begins(&self) {
        *self.armed.lock().unwrap() = self.faults.lock().unwrap().pop();
        self.alive.lock().unwrap().push(self.sinks.load(Ordering::SeqCst));
    }

    /// Whether a fault of these comes now. Some rows must have been committed, so that there is something to do twice.
    fn comes(&self, which: impl Fn(Fault) -> bool) -> Option<Fault> {
        let armed = &mut *self.armed.lock().unwrap();
        let ready = self.committed.lock().unwrap().len() > 100;
        armed.take_if(|fault| ready && which(*fault))
    }
}

struct Shaky(Arc<World>);

impl Connector for Shaky {
    fn name(&self) -> &'static str {
        "shaky"
    }

    fn summary(&self) -> &'static str {
        "Fails."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![]
    }

    fn source(&self, _: &TableDefinition) -> Result<Arc<dyn Source>> {
        unreachable!("it is only written")
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        self.0.sinks.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(ShakySink { schema: Arc::clone(&table.schema), world: Arc::clone(&self.0) }))
    }
}

#[derive(Debug)]
struct ShakySink {
    schema: SchemaRef,
    world: Arc<World>,
}

impl Drop for ShakySink {
    fn drop(&mut self) {
        self.world.sinks.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Sink for ShakySink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn begin(&self) -> Result<()> {
        self.world.begins();
        Ok(())
    }

    fn resume(&self, _keep: &[Committable]) -> Result<()> {
        self.world.begins();
        Ok(())
    }

    fn open(&self, _ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Writer { rows: vec![], world: Arc::clone(&self.world) }))
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn commit(&self, fence: Option<&Fence>, committables: &[Committable]) -> Result<()> {
        match self.world.comes(|f| matches!(f, Fault::PanicInCommit | Fault::ErrorInCommit(_))) {
            Some(Fault::ErrorInCommit(kind)) => return Err(Error::new(kind, 203, "the target is down")),
            Some(_) => panic!("a commit panics"),
            None => {}
        }
        if self.world.releases.lock().unwrap().insert(fence.unwrap().release) {
            let rows = committables.iter().flat_map(|c| serde_json::from_slice::<Vec<i64>>(&c.0).unwrap());
            self.world.committed.lock().unwrap().extend(rows);
        }
        Ok(())
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("connector".into(), "shaky".into())]
    }
}

struct Writer {
    rows: Vec<i64>,
    world: Arc<World>,
}

impl SinkWriter for Writer {
    fn ready(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        match self.world.comes(|f| matches!(f, Fault::PanicInWrite | Fault::ErrorInWrite(_))) {
            Some(Fault::ErrorInWrite(kind)) => return Err(Error::new(kind, 203, "a write fails")),
            Some(_) => panic!("a writer panics"),
            None => {}
        }
        self.rows.extend(batch.records.column(0).as_primitive::<Int64Type>().values());
        Ok(())
    }

    fn stage(&mut self, _: Epoch, _: EpochEnd) -> Result<Option<Vec<Committable>>> {
        if let Some(Fault::ErrorInStage(kind)) = self.world.comes(|f| matches!(f, Fault::ErrorInStage(_))) {
            return Err(Error::new(kind, 203, "a stage fails"));
        }
        let rows = std::mem::take(&mut self.rows);
        let staged = (!rows.is_empty()).then(|| Committable(serde_json::to_vec(&rows).unwrap()));
        Ok(Some(staged.into_iter().collect()))
    }
}

const ROWS: i64 = 3000;

fn program(world: &Arc<World>, folder: &tempfile::TempDir, rows: &str) -> SqlProgram {
    let mut registry = rheos::connectors();
    registry.register(Arc::new(Shaky(Arc::clone(world))));
    let told = Arc::clone(world);
    let state = StateOptions::in_folder(folder.path().join("state"))
        .on_warning(move |error| told.warnings.lock().unwrap().push(error.message().to_string()));
    rheos::sql(format!(
        "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10000/s', \
         'fields.id.kind' = 'sequence'{rows}); CREATE TABLE o (id BIGINT) WITH ('connector' = 'shaky'); \
         INSERT INTO o SELECT id FROM n"
    ))
    .connectors(registry)
    .state(state)
    .set("checkpoint.interval", "10 ms")
    .set("restart.backoff", "1 ms")
}

fn run(world: &Arc<World>, workers: usize) -> Result<JobReport> {
    let folder = tempfile::tempdir().unwrap();
    let rows = format!(", 'number-of-rows' = '{ROWS}'");
    let finished = program(world, &folder, &rows).parallelism(workers).run()?;
    Ok(finished.report.unwrap())
}

fn assert_exact(world: &World) {
    let mut committed = world.committed.lock().unwrap().clone();
    committed.sort_unstable();
    assert_eq!(committed, (0..ROWS).collect::<Vec<_>>(), "each number once");
}

#[test]
fn output_is_exact_whatever_has_ended_a_generation() {
    let faults = [
        Fault::PanicInWrite,
        Fault::ErrorInWrite(ErrorKind::External),
        Fault::ErrorInStage(ErrorKind::InputMissing),
        Fault::PanicInCommit,
        Fault::ErrorInWrite(ErrorKind::NotAllowed),
    ];
    for (workers, faults) in [(1, &faults[..]), (3, &faults[..]), (2, &faults[1..2])] {
        let world = World::new(faults);
        let report = run(&world, workers).unwrap();
        assert_exact(&world);
        assert_eq!((report.restarts as usize, report.finished_before), (faults.len(), false));
        let warnings = world.warnings.lock().unwrap();
        let of_restarts = warnings.iter().filter(|w| w.contains("goes on from its newest checkpoint")).count();
        assert_eq!(of_restarts, faults.len(), "{warnings:?}");
        // Each generation has had a sink of its own, and the one before was gone.
        assert_eq!(*world.alive.lock().unwrap(), vec![1; faults.len() + 1]);
        assert_eq!(world.sinks.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_commit_that_fails_for_a_moment_ends_nothing() {
    let world = World::new(&[Fault::ErrorInCommit(ErrorKind::External)]);
    assert_eq!(run(&world, 2).unwrap().restarts, 0);
    assert_exact(&world);
}

#[test]
fn what_no_restart_mends_ends_the_job() {
    for kind in [ErrorKind::User, ErrorKind::Invalid, ErrorKind::Conflict, ErrorKind::Corrupt] {
        let world = World::new(&[Fault::ErrorInWrite(kind)]);
        let error = run(&world, 2).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, "a write fails"));
        assert_eq!(world.alive.lock().unwrap().len(), 1, "{kind:?}");
    }
    // Also behind failures that were mended: then it is the cause that counts.
    let world = World::new(&[Fault::PanicInWrite, Fault::ErrorInWrite(ErrorKind::User)]);
    assert_eq!(run(&world, 1).unwrap_err().message(), "a write fails");
}

#[test]
fn a_job_that_panics_for_ever_tells_the_first_panic() {
    let faults = [&[Fault::ErrorInWrite(ErrorKind::External)][..], &[Fault::PanicInWrite; 10]].concat();
    let world = World::new(&faults);
    let error = run(&world, 2).unwrap_err();
    let expected = "the job was started again 10 times and failed each time; first: a write fails";
    assert_eq!((error.message(), error.kind()), (expected, ErrorKind::External));
}

#[test]
fn savepoints_are_made_by_a_running_job_and_their_askers_are_told() {
    let (world, folder) = (World::new(&[]), tempfile::tempdir().unwrap());
    let running = program(&world, &folder, "").parallelism(2).plan().unwrap().start().unwrap();
    let control = running.control();
    let wait = |name: &str, then| control.savepoint(name, then).wait(Duration::from_secs(60));
    // Two at once with one name: one is made.
    let asked = [control.savepoint("a", AfterSavepoint::GoOn), control.savepoint("a", AfterSavepoint::Stop)];
    let mut answers = asked.map(|asked| asked.wait(Duration::from_secs(60)).map_err(|e| e.code()));
    answers.sort();
    let [Ok(a), Err(code)] = &answers else { panic!("{answers:?}") };
    assert_eq!(code, "R0612");
    assert!(wait("b", AfterSavepoint::GoOn).unwrap() > *a);
    assert_eq!(wait("no name", AfterSavepoint::GoOn).unwrap_err().code(), "R0672");
    wait("c", AfterSavepoint::Stop).unwrap();
    let report = running.wait().unwrap().unwrap();
    assert!(report.stopped);
    assert_eq!(wait("d", AfterSavepoint::GoOn).unwrap_err().code(), "R0614");
}

#[test]
fn a_job_without_state_makes_no_savepoints() {
    let sql = "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100/s'); \
               CREATE TABLE gone (id BIGINT) WITH ('connector' = 'blackhole'); INSERT INTO gone SELECT id FROM n";
    let running = rheos::sql(sql).plan().unwrap().start().unwrap();
    let asked = running.control().savepoint("a", AfterSavepoint::GoOn);
    assert_eq!(asked.wait(Duration::from_secs(60)).unwrap_err().code(), "R0675");
    running.control().stop(StopMode::Stop);
    running.wait().unwrap();
}
