//! Recovery over journals made by hand.

use std::collections::BTreeMap;

use rheos_checkpoint::journal::{Committed, Entry, EntryNumber, Journal, Nonce};
use rheos_checkpoint::manifest::{JobPhase, Manifest, Repeat, SourceState};
use rheos_checkpoint::recovery::{
    DroppedState, Duplicates, Options, Restore, RestoreFrom, SegmentCheck, SegmentId, Step, next_step,
};
use rheos_core::{Epoch, Error, ErrorKind, Generation, JobId};

use super::{
    JOB, claim, claimed, entry, held_back, journal, manifest, number, numbered, staged, text, witness, workers,
};

pub(super) fn options(from: RestoreFrom, duplicates: Duplicates) -> Options {
    Options {
        from,
        duplicates,
        dropped_state: DroppedState::Refused,
        operators: ["sink-2", "tumble-1"].map(Into::into).into(),
        fed_by: BTreeMap::new(),
        checkpoints_kept: workers(3),
        nonce: Nonce(77),
    }
}

/// Asks until the segments are known; those of the objects in `damaged` are.
pub(super) fn recover(journal: &Journal, damaged: &[&str], options: &Options) -> Result<Step, Error> {
    let mut checks = BTreeMap::new();
    loop {
        match next_step(journal, &checks, options)? {
            Step::Verify { objects, .. } => {
                for object in objects {
                    let check = match damaged.contains(&object.name.as_str()) {
                        true => SegmentCheck::Damaged("its checksum is wrong".into()),
                        false => SegmentCheck::Whole,
                    };
                    for segment in &object.segments {
                        let id = SegmentId { object: object.name.clone(), offset: segment.offset };
                        assert_eq!(checks.insert(id, check.clone()), None, "asked for twice");
                    }
                }
            }
            step => return Ok(step),
        }
    }
}

pub(super) fn newest() -> Options {
    options(RestoreFrom::Newest, Duplicates::Refused)
}

fn from_entry(entry: u64, duplicates: Duplicates) -> Options {
    options(RestoreFrom::Entry(EntryNumber(entry)), duplicates)
}

pub(super) fn restored(step: Step) -> Restore {
    match step {
        Step::Restore(restore) => *restore,
        other => panic!("no restore: {other:?}"),
    }
}

fn restores(journal: &Journal, damaged: &[&str], options: &Options) -> u64 {
    restored(recover(journal, damaged, options).unwrap()).manifest.entry.0
}

fn code(journal: &Journal, damaged: &[&str], options: &Options) -> String {
    let error = recover(journal, damaged, options).unwrap_err();
    assert!(error.hint().is_some());
    error.code()
}

#[test]
fn a_job_without_a_journal_starts_at_the_beginning_and_gets_its_id() {
    let Step::Fresh(fresh) = recover(&Journal::default(), &[], &newest()).unwrap() else { panic!() };
    let mut expected = claim(1, None);
    (expected.nonce, expected.job) = (Nonce(77), JobId(77));
    assert_eq!((fresh.claim, fresh.keep_staged), (expected, vec![]));
}

#[test]
fn the_newest_checkpoint_is_restored_under_a_claim_that_no_other_run_can_make() {
    let journal = journal(held_back());
    let restore = restored(recover(&journal, &[], &newest()).unwrap());
    let mut expected = claim(5, Some((4, 1)));
    (expected.nonce, expected.job, expected.first_epoch) = (Nonce(77), JOB, Epoch(8));
    assert_eq!(restore.claim, expected);
    assert_eq!(restore.claim.entry(), EntryNumber(5));
    let other = restored(recover(&journal, &[], &Options { nonce: Nonce(78), ..newest() }).unwrap());
    // Both have read the same journal, the other's write won, and its answer was lost.
    let claims = [Entry::Claim(other.claim.clone())];
    let after = super::journal(held_back().into_iter().chain(claims).collect());
    assert!(after.is_held_by(&other.claim));
    assert!(!after.is_held_by(&restore.claim));
}

