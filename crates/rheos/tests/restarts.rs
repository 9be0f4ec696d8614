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
    PanicInStage,
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
    /// How often a sink was told that the job has ended well.
    finished: AtomicUsize,
    /// A number that no writer survives.
    poison: Option<i64>,
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

    fn finish(&self) -> Result<()> {
        self.world.finished.fetch_add(1, Ordering::SeqCst);
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
        let ids = batch.records.column(0).as_primitive::<Int64Type>().values();
        assert!(!ids.iter().any(|id| Some(*id) == self.world.poison), "a number that nobody survives");
        self.rows.extend(ids);
        Ok(())
    }

    fn stage(&mut self, _: Epoch, _: EpochEnd) -> Result<Option<Vec<Committable>>> {
        match self.world.comes(|f| matches!(f, Fault::PanicInStage | Fault::ErrorInStage(_))) {
            Some(Fault::ErrorInStage(kind)) => return Err(Error::new(kind, 203, "a stage fails")),
            Some(_) => panic!("a stage panics"),
            None => {}
        }
        let rows = std::mem::take(&mut self.rows);
        let staged = (!rows.is_empty()).then(|| Committable(serde_json::to_vec(&rows).unwrap()));
        Ok(Some(staged.into_iter().collect()))
    }
}

const ROWS: i64 = 3000;

/// Numbers from 0 on, ten thousand a second.
fn numbers(rows: &str) -> String {
    format!("'connector' = 'datagen', 'rows-per-second' = '10000/s', 'fields.id.kind' = 'sequence'{rows}")
}

fn program(world: &Arc<World>, folder: &tempfile::TempDir, source: &str) -> SqlProgram {
    let mut registry = rheos::connectors();
    registry.register(Arc::new(Shaky(Arc::clone(world))));
    let told = Arc::clone(world);
    let state = StateOptions::in_folder(folder.path().join("state"))
        .on_warning(move |error| told.warnings.lock().unwrap().push(error.message().to_string()));
    rheos::sql(format!(
        "CREATE TABLE n (id BIGINT) WITH ({source}); CREATE TABLE o (id BIGINT) WITH ('connector' = 'shaky'); \
         INSERT INTO o SELECT id FROM n"
    ))
    .connectors(registry)
    .state(state)
    .set("checkpoint.interval", "10 ms")
    .set("restart.backoff", "1 ms")
}

