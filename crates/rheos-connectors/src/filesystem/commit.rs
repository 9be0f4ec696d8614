//! Makes staged parts visible.
//!
//! ```text
//!   no state    hidden part ──rename──► visible part
//!   with state  1. by partition: hidden parts ──merge──► hidden file, fsync; a single part stays as it is
//!               2. the plan into the ledger: through which epochs, and how large a visible part is
//!               3. hidden file ──rename──► visible part, named as the first of its parts
//!               4. _SUCCESS of the partitions that are complete
//!               5. "committed" into the ledger
//!               6. the hidden parts go
//! ```
//!
//! A commit that died is repeated, and may bring what was staged later too. Before step 2 nothing was visible, and all is done
//! anew. Behind it the plan says which hidden files there were: those that are gone are visible, or were, since readers may take a
//! part away at once; the others get their names now. Behind step 5 the ledger says that all is done. So the same parts
//! come to be wherever it died, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rheos_core::error::Warn;
use rheos_core::sink::{Admission, Committable, Fence};
use rheos_core::{Error, ErrorKind as Kind, Result};

use super::disk;
use super::folder::Leftovers;
use super::ledger::{Ledger, Plan};
use super::merge::{Input, disappeared, merge, open, open_whole, outputs};
use super::paths::shown;
use super::staged::{Attempt, Staged, StagedPart, merging_name};
use super::success::{PartitionCommit, now_ms};
use super::writer::Target;

/// What a sink commits to.
pub(crate) struct Commit<'a> {
    target: &'a Target,
    table: &'a Path,
    /// Told of parts that are lost, where those do not end the job.
    lost: Option<Warn>,
    /// What wrote the parts that need not be read once more.
    own: Option<Attempt>,
}