#[test]
fn damage_goes_back_as_far_as_output_was_released_and_no_further() {
    let restore = restored(recover(&journal(held_back()), &["c", "b"], &newest()).unwrap());
    assert_eq!(restore.manifest.entry, EntryNumber(2));
    assert_eq!(restore.claim.damaged, ["b", "c"]);
    assert_eq!(restore.skipped[0].0, EntryNumber(4));

    let released = journal(vec![
        claimed(1, None),
        entry(manifest(1, 5, &[("a", 5)], Some(5))),
        entry(manifest(1, 6, &[("b", 6)], Some(6))),
    ]);
    let error = recover(&released, &["b"], &newest()).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0606"));
    for part in ["'b'", "table 'slices' of operator 'tumble-1'", "its checksum is wrong", "'sink-2' through epoch 6"] {
        assert!(error.message().contains(part), "{part}: {}", error.message());
    }
    assert!(error.hint().unwrap().contains("--from 2 --accept-duplicates"));
    assert_eq!(restores(&released, &["b"], &from_entry(2, Duplicates::Accepted)), 2);
    // What is damaged as well is not advised.
    let none = recover(&released, &["a", "b"], &newest()).unwrap_err();
    assert_eq!(none.code(), "R0607");
    assert!(none.hint().unwrap().contains("--from none --accept-duplicates"));
    assert_eq!(code(&released, &["b"], &from_entry(2, Duplicates::Refused)), "R0609");
}

#[test]
fn damage_beside_the_segments_that_a_checkpoint_names_does_not_matter() {
    // Only the second segment of b is alive.
    let mut last = manifest(1, 6, &[("b", 6)], None);
    last.objects[0].segments[0].offset = 5;
    last.objects[0].segments[0].length_bytes = 5;
    let journal = journal(vec![claimed(1, None), entry(last)]);
    let checks = BTreeMap::from([(SegmentId { object: "b".into(), offset: 0 }, SegmentCheck::Damaged("x".into()))]);
    let Step::Verify { objects, .. } = next_step(&journal, &checks, &newest()).unwrap() else { panic!() };
    assert_eq!((objects.len(), objects[0].segments[0].offset), (1, 5));
}

#[test]
fn sinks_that_replace_what_they_write_twice_allow_to_go_back() {
    let replaces = |epoch, name| {
        let mut manifest = manifest(1, epoch, &[(name, epoch)], Some(epoch));
        manifest.sinks[0].repeat = Repeat::Replaces;
        entry(manifest)
    };
    let journal = journal(vec![claimed(1, None), replaces(5, "a"), replaces(6, "b")]);
    assert_eq!(restores(&journal, &["b"], &newest()), 2);
}

#[test]
fn everything_damaged_is_refused_and_the_way_out_says_what_it_costs() {
    let error = recover(&journal(held_back()), &["a", "b", "c"], &newest()).unwrap_err();
    assert_eq!(error.code(), "R0607");
    assert!(error.message().contains("'c'"), "{}", error.message());
    assert!(error.hint().unwrap().contains("all output once more"));
    let claims_only = journal(vec![Entry::Unreadable("cut off".into())]);
    assert_eq!(code(&claims_only, &[], &newest()), "R0607", "it may have been anything");
}

#[test]
fn an_entry_that_cannot_be_read_or_is_missing_may_have_released_output() {
    let before = || vec![claimed(1, None), entry(manifest(1, 5, &[("a", 5)], Some(5)))];
    let unreadable = journal(before().into_iter().chain([Entry::Unreadable("it is cut off".into())]).collect());
    let error = recover(&unreadable, &[], &newest()).unwrap_err();
    assert_eq!(error.code(), "R0606");
    assert!(error.message().contains("00000000000000000003.json': it is cut off"), "{}", error.message());
    assert_eq!(restores(&unreadable, &[], &options(RestoreFrom::Newest, Duplicates::Accepted)), 2);

    // The same where the file has been removed: its witness is there.
    let removed = Journal::new(numbered(before()), Some(witness(3)));
    let error = recover(&removed, &[], &newest()).unwrap_err();
    assert!(error.message().contains("00000000000000000003.json': it is missing"), "{}", error.message());
    // And where a late claim has taken its number.
    let late = before().into_iter().chain([claimed(3, Some((2, 1)))]).collect();
    let taken = Journal::new(numbered(late), Some(witness(3)));
    assert!(!taken.is_held_by(&claim(3, Some((2, 1)))));
    assert_eq!(code(&taken, &[], &newest()), "R0606");
    let all_removed = Journal::new(Vec::new(), Some(witness(3)));
    assert_eq!(code(&all_removed, &[], &newest()), "R0607", "and not a fresh start");
    assert_eq!(code(&all_removed, &[], &options(RestoreFrom::Nothing, Duplicates::Refused)), "R0609");
    let accepted = recover(&all_removed, &[], &options(RestoreFrom::Nothing, Duplicates::Accepted)).unwrap();
    assert!(matches!(accepted, Step::Fresh(fresh) if fresh.claim.entry() == EntryNumber(4)));
}

