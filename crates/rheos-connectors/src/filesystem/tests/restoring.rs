//! Sinks of jobs that keep state, beside their rows: what is kept, replaced, declared complete.

use super::*;
use arrow::array::{Int32Array, StringArray};
use rheos_core::ids::Nonce;
use rheos_core::sink::{Fence, Known, Owner, ReleaseNumber};
use rheos_core::time::Watermark;
use rheos_core::{Generation, JobId};

/// 2024-05-01 00:00 UTC in ms, from `date -u -d 2024-05-01 +%s`.
const MAY: i64 = 1_714_521_600_000;
const HOUR: i64 = 3_600_000;
const REPLACE: (&str, &str) = ("sink.if-exists", "replace");

fn attempt(worker: usize, workers: usize, generation: u64) -> WriterContext {
    let generation = Generation(generation);
    WriterContext { worker, workers, generation, staging: Staging::EveryEpoch, ..WriterContext::detached() }
}

fn open(sink: &FileSink, generation: u64) -> Box<dyn SinkWriter> {
    sink.open(attempt(0, 1, generation)).unwrap()
}

fn shown(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| !name.starts_with('.')).collect()
}

fn hidden(folder: &Path) -> usize {
    names(folder).iter().filter(|name| name.starts_with(".part-")).count()
}

#[test]
fn everything_is_staged_at_each_epoch_and_only_what_is_listed_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, options) = (folder.path(), [CSV, ("sink.commit-interval", "1 h")]);
    let first = sink(path, &options).unwrap();
    first.begin().unwrap();
    let mut writer = open(&first, 1);
    assert!(stage_epoch(writer.as_mut(), 1, EpochEnd::Running).is_empty(), "no rows, nothing to tell");
    put(writer.as_mut(), rows(0..5), Ticket::none());
    let listed = stage_epoch(writer.as_mut(), 2, EpochEnd::Running);
    assert_eq!(parts(&listed), 1, "no interval is waited for");
    put(writer.as_mut(), rows(5..9), Ticket::none());
    stage_epoch(writer.as_mut(), 3, EpochEnd::Running);
    put(writer.as_mut(), rows(5..7), Ticket::none());
    // The last one is not even closed.
    let deadline = Instant::now() + Duration::from_secs(60);
    while hidden(path) < 3 {
        assert!(Instant::now() < deadline, "nothing is written");
        std::thread::yield_now();
    }
    // One more attempt that dies, as one that was taken for dead may still write.
    let second = sink(path, &options).unwrap();
    second.resume(&listed).unwrap();
    assert_eq!(hidden(path), 1);
    let mut other = open(&second, 2);
    put(other.as_mut(), rows(5..20), Ticket::none());
    stage_epoch(other.as_mut(), 13, EpochEnd::Running);
    let third = sink(path, &options).unwrap();
    third.resume(&listed).unwrap();
    let mut writer = open(&third, 3);
    put(writer.as_mut(), rows(5..8), Ticket::none());
    let rest = stage_epoch(writer.as_mut(), 23, EpochEnd::Last);
    third.commit(None, &[listed, rest].concat()).unwrap();
    let got = read(path, &schema(&[("a", DataType::Int64)]), &[CSV]).unwrap().ints();
    assert_eq!(got, (0..8).map(Some).collect::<Vec<_>>());
    assert_eq!(hidden(path), 0);
}

/// The disk that held them is lost, and a copy of the checkpoint is not.
#[test]
fn staged_letters_that_have_gone_are_told_and_rows_that_have_gone_are_refused() {
    use rheos_core::error::Warn;
    use std::sync::Mutex;

    for letters in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let definition = table(path, &schema(&[("a", DataType::Int64)]), &[CSV]);
        let new = || if letters { FileSink::letters(&definition) } else { FileSink::try_new(&definition) }.unwrap();
        let first = new();
        first.begin().unwrap();
        let mut writer = open(&first, 1);
        let mut listed = vec![];
        for epoch in 1..4 {
            put(writer.as_mut(), rows(epoch..epoch + 1), Ticket::none());
            listed.extend(stage_epoch(writer.as_mut(), epoch as u64, EpochEnd::Running));
        }
        drop(writer);
        let mut hidden: Vec<_> = names(path).into_iter().filter(|name| name.starts_with(".part-")).collect();
        hidden.sort_unstable();
        assert_eq!(hidden.len(), 3);
        fs::remove_file(path.join(&hidden[1])).unwrap();
        let second = new();
        let told = Arc::<Mutex<Vec<String>>>::default();
        let to = Arc::clone(&told);
        second.set_warn(&Warn::new(Arc::new(move |e: &Error| to.lock().unwrap().push(e.message().to_string()))));
        second.resume(&listed).unwrap();
        let committed = second.commit(None, &listed);
        if letters {
            committed.unwrap();
            let got = read(path, &schema(&[("a", DataType::Int64)]), &[CSV]).unwrap().ints();
            assert_eq!(got, [Some(1), Some(3)]);
            assert!(told.lock().unwrap()[0].starts_with("1 files of dead letters have gone"));
            second.commit(None, &listed).unwrap();
            assert_eq!(told.lock().unwrap().len(), 1, "what is done is not looked for again");
        } else {
            assert_eq!(committed.unwrap_err().code(), "R0215");
        }
    }
}