impl<'a> Commit<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        Self { target, table: Path::new(&target.options.path), lost: None, own: None }
    }

    /// Parts that this attempt has written, and nobody else, are taken to be as they were written: where one becomes visible as it is,
    /// it is not read for that.
    pub(crate) fn of(self, own: Option<Attempt>) -> Self {
        Self { own, ..self }
    }

    /// Parts that have gone are told of and passed over.
    pub(crate) fn passing_over_lost_parts(self, warn: Warn) -> Self {
        Self { lost: Some(warn), ..self }
    }

    pub(crate) fn parse(committables: &[Committable]) -> Result<Vec<Staged>> {
        committables.iter().map(Staged::parse).collect()
    }

    /// The output of a job without state. `waiting`: the partitions that are not declared complete.
    pub(crate) fn closed(&self, staged: &[Staged], waiting: &mut BTreeMap<String, i64>) -> Result<()> {
        let mut folders = BTreeSet::new();
        for staged in staged {
            for part in &staged.parts {
                self.create_folder(&part.folder)?;
                self.publish(staged, part)?;
                folders.insert(part.folder.as_str());
            }
        }
        self.sync_folders(&folders)?;
        let staged: Vec<_> = staged.iter().collect();
        self.declare(&staged, &folders, waiting)
    }

    /// The output of a job with state.
    pub(crate) fn released(&self, fence: Option<&Fence>, staged: &[Staged]) -> Result<()> {
        let _alone = disk::lock_folder(self.table)?;
        let mut ledger = Ledger::read(self.table)?;
        match ledger.admits(fence) {
            Admission::Apply => {}
            Admission::Done => return staged.iter().try_for_each(|staged| self.remove_hidden(staged)),
            Admission::Replaced => return Ok(()),
        }
        let (done, new): (Vec<_>, Vec<_>) = staged.iter().partition(|s| ledger.has(s));
        let left = self.without_lost_parts(&new, ledger.plan());
        let mut new: Vec<&Staged> = left.as_ref().map_or(new, |left| left.iter().collect());
        let has_output = |staged: &[&Staged]| staged.iter().any(|s| !s.parts.is_empty() || s.replaces_below.is_some());
        if let Some(plan) = ledger.plan().cloned() {
            let (begun, later): (Vec<_>, Vec<_>) = new.into_iter().partition(|s| plan.covers(s));
            if !begun.is_empty() {
                self.carry_out(&begun, plan, &mut ledger, fence.filter(|_| !has_output(&later)))?;
            }
            new = later;
        }
        if has_output(&new) {
            let plan = Plan::of(&new, self.target.options.sink.rolling.part_bytes_max);
            self.carry_out(&new, plan, &mut ledger, fence)?;
        } else {
            let waiting = ledger.waiting.clone();
            self.declare(&new, &BTreeSet::new(), &mut ledger.waiting)?;
            if ledger.waiting != waiting {
                ledger.write(self.table)?;
            }
        }
        // A commit that died behind its last step may have left them.
        done.into_iter().try_for_each(|staged| self.remove_hidden(staged))
    }

    /// What has not been lost, where that does not end the job. What is visible under the name of a part has taken it.
    fn without_lost_parts(&self, staged: &[&Staged], plan: Option<&Plan>) -> Option<Vec<Staged>> {
        let warn = self.lost.as_ref()?;
        let (mut parts, mut bytes) = (0, 0);
        let left = staged.iter().map(|staged| {
            let is_shown = plan.is_some_and(|plan| plan.is_ready && plan.covers(staged));
            let is_there = |part: &StagedPart| {
                let names = [staged.hidden_name(part), staged.visible_name(part)];
                is_shown || names.iter().any(|name| self.table.join(name).exists())
            };
            let mut left = Staged::clone(staged);
            left.parts.retain(is_there);
            let lost = staged.parts.iter().filter(|part| !left.parts.contains(part));
            lost.for_each(|part| (parts, bytes) = (parts + 1, bytes + part.bytes));
            left
        });
        let left = left.collect();
        if parts > 0 {
            let message = format!(
                "{parts} files of dead letters have gone from '{}' before they became visible: {bytes} bytes are lost",
                shown(self.table)
            );
            warn.tell(&Error::new(Kind::Corrupt, 240, message).with_hint(
                "nothing else is: letters that no query reads lie in the state directory alone, not in its second copy",
            ));
        }
        Some(left)
    }

    fn carry_out(&self, staged: &[&Staged], plan: Plan, ledger: &mut Ledger, fence: Option<&Fence>) -> Result<()> {
        let mut partitions: BTreeMap<&str, Vec<Input<'_>>> = BTreeMap::new();
        for staged in staged {
            ledger.replaces_below = ledger.replaces_below.max(staged.replaces_below);
            for part in &staged.parts {
                ledger.next_part = ledger.next_part.max(part.n + 1);
                partitions.entry(&part.folder).or_default().push(Input { staged, part });
            }
        }
        let folders: BTreeSet<&str> = partitions.keys().copied().collect();
        let inputs = partitions.into_values().flat_map(|inputs| outputs(inputs, plan.part_bytes_max));
        let outputs: Vec<_> = inputs.collect();
        if !plan.is_ready {
            outputs.iter().try_for_each(|output| self.make_ready(output))?;
            disk::sync_folder(self.table)?;
            ledger.begin(plan);
            ledger.write(self.table)?;
        } else {
            outputs.iter().try_for_each(|output| self.check_ready(output))?;
        }
        if !outputs.is_empty() {
            self.replace(ledger)?;
        }
        folders.iter().try_for_each(|folder| self.create_folder(folder))?;
        outputs.iter().try_for_each(|output| self.show(output))?;
        self.sync_folders(&folders)?;
        self.declare(staged, &folders, &mut ledger.waiting)?;
        ledger.end(fence);
        ledger.write(self.table)?;
        staged.iter().try_for_each(|staged| self.remove_hidden(staged))
    }

    /// The hidden file and the visible name of what becomes one part.
    fn names(&self, inputs: &[Input<'_>]) -> Option<(PathBuf, PathBuf)> {
        let (first, rest) = inputs.split_first()?;
        let hidden = first.staged.hidden_name(first.part);
        let hidden = if rest.is_empty() { hidden } else { merging_name(&hidden) };
        Some((self.table.join(hidden), self.table.join(first.staged.visible_name(first.part))))
    }

    /// Sees to it that one visible part lies there whole, hidden.
    fn make_ready(&self, inputs: &[Input<'_>]) -> Result<()> {
        let Some((hidden, visible)) = self.names(inputs) else { return Ok(()) };
        // Versions before made some parts visible while others were not ready.
        if visible.exists() {
            return Ok(());
        }
        match inputs {
            [only] if only.staged.attempt == self.own => open(self.table, only).map(drop),
            [only] => open_whole(self.table, only).map(drop),
            _ => merge(self.table, inputs, &hidden, &self.target.options),
        }
    }

    /// Reads a part that becomes visible as it is, where another process has made it ready.
    fn check_ready(&self, inputs: &[Input<'_>]) -> Result<()> {
        match (inputs, self.names(inputs)) {
            ([only], Some((hidden, _))) if only.staged.attempt != self.own && hidden.exists() => {
                open_whole(self.table, only).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Gives one part its visible name. Of a plan that was ready: where the hidden file is gone, an earlier call has done it.
    fn show(&self, inputs: &[Input<'_>]) -> Result<()> {
        let Some((hidden, visible)) = self.names(inputs) else { return Ok(()) };
        match disk::rename(&hidden, &visible) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound && !hidden.exists() => Ok(()),
            Err(e) => Err(Error::output("write", &shown(&visible), &e)),
        }
    }

    /// Makes a part visible as it is; does nothing where an earlier call has done it.
    fn publish(&self, staged: &Staged, part: &StagedPart) -> Result<()> {
        let (from, to) = (self.table.join(staged.hidden_name(part)), self.table.join(staged.visible_name(part)));
        match disk::rename(&from, &to) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound && to.exists() => Ok(()),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(disappeared(&from, "has disappeared")),
            Err(e) => Err(Error::output("write", &shown(&to), &e)),
        }
    }

    /// Removes what the first parts of this job replace. Once more after a crash: its own parts have higher numbers.
    pub(crate) fn replace(&self, ledger: &mut Ledger) -> Result<()> {
        let Some(below) = ledger.replaces_below else { return Ok(()) };
        let success_file = self.target.commit.as_ref().map(PartitionCommit::success_file);
        Leftovers::find(self.table, self.target.partitioning.as_deref(), success_file)?.remove_parts(below)?;
        ledger.replaces_below = None;
        Ok(())
    }

    /// Notes what has become visible in `folders`, and declares the partitions complete that are so now.
    fn declare(&self, staged: &[&Staged], folders: &BTreeSet<&str>, waiting: &mut BTreeMap<String, i64>) -> Result<()> {
        let Some(commit) = &self.target.commit else { return Ok(()) };
        let now_ms = now_ms();
        for folder in folders {
            waiting.entry(folder.to_string()).or_insert(now_ms);
        }
        staged.iter().for_each(|staged| commit.note(staged));
        for folder in commit.due(waiting)? {
            commit.declare(self.table, &folder)?;
            waiting.remove(&folder);
        }
        Ok(())
    }

    fn remove_hidden(&self, staged: &Staged) -> Result<()> {
        let path = |part| self.table.join(staged.hidden_name(part));
        staged.parts.iter().try_for_each(|part| disk::remove(&path(part)))
    }

    fn create_folder(&self, folder: &str) -> Result<()> {
        disk::create_folder(&self.table.join(folder))
    }

    /// A new folder is on the disk only when the one that it lies in is. The table's comes last: a part must not be gone from
    /// there before it is in its partition.
    fn sync_folders(&self, folders: &BTreeSet<&str>) -> Result<()> {
        let all: BTreeSet<&Path> = folders.iter().flat_map(|folder| Path::new(folder).ancestors()).collect();
        all.into_iter().rev().try_for_each(|folder| disk::sync_folder(&self.table.join(folder)))
    }
}
