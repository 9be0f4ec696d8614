//! Checkpoints that somebody asks for, beside those of the interval: who asks, which cut covers it, when it is complete.
//!
//! ```text
//!   ask_for_checkpoint ──► n ──► cut (covers all up to n) ──► its checkpoint, or a later one, is complete ──► done >= n
//! ```

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rheos_core::{Epoch, Error, ErrorKind};

use crate::control::{JobControl, lock};

/// A request for a checkpoint: the number of it, from 1.
pub type CheckpointRequest = u64;

/// What was asked for and what has been done, of one job.
#[derive(Default)]
pub(crate) struct CheckpointRequests {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: CheckpointRequest,
    /// The newest that the coordinator has been told of.
    told: CheckpointRequest,
    /// By epoch that was cut: the newest request before the cut.
    cuts: BTreeMap<Epoch, CheckpointRequest>,
    done: CheckpointRequest,
}

impl CheckpointRequests {
    /// Whether there is one that the coordinator has not been told of; from now on it has.
    pub(crate) fn take(&self) -> bool {
        let mut state = lock(&self.state);
        let asked = state.asked;
        std::mem::replace(&mut state.told, asked) < asked
    }

    /// What is not complete is asked for anew: the next generation reads again what this one has read.
    pub(crate) fn forget_generation(&self) {
        let mut state = lock(&self.state);
        state.told = state.done;
        state.cuts.clear();
    }

    /// A cut is about to be announced.
    pub(crate) fn cut(&self, epoch: Epoch) {
        let mut state = lock(&self.state);
        if state.done < state.asked {
            let asked = state.asked;
            state.cuts.insert(epoch, asked);
        }
    }

    /// The checkpoint of an epoch is complete, and with it all before.
    pub(crate) fn complete(&self, epoch: Epoch) {
        let mut state = lock(&self.state);
        let later = state.cuts.split_off(&epoch.next());
        let covered = std::mem::replace(&mut state.cuts, later).into_values().max();
        state.done = covered.unwrap_or(0).max(state.done);
        drop(state);
        self.changed.notify_all();
    }
}

impl JobControl {
    /// Asks for a checkpoint now, without waiting for the interval. It covers all that has been read and written by now, and more.
    pub fn ask_for_checkpoint(&self) -> CheckpointRequest {
        let asked = {
            let mut state = lock(&self.requests().state);
            state.asked += 1;
            state.asked
        };
        self.wake_all();
        asked
    }

    /// Waits until a checkpoint is complete that covers a request, for no longer than `timeout`. Gives whether it is.
    pub fn wait_for_checkpoint(&self, request: CheckpointRequest, timeout: Duration) -> bool {
        let requests = self.requests();
        let missing = |state: &mut State| state.done < request;
        let waited = requests.changed.wait_timeout_while(lock(&requests.state), timeout, missing);
        waited.unwrap_or_else(PoisonError::into_inner).0.done >= request
    }

    /// Ends the job as a crash would: no last checkpoint, nothing more is decided; what is being written or committed at this
    /// moment may or may not be. The job's result is an error, `Conflict` (R0690).
    pub fn abort(&self) {
        let error = Error::new(ErrorKind::Conflict, 690, "the job was ended without a last checkpoint");
        self.fail(error.with_hint("a job that keeps state goes on from its newest checkpoint"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_done_when_a_cut_behind_it_is_complete() {
        let control = JobControl::new();
        let done = |request| control.wait_for_checkpoint(request, Duration::ZERO);
        let requests = control.requests();
        requests.cut(Epoch(3));
        let first = control.ask_for_checkpoint();
        assert!(requests.take() && !requests.take());
        requests.complete(Epoch(3));
        assert!(!done(first), "epoch 3 was cut before");
        requests.cut(Epoch(4));
        let second = control.ask_for_checkpoint();
        requests.cut(Epoch(5));
        requests.complete(Epoch(4));
        assert!(done(first) && !done(second));
        // The checkpoint of epoch 5 has failed.
        requests.complete(Epoch(6));
        assert!(done(second));
    }
}