/// Run 1 releases 1.1 by a checkpoint that is damaged later; run 5 goes on before it, makes the rows again, and run 1 wakes up.
#[test]
fn a_run_that_was_taken_for_dead_commits_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (path, options) = (folder.path(), [CSV, ("sink.commit-interval", "1 h")]);
    let owner = |generation| Owner { job: JobId(7), operator: "sink-1".into(), generation: Generation(generation) };
    let fence = |generation, sequence| {
        let owner: Owner = owner(generation);
        let release = ReleaseNumber { generation: owner.generation, sequence };
        Fence { owner, release }
    };
    let zombie = sink(path, &options).unwrap();
    zombie.begin().unwrap();
    zombie.take_over(&owner(1), &known(&[1])).unwrap();
    let mut writer = open(&zombie, 1);
    put(writer.as_mut(), rows(0..5), Ticket::none());
    let first = stage_epoch(writer.as_mut(), 1, EpochEnd::Running);
    zombie.commit(Some(&fence(1, 0)), &first).unwrap();
    put(writer.as_mut(), rows(5..9), Ticket::none());
    let passed_over = stage_epoch(writer.as_mut(), 2, EpochEnd::Running);
    let successor = sink(path, &options).unwrap();
    successor.take_over(&owner(5), &known(&[1, 5])).unwrap();
    // Between taking over and discarding, and behind both.
    zombie.commit(Some(&fence(1, 1)), &passed_over).unwrap();
    successor.commit(Some(&Fence { owner: owner(5), release: fence(1, 0).release }), &first).unwrap();
    assert_eq!((shown(path).len(), hidden(path)), (1, 1), "its parts stay as they are");
    successor.resume(&[]).unwrap();
    zombie.commit(Some(&fence(1, 1)), &passed_over).unwrap();
    assert_eq!((shown(path).len(), hidden(path)), (1, 0));
    let mut writer = open(&successor, 5);
    put(writer.as_mut(), rows(5..8), Ticket::none());
    let again = stage_epoch(writer.as_mut(), 12, EpochEnd::Running);
    successor.commit(Some(&fence(5, 0)), &again).unwrap();
    zombie.commit(Some(&fence(1, 1)), &passed_over).unwrap();
    let got = read(path, &schema(&[("a", DataType::Int64)]), &[CSV]).unwrap().ints();
    assert_eq!(got, (0..8).map(Some).collect::<Vec<_>>());
    let error = sink(path, &options).unwrap().take_over(&owner(1), &known(&[1, 5])).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (rheos_core::ErrorKind::Conflict, "R0683"));
    // Another job's generations are its own.
    sink(path, &options).unwrap().take_over(&Owner { job: JobId(8), ..owner(1) }, &known(&[1])).unwrap();
    // A state from before generation 5 makes a generation 5 of its own.
    let other = Known { generations: [(Generation(5), Some(Nonce(99)))].into(), ..known(&[1]) };
    let error = sink(path, &options).unwrap().take_over(&owner(5), &other).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (rheos_core::ErrorKind::Conflict, "R0688"));
    sink(path, &options).unwrap().take_over(&owner(5), &Known { duplicates_accepted: true, ..other }).unwrap();
}

/// What a state knows that has had these generations and all their releases.
fn known(generations: &[u64]) -> Known {
    Known {
        generations: generations.iter().map(|g| (Generation(*g), Some(Nonce(u128::from(*g))))).collect(),
        released: Some(ReleaseNumber { generation: Generation(u64::MAX), sequence: 0 }),
        duplicates_accepted: false,
    }
}

