//! The coordinator, event by event. Times are in ms; the interval is 100, the wait after a failure 50 to 400.

use std::collections::BTreeSet;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use rheos_checkpoint::coordinator::{
    Config, Coordinator, Decision, Event, GenerationEnd, Outcome, Report, SinkConfig, SinkOutput, Snapshot, SourceLook,
    Start, WriteOutcome,
};
use rheos_checkpoint::journal::{Entry, EntryNumber};
use rheos_checkpoint::manifest::{KeyGroupSet, Manifest, Program, Repeat};
use rheos_core::key::KeyGroupAssignment;
use rheos_core::sink::{Committable, EpochEnd, ReleaseNumber};
use rheos_core::state::TableKind;
use rheos_core::{Epoch, Error, ErrorKind, Generation, WorkerId};

use super::{claim, number, object, text, workers};

pub(super) struct Driver {
    pub(super) coordinator: Coordinator,
    workers: u32,
}

pub(super) fn config(in_flight_max: usize, commit_interval_ms: u64) -> Config {
    let sink = SinkConfig { operator: "sink-2".into(), repeat: Repeat::Duplicates, commit_interval_ms };
    Config {
        interval_ms: NonZeroU64::new(100).unwrap(),
        in_flight_max: NonZeroUsize::new(in_flight_max).unwrap(),
        backoff_ms_min: NonZeroU64::new(50).unwrap(),
        backoff_ms_max: 400,
        answer_ms_max: 10_000,
        stop_ms_max: 5_000,
        sinks: vec![sink],
    }
}

pub(super) fn start(count: u32, restored: Option<Manifest>) -> Start {
    let mut claim = claim(20, restored.as_ref().map(|m| (m.entry.0, m.generation.0)));
    claim.first_epoch = Epoch(40);
    Start {
        claim,
        program: Program { fingerprint: "p".into(), context: Vec::new(), operators: Vec::new() },
        assignment: KeyGroupAssignment::even(4, count as usize),
        parallelism: workers(count),
        restored: restored.map(Arc::new),
        savepoints: BTreeSet::from(["old".to_string()]),
    }
}

impl Driver {
    pub(super) fn new(count: u32, in_flight_max: usize, commit_interval_ms: u64) -> Self {
        let (config, start) = (config(in_flight_max, commit_interval_ms), start(count, None));
        Self { coordinator: Coordinator::try_new(config, start, 0).unwrap(), workers: count }
    }

    pub(super) fn on(&mut self, event: Event, now_ms: u64) -> Vec<Decision> {
        self.coordinator.on(event, now_ms)
    }

    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<Decision> {
        self.on(Event::Tick, now_ms)
    }

    pub(super) fn announce(&mut self, epoch: u64, now_ms: u64) -> Vec<Decision> {
        self.look(epoch, Vec::new(), now_ms)
    }

    pub(super) fn look(&mut self, epoch: u64, sources: Vec<SourceLook>, now_ms: u64) -> Vec<Decision> {
        let event = Event::Announced { epoch: Epoch(epoch), wall_time_ms: 6, processing_time_ms: 5, sources };
        self.on(event, now_ms)
    }

    pub(super) fn report(&mut self, worker: u32, epoch: u64, outcome: Outcome, now_ms: u64) -> Vec<Decision> {
        self.on(report(20, worker, epoch, outcome), now_ms)
    }

    /// A report with one committable, `w<worker>e<epoch>`.
    pub(super) fn stored(&mut self, worker: u32, epoch: u64, now_ms: u64) -> Vec<Decision> {
        self.report(worker, epoch, staged(worker, epoch), now_ms)
    }

    pub(super) fn wrote(&mut self, number: u64, outcome: WriteOutcome, now_ms: u64) -> Vec<Decision> {
        self.on(Event::Written { number: EntryNumber(number), outcome }, now_ms)
    }

    pub(super) fn committed(&mut self, release: ReleaseNumber, now_ms: u64) -> Vec<Decision> {
        self.on(Event::Committed { operator: "sink-2".into(), release }, now_ms)
    }

    /// Announces an epoch and reports it for all workers.
    pub(super) fn complete(&mut self, epoch: u64, now_ms: u64) -> Vec<Decision> {
        self.announce(epoch, now_ms);
        (0..self.workers).flat_map(|w| self.stored(w, epoch, now_ms)).collect()
    }
}

