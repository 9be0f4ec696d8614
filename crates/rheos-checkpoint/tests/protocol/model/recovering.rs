//! From a journal to a generation: what a starter does, with others that start at the same time.

use std::collections::BTreeMap;

use rheos_checkpoint::journal::{Claim, Entry, EntryNumber};
use rheos_checkpoint::recovery::{
    DroppedState, Duplicates, Options, RestoreFrom, SegmentCheck, SegmentId, SinkStaged, Step, known, next_step,
};
use rheos_core::sink::Owner;

use super::generation::{Fate, Running};
use super::sinks::{MERGING, UPSERTING};
use super::workers::{SOURCE, STATEFUL};
use super::world::{Hazard, World};

/// What a run of the model may vary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) commit_interval_ms: u64,
    pub(super) in_flight_max: usize,
    pub(super) checkpoints_kept: u32,
}

/// A generation at some point of its life.
pub(super) enum Stage {
    /// It has decided what to go on from, and has claimed nothing.
    Recovering(Recovering),
    Running(Box<Running>),
    /// There is nothing to do any more.
    Finished,
    /// It may not go on from what is left.
    Refused,
}

pub(super) struct Recovering {
    step: Box<Step>,
    parallelism: u32,
    duplicates: Duplicates,
}

/// What the user gives on the command line, from a random number.
fn asked(world: &World, how: u8) -> (RestoreFrom, Duplicates) {
    let newest = (RestoreFrom::Newest, Duplicates::Refused);
    if world.hazard != Hazard::User || how < 120 {
        return newest;
    }
    let duplicates = if how.is_multiple_of(2) { Duplicates::Accepted } else { Duplicates::Refused };
    let journal = world.journal();
    let from = match how {
        120..180 => {
            let numbers: Vec<EntryNumber> = world.journal.keys().copied().collect();
            numbers.get(usize::from(how) % numbers.len().max(1)).map(|n| RestoreFrom::Entry(*n))
        }
        180..240 => {
            let names: Vec<_> = journal.savepoints().map(|(_, name, _)| name.to_string()).collect();
            names.get(usize::from(how) % names.len().max(1)).map(|n| RestoreFrom::Savepoint(n.clone()))
        }
        _ => Some(RestoreFrom::Nothing),
    };
    from.map_or(newest, |from| (from, duplicates))
}

impl Stage {
    /// Reads the journal and all segments that are asked for.
    pub(super) fn recover(world: &mut World, setup: &Setup, parallelism: u32, how: u8) -> Stage {
        let (from, duplicates) = asked(world, how);
        let is_newest = from == RestoreFrom::Newest;
        let options = Options {
            from,
            duplicates,
            dropped_state: DroppedState::Refused,
            operators: [MERGING, UPSERTING, SOURCE, STATEFUL].map(Into::into).into(),
            fed_by: BTreeMap::new(),
            checkpoints_kept: setup.checkpoints_kept.try_into().unwrap(),
            nonce: world.nonce(),
        };
        let mut checks = BTreeMap::new();
        loop {
            match next_step(&world.journal(), &checks, &options) {
                Ok(Step::Verify { objects, .. }) => {
                    assert!(!objects.is_empty());
                    for object in objects {
                        let check = check(world, &object.name);
                        for segment in object.segments {
                            let id = SegmentId { object: object.name.clone(), offset: segment.offset };
                            assert_eq!(checks.insert(id, check.clone()), None, "asked for twice");
                        }
                    }
                }
                Ok(step) => return Stage::Recovering(Recovering { step: Box::new(step), parallelism, duplicates }),
                // Then the user does not insist.
                Err(_) if !is_newest => return Self::recover(world, setup, parallelism, 0),
                Err(error) => {
                    assert!(world.is_damaged, "refused without damage: {}", error.message());
                    return Stage::Refused;
                }
            }
        }
    }
}

fn check(world: &World, object: &str) -> SegmentCheck {
    match world.objects.get(object) {
        Some(stored) if !stored.damaged => SegmentCheck::Whole,
        Some(_) => SegmentCheck::Damaged("a bit has flipped".into()),
        None if world.may_be_gone(object) => SegmentCheck::Damaged("not there".into()),
        None => panic!("a candidate names the missing object {object}"),
    }
}