#[test]
fn another_job_numbers_its_parts_on_and_the_first_one_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let run = |sink: &FileSink, generation: u64, epoch: u64, range: std::ops::Range<i64>| {
        let mut writer = open(sink, generation);
        put(writer.as_mut(), rows(range), Ticket::none());
        let staged = stage_epoch(writer.as_mut(), epoch, EpochEnd::Last);
        sink.commit(None, &staged).unwrap();
        sink.finish().unwrap();
        staged
    };
    let job = sink(path, &[CSV]).unwrap();
    job.begin().unwrap();
    let staged = run(&job, 1, 5, 0..10);
    // Another job, with state or without, has the same generation and epochs.
    let other = sink(path, &[CSV]).unwrap();
    other.begin().unwrap();
    run(&other, 1, 5, 10..20);
    run_job(&sink(path, &[CSV]).unwrap(), 1, 1);
    let job = sink(path, &[CSV]).unwrap();
    job.commit(None, &staged).unwrap();
    job.resume(&[]).unwrap();
    run(&job, 2, 15, 20..30);
    assert_eq!(shown(path), ["part-0-0.csv", "part-0-1.csv", "part-0-2.csv", "part-0-3.csv"]);
    assert_eq!(read(path, &schema(&[("a", DataType::Int64)]), &[CSV]).unwrap().rows(), 30 + 100);
}

#[test]
fn what_is_replaced_goes_with_the_first_rows_also_behind_a_restart() {
    let table = schema(&[("a", DataType::Int64)]);
    for (restart, has_rows) in [(false, true), (true, true), (true, false)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        run_job(&sink(path, &[CSV]).unwrap(), 2, 1);
        let mut job = sink(path, &[CSV, REPLACE]).unwrap();
        job.begin().unwrap();
        let mut writer = open(&job, 1);
        let listed = stage_epoch(writer.as_mut(), 1, EpochEnd::Running);
        let mut later = vec![];
        if restart {
            job = sink(path, &[CSV, REPLACE]).unwrap();
            job.resume(&listed).unwrap();
            writer = open(&job, 2);
        }
        job.commit(None, &listed).unwrap();
        assert_eq!(shown(path), ["part-0-0.csv", "part-1-0.csv"], "there are no new rows");
        if restart {
            job = sink(path, &[CSV, REPLACE]).unwrap();
            job.commit(None, &listed).unwrap();
            job.resume(&[]).unwrap();
            writer = open(&job, 3);
        }
        if has_rows {
            put(writer.as_mut(), rows(0..3), Ticket::none());
            later = stage_epoch(writer.as_mut(), 12, EpochEnd::Last);
        }
        job.commit(None, &later).unwrap();
        job.commit(None, &later).unwrap();
        job.finish().unwrap();
        let got = read(path, &table, &[CSV]).map(|read| read.ints());
        match has_rows {
            true => assert_eq!(got.unwrap(), (0..3).map(Some).collect::<Vec<_>>()),
            false => assert!(shown(path).is_empty()),
        }
        // Whatever comes again does not replace what has come since.
        run_job(&sink(path, &[CSV]).unwrap(), 1, 1);
        let before = shown(path);
        job.commit(None, &[listed, later].concat()).unwrap();
        assert_eq!(shown(path), before);
    }
}

#[test]
fn output_is_committed_as_often_as_the_table_says() {
    let interval = |options: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        sink(folder.path(), &[&[CSV], options].concat()).unwrap().commit_interval().as_secs()
    };
    assert_eq!(interval(&[]), 60);
    assert_eq!(interval(&[("sink.commit-interval", "0 s")]), 0);
    assert_eq!(interval(&[("sink.rolling-policy.rollover-interval", "10 min")]), 600);
    let inactivity = ("sink.rolling-policy.inactivity-interval", "5 min");
    assert_eq!(interval(&[("sink.rolling-policy.rollover-interval", "10 min"), inactivity]), 300);
}

/// Rows of hours of the first of May.
fn hours(hours: &[i32]) -> RecordBatch {
    let day: ArrayRef = Arc::new(StringArray::from_iter_values(hours.iter().map(|_| "2024-05-01")));
    let hour: ArrayRef = Arc::new(Int32Array::from(hours.to_vec()));
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..hours.len() as i64));
    RecordBatch::try_from_iter_with_nullable([("day", day, true), ("hour", hour, true), ("n", n, true)]).unwrap()
}

fn hourly(path: &Path) -> FileSink {
    let options = [
        CSV,
        ("sink.partition-commit.policy.kind", "success-file"),
        ("sink.partition-commit.trigger", "partition-time"),
        ("sink.partition-commit.delay", "1 h"),
        ("partition.time-extractor.timestamp-pattern", "$day $hour:00:00"),
    ];
    let mut definition = table(path, &hours(&[]).schema(), &options);
    definition.partitioned_by = vec!["day".into(), "hour".into()];
    FileSink::try_new(&definition).unwrap()
}

/// The hours that are declared complete.
fn complete(path: &Path) -> Vec<i32> {
    let declared = |hour: &i32| path.join(format!("day=2024-05-01/hour={hour}/_SUCCESS")).exists();
    (0..24).filter(declared).collect()
}

