//! How generations end: in order, too late, without an answer. A stop may take 5 s, an answer 10 s.

use rheos_checkpoint::coordinator::{
    Coordinator, Decision, Event, GenerationEnd, Outcome, Stall, WriteOutcome, check_savepoint_name,
};
use rheos_checkpoint::journal::{Committed, Entry, EntryNumber};
use rheos_checkpoint::manifest::JobPhase;
use rheos_core::{Epoch, Error, ErrorKind, Generation, WorkerId};

use super::coordinator::{Driver, commit, config, cut, disk_full, last_cut, start, written};
use super::number;

fn over(end: GenerationEnd) -> [Decision; 1] {
    [Decision::EndGeneration(end)]
}

/// The note that entry `manifest` is committed, at the number behind it.
fn note(manifest: u64) -> [Decision; 1] {
    let number = EntryNumber(manifest + 1);
    let committed = Committed { entry: number, generation: Generation(20), manifest: EntryNumber(manifest) };
    [Decision::Write { number, entry: Entry::Committed(committed) }]
}

#[test]
fn the_end_of_the_input_is_cut_at_once_and_stored_again_until_it_succeeds() {
    let mut d = Driver::new(2, 1, 60_000);
    assert_eq!(d.on(Event::InputEnded, 10), [last_cut(40)]);
    d.announce(40, 10);
    d.stored(0, 40, 20);
    let failed = d.report(1, 40, Outcome::Failed(disk_full()), 20);
    assert!(matches!(failed[..], [Decision::CheckpointFailed { wait_ms: 50, .. }]));
    assert_eq!(d.tick(69), []);
    assert_eq!(d.tick(70), [Decision::StoreAgain { epoch: Epoch(40), workers: vec![WorkerId(1)] }]);
    let decisions = d.stored(1, 40, 80);
    assert_eq!(written(&decisions).1.phase, JobPhase::Finished);
    let failed = d.wrote(21, WriteOutcome::Failed(disk_full()), 90);
    assert!(matches!(failed[..], [Decision::CheckpointFailed { wait_ms: 100, .. }]));
    assert_eq!(d.tick(190), decisions);
    assert_eq!(commit(&d.wrote(21, WriteOutcome::Written, 200)[1]).1.len(), 2, "also what was held back");
    assert_eq!(d.committed(number(20, 0), 210), note(21));
    assert_eq!(d.wrote(22, WriteOutcome::Written, 220), over(GenerationEnd::Finished));
}

#[test]
fn the_note_of_the_last_commit_is_worth_one_try() {
    for outcome in [WriteOutcome::Failed(disk_full()), WriteOutcome::Unknown(disk_full())] {
        let mut d = Driver::new(1, 1, 0);
        d.on(Event::Stop, 10);
        d.complete(40, 20);
        d.wrote(21, WriteOutcome::Written, 30);
        assert_eq!(d.committed(number(20, 0), 40), note(21));
        assert_eq!(d.wrote(22, outcome, 50), over(GenerationEnd::Stopped));
    }
    // And none where there was nothing to commit.
    let mut d = Driver::new(1, 1, 0);
    d.on(Event::Stop, 10);
    d.announce(40, 10);
    d.report(0, 40, Outcome::Stored(Box::default()), 20);
    assert_eq!(d.wrote(21, WriteOutcome::Written, 30)[1..], over(GenerationEnd::Stopped));
}

#[test]
fn a_stop_leaves_windows_open_and_a_drain_closes_them() {
    let mut d = Driver::new(1, 4, 0);
    assert_eq!(d.on(Event::Stop, 10), [last_cut(40)]);
    assert_eq!(d.on(Event::InputEnded, 10), []);
    assert_eq!(written(&d.complete(40, 20)).1.phase, JobPhase::Stopped);

    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    assert_eq!(d.on(Event::Drain, 110), [Decision::Drain]);
    assert_eq!(d.tick(200), [cut(41)], "epochs go on while windows close");
    assert_eq!(written(&d.complete(40, 210)).1.phase, JobPhase::Running, "it was cut before");
    d.wrote(21, WriteOutcome::Written, 220);
    let decisions = d.complete(41, 230);
    assert_eq!(written(&decisions).1.phase, JobPhase::Draining, "windows may have fired that rows would belong to");
    d.wrote(22, WriteOutcome::Written, 240);
    assert_eq!(d.on(Event::InputEnded, 250), [last_cut(42)]);
    assert_eq!(written(&d.complete(42, 260)).1.phase, JobPhase::Finished);
}