fn report(generation: u64, worker: u32, epoch: u64, outcome: Outcome) -> Event {
    let (generation, worker, epoch) = (Generation(generation), WorkerId(worker), Epoch(epoch));
    Event::Report(Report { generation, worker, epoch, outcome })
}

pub(super) fn staged(worker: u32, epoch: u64) -> Outcome {
    let committables = vec![Committable(format!("w{worker}e{epoch}").into())];
    let output = SinkOutput { operator: "sink-2".into(), epoch: Epoch(epoch), committables };
    Outcome::Stored(Box::new(Snapshot { staged: vec![output], ..Snapshot::default() }))
}

pub(super) fn disk_full() -> Error {
    Error::new(ErrorKind::External, 203, "disk full")
}

pub(super) fn cut(epoch: u64) -> Decision {
    Decision::Cut { epoch: Epoch(epoch), end: EpochEnd::Running }
}

pub(super) fn last_cut(epoch: u64) -> Decision {
    Decision::Cut { epoch: Epoch(epoch), end: EpochEnd::Last }
}

/// The manifest that is to be written, and where.
pub(super) fn written(decisions: &[Decision]) -> (u64, &Manifest) {
    match decisions {
        [Decision::Write { number, entry: Entry::Manifest(manifest) }] => {
            assert_eq!(manifest.entry, *number);
            (number.0, manifest)
        }
        other => panic!("not one manifest: {other:?}"),
    }
}

/// The release that is to be committed, and what it names.
pub(super) fn commit(decision: &Decision) -> (ReleaseNumber, Vec<String>) {
    match decision {
        Decision::Commit(commit) => {
            assert_eq!(commit.fence.owner.generation, Generation(20));
            (commit.fence.release, commit.committables.iter().map(text).collect())
        }
        other => panic!("not a commit: {other:?}"),
    }
}

/// Per release, what a manifest lists of it.
fn releases(manifest: &Manifest) -> Vec<Vec<String>> {
    let texts =
        |list: &[rheos_checkpoint::manifest::StagedCommittable]| list.iter().map(|c| text(&c.committable)).collect();
    manifest.sinks[0].releases.iter().map(|r| texts(&r.committables)).collect()
}

#[test]
fn epochs_follow_the_interval_and_are_bounded_in_flight() {
    let mut d = Driver::new(1, 2, 0);
    assert_eq!(d.tick(99), []);
    assert_eq!(d.tick(100), [cut(40)]);
    assert_eq!(d.tick(199), []);
    assert_eq!(d.tick(200), [cut(41)]);
    assert_eq!(d.tick(300), [], "two are in flight");
    d.complete(40, 310);
    assert_eq!(d.tick(400), [], "the first is being written");
    let after = d.wrote(21, WriteOutcome::Written, 410);
    assert_eq!(commit(&after[1]), (number(20, 0), vec!["w0e40".into()]), "it is being committed");
    assert_eq!(d.committed(number(20, 0), 420), [cut(42)]);
}

#[test]
fn output_is_committed_when_the_manifest_is_written_and_not_before() {
    let mut d = Driver::new(2, 4, 0);
    d.tick(100);
    d.announce(40, 100);
    assert_eq!(d.stored(0, 40, 110), []);
    let decisions = d.stored(1, 40, 120);
    let (entry, manifest) = written(&decisions);
    assert_eq!((entry, manifest.epoch, manifest.generation), (21, Epoch(40), Generation(20)));
    assert_eq!(manifest.sinks[0].last_release.unwrap().through, Epoch(40));
    let decisions = d.wrote(21, WriteOutcome::Written, 130);
    assert!(matches!(&decisions[0], Decision::Acknowledge(m) if m.epoch == Epoch(40)));
    assert_eq!(commit(&decisions[1]), (number(20, 0), vec!["w0e40".into(), "w1e40".into()]));
}

