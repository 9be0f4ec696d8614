//! What a folder says of the commits of jobs that keep state: a small hidden file in it.
//!
//! ```text
//!   the newest release of each job and operator          a run that was replaced, and comes late, changes nothing
//!   through which epoch each attempt is committed        what is committed is never done twice, wherever its parts are now
//!   the plan of the commit that runs                     what it puts together stays together, whoever ends it
//!   the next number, what is to be replaced, partitions that wait for _SUCCESS
//! ```
//!
//! Each commit writes it twice: its plan before anything becomes visible, and that it is done, behind the last part. A
//! commit that is repeated after a crash may come with later output as well; by the plan it does first what was begun.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use rheos_core::sink::{Admission, Fence, FenceRecord, Known, Owner, Refusal};
use rheos_core::{Error, ErrorKind as Kind, Result};
use serde::{Deserialize, Serialize};

use super::disk;
use super::paths::shown;
use super::staged::{Attempt, Staged};

/// The name of the file. Without the suffix of a format: some readers' globs find hidden files, too.
const NAME: &str = ".commits";

/// The form that is written.
const VERSION: u32 = 1;

/// Attempts that are remembered, at most: as many restarts may lie between a checkpoint and its restore.
const ATTEMPTS_MAX: usize = 1000;

/// Jobs and operators that are remembered, at most.
const FENCES_MAX: usize = 100;

/// See the module.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    version: u32,
    /// The highest run that has committed.
    pub(crate) runs: u64,
    /// No part of this number or a higher one has been committed.
    pub(crate) next_part: u64,
    /// By job and operator; whose commit was the last is the last.
    fences: Vec<(String, FenceRecord)>,
    committed: BTreeMap<Attempt, u64>,
    plan: Option<Plan>,
    /// Parts that go when the first new ones become visible: those of lower numbers.
    pub(crate) replaces_below: Option<u64>,
    /// Partitions with parts that came since they were declared complete, and since when they have, in ms since 1970.
    pub(crate) waiting: BTreeMap<String, i64>,
}

/// What one commit makes visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Everything that was staged through these epochs and not committed before.
    through: BTreeMap<Attempt, u64>,
    /// Bytes of a visible part, about.
    pub(crate) part_bytes_max: u64,
    /// All visible parts lie there whole, under hidden names, and get their own one after the other: what is not there under its hidden
    /// name any more has become visible, and may have been taken away since.
    #[serde(default)]
    pub(crate) is_ready: bool,
}

impl Plan {
    pub(crate) fn of(staged: &[&Staged], part_bytes_max: u64) -> Self {
        let mut through = BTreeMap::new();
        for staged in staged {
            if let Some(attempt) = staged.attempt {
                let last = through.entry(attempt).or_insert(staged.epoch);
                *last = staged.epoch.max(*last);
            }
        }
        Self { through, part_bytes_max, is_ready: false }
    }

    pub(crate) fn covers(&self, staged: &Staged) -> bool {
        reaches(&self.through, staged)
    }
}

fn owner_name(owner: &Owner) -> String {
    format!("{}/{}", owner.job, owner.operator)
}

fn reaches(through: &BTreeMap<Attempt, u64>, staged: &Staged) -> bool {
    staged.attempt.and_then(|attempt| through.get(&attempt)).is_some_and(|epoch| staged.epoch <= *epoch)
}