#[test]
fn what_the_newest_claim_or_note_speaks_of_is_missed_when_it_is_removed() {
    let committed = Committed { entry: EntryNumber(4), generation: Generation(1), manifest: EntryNumber(3) };
    for newest_entry in [claimed(4, Some((3, 1))), Entry::Committed(committed)] {
        let entries =
            [(5, "a"), (6, "b")].map(|(epoch, name)| entry(manifest(1, epoch, &[(name, epoch)], Some(epoch))));
        let entries = [claimed(1, None)].into_iter().chain(entries).chain([newest_entry]).collect();
        let removed = numbered(entries).into_iter().filter(|(n, _)| *n != EntryNumber(3));
        let error = recover(&Journal::new(removed, None), &[], &newest()).unwrap_err();
        assert_eq!(error.code(), "R0606");
        assert!(error.message().contains("00000000000000000003.json': it is missing"), "{}", error.message());
    }
}

#[test]
fn a_checkpoint_that_was_passed_over_is_dead_for_good() {
    let entries = held_back().into_iter().chain([claimed(5, Some((3, 1)))]).collect();
    let journal = journal(entries);
    // The object of entry 4 is whole again, but its staged output may be gone.
    let restore = restored(recover(&journal, &[], &newest()).unwrap());
    let claim = restore.claim;
    assert_eq!((restore.manifest.entry.0, claim.entry().0, claim.first_epoch), (3, 6, Epoch(8)));
    for duplicates in [Duplicates::Refused, Duplicates::Accepted] {
        assert_eq!(code(&journal, &[], &from_entry(4, duplicates)), "R0617");
    }
    assert_eq!(restores(&journal, &[], &from_entry(3, Duplicates::Refused)), 3);
}

#[test]
fn only_what_the_last_generation_kept_can_be_named() {
    let mut first = claim(1, None);
    first.checkpoints_kept = workers(1);
    let entries = [Entry::Claim(first)].into_iter().chain(held_back().into_iter().skip(1)).collect();
    let journal = journal(entries);
    // It may be deleting entry 3 just now. Entry 2 is the last that released output.
    assert_eq!(code(&journal, &[], &from_entry(3, Duplicates::Refused)), "R0617");
    assert_eq!(restores(&journal, &[], &from_entry(2, Duplicates::Refused)), 2);
    assert_eq!(code(&journal, &[], &from_entry(1, Duplicates::Refused)), "R0608");
    assert_eq!(code(&journal, &[], &from_entry(9, Duplicates::Refused)), "R0608");
}

#[test]
fn a_claim_that_came_too_late_is_void() {
    // Another run has read the journal at entry 2 and claims 3 when 3 and 4 were written and 3 was deleted.
    let mut entries = held_back();
    let late = claim(3, Some((2, 1)));
    entries[2] = Entry::Claim(late.clone());
    assert!(!journal(entries.clone()).is_held_by(&late));
    assert!(journal(entries[..3].to_vec()).is_held_by(&late));
    let journal = journal(entries);
    assert_eq!(journal.owner(), Some(Generation(1)));
    let restore = restored(recover(&journal, &["c"], &newest()).unwrap());
    assert_eq!((restore.manifest.entry.0, restore.claim.restored.unwrap().generation), (2, Generation(1)));
}

#[test]
fn the_history_ends_at_a_claim_that_cannot_be_read() {
    let mut entries = held_back();
    entries.push(Entry::Unreadable("cut off".into()));
    entries.push(entry(manifest(5, 9, &[("d", 9)], None)));
    let journal = journal(entries);
    assert_eq!(journal.owner(), Some(Generation(5)), "the number of the claim, damaged as it is");
    let restore = restored(recover(&journal, &[], &newest()).unwrap());
    assert_eq!((restore.manifest.entry.0, restore.claim.generation), (6, Generation(7)));
    // What its generation had restored is not known: entry 4 may lie on a dead branch.
    assert_eq!(code(&journal, &["d"], &newest()), "R0607");
}

