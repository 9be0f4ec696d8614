//! Where sources stand: what a look and the workers' cuts make together.

use rheos_checkpoint::coordinator::{Decision, GenerationEnd, Outcome, Snapshot, SourceCut, SourceLook, WriteOutcome};
use rheos_checkpoint::manifest::{Manifest, SequenceState, SplitProgress, SplitState};
use rheos_core::source::Split;

use super::coordinator::{Driver, disk_full, written};

use SplitProgress::{Finished, Pending, Reading};

fn at(position: &str) -> SplitProgress {
    Reading(position.into())
}

/// A split of sequence 3 whose newest event time is 7 ms.
fn split(id: &str, progress: SplitProgress) -> SplitState {
    let split = Split { id: id.into(), sequence: 3, not_before_ms: None, size_bytes: 0, descriptor: "{}".into() };
    SplitState { split, progress, max_event_time_ms: Some(7) }
}

fn look(enumerator: &str, splits: &[SplitState], taken: &[&str], finished: &[&str]) -> Vec<SourceLook> {
    vec![SourceLook {
        operator: "source-0".into(),
        enumerated: false,
        enumerator: enumerator.into(),
        sequences: Vec::new(),
        splits: splits.to_vec(),
        taken: taken.iter().map(|id| id.to_string()).collect(),
        finished: finished.iter().map(|id| id.to_string()).collect(),
    }]
}

fn cut(watermark_ms: i64, splits: &[SplitState]) -> Outcome {
    let sources = vec![SourceCut { operator: "source-0".into(), watermark_ms, splits: splits.to_vec() }];
    Outcome::Stored(Box::new(Snapshot { sources, ..Snapshot::default() }))
}

/// The splits of a manifest's source, and the sequences that are told of.
fn listed(manifest: &Manifest) -> (Vec<(&str, SplitProgress)>, &[SequenceState]) {
    let source = &manifest.sources[0];
    (source.splits.iter().map(|s| (s.id(), s.progress.clone())).collect(), &source.sequences)
}

const SUMMARY: [SequenceState; 1] = [SequenceState { sequence: 3, finished_max_ms: 7 }];

#[test]
fn positions_are_those_of_the_cuts_also_where_splits_change_hands_meanwhile() {
    let mut d = Driver::new(2, 4, 0);
    d.tick(100);
    d.tick(200);
    // Restored at 5 and handed out at once; b is taken behind the look, d found behind it, c taken behind the cut.
    let known = [split("a", at("5")), split("b", Pending), split("c", Pending)];
    d.look(40, look("a-c", &known, &["a"], &[]), 200);
    // Looked before worker 0 has finished a in epoch 40: told there, and not again.
    d.look(41, look("a-c", &known, &["a"], &[]), 200);
    d.report(0, 40, cut(9, &[split("a", Finished), split("d", at("1"))]), 210);
    let decisions = d.report(1, 40, cut(8, &[split("b", at("8"))]), 210);
    let manifest = written(&decisions).1;
    let splits = vec![("b", at("8")), ("c", Pending), ("d", at("1"))];
    assert_eq!(listed(manifest), (splits, &SUMMARY[..]), "a is finished: what is left of it is its newest time");
    assert_eq!(manifest.sources[0].watermark_ms, 8, "the lower one of the cuts");
    d.wrote(21, WriteOutcome::Written, 220);
    d.report(0, 41, cut(9, &[split("c", at("2")), split("d", Finished)]), 230);
    let decisions = d.report(1, 41, cut(9, &[split("b", at("9"))]), 230);
    // The enumerator does not know d: a restore finds it again, and must know that it has been read.
    let splits = vec![("b", at("9")), ("c", at("2")), ("d", Finished)];
    assert_eq!(listed(written(&decisions).1), (splits, &SUMMARY[..]));
}

#[test]
fn a_finished_split_goes_when_a_look_covers_it_and_not_before() {
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.look(40, look("", &[], &[], &[]), 100);
    let decisions = d.report(0, 40, cut(0, &[split("a", Finished)]), 110);
    assert_eq!(listed(written(&decisions).1).0, [("a", Finished)]);
    d.wrote(21, WriteOutcome::Written, 120);
    // The look that covers it is of an epoch whose checkpoint fails: the next one does not tell it again.
    d.tick(200);
    d.look(41, look("a", &[], &[], &["a"]), 200);
    d.tick(300);
    d.look(42, look("a", &[], &[], &[]), 300);
    d.report(0, 41, Outcome::Failed(disk_full()), 310);
    let decisions = d.report(0, 42, cut(0, &[]), 310);
    assert_eq!(listed(written(&decisions).1).0, []);
}

fn defect(decisions: &[Decision], expected: &str) {
    let told = matches!(decisions, [Decision::EndGeneration(GenerationEnd::Defect(why))] if why.contains(expected));
    assert!(told, "{decisions:?}");
}

#[test]
fn workers_that_leave_something_out_or_contradict_each_other_are_a_defect() {
    let looked = |workers| {
        let mut d = Driver::new(workers, 4, 0);
        d.tick(100);
        d.look(40, look("a", &[split("a", at("5"))], &["a"], &[]), 100);
        d
    };
    defect(&looked(1).report(0, 40, cut(0, &[]), 110), "no worker tells how far split 'a'");
    let untold = looked(1).report(0, 40, Outcome::Stored(Box::default()), 110);
    defect(&untold, "worker 0 does not tell its watermark of 'source-0'");
    let mut d = looked(2);
    d.report(0, 40, cut(0, &[split("a", at("5"))]), 110);
    defect(&d.report(1, 40, cut(0, &[split("a", at("6"))]), 110), "two workers read split 'a'");
    let mut d = Driver::new(1, 4, 0);
    d.tick(100);
    d.announce(40, 100);
    defect(&d.report(0, 40, cut(0, &[]), 110), "'source-0', which is no source");
}