#[test]
fn releases_stay_as_they_are_and_go_one_at_a_time() {
    let mut d = Driver::new(1, 4, 0);
    for epoch in 40..43 {
        let now = (epoch - 39) * 100;
        d.tick(now);
        let decisions = d.complete(epoch, now);
        // The first commit is not confirmed, so all are listed, each by itself.
        let expected: Vec<_> = (40..=epoch).map(|e| vec![format!("w0e{e}")]).collect();
        assert_eq!(releases(written(&decisions).1), expected);
        let decisions = d.wrote(epoch - 19, WriteOutcome::Written, now);
        assert_eq!(decisions.len(), if epoch == 40 { 2 } else { 1 }, "{decisions:?}");
    }
    assert_eq!(d.committed(number(20, 1), 310), [], "nobody has asked for that one");
    assert_eq!(commit(&d.committed(number(20, 0), 310)[0]), (number(20, 1), vec!["w0e41".into()]));
    assert_eq!(commit(&d.committed(number(20, 1), 320)[0]), (number(20, 2), vec!["w0e42".into()]));
}

#[test]
fn a_commit_that_fails_is_tried_again_later_unless_it_is_of_no_use() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.complete(40, 100);
    d.wrote(21, WriteOutcome::Written, 100);
    let failed = |error| Event::CommitFailed { operator: "sink-2".into(), release: number(20, 0), error };
    let warning = |wait_ms| Decision::CommitFailed { operator: "sink-2".into(), error: disk_full(), wait_ms };
    assert_eq!(d.on(failed(disk_full()), 110), [warning(50)]);
    assert_eq!(d.on(failed(disk_full()), 120), [], "it has been answered");
    assert_eq!(d.tick(159), []);
    assert_eq!(commit(&d.tick(160)[0]).0, number(20, 0));
    assert_eq!(d.on(failed(disk_full()), 170), [warning(100)]);
    assert_eq!(commit(&d.tick(270)[0]).0, number(20, 0));
    let gone = Error::new(ErrorKind::Corrupt, 215, "a finished part disappeared");
    assert_eq!(d.on(failed(gone.clone()), 280), [Decision::EndGeneration(GenerationEnd::Failed(gone))]);
}

#[test]
fn the_clock_of_a_checkpoint_is_the_latest_that_anybody_has_seen_in_its_epoch() {
    let mut d = Driver::new(2, 4, 0);
    d.tick(100);
    d.announce(40, 110);
    let seen = |ms| Outcome::Stored(Box::new(Snapshot { processing_time_ms: ms, ..Snapshot::default() }));
    assert_eq!(d.on(report(20, 0, 40, seen(9)), 120), []);
    let decisions = d.on(report(20, 1, 40, seen(7)), 130);
    let (_, manifest) = written(&decisions);
    assert_eq!(manifest.processing_time_ms, 9, "5 at the cut");
}

#[test]
fn an_announcement_that_is_missing_holds_the_manifest_back() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    assert_eq!(d.stored(0, 40, 110), []);
    let decisions = d.announce(40, 120);
    let (_, manifest) = written(&decisions);
    assert_eq!((manifest.wall_time_ms, manifest.processing_time_ms), (6, 5));
}

#[test]
fn reports_of_other_generations_and_epochs_change_nothing() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.announce(40, 100);
    for (generation, worker, epoch) in [(19, 0, 40), (21, 0, 40), (20, 1, 40), (20, 0, 39), (20, 0, 41)] {
        assert_eq!(d.on(report(generation, worker, epoch, staged(0, epoch)), 110), []);
    }
    let decisions = d.stored(0, 40, 120);
    assert_eq!(releases(written(&decisions).1), [["w0e40"]]);
}

#[test]
fn output_of_a_sink_that_is_not_known_is_a_defect_and_not_dropped() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    let output = SinkOutput { operator: "other".into(), epoch: Epoch(40), committables: vec![Committable("x".into())] };
    let outcome = Outcome::Stored(Box::new(Snapshot { staged: vec![output], ..Snapshot::default() }));
    let decisions = d.report(0, 40, outcome, 100);
    assert!(
        matches!(&decisions[..], [Decision::EndGeneration(GenerationEnd::Defect(why))] if why.contains("'other'")),
        "{decisions:?}"
    );
}

fn again(epoch: u64, workers: &[u32]) -> Decision {
    Decision::StoreAgain { epoch: Epoch(epoch), workers: workers.iter().copied().map(WorkerId).collect() }
}

