//! Whether a state directory is in use, where the store has no locks.
//!
//! ```text
//!   holder:   writes the lease, and anew with the next beat, three times in the time that it is valid
//!   starter:  sees none ──► free;  sees beat 7, then beat 8 ──► in use;  sees beat 7 for as long as it is valid ──► free
//! ```
//! A courtesy only: it keeps a second run from replacing the first by mistake. What makes a second run harmless is the
//! journal. No clocks are compared: the starter measures on its own how long the lease does not change. A folder on a local
//! disk needs none of this; there a file lock tells at once.

use rheos_core::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::journal::Nonce;

/// What the holder writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Who holds it, for people: host and process.
    pub holder: String,
    /// Of the run: a new holder begins at a beat that the old one may have had.
    pub nonce: Nonce,
    /// Grows each time that it is written.
    pub beat: u64,
    /// Which process on which machine, in words of the holder's system: a starter on the same machine may see that it has
    /// ended, and need not wait. Opaque here.
    pub process: Option<String>,
}

/// What a starter makes of what it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// Nobody uses the directory.
    Free,
    /// Look again after so long, in ms.
    LookAgain(u64),
    /// R0623 (`InUse`): somebody does.
    InUse(Error),
}

/// A starter's looks at the lease.
#[derive(Debug, Clone)]
pub struct LeaseWatch {
    valid_ms: u64,
    first: Option<(Lease, u64)>,
}

impl LeaseWatch {
    /// A lease that does not change for `valid_ms` is not held any more.
    pub fn new(valid_ms: u64) -> Self {
        Self { valid_ms, first: None }
    }

    /// `lease` is what is there at `now_ms`, on a clock that never goes back; `None` if there is none, as a run that ends in
    /// order leaves it.
    pub fn saw(&mut self, lease: Option<Lease>, now_ms: u64) -> LeaseState {
        let Some(lease) = lease else { return LeaseState::Free };
        let (first, since_ms) = self.first.get_or_insert_with(|| (lease.clone(), now_ms));
        if *first != lease {
            let message = format!("the state directory is in use by {}", lease.holder);
            let hint = "stop that run first, or give another directory";
            return LeaseState::InUse(Error::new(ErrorKind::InUse, 623, message).with_hint(hint));
        }
        let rest_ms = since_ms.saturating_add(self.valid_ms).saturating_sub(now_ms);
        if rest_ms == 0 { LeaseState::Free } else { LeaseState::LookAgain(rest_ms.min(self.valid_ms / 3).max(1)) }
    }
}