impl Recovering {
    /// Writes the claim and starts, or reads the journal again if another was faster.
    ///
    /// A crash between claim and start is the same as one right after the start, but for the commits: `commits` of them
    /// are made before it; the generation runs only if that is all of them.
    pub(super) fn claim(self, world: &mut World, setup: &Setup, commits: usize, fate: Fate) -> Stage {
        let Self { step, parallelism, duplicates } = self;
        // What is read for the restore is checked once more.
        if let Step::Restore(restore) = &*step
            && restore.manifest.objects.iter().any(|o| world.objects.get(&o.name).is_none_or(|s| s.damaged))
        {
            return Stage::recover(world, setup, parallelism, 0);
        }
        let (claim, commit, keep) = match *step.clone() {
            Step::Fresh(fresh) => (fresh.claim, Vec::new(), fresh.keep_staged),
            Step::Restore(restore) => (restore.claim, restore.commit, restore.keep_staged),
            Step::FinishCommit(finish) => (finish.claim, finish.commit, finish.keep_staged),
            Step::AlreadyFinished(_) => return Stage::Finished,
            Step::Verify { .. } => unreachable!("verified above"),
        };
        // Also if nobody hears of the claim, it may be written yet.
        world.duplicates |= duplicates == Duplicates::Accepted;
        if !is_claimed(world, &claim, fate) {
            return Stage::recover(world, setup, parallelism, 0);
        }
        let is_over = matches!(&*step, Step::FinishCommit(_));
        take_over(world, &claim, duplicates, &keep);
        let commits = if is_over { usize::MAX } else { commits };
        commit.iter().take(commits).for_each(|c| world.commit(c, false));
        if !is_over && commits < commit.len() {
            return Stage::recover(world, setup, parallelism, 0);
        }
        match *step {
            Step::FinishCommit(finish) => {
                let (number, entry) = (finish.committed.entry, Entry::Committed(finish.committed));
                if world.put(number, &entry).is_ok() {
                    assert!(world.bear_witness(number, &entry), "two entries of one number");
                }
                Stage::Finished
            }
            Step::Restore(restore) => {
                Stage::Running(Box::new(Running::start(world, setup, parallelism, &claim, Some(restore.manifest))))
            }
            _ => Stage::Running(Box::new(Running::start(world, setup, parallelism, &claim, None))),
        }
    }
}

/// Whether the claim has been written and counts.
fn is_claimed(world: &mut World, claim: &Claim, fate: Fate) -> bool {
    let entry = Entry::Claim(claim.clone());
    match fate {
        Fate::Fails => return false,
        Fate::Delayed => {
            world.delayed.push((claim.entry(), entry));
            return false;
        }
        // Whether it was written is seen when the journal is read again.
        Fate::Works | Fate::AnswerLost => _ = world.put(claim.entry(), &entry),
    }
    // Either order will do.
    if claim.nonce.0.is_multiple_of(2) {
        return world.journal().is_held_by(claim) && world.bear_witness(claim.entry(), &entry);
    }
    let stands = world.journal.get(&claim.entry()) == Some(&entry);
    stands && world.bear_witness(claim.entry(), &entry) && world.journal().is_held_by(claim)
}

/// No target knows of more than the journal does, but where entries are damaged.
fn take_over(world: &mut World, claim: &Claim, duplicates: Duplicates, keep: &[SinkStaged]) {
    for operator in [MERGING, UPSERTING] {
        let owner = Owner { job: claim.job, operator: operator.into(), generation: claim.generation };
        let kept = keep.iter().find(|k| k.operator == owner.operator);
        let kept = kept.map_or(Vec::new(), |k| k.committables.clone());
        let known = known(&world.journal(), &owner.operator, duplicates == Duplicates::Accepted);
        let is_known = world.target(operator).resume(&owner, &known, &kept);
        assert!(is_known || world.is_damaged, "'{operator}' has more than the journal knows");
    }
}