fn failed(worker: u32, epoch: u64, wait_ms: u64) -> Decision {
    let error = disk_full().context(format_args!("worker {worker}"));
    Decision::CheckpointFailed { epoch: Epoch(epoch), error, wait_ms }
}

/// However long the store has no room, workers hold back the changes of one epoch.
#[test]
fn a_failed_checkpoint_is_stored_again_after_longer_waits_and_no_epoch_is_cut_meanwhile() {
    let mut d = Driver::new(2, 4, 0);
    assert_eq!(d.tick(100), [cut(40)]);
    d.announce(40, 100);
    assert_eq!(d.stored(0, 40, 100), []);
    let mut now = 110;
    for wait_ms in [50, 100, 200, 400, 400, 400] {
        assert_eq!(d.report(1, 40, Outcome::Failed(disk_full()), now), [failed(1, 40, wait_ms)]);
        assert_eq!(d.tick(now + wait_ms - 1), []);
        assert_eq!(d.tick(now + wait_ms), [again(40, &[1])]);
        now += wait_ms + 10;
        assert_eq!(d.tick(now), [], "nothing is cut while it is stored again");
    }
    let decisions = d.stored(1, 40, now);
    let (number, manifest) = written(&decisions[..1]);
    assert_eq!((manifest.epoch, releases(manifest).concat()), (Epoch(40), vec!["w0e40".into(), "w1e40".into()]));
    assert_eq!((number, &decisions[1..]), (21, &[cut(41)][..]), "the interval has long been over");
}

#[test]
fn of_the_checkpoints_in_flight_that_fail_the_newest_is_stored_again_and_covers_the_others() {
    let mut d = Driver::new(2, 4, 0);
    for (epoch, now) in [(40, 100), (41, 200), (42, 300)] {
        assert_eq!(d.tick(now), [cut(epoch)]);
        d.announce(epoch, now);
        assert_eq!(d.stored(0, epoch, now), []);
    }
    for (epoch, wait_ms) in [(40, 50), (41, 100), (42, 200)] {
        assert_eq!(d.report(1, epoch, Outcome::Failed(disk_full()), 310), [failed(1, epoch, wait_ms)]);
    }
    assert_eq!(d.tick(509), []);
    assert_eq!(d.tick(510), [again(42, &[1])]);
    let decisions = d.stored(1, 42, 520);
    let (_, manifest) = written(&decisions[..1]);
    assert_eq!(manifest.epoch, Epoch(42));
    assert_eq!(releases(manifest).concat(), ["w0e40", "w0e41", "w0e42", "w1e42"]);
}

#[test]
fn a_stop_does_not_wait_for_a_checkpoint_that_fails() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.announce(40, 100);
    d.report(0, 40, Outcome::Failed(disk_full()), 110);
    assert_eq!(d.on(Event::Stop, 120), [last_cut(41)]);
    assert_eq!(d.tick(170), [], "the last one covers it");
    let decisions = d.complete(41, 180);
    assert_eq!(written(&decisions).1.epoch, Epoch(41));
}

#[test]
fn the_newest_checkpoint_covers_those_before_it() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.tick(200);
    d.announce(40, 200);
    assert_eq!(d.complete(41, 210), [], "what epoch 40 staged is not known");
    assert_eq!(written(&d.stored(0, 40, 220)).1.epoch, Epoch(41));
}

#[test]
fn a_write_of_unknown_outcome_is_repeated_unchanged_until_it_is_known() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    let first = d.complete(40, 110);
    let timeout = || Error::new(ErrorKind::External, 203, "timeout");
    let told = |error, wait_ms| Decision::CheckpointFailed { epoch: Epoch(40), error, wait_ms };
    assert_eq!(d.wrote(21, WriteOutcome::Unknown(timeout()), 120), [told(timeout(), 50)], "the user is told");
    assert_eq!(d.tick(169), []);
    assert_eq!(d.tick(170), first);
    assert_eq!(d.tick(200), [cut(41)]);
    assert_eq!(d.complete(41, 210), []);
    assert_eq!(d.wrote(21, WriteOutcome::Failed(disk_full()), 220), [told(disk_full(), 100)]);
    assert_eq!(d.tick(319), []);
    assert_eq!(d.tick(320)[0], first[0], "the first try may yet succeed, so the number is not for another");
    let done = d.wrote(21, WriteOutcome::Written, 330);
    let (entry, manifest) = written(&done[1..2]);
    assert_eq!((entry, manifest.epoch), (22, Epoch(41)));
}

