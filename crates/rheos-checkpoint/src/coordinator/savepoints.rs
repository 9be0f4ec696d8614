//! Names that wait for a checkpoint, and answers to those who asked.

use std::collections::{BTreeSet, VecDeque};

use rheos_core::{Error, ErrorKind};

use super::Decision;
use crate::manifest::Manifest;

#[derive(Debug)]
pub(super) struct Savepoints {
    /// Names that exist or have been given to a checkpoint that is on its way.
    known: BTreeSet<String>,
    /// Given to a checkpoint that is on its way.
    under_way: BTreeSet<String>,
    waiting: VecDeque<String>,
}

impl Savepoints {
    pub(super) fn new(known: BTreeSet<String>) -> Self {
        Self { known, under_way: BTreeSet::new(), waiting: VecDeque::new() }
    }

    /// The answer, if there is one at once.
    pub(super) fn ask(&mut self, name: String) -> Option<Decision> {
        if self.known.insert(name.clone()) {
            self.waiting.push_back(name);
            return None;
        }
        let error = Error::new(ErrorKind::Conflict, 612, format!("there is a savepoint '{name}' already"))
            .with_hint("give another name; 'rheos checkpoint list' shows them");
        Some(Decision::Savepoint { name, result: Err(error) })
    }

    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// One name a checkpoint; more wait for the next.
    pub(super) fn next(&mut self) -> Option<String> {
        let name = self.waiting.pop_front()?;
        self.under_way.insert(name.clone());
        Some(name)
    }

    /// Its checkpoint has failed.
    pub(super) fn put_back(&mut self, name: Option<String>) {
        if let Some(name) = name.filter(|n| self.under_way.remove(n)) {
            self.waiting.push_front(name);
        }
    }

    pub(super) fn written(&mut self, manifest: &Manifest) -> Option<Decision> {
        let name = manifest.savepoint.clone()?;
        self.under_way.remove(&name);
        Some(Decision::Savepoint { name, result: Ok(manifest.entry) })
    }

    /// The generation is over: what has not been written will not be.
    pub(super) fn give_up(&mut self) -> Vec<Decision> {
        let names = self.waiting.drain(..).chain(std::mem::take(&mut self.under_way));
        let answer = |name: String| {
            let message = format!("the job ended before the savepoint '{name}' was complete");
            let error = Error::new(ErrorKind::External, 614, message)
                .with_hint("'rheos checkpoint list' shows whether it came to be; start the job and ask again");
            Decision::Savepoint { name, result: Err(error) }
        };
        names.map(answer).collect()
    }
}
