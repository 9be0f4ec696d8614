//! Output of jobs that keep state: each row once, wherever a process dies.

use super::super::disk::{crash, power};
use super::*;
use arrow::array::Int32Array;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rheos_core::sink::{Fence, Owner, ReleaseNumber};
use rheos_core::{Generation, JobId};

/// A table of numbers for writing, partitioned by a digit or not.
#[derive(Debug, Clone, Copy)]
struct Kind {
    format: &'static str,
    compression: &'static str,
    partitioned: bool,
}

const KINDS: [Kind; 8] = [
    Kind { format: "csv", compression: "none", partitioned: false },
    Kind { format: "csv", compression: "none", partitioned: true },
    Kind { format: "csv", compression: "gzip", partitioned: true },
    Kind { format: "csv", compression: "zstd", partitioned: false },
    Kind { format: "json", compression: "none", partitioned: true },
    Kind { format: "json", compression: "gzip", partitioned: false },
    Kind { format: "parquet", compression: "auto", partitioned: false },
    Kind { format: "parquet", compression: "auto", partitioned: true },
];

fn numbers(values: impl Iterator<Item = i64>) -> RecordBatch {
    let n = Int64Array::from_iter_values(values);
    let digit: ArrayRef = Arc::new(Int32Array::from_iter_values(n.values().iter().map(|n| (n % 3) as i32)));
    RecordBatch::try_from_iter_with_nullable([("digit", digit, true), ("n", Arc::new(n) as ArrayRef, true)]).unwrap()
}

impl Kind {
    fn sink(self, folder: &Path, options: &[(&str, &str)]) -> FileSink {
        let schema = numbers(0..0).schema();
        let given = [("format", self.format), ("compression", self.compression)];
        let mut definition = table(folder, &schema, &[&given[..], options].concat());
        if self.partitioned {
            definition.partitioned_by = vec!["digit".into()];
        }
        FileSink::try_new(&definition).unwrap()
    }

    /// The numbers in one visible file, read by others' code.
    fn read_file(self, path: &Path) -> Vec<i64> {
        if self.format == "parquet" {
            let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
            let of = |b: RecordBatch| b.column_by_name("n").unwrap().as_primitive::<Int64Type>().values().to_vec();
            return reader.build().unwrap().flat_map(|batch| of(batch.unwrap())).collect();
        }
        let bytes = fs::read(path).unwrap();
        let mut text = String::new();
        match self.compression {
            "gzip" => drop(
                std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text).unwrap(),
            ),
            "zstd" => text = String::from_utf8(zstd::decode_all(&bytes[..]).unwrap()).unwrap(),
            _ => text = String::from_utf8(bytes).unwrap(),
        }
        if self.format == "csv" {
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some(if self.partitioned { "n" } else { "digit,n" }));
            return lines.map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect();
        }
        let number = |line: &str| line.rsplit(':').next().unwrap().trim_end_matches('}').parse().unwrap();
        text.lines().map(number).collect()
    }

    /// All numbers that readers see, sorted.
    fn read(self, folder: &Path) -> Vec<i64> {
        let mut all = vec![];
        for path in visible(folder) {
            let found = self.read_file(&path);
            if self.partitioned {
                let digit =
                    path.parent().unwrap().to_str().unwrap().rsplit('=').next().unwrap().parse::<i64>().unwrap();
                assert!(found.iter().all(|n| n % 3 == digit), "{path:?}");
            }
            all.extend(found);
        }
        all.sort();
        all
    }
}

/// The parts that readers see.
fn visible(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for name in names(folder).iter().filter(|name| !name.starts_with(['.', '_'])) {
        let path = folder.join(name);
        if path.is_dir() { found.extend(visible(&path)) } else { found.push(path) }
    }
    found
}

/// The hidden parts.
fn hidden(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| name.starts_with(".part-")).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        match from.is_dir() {
            true => copy(&from, &to),
            false => assert!(fs::copy(from, to).is_ok()),
        }
    }
}

fn attempt(worker: usize, workers: usize, generation: u64) -> WriterContext {
    let generation = Generation(generation);
    WriterContext { worker, workers, generation, staging: Staging::EveryEpoch, ..WriterContext::detached() }
}

