//! Which checkpoint a new generation goes on from, and what it does before it starts.
//!
//! [`next_step`] is asked again after each answer, with the journal as it then is:
//!
//! ```text
//!   Verify (read these segments) ──► Verify ... ──► Restore: 1. write the claim, then its witness; read the journal. The
//!                                                              number was taken, or the claim is not the newest entry?
//!                                                              ask again, with another nonce
//!                                                           2. sinks take note of the generation
//!                                                           3. commit again what the manifest has released
//!                                                           4. discard what failed generations have staged
//!                                                           5. start, with the state that `rescale` hands out
//! ```
//! The newest checkpoint whose segments are whole is taken. Going back past a checkpoint that released output would emit
//! that output twice, so it is refused, unless every sink replaces what it writes twice or the user accepts duplicates.
//! A checkpoint can be named if the newest generation stands on it and keeps it, or if it is a savepoint: all else may have
//! lost its staged output or its objects by now, or is just losing them to a run that is not quite dead.
//!
//! What has been read to be verified may be kept for the restore: 5 s for 1 GB leave no time to read it twice.

mod limit;
mod output;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use rheos_core::sink::Committable;
use rheos_core::{Error, ErrorKind, Generation, JobId, OperatorId, Result};

use crate::coordinator::SinkCommit;
use crate::garbage;
use crate::journal::{Claim, Committed, Entry, EntryNumber, Journal, Nonce, Restored};
use crate::manifest::{JobPhase, Manifest, ObjectRef, Repeat, Segment};
use crate::program::{self, Contents, Dropped};
use limit::Limit;
pub use output::known;

/// From where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreFrom {
    /// The newest checkpoint that can be used.
    Newest,
    /// This one.
    Entry(EntryNumber),
    /// The savepoint of this name.
    Savepoint(String),
    /// Without state, from the start of all input.
    Nothing,
}

/// What a run asks of a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// From where.
    pub from: RestoreFrom,
    /// Output may show twice (`--accept-duplicates`).
    pub duplicates: Duplicates,
    /// What the program has no operator for may be lost (`--allow-dropped-state`).
    pub dropped_state: DroppedState,
    /// All operators of the program as it is now.
    pub operators: BTreeSet<OperatorId>,
    /// By sink: the sources that its rows come from in the program as it is now.
    pub fed_by: BTreeMap<OperatorId, BTreeSet<OperatorId>>,
    /// How many checkpoints the new generation keeps.
    pub checkpoints_kept: NonZeroU32,
    /// A random number; another for each call whose claim is written.
    pub nonce: Nonce,
}

/// Whether output may show twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Rather no restore.
    Refused,
    /// The user knows.
    Accepted,
}

/// Whether state without an operator may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DroppedState {
    /// Rather no restore.
    Refused,
    /// The user knows.
    Accepted,
}

/// A segment of an object, wherever it is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    /// The object.
    pub object: String,
    /// The segment's first byte.
    pub offset: u64,
}

/// What reading a segment found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentCheck {
    /// Length and checksum are right, here or in a copy.
    Whole,
    /// Something is wrong with it, or it is not there.
    Damaged(String),
}

/// The next step of a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the segments of these objects, compare length and checksums, and ask again with the results.
    Verify {
        /// The checkpoint that needs them.
        entry: EntryNumber,
        /// Objects, each with the segments that have no result yet. What lies beside them in an object does not matter.
        objects: Vec<ObjectRef>,
    },
    /// Start without state, once the claim is written.
    Fresh(Box<Fresh>),
    /// Go on from a checkpoint, once the claim is written.
    Restore(Box<Restore>),
    /// The job had come to its end, but perhaps not all is committed.
    FinishCommit(Box<FinishCommit>),
    /// The job had come to its end; there is nothing to do.
    AlreadyFinished(EntryNumber),
}

/// How to start without state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// The claim.
    pub claim: Claim,
    /// Per sink: what must stay staged for savepoints. All else that earlier generations have staged is discarded.
    pub keep_staged: Vec<SinkStaged>,
}

/// How to go on from a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The claim.
    pub claim: Claim,
    /// The checkpoint. What it held back and a later one has released since is among its releases.
    pub manifest: Arc<Manifest>,
    /// What may have been committed or not: it is committed again, in this order, one after the other.
    pub commit: Vec<SinkCommit>,
    /// Per sink: what must stay staged. All else that earlier generations have staged is a leftover of a failure and is
    /// discarded, after the claim.
    pub keep_staged: Vec<SinkStaged>,
    /// Newer checkpoints that could not be used, newest first, and why: a warning.
    pub skipped: Vec<(EntryNumber, String)>,
    /// What is lost because the program has no operator for it: a warning.
    pub dropped: Vec<Dropped>,
}