#[test]
fn a_job_that_is_stopped_while_it_is_drained_goes_on_draining() {
    let mut d = Driver::new(1, 4, 0);
    d.on(Event::Drain, 10);
    assert_eq!(d.on(Event::Stop, 20), [last_cut(40)]);
    let decisions = d.complete(40, 30);
    let manifest = written(&decisions).1.clone();
    assert_eq!(manifest.phase, JobPhase::Draining);
    d.wrote(21, WriteOutcome::Written, 40);
    d.committed(number(20, 0), 50);
    assert_eq!(d.wrote(22, WriteOutcome::Written, 60), over(GenerationEnd::Stopped));

    let mut manifest = manifest;
    (manifest.entry, manifest.generation) = (EntryNumber(12), Generation(2));
    let start = start(1, Some(manifest));
    assert!(start.is_draining());
    let mut next = Coordinator::try_new(config(4, 0), start, 0).unwrap();
    assert_eq!(next.on(Event::Drain, 10), [], "it is being drained");
    assert_eq!(next.on(Event::InputEnded, 20), [last_cut(40)]);
}

#[test]
fn a_stop_does_not_wait_for_ever_and_names_the_last_checkpoint() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.complete(40, 100);
    d.wrote(21, WriteOutcome::Written, 100);
    d.committed(number(20, 0), 100);
    d.on(Event::Stop, 150);
    d.complete(41, 160);
    let failed = d.wrote(22, WriteOutcome::Failed(disk_full()), 170);
    assert!(matches!(failed[..], [Decision::CheckpointFailed { .. }]));
    let end = GenerationEnd::StopIncomplete { last: Some(EntryNumber(21)), cause: Some(disk_full()) };
    d.tick(5_150);
    assert_eq!(d.tick(5_151), over(end));
    // The same for a job that waits for room to finish.
    let mut d = Driver::new(1, 4, 0);
    d.on(Event::InputEnded, 10);
    d.on(Event::Stop, 5_000);
    assert_eq!(d.tick(10_001), over(GenerationEnd::StopIncomplete { last: None, cause: None }));
}

#[test]
fn the_last_checkpoint_is_not_tried_again_where_that_is_of_no_use() {
    let too_long = Error::invalid(604, "the manifest has too many bytes");
    let mut d = Driver::new(1, 4, 0);
    d.on(Event::InputEnded, 10);
    d.complete(40, 20);
    let end = d.wrote(21, WriteOutcome::Failed(too_long.clone()), 30);
    assert_eq!(end, over(GenerationEnd::Failed(too_long.clone())));
    // One that is not the last does no harm: the job goes on.
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.complete(40, 100);
    let failed = d.wrote(21, WriteOutcome::Failed(too_long), 110);
    assert!(matches!(failed[..], [Decision::CheckpointFailed { .. }]));
}

#[test]
fn the_last_checkpoint_waits_for_a_store_that_may_be_written_again() {
    let denied = Error::new(ErrorKind::NotAllowed, 622, "the file system is read-only");
    let mut d = Driver::new(1, 4, 0);
    d.on(Event::InputEnded, 10);
    d.complete(40, 20);
    let failed = d.wrote(21, WriteOutcome::Failed(denied.clone()), 30);
    assert!(matches!(failed[..], [Decision::CheckpointFailed { epoch: Epoch(40), wait_ms: 50, .. }]));
    assert_eq!(written(&d.tick(80)).1.phase, JobPhase::Finished);
    // A stop waits as it does for a disk that is full, and is told as one.
    d.on(Event::Stop, 90);
    d.wrote(21, WriteOutcome::Failed(denied.clone()), 100);
    let end = d.tick(5_091);
    assert_eq!(end[end.len() - 1..], over(GenerationEnd::StopIncomplete { last: None, cause: Some(denied) }));
}

#[test]
fn workers_writes_and_commits_without_an_answer_end_the_generation_and_are_named() {
    let mut d = Driver::new(3, 1, 0);
    d.tick(100);
    d.announce(40, 100);
    d.stored(1, 40, 100);
    assert_eq!(d.tick(10_100), []);
    let stall = Stall::Reports { epoch: Epoch(40), workers: vec![WorkerId(0), WorkerId(2)] };
    assert_eq!(d.tick(10_101), over(GenerationEnd::Stalled(stall)));

    let mut d = Driver::new(1, 1, 0);
    d.tick(100);
    d.complete(40, 200);
    assert_eq!(d.tick(10_200), []);
    assert_eq!(d.tick(10_201), over(GenerationEnd::Stalled(Stall::Write(EntryNumber(21)))));

    let mut d = Driver::new(1, 1, 0);
    d.tick(100);
    d.complete(40, 200);
    d.wrote(21, WriteOutcome::Written, 300);
    assert_eq!(d.tick(10_300), []);
    let stall = Stall::Commit { operator: "sink-2".into(), release: number(20, 0) };
    assert_eq!(d.tick(10_301), over(GenerationEnd::Stalled(stall)));
}