/// Three epochs of two writers, 60 numbers; in the second one of them has nothing.
fn three_epochs(sink: &FileSink) -> Vec<Vec<Committable>> {
    let mut writers = [0, 1].map(|n| sink.open(attempt(n, 2, 1)).unwrap());
    let mut next = 0;
    let epoch = |epoch: u64| {
        let mut staged = vec![];
        for (n, writer) in writers.iter_mut().enumerate() {
            if epoch != 2 || n == 0 {
                put(writer.as_mut(), numbers(next..next + 12), Ticket::none());
                next += 12;
            }
            staged.extend(stage_epoch(writer.as_mut(), epoch, EpochEnd::Running));
        }
        staged
    };
    (1..=3).map(epoch).collect()
}

const SMALL: (&str, &str) = ("sink.rolling-policy.file-size", "100 b");
const LARGE: (&str, &str) = ("sink.rolling-policy.file-size", "1 GiB");

#[test]
fn a_commit_that_dies_at_any_step_is_ended_by_the_next_one() {
    for (kind, size) in KINDS.iter().flat_map(|kind| [(*kind, SMALL), (*kind, LARGE)]) {
        let template = tempfile::tempdir().unwrap();
        let sink = kind.sink(template.path(), &[size]);
        sink.begin().unwrap();
        let epochs = three_epochs(&sink);
        let (first, all) = (epochs[..2].concat(), epochs.concat());
        let mut steps = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            copy(template.path(), path);
            let died = crash::after(steps, || kind.sink(path, &[size]).commit(None, &first)).is_err();
            // The next process may come with later output, with another size of parts, and may die as well.
            let more = if steps % 2 == 0 { &first } else { &all };
            let other = if steps % 3 == 0 { size } else { SMALL };
            let _ = crash::after(steps / 2, || kind.sink(path, &[other]).commit(None, more));
            let sink = kind.sink(path, &[other]);
            sink.commit(None, more).unwrap();
            let keep: &[Committable] = if steps % 2 == 0 { &epochs[2] } else { &[] };
            sink.resume(keep).unwrap();
            let rows = if steps % 2 == 0 { 36 } else { 60 };
            assert_eq!(kind.read(path), (0..rows).collect::<Vec<_>>(), "{kind:?}, died at step {steps}");
            assert_eq!(hidden(path).is_empty(), keep.is_empty(), "{:?}", hidden(path));
            sink.commit(None, &all).unwrap();
            assert_eq!(kind.read(path), (0..60).collect::<Vec<_>>(), "{kind:?}, died at step {steps}");
            assert!(hidden(path).is_empty(), "{:?}", hidden(path));
            if !died {
                break;
            }
            steps += 1;
        }
        assert!(steps > 15, "{steps} steps only");
    }
}

#[test]
fn a_machine_that_stops_in_a_commit_loses_nothing_and_shows_nothing_twice() {
    for (kind, size) in KINDS.iter().flat_map(|kind| [(*kind, SMALL), (*kind, LARGE)]) {
        let template = tempfile::tempdir().unwrap();
        let options = [size, ("sink.if-exists", "replace")];
        // What is replaced, in folders that the new rows have and have not.
        let before = kind.sink(template.path(), &[]);
        before.begin().unwrap();
        let mut writer = before.open(worker(0, 1)).unwrap();
        put(writer.as_mut(), numbers(100..110), Ticket::none());
        before.commit(None, &stage(writer.as_mut(), EpochEnd::Last)).unwrap();
        if kind.partitioned {
            // This folder stays, and gets no new rows.
            write(&template.path().join("digit=1"), ".of-others", b"");
        }
        let sink = kind.sink(template.path(), &options);
        sink.begin().unwrap();
        let mut writer = sink.open(attempt(0, 1, 1)).unwrap();
        let mut staged = vec![];
        for epoch in 0..3 {
            put(writer.as_mut(), numbers((0..12).filter(|n| n % 3 != 1).map(|n| n + 12 * epoch)), Ticket::none());
            staged.extend(stage_epoch(writer.as_mut(), epoch as u64, EpochEnd::Running));
        }
        let mut steps = 0;
        loop {
            let (folder, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            copy(template.path(), folder.path());
            let commit = || kind.sink(folder.path(), &options).commit(None, &staged);
            let died = power::lost_after(folder.path(), after.path(), steps, commit).is_err();
            let sink = kind.sink(after.path(), &options);
            sink.commit(None, &staged).unwrap();
            sink.resume(&[]).unwrap();
            let want: Vec<_> = (0..36).filter(|n| n % 3 != 1).collect();
            assert_eq!(kind.read(after.path()), want, "{kind:?}, stopped at step {steps}");
            assert!(hidden(after.path()).is_empty());
            if !died {
                break;
            }
            steps += 1;
        }
    }
}

#[test]
fn small_staged_parts_become_few_visible_ones() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let sink = kind.sink(folder.path(), &[LARGE]);
        sink.begin().unwrap();
        let epochs = three_epochs(&sink);
        assert_eq!(hidden(folder.path()).len(), if kind.partitioned { 15 } else { 5 });
        assert_eq!(visible(folder.path()), [] as [std::path::PathBuf; 0], "nothing is visible before the commit");
        sink.commit(None, &epochs.concat()).unwrap();
        assert_eq!(visible(folder.path()).len(), if kind.partitioned { 3 } else { 1 }, "{kind:?}");
        assert_eq!(kind.read(folder.path()), (0..60).collect::<Vec<_>>());
    }
}

