//! Names that wait for a checkpoint, and answers to those who asked.

use std::collections::{BTreeSet, VecDeque};

use rheos_core::{Error, ErrorKind, Result};

use super::Decision;
use crate::manifest::Manifest;

/// Longest name of a savepoint, in bytes.
pub const SAVEPOINT_NAME_BYTES_MAX: usize = 64;

/// Whether a savepoint may have this name: letters, digits, `-`, `_` and `.`, and neither a number, which names a checkpoint,
/// nor `none`.
///
/// Errors: `Invalid` (R0672).
pub fn check_savepoint_name(name: &str) -> Result<()> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let why = match name {
        "" => "it is empty",
        "none" => "'none' means to start without state",
        _ if name.len() > SAVEPOINT_NAME_BYTES_MAX => "it is longer than 64 characters",
        _ if !name.bytes().all(letter) => "it has other characters than letters, digits, '-', '_' and '.'",
        _ if name.starts_with(['-', '.']) => "it begins with '-' or '.'",
        _ if name.bytes().all(|b| b.is_ascii_digit()) => "a number names a checkpoint",
        _ => return Ok(()),
    };
    let shown: String = name.chars().take(80).collect();
    Err(Error::invalid(672, format!("a savepoint cannot be named '{}': {why}", shown.escape_debug()))
        .with_hint("give a name such as 'before-upgrade'"))
}

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

    /// As [`Savepoints::ask`], before all others: the next checkpoint is the last.
    pub(super) fn ask_first(&mut self, name: String) -> Option<Decision> {
        let refused = self.ask(name);
        if refused.is_none() {
            self.waiting.rotate_right(1);
        }
        refused
    }

    pub(super) fn is_known(&self, name: &str) -> bool {
        self.known.contains(name)
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