#[test]
fn a_generation_that_was_replaced_ends_and_decides_nothing_more() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.complete(40, 110);
    let taken = Error::new(ErrorKind::Conflict, 605, "taken");
    let end = d.wrote(21, WriteOutcome::Taken(taken.clone()), 120);
    assert_eq!(end, [Decision::EndGeneration(GenerationEnd::Replaced(taken))]);
    assert_eq!(d.tick(500), []);
    assert_eq!(d.on(Event::Stop, 600), []);
}

#[test]
fn a_checkpoint_that_is_asked_for_does_not_wait_for_the_interval() {
    let mut d = Driver::new(1, 1, 0);
    assert_eq!(d.on(Event::Checkpoint, 10), [cut(40)]);
    assert_eq!(d.on(Event::Checkpoint, 20), [], "one epoch is in flight, and more may not be");
    d.complete(40, 30);
    let decisions = d.wrote(21, WriteOutcome::Written, 40);
    assert!(!decisions.contains(&cut(41)), "its output is not committed: {decisions:?}");
    assert_eq!(d.committed(number(20, 0), 50), [cut(41)]);
    d.complete(41, 60);
    assert_eq!(d.on(Event::Tick, 70), [], "it was asked for once");
}

#[test]
fn output_is_held_back_between_commits_and_a_savepoint_releases_it() {
    let mut d = Driver::new(1, 4, 1000);
    d.tick(100);
    let decisions = d.complete(40, 110);
    let sink = &written(&decisions).1.sinks[0];
    assert_eq!((sink.last_release, sink.releases.len(), sink.held.len()), (None, 0, 1));
    assert!(matches!(d.wrote(21, WriteOutcome::Written, 120)[..], [Decision::Acknowledge(_)]));
    assert_eq!(d.on(Event::Savepoint("s".into()), 130), [cut(41)]);
    let decisions = d.complete(41, 140);
    let (_, manifest) = written(&decisions);
    assert_eq!(
        (manifest.savepoint.as_deref(), releases(manifest)),
        (Some("s"), vec![vec!["w0e40".into(), "w0e41".into()]])
    );
    let decisions = d.wrote(22, WriteOutcome::Written, 150);
    assert_eq!(decisions[0], Decision::Savepoint { name: "s".into(), result: Ok(EntryNumber(22)) });
    assert_eq!(commit(&decisions[2]).1, ["w0e40", "w0e41"]);
    d.committed(number(20, 1), 160);
    d.tick(1149);
    let decisions = d.complete(42, 1149);
    assert_eq!(written(&decisions).1.sinks[0].last_release.unwrap().through, Epoch(41));
    d.wrote(23, WriteOutcome::Written, 1149);
    d.tick(1250);
    let decisions = d.complete(43, 1250);
    assert_eq!(written(&decisions).1.sinks[0].last_release.unwrap().through, Epoch(43));
}

#[test]
fn nothing_to_release_leaves_the_way_back_open() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.announce(40, 100);
    let decisions = d.report(0, 40, Outcome::Stored(Box::default()), 100);
    assert_eq!(written(&decisions).1.sinks[0].last_release, None);
}

#[test]
fn what_was_held_back_is_released_by_the_next_generation_and_in_its_numbers() {
    let mut restored = super::manifest(1, 30, &[], Some(20));
    restored.entry = EntryNumber(12);
    let coordinator = Coordinator::try_new(config(4, 0), start(1, Some(restored)), 0).unwrap();
    let mut d = Driver { coordinator, workers: 1 };
    d.tick(100);
    let decisions = d.complete(40, 110);
    let (_, manifest) = written(&decisions);
    assert_eq!(releases(manifest), [["part-30", "w0e40"]]);
    assert_eq!(manifest.sinks[0].last_release.unwrap().number, number(20, 0));
    let generations: Vec<_> = manifest.sinks[0].releases[0].committables.iter().map(|c| c.generation.0).collect();
    assert_eq!(generations, [1, 20]);
}