/// How to bring the commits of a job that had ended to their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishCommit {
    /// The claim, which comes first.
    pub claim: Claim,
    /// As of [`Restore::commit`].
    pub commit: Vec<SinkCommit>,
    /// As of [`Restore::keep_staged`].
    pub keep_staged: Vec<SinkStaged>,
    /// The entry to write behind the claim when that is done. The next start has nothing to do.
    pub committed: Committed,
}

/// What a sink has staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkStaged {
    /// The stable id of its operator.
    pub operator: OperatorId,
    /// What it has staged.
    pub committables: Vec<Committable>,
}

/// What to do next. `checks` holds the results of all segments that have been read.
///
/// Errors: `Corrupt` (R0606) if only a checkpoint is whole that would emit output twice, or none is (R0607);
/// `Invalid` (R0608) for a checkpoint or savepoint that is not there, R0609 for one that would emit output twice, also where
/// dropped positions would have a source read from its start, R0611 if the
/// program lacks operators that the checkpoint has something for, R0617 for a checkpoint that nobody keeps any more.
pub fn next_step(journal: &Journal, checks: &BTreeMap<SegmentId, SegmentCheck>, options: &Options) -> Result<Step> {
    let limit = Limit::of(journal);
    let usable = match &options.from {
        RestoreFrom::Nothing => return fresh_if_harmless(journal, &limit, options),
        RestoreFrom::Newest if journal.lineage().entries().is_empty() => return Ok(fresh(journal, options)),
        RestoreFrom::Newest => newest(journal, &limit, checks, options)?,
        RestoreFrom::Entry(number) => entry(journal, *number, &limit, checks, options)?,
        RestoreFrom::Savepoint(name) => savepoint(journal, name, &limit, checks, options)?,
    };
    let (manifest, skipped) = match usable {
        Usable::Verify(step) => return Ok(step),
        Usable::Checkpoint(manifest, skipped) => (manifest, skipped),
    };
    let restored = Restored { entry: manifest.entry, generation: manifest.generation };
    let mut claim = claim(journal, Some(restored), options);
    let damaged = checks.iter().filter(|(_, check)| **check != SegmentCheck::Whole);
    let damaged: BTreeSet<_> = damaged.map(|(id, _)| id.object.clone()).collect();
    claim.damaged = damaged.into_iter().collect();
    let manifest = Arc::new(output::with_later_releases(journal, &manifest, claim.generation));
    let commit = output::commits(journal, &manifest, (claim.job, claim.generation), &options.operators);
    if manifest.phase == JobPhase::Finished {
        return Ok(finished(journal, &manifest, claim, commit));
    }
    let dropped = program::dropped(&manifest, &options.operators, journal.is_committed(manifest.entry));
    if options.dropped_state == DroppedState::Refused && !dropped.is_empty() {
        return Err(lacks(&manifest, &dropped));
    }
    if let Some((source, sink)) = read_again(&manifest, &dropped, options) {
        return Err(Error::invalid(
            609,
            format!(
                "source '{source}' has no positions in checkpoint {}, which has some for a source that the program does not have: \
                 it would be read from its start, and output of sink '{sink}' may be visible already and would show twice",
                manifest.entry
            ),
        )
        .with_hint(
            "name the table as it was before, or give '--accept-duplicates' if output may show twice, or use another target",
        ));
    }
    let keep_staged = output::keep_staged(journal, Some(&manifest));
    Ok(Step::Restore(Box::new(Restore { claim, manifest, commit, keep_staged, skipped, dropped })))
}

enum Usable {
    Verify(Step),
    Checkpoint(Arc<Manifest>, Vec<(EntryNumber, String)>),
}

fn claim(journal: &Journal, restored: Option<Restored>, options: &Options) -> Claim {
    Claim {
        generation: Generation(journal.next_number().0),
        nonce: options.nonce,
        job: journal.job().unwrap_or(JobId(options.nonce.0)),
        restored,
        first_epoch: journal.next_epoch(),
        checkpoints_kept: options.checkpoints_kept,
        damaged: Vec::new(),
    }
}

fn fresh(journal: &Journal, options: &Options) -> Step {
    let claim = claim(journal, None, options);
    Step::Fresh(Box::new(Fresh { claim, keep_staged: output::keep_staged(journal, None) }))
}