#[test]
fn parts_that_were_taken_away_are_not_made_again() {
    let kind = KINDS[1];
    let folder = tempfile::tempdir().unwrap();
    let sink = kind.sink(folder.path(), &[LARGE]);
    sink.begin().unwrap();
    let epochs = three_epochs(&sink);
    sink.commit(None, &epochs[0]).unwrap();
    // Whoever waits for the parts moves them; the job starts again and does not know what it has committed.
    (0..3).for_each(|digit| fs::remove_dir_all(folder.path().join(format!("digit={digit}"))).unwrap());
    let sink = kind.sink(folder.path(), &[LARGE]);
    sink.commit(None, &epochs[..2].concat()).unwrap();
    sink.resume(&epochs[2]).unwrap();
    sink.commit(None, &epochs[2]).unwrap();
    assert_eq!(kind.read(folder.path()), (24..60).collect::<Vec<_>>());
}

#[test]
fn a_reader_may_take_parts_as_soon_as_they_are_visible_wherever_a_commit_dies() {
    for (kind, size) in KINDS.iter().flat_map(|kind| [(*kind, SMALL), (*kind, LARGE)]) {
        let template = tempfile::tempdir().unwrap();
        let sink = kind.sink(template.path(), &[size]);
        sink.begin().unwrap();
        let all = three_epochs(&sink).concat();
        let mut steps = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            copy(template.path(), path);
            let take = || {
                let rows = kind.read(path);
                visible(path).iter().for_each(|part| fs::remove_file(part).unwrap());
                rows
            };
            let died = crash::after(steps, || kind.sink(path, &[size]).commit(None, &all)).is_err();
            let mut taken = take();
            // The next one dies a little later.
            let _ = crash::after(steps + 3, || kind.sink(path, &[size]).commit(None, &all));
            taken.extend(take());
            let sink = kind.sink(path, &[size]);
            sink.commit(None, &all).unwrap();
            sink.resume(&[]).unwrap();
            taken.extend(take());
            taken.sort_unstable();
            assert_eq!(taken, (0..60).collect::<Vec<_>>(), "{kind:?}, died at step {steps}");
            assert!(hidden(path).is_empty(), "{:?}", hidden(path));
            if !died {
                break;
            }
            steps += 1;
        }
    }
}

#[test]
fn a_staged_part_that_is_lost_is_an_error() {
    for kind in [KINDS[0], KINDS[6]] {
        let folder = tempfile::tempdir().unwrap();
        let sink = kind.sink(folder.path(), &[LARGE]);
        sink.begin().unwrap();
        let epochs = three_epochs(&sink);
        let lost = folder.path().join(&hidden(folder.path())[1]);
        let bytes = fs::read(&lost).unwrap();
        fs::write(&lost, &bytes[1..]).unwrap();
        let error = sink.commit(None, &epochs.concat()).unwrap_err();
        assert!(error.message().contains("has been changed from"), "{error}");
        fs::remove_file(&lost).unwrap();
        let error = sink.commit(None, &epochs.concat()).unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0215"));
        assert!(visible(folder.path()).is_empty(), "nothing is half there");
        fs::write(&lost, &bytes).unwrap();
        sink.commit(None, &epochs.concat()).unwrap();
        assert_eq!(kind.read(folder.path()), (0..60).collect::<Vec<_>>(), "it was put back");
    }
}