#[test]
fn numbers_that_a_restore_may_have_given_are_not_given_again() {
    let mut restored = super::manifest(1, 30, &[], Some(30));
    restored.entry = EntryNumber(12);
    let coordinator = Coordinator::try_new(config(4, 0), start(1, Some(restored)), 0).unwrap();
    let mut d = Driver { coordinator, workers: 1 };
    d.tick(100);
    let decisions = d.complete(40, 110);
    assert_eq!(written(&decisions).1.sinks[0].last_release.unwrap().number, number(20, 1));
}

#[test]
fn objects_of_epochs_in_flight_are_protected() {
    let mut d = Driver::new(2, 4, 0);
    d.tick(100);
    d.announce(40, 100);
    let mut first = object("g20-w0-n1", 40, 40);
    first.segments[0].groups = KeyGroupSet::range(0, 1);
    let snapshot = Snapshot { objects: vec![first], holds: ["g20-w0-n2".into()].into(), ..Snapshot::default() };
    d.report(0, 40, Outcome::Stored(Box::new(snapshot)), 110);
    let expected = ["g20-w0-n1".to_string(), "g20-w0-n2".to_string()];
    assert!(d.coordinator.protected().iter().eq(&expected));
    d.report(1, 40, Outcome::Failed(disk_full()), 120);
    assert!(d.coordinator.protected().iter().eq(&expected), "the next report names the object again");
}

fn defect(decisions: &[Decision]) -> &str {
    match decisions {
        [Decision::EndGeneration(GenerationEnd::Defect(why))] => why,
        other => panic!("no defect: {other:?}"),
    }
}

#[test]
fn segments_of_two_workers_are_put_together() {
    let mut d = Driver::new(2, 4, 0);
    d.tick(100);
    d.announce(40, 100);
    let part = |first, last| {
        let mut object = object("g6-w0-n1", 3, 9);
        object.segments[0].groups = KeyGroupSet::range(first, last);
        Outcome::Stored(Box::new(Snapshot { objects: vec![object], ..Snapshot::default() }))
    };
    d.report(1, 40, part(2, 3), 110);
    let decisions = d.report(0, 40, part(0, 1), 110);
    assert_eq!(written(&decisions).1.objects, [object("g6-w0-n1", 3, 9)]);
    d.wrote(21, WriteOutcome::Written, 120);
    d.tick(200);
    d.announce(41, 200);
    d.report(0, 41, part(0, 2), 210);
    let decisions = d.report(1, 41, part(2, 3), 210);
    assert!(defect(&decisions).contains("key group 2"), "{decisions:?}");
}

#[test]
fn a_table_that_is_there_once_is_written_by_worker_0_alone() {
    for kind in [TableKind::Broadcast, TableKind::Single] {
        let mut d = Driver::new(2, 4, 0);
        d.tick(100);
        d.announce(40, 100);
        let copy = |name: &str| {
            let mut object = object(name, 40, 40);
            (object.segments[0].kind, object.segments[0].groups) = (kind, KeyGroupSet::default());
            Outcome::Stored(Box::new(Snapshot { objects: vec![object], ..Snapshot::default() }))
        };
        d.report(0, 40, copy("g20-w0-n1"), 110);
        let decisions = d.report(1, 40, copy("g20-w1-n1"), 110);
        assert!(defect(&decisions).contains("worker 1 holds table 'slices'"), "{decisions:?}");
    }
}

#[test]
fn numbers_that_do_not_fit_together_are_refused() {
    let mut wrong = config(1, 0);
    wrong.backoff_ms_max = 49;
    assert_eq!(Coordinator::try_new(wrong, start(1, None), 0).unwrap_err().code(), "R0615");
    let mut twice = config(1, 0);
    twice.sinks.push(twice.sinks[0].clone());
    assert_eq!(Coordinator::try_new(twice, start(1, None), 0).unwrap_err().kind(), ErrorKind::Internal);
    let mut other = start(1, None);
    other.restored = Some(super::manifest(1, 5, &[], None).into());
    assert_eq!(Coordinator::try_new(config(1, 0), other, 0).unwrap_err().kind(), ErrorKind::Internal);
}