fn fresh_if_harmless(journal: &Journal, limit: &Limit, options: &Options) -> Result<Step> {
    match limit.forbids(None, options.duplicates) {
        None => Ok(fresh(journal, options)),
        Some(why) => Err(Error::invalid(609, format!("the job cannot start without state: {why}")).with_hint(
            "give '--accept-duplicates' if output may show twice, or use another state directory and another target",
        )),
    }
}

fn finished(journal: &Journal, manifest: &Manifest, claim: Claim, commit: Vec<SinkCommit>) -> Step {
    if commit.is_empty() {
        return Step::AlreadyFinished(manifest.entry);
    }
    let committed = Committed { entry: claim.entry().next(), generation: claim.generation, manifest: manifest.entry };
    Step::FinishCommit(Box::new(FinishCommit {
        claim,
        commit,
        keep_staged: output::keep_staged(journal, Some(manifest)),
        committed,
    }))
}

/// A source that begins anew although positions are dropped, perhaps its own under another id, and a sink below it whose output
/// shows.
fn read_again<'a>(
    manifest: &Manifest,
    dropped: &[Dropped],
    options: &'a Options,
) -> Option<(&'a OperatorId, &'a OperatorId)> {
    if options.duplicates == Duplicates::Accepted || dropped.iter().all(|d| !d.contents.contains(&Contents::Positions))
    {
        return None;
    }
    let shows = |sink: &OperatorId| {
        let known = manifest.sinks.iter().find(|s| s.operator == *sink);
        known.is_some_and(|s| s.repeat == Repeat::Duplicates && s.last_release.is_some())
    };
    let is_new = |source: &OperatorId| manifest.sources.iter().all(|s| s.operator != *source);
    let mut sinks = options.fed_by.iter().filter(|(sink, _)| shows(sink));
    sinks.find_map(|(sink, sources)| sources.iter().find(|s| is_new(s)).map(|source| (source, sink)))
}

fn lacks(manifest: &Manifest, dropped: &[Dropped]) -> Error {
    let list = dropped.iter().map(Dropped::to_string).collect::<Vec<_>>().join("; ");
    let message = format!("the program has no operator for what checkpoint {} holds: {list}", manifest.entry);
    Error::invalid(611, message).with_hint(
        "run the program as it was, or give '--allow-dropped-state' if this may be lost; operators that had names from the start, as in \
         '/*+ id('...') */', keep their state where the program around them changes",
    )
}

/// The newest of the kept checkpoints that is whole.
fn newest(
    journal: &Journal,
    limit: &Limit,
    checks: &BTreeMap<SegmentId, SegmentCheck>,
    options: &Options,
) -> Result<Usable> {
    let kept = garbage::candidates(journal);
    let lineage = journal.lineage();
    let mut skipped: Vec<(EntryNumber, String)> = Vec::new();
    for (number, entry) in lineage.entries().iter().filter(|(n, _)| kept.contains(n)) {
        let manifest = match entry {
            Entry::Manifest(manifest) => manifest,
            Entry::Unreadable(why) => {
                skipped.push((*number, format!("the journal's file '{}': {why}", number.file_name())));
                continue;
            }
            Entry::Claim(_) | Entry::Committed(_) | Entry::Retired => continue,
        };
        match verify(manifest, checks) {
            Verdict::Unknown(step) => return Ok(Usable::Verify(step)),
            Verdict::Damaged(why) => skipped.push((*number, why)),
            Verdict::Whole => {
                // With nothing passed over, nobody goes back.
                let forbids = skipped.first().zip(limit.forbids(Some(manifest), options.duplicates));
                let Some(((_, cause), why)) = forbids else {
                    return Ok(Usable::Checkpoint(Arc::clone(manifest), skipped));
                };
                let message = format!("{cause}; and the job cannot go back to checkpoint {number}: {why}");
                return Err(Error::new(ErrorKind::Corrupt, 606, message).with_hint(format!(
                    "put the damaged file back from a copy, or give '--from {number} --accept-duplicates'"
                )));
            }
        }
    }
    let cause = skipped.first().map_or("no checkpoint is left", |(_, why)| why.as_str());
    Err(Error::new(ErrorKind::Corrupt, 607, format!("no checkpoint can be restored: {cause}")).with_hint(
        "put the damaged file back from a copy; or start without state by '--from none --accept-duplicates', which \
         writes all output once more",
    ))
}