#[test]
fn partitions_are_complete_by_the_watermarks_of_the_attempt_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let tell = |writer: &mut Box<dyn SinkWriter>, hour: i64, epoch: u64| {
        writer.on_watermark(Watermark(MAY + hour * HOUR));
        stage_epoch(writer.as_mut(), epoch, EpochEnd::Running)
    };
    let first = hourly(path);
    first.begin().unwrap();
    let mut writers: Vec<_> = (0..3).map(|n| first.open(attempt(n, 3, 1)).unwrap()).collect();
    put(writers[0].as_mut(), hours(&[1, 2, 3]), Ticket::none());
    let staged: Vec<_> = [(0, 2), (1, 3), (2, 2)].map(|(n, hour)| tell(&mut writers[n], hour, 1)).concat();
    first.commit(None, &staged).unwrap();
    assert_eq!(complete(path), [1]);
    put(writers[1].as_mut(), hours(&[4]), Ticket::none());
    let held: Vec<_> = [(0, 2), (1, 3), (2, 2)].map(|(n, hour)| tell(&mut writers[n], hour, 2)).concat();

    // At a higher parallelism: who has not told anything holds all back, however far its forerunners were.
    let second = hourly(path);
    second.commit(None, &staged).unwrap();
    second.resume(&held).unwrap();
    let mut writers: Vec<_> = (0..4).map(|n| second.open(attempt(n, 4, 2)).unwrap()).collect();
    let some: Vec<_> = (0..3).flat_map(|n| tell(&mut writers[n], 3, 12)).collect();
    second.commit(None, &[held, some].concat()).unwrap();
    assert_eq!(complete(path), [1]);
    let last = tell(&mut writers[3], 3, 13);
    second.commit(None, &last).unwrap();
    assert_eq!(complete(path), [1, 2], "its part became visible before the restart");

    // At a lower one: those who are not there any more hold nothing back.
    put(writers[0].as_mut(), hours(&[4]), Ticket::none());
    let held: Vec<_> = (0..4).flat_map(|n| tell(&mut writers[n], 4, 14)).collect();
    let third = hourly(path);
    third.resume(&held).unwrap();
    let mut writers: Vec<_> = (0..2).map(|n| third.open(attempt(n, 2, 3)).unwrap()).collect();
    put(writers[0].as_mut(), hours(&[5]), Ticket::none());
    let staged: Vec<_> = (0..2).flat_map(|n| tell(&mut writers[n], 5, 22)).collect();
    third.commit(None, &[held, staged].concat()).unwrap();
    assert_eq!(complete(path), [1, 2, 3, 4]);
    assert_eq!(shown(&path.join("day=2024-05-01/hour=5")), ["part-0-4.csv"]);
}

#[test]
fn a_process_that_was_replaced_makes_nothing_visible() {
    let folder = tempfile::tempdir().unwrap();
    let fence = |generation, sequence| {
        let owner = Owner { job: JobId(7), operator: "sink".into(), generation: Generation(generation) };
        Fence { owner, release: ReleaseNumber { generation: Generation(generation), sequence } }
    };
    let options = [CSV, ("sink.rolling-policy.file-size", "1 b")];
    let old = sink(folder.path(), &options).unwrap();
    old.begin().unwrap();
    let mut late = open(&old, 1);
    put(late.as_mut(), rows(0..3), Ticket::none());
    let mut unlisted = stage_epoch(late.as_mut(), 1, EpochEnd::Running);
    let new = sink(folder.path(), &options).unwrap();
    new.begin().unwrap();
    let mut writer = open(&new, 2);
    put(writer.as_mut(), rows(0..3), Ticket::none());
    new.commit(Some(&fence(2, 0)), &stage_epoch(writer.as_mut(), 11, EpochEnd::Running)).unwrap();
    put(late.as_mut(), rows(3..6), Ticket::none());
    unlisted.extend(stage_epoch(late.as_mut(), 2, EpochEnd::Running));
    // It is no error: there is nobody who would be told.
    old.commit(Some(&fence(1, 5)), &unlisted).unwrap();
    assert_eq!(shown(folder.path()), ["part-0-0.csv"]);
}

#[test]
fn another_process_in_the_middle_of_its_commit_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let job = sink(folder.path(), &[CSV]).unwrap();
    job.begin().unwrap();
    let mut writer = open(&job, 1);
    put(writer.as_mut(), rows(0..3), Ticket::none());
    let staged = stage_epoch(writer.as_mut(), 1, EpochEnd::Last);
    let alone = super::super::disk::lock_folder(folder.path()).unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| job.commit(None, &staged));
        assert!(shown(folder.path()).is_empty());
        drop(alone);
        commit.join().unwrap().unwrap();
    });
    assert_eq!(shown(folder.path()), ["part-0-0.csv"]);
}