type Answer<'a> = (&'a str, Result<u64, String>);

fn answers(decisions: &[Decision]) -> Vec<Answer<'_>> {
    fn answer(decision: &Decision) -> Option<Answer<'_>> {
        match decision {
            Decision::Savepoint { name, result } => Some((name, result.as_ref().map(|n| n.0).map_err(|e| e.code()))),
            _ => None,
        }
    }
    decisions.iter().filter_map(answer).collect()
}

#[test]
fn a_name_that_exists_is_refused() {
    let mut d = Driver::new(1, 4, 0);
    let refused = d.on(Event::Savepoint("old".into()), 10);
    assert_eq!(answers(&refused), [("old", Err("R0612".into()))]);
    let Decision::Savepoint { result: Err(error), .. } = &refused[0] else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(d.on(Event::Savepoint("new".into()), 10), [cut(40)]);
    assert_eq!(answers(&d.on(Event::Savepoint("new".into()), 20)), [("new", Err("R0612".into()))]);
}

#[test]
fn a_job_that_stops_at_a_savepoint_gives_its_name_to_the_last_checkpoint() {
    let mut d = Driver::new(1, 1, 0);
    assert_eq!(answers(&d.on(Event::SavepointAndStop("old".into()), 10)), [("old", Err("R0612".into()))]);
    assert_eq!(d.tick(100), [cut(40)], "a name that is refused stops nothing");
    assert_eq!(d.on(Event::Savepoint("waits".into()), 105), [], "one epoch is in flight");
    // Not the name that has waited longest: that one asked for a checkpoint of a job that goes on.
    assert_eq!(d.on(Event::SavepointAndStop("last".into()), 110), [last_cut(41)]);
    assert!(d.coordinator.knows_savepoint("last") && !d.coordinator.knows_savepoint("other"));
    assert_eq!(written(&d.complete(40, 120)).1.savepoint, None);
    d.complete(41, 130);
    let last = d.wrote(21, WriteOutcome::Written, 150);
    d.committed(number(20, 0), 160);
    let manifest = last.iter().find_map(|decision| match decision {
        Decision::Write { entry: Entry::Manifest(manifest), .. } => Some(manifest),
        _ => None,
    });
    let manifest = manifest.unwrap();
    assert_eq!((manifest.savepoint.as_deref(), manifest.phase), (Some("last"), JobPhase::Stopped));
    assert_eq!(answers(&d.wrote(22, WriteOutcome::Written, 170)), [("last", Ok(22))]);
    d.committed(number(20, 1), 180);
    let end = d.wrote(23, WriteOutcome::Written, 190);
    assert_eq!(answers(&end), [("waits", Err("R0614".into()))]);
    assert_eq!(end[1..], over(GenerationEnd::Stopped));
}

#[test]
fn names_of_savepoints_are_words_that_are_no_numbers() {
    for name in ["a", "before-upgrade", "2026-11-21", "v1.2_x", "17a", &"x".repeat(64)] {
        check_savepoint_name(name).unwrap();
    }
    for name in ["", "17", "none", "-x", ".x", "a b", "a/b", "ü", "a\n", &"x".repeat(65)] {
        assert_eq!(check_savepoint_name(name).unwrap_err().code(), "R0672", "{name}");
    }
}

#[test]
fn a_savepoint_that_failed_is_made_by_the_last_checkpoint_and_else_its_asker_is_told() {
    let mut d = Driver::new(1, 4, 0);
    d.on(Event::Savepoint("s".into()), 10);
    d.on(Event::Stop, 20);
    d.announce(40, 30);
    d.report(0, 40, Outcome::Failed(disk_full()), 30);
    d.on(Event::Savepoint("t".into()), 40);
    let decisions = d.complete(41, 50);
    assert_eq!(written(&decisions).1.savepoint.as_deref(), Some("s"));
    assert_eq!(answers(&d.wrote(21, WriteOutcome::Written, 60)), [("s", Ok(21))]);
    assert_eq!(d.committed(number(20, 0), 70), note(21));
    let end = d.wrote(22, WriteOutcome::Written, 80);
    assert_eq!(answers(&end), [("t", Err("R0614".into()))]);
    assert_eq!(end[1..], over(GenerationEnd::Stopped));
}