fn entry(
    journal: &Journal,
    number: EntryNumber,
    limit: &Limit,
    checks: &BTreeMap<SegmentId, SegmentCheck>,
    options: &Options,
) -> Result<Usable> {
    let what = format!("checkpoint {number}");
    match journal.get(number) {
        Some(Entry::Manifest(manifest)) if manifest.savepoint.is_some() => {
            named(manifest, &what, limit, checks, options)
        }
        Some(Entry::Manifest(manifest)) if garbage::candidates(journal).contains(&number) => {
            named(manifest, &what, limit, checks, options)
        }
        Some(Entry::Manifest(_)) => Err(Error::invalid(617, format!("{what} is not kept any more: the job went on from another one, or has made newer ones; its files may be gone"))
            .with_hint("'rheos checkpoint list' shows which can be restored; a savepoint always can")),
        Some(Entry::Unreadable(why)) => {
            Err(Error::new(ErrorKind::Corrupt, 607, format!("{what} cannot be restored: the journal's file '{}': {why}", number.file_name()))
                .with_hint("put the damaged file back from a copy, or take another checkpoint"))
        }
        _ => Err(no_such(&what)),
    }
}

fn savepoint(
    journal: &Journal,
    name: &str,
    limit: &Limit,
    checks: &BTreeMap<SegmentId, SegmentCheck>,
    options: &Options,
) -> Result<Usable> {
    let what = format!("savepoint '{name}'");
    let found = journal.savepoints().rev().find(|(_, n, _)| *n == name).map(|(number, ..)| number);
    match found.and_then(|number| journal.get(number)) {
        Some(Entry::Manifest(manifest)) => named(manifest, &what, limit, checks, options),
        _ => Err(no_such(&what)),
    }
}

fn no_such(what: &str) -> Error {
    Error::invalid(608, format!("there is no {what}"))
        .with_hint(
            "'rheos checkpoint list' shows checkpoints and savepoints; to go on from one of another state directory, copy that \
             directory while no run uses it, and give the copy as '--state-dir'",
        )
}

/// The checkpoint that the user has named.
fn named(
    manifest: &Arc<Manifest>,
    what: &str,
    limit: &Limit,
    checks: &BTreeMap<SegmentId, SegmentCheck>,
    options: &Options,
) -> Result<Usable> {
    if let Some(why) = limit.forbids(Some(manifest), options.duplicates) {
        return Err(Error::invalid(609, format!("the job cannot go back to {what}: {why}"))
            .with_hint("give '--accept-duplicates' if output may show twice"));
    }
    match verify(manifest, checks) {
        Verdict::Unknown(step) => Ok(Usable::Verify(step)),
        Verdict::Whole => Ok(Usable::Checkpoint(Arc::clone(manifest), Vec::new())),
        Verdict::Damaged(why) => Err(Error::new(ErrorKind::Corrupt, 607, format!("{what} cannot be restored: {why}"))
            .with_hint(
                "put the damaged file back from a copy, or take another checkpoint: 'rheos checkpoint verify' shows which are whole; if \
                 none is, '--from none --accept-duplicates' starts without state, and writes all output once more",
            )),
    }
}

enum Verdict {
    Unknown(Step),
    Damaged(String),
    Whole,
}

fn verify(manifest: &Manifest, checks: &BTreeMap<SegmentId, SegmentCheck>) -> Verdict {
    // A job that has ended does not need its state.
    if manifest.phase == JobPhase::Finished {
        return Verdict::Whole;
    }
    let check = |object: &ObjectRef, segment: &Segment| {
        checks.get(&SegmentId { object: object.name.clone(), offset: segment.offset })
    };
    let mut unknown = Vec::new();
    for object in &manifest.objects {
        let mut segments = Vec::new();
        for segment in &object.segments {
            match check(object, segment) {
                Some(SegmentCheck::Whole) => {}
                Some(SegmentCheck::Damaged(why)) => {
                    return Verdict::Damaged(format!(
                        "the object '{}', which holds state of table '{}' of operator '{}': {why}",
                        object.name, segment.table, segment.operator
                    ));
                }
                None => segments.push(segment.clone()),
            }
        }
        if !segments.is_empty() {
            unknown.push(ObjectRef { segments, ..object.clone() });
        }
    }
    match unknown.is_empty() {
        true => Verdict::Whole,
        false => Verdict::Unknown(Step::Verify { entry: manifest.entry, objects: unknown }),
    }
}