impl Ledger {
    /// The folder's, or an empty one.
    ///
    /// Errors: `Corrupt` for a file that is none, `Invalid` for one of a later version.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(Error::io("read", &shown(&path), &e)),
        };
        let ledger: Self = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(Kind::Corrupt, 238, format!("'{}' does not say what is committed: {e}", shown(&path))).with_hint(
                "put it back from a copy; without it, parts that were taken away cannot be told from lost ones",
            )
        })?;
        if ledger.version > VERSION {
            let what = format!("'{}' was written by a later version of Rheos", shown(&path));
            return Err(Error::invalid(238, what).with_hint("go on with that version"));
        }
        Ok(ledger)
    }

    pub(crate) fn write(&mut self, folder: &Path) -> Result<()> {
        self.version = VERSION;
        while self.committed.len() > ATTEMPTS_MAX {
            self.committed.pop_first();
        }
        let bytes = serde_json::to_vec(self).expect("names and numbers are always JSON");
        disk::replace(folder, NAME, &bytes)
    }

    /// Whether a file says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.version == 0
    }

    /// Whether it is visible, or was.
    pub(crate) fn has(&self, staged: &Staged) -> bool {
        reaches(&self.committed, staged)
    }

    /// Whether a commit is carried out. Without a fence it is.
    pub(crate) fn admits(&self, fence: Option<&Fence>) -> Admission {
        match fence.and_then(|fence| Some((fence, self.record(&owner_name(&fence.owner))?))) {
            Some((fence, record)) => record.admits(fence),
            None => Admission::Apply,
        }
    }

    /// Notes who writes from now on.
    pub(crate) fn take_over(&mut self, owner: &Owner, known: &Known) -> Result<(), Refusal> {
        let name = owner_name(owner);
        let record = FenceRecord::taken_over(self.record(&name), owner, known)?;
        self.note(name, record);
        Ok(())
    }

    fn record(&self, owner: &str) -> Option<FenceRecord> {
        self.fences.iter().find(|(other, _)| other == owner).map(|(_, record)| *record)
    }

    fn note(&mut self, owner: String, record: FenceRecord) {
        self.fences.retain(|(other, _)| *other != owner);
        self.fences.push((owner, record));
        self.fences.drain(..self.fences.len().saturating_sub(FENCES_MAX));
    }

    /// The commit that was begun and not ended.
    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// What becomes visible by the plan lies there whole, and is given its names from now on.
    pub(crate) fn begin(&mut self, plan: Plan) {
        self.runs = plan.through.keys().map(|a| a.run).fold(self.runs, u64::max);
        self.plan = Some(Plan { is_ready: true, ..plan });
    }

    /// All of the plan is visible.
    pub(crate) fn end(&mut self, fence: Option<&Fence>) {
        if let Some(fence) = fence {
            let name = owner_name(&fence.owner);
            let record = FenceRecord::after(self.record(&name), fence);
            self.note(name, record);
        }
        for (attempt, epoch) in self.plan.take().map(|plan| plan.through).unwrap_or_default() {
            let last = self.committed.entry(attempt).or_insert(epoch);
            *last = epoch.max(*last);
        }
    }

    /// Another job begins: what this one had begun is of no account any more.
    pub(crate) fn reset(&mut self) {
        (self.plan, self.replaces_below) = (None, None);
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rheos_core::sink::ReleaseNumber;
    use rheos_core::{Generation, JobId};

    #[test]
    fn what_folders_hold_is_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        // Written by hand, in the form of version 1.
        let text = r#"{"version":1,"runs":8,"next_part":120,"committed":{"7.1":8,"8.2":14},
            "fences":[["000000000000000000000000000000ff/sink",{"generation":9,"release":{"generation":8,"sequence":4}}]],
            "plan":{"through":{"8.2":20},"part_bytes_max":1000},"replaces_below":3,"waiting":{"day=1":5}}"#;
        std::fs::write(folder.path().join(NAME), text).unwrap();
        let mut ledger = Ledger::read(folder.path()).unwrap();
        let staged = |attempt: &str, epoch| Staged {
            attempt: Some(Attempt::try_from(attempt.to_string()).unwrap()),
            epoch,
            worker: 0,
            workers: 1,
            suffix: "csv".into(),
            parts: vec![],
            watermark_ms: None,
            replaces_below: None,
        };
        let cases = [("7.1", 8), ("7.1", 9), ("8.2", 14), ("8.2", 15), ("8.1", 1)];
        assert_eq!(
            cases.map(|(attempt, epoch)| ledger.has(&staged(attempt, epoch))),
            [true, false, true, false, false]
        );
        let plan = ledger.plan().unwrap();
        assert_eq!(
            (plan.covers(&staged("8.2", 20)), plan.covers(&staged("8.2", 21)), plan.part_bytes_max),
            (true, false, 1000)
        );
        assert_eq!((ledger.runs, ledger.next_part, ledger.replaces_below), (8, 120, Some(3)));
        let fence = |job, generation, by, sequence| Fence {
            owner: Owner { job: JobId(job), operator: "sink".into(), generation: Generation(generation) },
            release: ReleaseNumber { generation: Generation(by), sequence },
        };
        let cases = [
            (fence(255, 8, 8, 5), Admission::Replaced),
            (fence(255, 9, 8, 4), Admission::Done),
            (fence(255, 9, 8, 5), Admission::Apply),
            (fence(254, 1, 1, 0), Admission::Apply),
        ];
        for (fence, admission) in cases {
            assert_eq!(ledger.admits(Some(&fence)), admission, "{fence:?}");
        }
        ledger.end(Some(&fence(255, 12, 12, 0)));
        assert_eq!(ledger.admits(Some(&fence(255, 9, 9, 0))), Admission::Replaced);
        assert!(ledger.has(&staged("8.2", 20)) && ledger.plan().is_none());
        ledger.write(folder.path()).unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap(), ledger);
        std::fs::write(folder.path().join(NAME), text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(Ledger::read(folder.path()).unwrap_err().message().contains("later version"));
        std::fs::write(folder.path().join(NAME), "{").unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap_err().kind(), Kind::Corrupt);
    }
}