#[test]
fn a_staged_part_that_was_damaged_is_an_error() {
    for kind in KINDS {
        for size in [SMALL, LARGE] {
            let folder = tempfile::tempdir().unwrap();
            let first = kind.sink(folder.path(), &[size]);
            first.begin().unwrap();
            let epochs = three_epochs(&first);
            let damaged = folder.path().join(&hidden(folder.path())[1]);
            let bytes = fs::read(&damaged).unwrap();
            let flipped = |at: usize| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 4;
                bytes
            };
            // Another process ends the commit, which has to look.
            let sink = kind.sink(folder.path(), &[size]);
            sink.resume(&epochs.concat()).unwrap();
            for at in [0, bytes.len() / 2, bytes.len() - 1] {
                fs::write(&damaged, flipped(at)).unwrap();
                let error = sink.commit(None, &epochs.concat()).unwrap_err();
                assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0215"), "{error}");
                assert!(error.message().contains("has been damaged"), "{error}");
                assert!(visible(folder.path()).is_empty(), "nothing is half there");
            }
            fs::write(&damaged, &bytes).unwrap();
            // As versions before staged it.
            let without = |c: &Committable| {
                let mut staged: serde_json::Value = serde_json::from_slice(&c.0).unwrap();
                for part in staged["parts"].as_array_mut().into_iter().flatten() {
                    assert!(part.as_object_mut().unwrap().remove("checksum").is_some());
                }
                Committable(serde_json::to_vec(&staged).unwrap())
            };
            let old: Vec<_> = epochs.concat().iter().map(without).collect();
            sink.commit(None, &old).unwrap();
            assert_eq!(kind.read(folder.path()), (0..60).collect::<Vec<_>>());
        }
    }
}

/// A job as the engine runs it: manifests in memory, which list what was staged and not known to be committed.
struct Job {
    kind: Kind,
    folder: tempfile::TempDir,
    options: Vec<(&'static str, &'static str)>,
    sink: FileSink,
    writers: Vec<Box<dyn SinkWriter>>,
    generation: u64,
    /// Releases of this generation.
    sequence: u64,
    epoch: u64,
    next: i64,
    output: Output,
    manifest: Option<Manifest>,
    /// A process that was taken for dead, and what it would still commit.
    ghost: Option<(FileSink, u64, Vec<Release>)>,
}

/// Output that is not known to be committed.
#[derive(Clone, Default)]
struct Output {
    releases: Vec<Release>,
    held: Vec<Committable>,
}

type Release = (ReleaseNumber, Vec<Committable>);

#[derive(Clone)]
struct Manifest {
    next: i64,
    output: Output,
}

fn commit(sink: &FileSink, generation: u64, (release, committables): &Release) -> Result<()> {
    let owner = Owner { job: JobId(7), operator: "sink".into(), generation: Generation(generation) };
    sink.commit(Some(&Fence { owner, release: *release }), committables)
}

impl Job {
    fn start(kind: Kind, options: &[(&'static str, &'static str)], workers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sink = kind.sink(folder.path(), options);
        let mut job = Self {
            kind,
            folder,
            options: options.to_vec(),
            sink,
            writers: vec![],
            generation: 0,
            sequence: 0,
            epoch: 0,
            next: 0,
            output: Output::default(),
            manifest: None,
            ghost: None,
        };
        job.restart(workers, &[]);
        job
    }

    /// A new process; `dies`: after how many steps those before it died while they took over.
    fn restart(&mut self, workers: usize, dies: &[u64]) {
        for mut writer in self.writers.drain(..) {
            // Its I/O thread goes on in this process, but not behind what it was told.
            stage_epoch(writer.as_mut(), self.epoch + 1, EpochEnd::Running);
        }
        // Epochs are never used twice.
        self.epoch += 10;
        for steps in dies.iter().copied().chain([u64::MAX]) {
            (self.generation, self.sequence) = (self.generation + 1, 0);
            let sink = self.kind.sink(self.folder.path(), &self.options);
            let took_over = crash::after(steps, || match &self.manifest {
                Some(manifest) => {
                    let mut releases = manifest.output.releases.iter();
                    releases.try_for_each(|release| commit(&sink, self.generation, release))?;
                    sink.resume(&manifest.output.held)
                }
                None => sink.begin(),
            });
            let before = std::mem::replace(&mut self.sink, sink);
            if took_over.is_ok() {
                let releases = self.manifest.as_ref().map(|m| m.output.releases.clone()).unwrap_or_default();
                self.ghost = Some((before, self.generation - 1, releases));
                break;
            }
        }
        let manifest = self.manifest.clone().unwrap_or(Manifest { next: 0, output: Output::default() });
        (self.next, self.output) = (manifest.next, Output { releases: vec![], ..manifest.output });
        let open = |n| self.sink.open(attempt(n, workers, self.generation)).unwrap();
        self.writers = (0..workers).map(open).collect();
    }