#[test]
fn a_retired_entry_only_holds_its_number() {
    let journal = journal(vec![claimed(1, None), entry(manifest(1, 5, &[("a", 5)], Some(5))), Entry::Retired]);
    let restore = restored(recover(&journal, &[], &newest()).unwrap());
    assert_eq!((restore.manifest.entry, restore.claim.entry()), (EntryNumber(2), EntryNumber(4)));
}

#[test]
fn epochs_are_not_used_again_when_their_manifests_have_gone() {
    let mut second = claim(4, Some((2, 1)));
    second.first_epoch = Epoch(30);
    let first = entry(manifest(1, 5, &[("a", 5)], None));
    let journal = journal(vec![claimed(1, None), first, Entry::Retired, Entry::Claim(second)]);
    assert_eq!(restored(recover(&journal, &[], &newest()).unwrap()).claim.first_epoch, Epoch(30));
}

#[test]
fn a_job_that_has_ended_needs_no_state_and_commits_what_may_be_missing_once() {
    let mut last = manifest(1, 5, &[("a", 5)], Some(5));
    last.phase = JobPhase::Finished;
    let entries = || vec![claimed(1, None), entry(last.clone())];
    let Step::FinishCommit(finish) = recover(&journal(entries()), &["a"], &newest()).unwrap() else { panic!() };
    let fence = &finish.commit[0].fence;
    assert_eq!((finish.claim.entry().0, finish.committed.entry.0, finish.committed.manifest.0), (3, 4, 2));
    assert_eq!((fence.owner.generation, fence.release, finish.commit.len()), (Generation(3), number(1, 5), 1));
    let claimed = Entry::Claim(finish.claim.clone());
    let done = entries().into_iter().chain([claimed, Entry::Committed(finish.committed)]).collect();
    assert_eq!(recover(&journal(done), &[], &newest()).unwrap(), Step::AlreadyFinished(EntryNumber(2)));
}

#[test]
fn a_start_without_state_must_not_repeat_output_unasked() {
    let nothing = |duplicates| options(RestoreFrom::Nothing, duplicates);
    assert_eq!(code(&journal(held_back()), &[], &nothing(Duplicates::Refused)), "R0609");
    let accepted = recover(&journal(held_back()), &[], &nothing(Duplicates::Accepted)).unwrap();
    assert!(matches!(accepted, Step::Fresh(f) if f.claim.first_epoch == Epoch(8) && f.claim.restored.is_none()));
    let unreleased = journal(vec![claimed(1, None), entry(manifest(1, 5, &[("a", 5)], None))]);
    assert!(matches!(recover(&unreleased, &[], &nothing(Duplicates::Refused)).unwrap(), Step::Fresh(_)));
}

#[test]
fn a_job_started_without_state_can_go_back_until_it_has_a_checkpoint() {
    let mut entries = held_back();
    entries.push(claimed(5, None));
    let fresh = journal(entries.clone());
    assert!(matches!(recover(&fresh, &[], &newest()).unwrap(), Step::Fresh(f) if f.claim.restored.is_none()));
    assert_eq!(restores(&fresh, &[], &from_entry(4, Duplicates::Refused)), 4);
    entries.push(entry(manifest(5, 9, &[("d", 9)], None)));
    assert_eq!(code(&journal(entries), &[], &from_entry(4, Duplicates::Refused)), "R0617");
}

fn saved(name: &str, mut manifest: Manifest) -> Entry {
    manifest.savepoint = Some(name.into());
    entry(manifest)
}

#[test]
fn a_savepoint_is_found_by_name_also_on_a_dead_branch() {
    let first = saved("before", manifest(1, 5, &[("a", 5)], Some(5)));
    let after = entry(manifest(1, 6, &[("a", 5)], Some(5)));
    let savepoint = |name: &str| options(RestoreFrom::Savepoint(name.into()), Duplicates::Refused);
    let known = journal(vec![claimed(1, None), first.clone(), after.clone()]);
    assert_eq!(restores(&known, &[], &savepoint("before")), 2);
    assert_eq!(code(&known, &[], &savepoint("other")), "R0608");
    assert_eq!(code(&known, &["a"], &savepoint("before")), "R0607");
    let dead = journal(vec![claimed(1, None), after, first, claimed(4, Some((2, 1)))]);
    assert_eq!(restores(&dead, &[], &savepoint("before")), 3);
}