fn run(world: &Arc<World>, workers: usize) -> Result<JobReport> {
    let folder = tempfile::tempdir().unwrap();
    let rows = numbers(&format!(", 'number-of-rows' = '{ROWS}'"));
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

/// A sink may have to tidy up behind its last commit, and the run that came to the end may have died before.
#[test]
fn a_job_that_had_ended_tells_its_sinks_so_when_it_is_started_again() {
    let (world, folder) = (World::new(&[]), tempfile::tempdir().unwrap());
    let rows = numbers(&format!(", 'number-of-rows' = '{ROWS}'"));
    for start in 0..2 {
        let report = program(&world, &folder, &rows).parallelism(2).run().unwrap().report.unwrap();
        assert_eq!((report.finished_before, world.finished.load(Ordering::SeqCst)), (start > 0, start + 1));
    }
    assert_exact(&world);
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
    let faults = [&[Fault::ErrorInWrite(ErrorKind::External)][..], &[Fault::PanicInStage; 10]].concat();
    let world = World::new(&faults);
    let error = run(&world, 2).unwrap_err();
    let expected = "the job was started again 10 times and failed each time; first: a write fails";
    assert_eq!((error.message(), error.kind()), (expected, ErrorKind::External));
}

#[test]
fn a_record_that_ends_generations_is_found_at_every_parallelism() {
    for (workers, poison) in [(1, 1234), (3, 2999), (2, 0)] {
        let world = Arc::new(World { poison: Some(poison), ..World::default() });
        let report = run(&world, workers).unwrap();
        // A batch, unless the row has come alone, then the row itself three times; then its source puts it aside.
        let warnings = world.warnings.lock().unwrap();
        assert!((3..=4).contains(&report.restarts), "{}: {warnings:?}", report.restarts);
        let found = format!("the record at {poison} of 'rows-0' has ended the job three times and is put aside");
        assert_eq!(warnings.iter().filter(|w| w.starts_with(&found)).count(), 1, "{warnings:?}");
        let mut committed = world.committed.lock().unwrap().clone();
        committed.sort_unstable();
        assert_eq!(committed, (0..ROWS).filter(|id| *id != poison).collect::<Vec<_>>());
    }
}

/// Numbers in a file, one of which nobody survives: the report, or what the job ended with; what was committed; and the lines of
/// dead letters that nobody has read.
fn run_file(on_error: &str, poison: i64) -> (Result<JobReport>, Vec<i64>, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.csv");
    let rows: String = (0..ROWS).map(|id| format!("{id}\n")).collect();
    std::fs::write(&path, format!("id\n{rows}")).unwrap();
    let world = Arc::new(World { poison: Some(poison), ..World::default() });
    let source = format!("'connector' = 'filesystem', 'path' = '{}', 'format' = 'csv'{on_error}", path.display());
    let ended = program(&world, &folder, &source).parallelism(2).run().map(|finished| finished.report.unwrap());
    let mut committed = world.committed.lock().unwrap().clone();
    committed.sort_unstable();
    let mut letters = vec![];
    for file in std::fs::read_dir(folder.path().join("state/errors/n")).into_iter().flatten() {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().starts_with('.') {
            let text = std::fs::read_to_string(file.path()).unwrap();
            letters.extend(text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()));
        }
    }
    (ended, committed, letters)
}

#[test]
fn a_record_that_ends_generations_is_put_aside_as_its_table_wants_it() {
    // The header, ten numbers of one digit, ninety of two, nine hundred of three, five hundred of four; and line ends.
    let offset = 3 + 10 * 2 + 90 * 3 + 900 * 4 + 500 * 5;
    let others: Vec<i64> = (0..ROWS).filter(|id| *id != 1500).collect();

    let (ended, committed, letters) = run_file("", 1500);
    let report = ended.unwrap();
    assert_eq!(committed, others);
    assert!((3..=4).contains(&report.restarts), "{}", report.restarts);
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((&letter["table"], &letter["position"]), (&"n".into(), &offset.into()), "{letter}");
    // {"id":1500} in base64.
    assert_eq!(letter["raw"], "eyJpZCI6MTUwMH0=");
    let reason = letter["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("it has ended the job three times: a worker panicked: a number that nobody"),
        "{reason}"
    );
    let counts = &report.sources[0];
    assert_eq!((counts.read, counts.decoded, counts.dead_lettered, counts.skipped), (3000, 2999, 1, 0));

    let (ended, committed, letters) = run_file(", 'on-error' = 'skip'", 1500);
    let report = ended.unwrap();
    assert_eq!((committed, letters, report.sources[0].skipped), (others, vec![], 1));
    assert!(report.skipped[0].contains(&format!("n.csv', position {offset}: it has ended")), "{:?}", report.skipped);

    let (ended, committed, letters) = run_file(", 'on-error' = 'fail'", 1500);
    let error = ended.unwrap_err();
    assert_eq!((error.code().as_str(), error.kind()), ("R0676", ErrorKind::User));
    assert!(error.message().starts_with(&format!("the record at byte {offset} of '")), "{}", error.message());
    assert!(!committed.contains(&1500) && letters.is_empty());
}

#[test]
fn savepoints_are_made_by_a_running_job_and_their_askers_are_told() {
    let (world, folder) = (World::new(&[]), tempfile::tempdir().unwrap());
    let running = program(&world, &folder, &numbers("")).parallelism(2).plan().unwrap().start().unwrap();
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