    fn write(&mut self, rows: &[usize]) {
        for (n, rows) in rows.iter().enumerate().filter(|(_, rows)| **rows > 0) {
            let end = self.next + *rows as i64;
            let workers = self.writers.len();
            put(self.writers[n % workers].as_mut(), numbers(self.next..end), Ticket::none());
            self.next = end;
        }
    }

    fn checkpoint(&mut self, release: bool, end: EpochEnd) {
        self.epoch += 1;
        for writer in &mut self.writers {
            self.output.held.extend(stage_epoch(writer.as_mut(), self.epoch, end));
        }
        if release {
            let number = ReleaseNumber { generation: Generation(self.generation), sequence: self.sequence };
            self.sequence += 1;
            self.output.releases.push((number, std::mem::take(&mut self.output.held)));
        }
        self.manifest = Some(Manifest { next: self.next, output: self.output.clone() });
    }

    /// Commits what is released, and dies after so many steps. Whether it lives.
    fn commit(&mut self, steps: u64) -> bool {
        let releases = std::mem::take(&mut self.output.releases);
        crash::after(steps, || releases.iter().try_for_each(|release| commit(&self.sink, self.generation, release)))
            .is_ok()
    }

    /// The process before this one goes on with its commit, and may die in the middle of it.
    fn ghost(&mut self, steps: u64) {
        if let Some((sink, generation, releases)) = &self.ghost {
            let _ = crash::after(steps, || releases.iter().try_for_each(|release| commit(sink, *generation, release)));
        }
    }

    fn finish(&mut self) {
        self.checkpoint(true, EpochEnd::Last);
        assert!(self.commit(u64::MAX));
        self.sink.finish().unwrap();
    }
}

#[derive(Debug, Clone)]
enum Act {
    Write(Vec<usize>),
    Checkpoint,
    /// A checkpoint that releases, and a commit that dies after so many steps, or does not.
    Release(u64),
    Die(usize, Vec<u64>),
    Ghost(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => prop::collection::vec(0..6_usize, 1..4).prop_map(Act::Write),
        3 => Just(Act::Checkpoint),
        2 => prop_oneof![Just(u64::MAX), 0..80_u64].prop_map(Act::Release),
        2 => (1..4_usize, prop::collection::vec(0..60_u64, 0..3)).prop_map(|(workers, dies)| Act::Die(workers, dies)),
        1 => prop_oneof![Just(u64::MAX), 0..20_u64].prop_map(Act::Ghost),
    ]
}

proptest! {
    #![proptest_config(rheos_testkit::cases(60))]

    /// Whatever a job does and wherever it dies, at any parallelism: each row is there once.
    #[test]
    fn each_row_is_there_once(kind in 0..KINDS.len(), small in any::<bool>(), acts in prop::collection::vec(act(), 1..14)) {
        let mut job = Job::start(KINDS[kind], &[if small { SMALL } else { LARGE }], 2);
        for act in &acts {
            match act {
                Act::Write(rows) => job.write(rows),
                Act::Checkpoint => job.checkpoint(false, EpochEnd::Running),
                Act::Release(steps) => {
                    job.checkpoint(true, EpochEnd::Running);
                    if !job.commit(*steps) {
                        job.restart(1 + (*steps % 3) as usize, &[steps / 2]);
                    }
                }
                Act::Die(workers, dies) => job.restart(*workers, dies),
                Act::Ghost(steps) => job.ghost(*steps),
            }
            let read = job.kind.read(job.folder.path());
            prop_assert!(read.windows(2).all(|pair| pair[0] < pair[1]), "twice: {:?}", read);
        }
        job.finish();
        prop_assert_eq!(job.kind.read(job.folder.path()), (0..job.next).collect::<Vec<_>>());
        prop_assert!(hidden(job.folder.path()).is_empty());
    }
}