#[test]
fn state_and_output_that_the_program_has_no_operator_for_are_named_and_refused() {
    let mut last = manifest(1, 6, &[("a", 5)], Some(6));
    last.sinks[0].held = vec![];
    let journal = journal(vec![claimed(1, None), entry(last)]);
    let lacking =
        |operators: &[&str]| Options { operators: operators.iter().map(|o| (*o).into()).collect(), ..newest() };
    let error = recover(&journal, &[], &lacking(&["tumble-1"])).unwrap_err();
    assert_eq!(error.code(), "R0611");
    let told = "operator 'sink-2' (filesystem): output that is not visible yet";
    assert!(error.message().contains(told), "{}", error.message());
    let error = recover(&journal, &[], &lacking(&["sink-2", "more"])).unwrap_err();
    assert!(error.message().contains("operator 'tumble-1' (window aggregate): state"), "{}", error.message());
    let accepted = Options { dropped_state: DroppedState::Accepted, ..lacking(&[]) };
    let restore = restored(recover(&journal, &[], &accepted).unwrap());
    assert_eq!((restore.dropped.len(), restore.commit.len()), (2, 0), "nobody can commit for the sink that is gone");
}

#[test]
fn a_source_that_would_be_read_again_under_another_id_is_output_that_shows_twice() {
    let mut last = manifest(1, 6, &[], Some(6));
    last.sources = vec![SourceState {
        operator: "source-1".into(),
        watermark_ms: 0,
        enumerated: true,
        enumerator: String::new(),
        sequences: vec![],
        splits: vec![],
    }];
    let journal = journal(vec![claimed(1, None), entry(last)]);
    let changed = |sources: &[&str], duplicates| Options {
        dropped_state: DroppedState::Accepted,
        duplicates,
        fed_by: [("sink-2".into(), sources.iter().map(|s| (*s).into()).collect())].into(),
        operators: sources.iter().copied().chain(["sink-2", "tumble-1"]).map(Into::into).collect(),
        ..newest()
    };
    let error = recover(&journal, &[], &changed(&["source-9"], Duplicates::Refused)).unwrap_err();
    assert_eq!(error.code(), "R0609");
    assert!(error.message().contains("'source-9'") && error.message().contains("'sink-2'"), "{}", error.message());
    restored(recover(&journal, &[], &changed(&["source-9"], Duplicates::Accepted)).unwrap());
    // One more source beside the old, and none at all: nothing is read again.
    restored(recover(&journal, &[], &changed(&["source-1", "source-9"], Duplicates::Refused)).unwrap());
    restored(recover(&journal, &[], &changed(&[], Duplicates::Refused)).unwrap());
}

#[test]
fn what_must_stay_staged_is_what_can_still_be_asked_for() {
    let mut last = manifest(1, 7, &[], Some(6));
    last.sinks[0].releases = vec![rheos_checkpoint::manifest::Release {
        number: number(1, 6),
        committables: vec![staged(1, 6, 0, "part-6")],
    }];
    let entries = vec![
        claimed(1, None),
        saved("s", manifest(1, 4, &[], Some(4))),
        entry(manifest(1, 6, &[], Some(6))),
        entry(last),
    ];
    let parts = |keep: &[rheos_checkpoint::recovery::SinkStaged]| -> Vec<String> {
        keep.iter().flat_map(|s| &s.committables).map(text).collect()
    };
    let restore = restored(recover(&journal(entries.clone()), &[], &newest()).unwrap());
    assert_eq!(parts(&restore.keep_staged), ["part-4", "part-6", "part-7"]);
    let nothing = options(RestoreFrom::Nothing, Duplicates::Accepted);
    let Step::Fresh(fresh) = recover(&journal(entries.clone()), &[], &nothing).unwrap() else { panic!() };
    assert_eq!(parts(&fresh.keep_staged), ["part-4", "part-6", "part-7"], "there is a way back");
    let later = entries.into_iter().chain([claimed(5, None), entry(manifest(5, 9, &[], None))]).collect();
    let Step::Fresh(fresh) = recover(&journal(later), &[], &nothing).unwrap() else { panic!() };
    assert_eq!(parts(&fresh.keep_staged), ["part-4", "part-9"], "and savepoints stay");
}
