//! Reads ahead: an input on the I/O threads is a few pieces ahead of the worker that takes them.
//!
//! ```text
//!   input.next() ──► [ready, ready, ready] ──► poll() on the worker
//! ```

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use rheos_core::credit::Wake;
use rheos_core::{Error, Result};

use super::pool::{lock, spawn};

/// Pieces between input and worker, at most.
const AHEAD: usize = 3;

/// Something to read from, on an I/O thread.
pub(crate) trait Input: Send {
    /// What is read.
    type Item: Send;
    /// The next piece; `None` at the end. May block.
    fn next(&mut self) -> Result<Option<Self::Item>>;
}

struct State<I: Input> {
    /// Absent while a job has it.
    input: Option<I>,
    ready: VecDeque<Result<Option<I::Item>>>,
    ended: bool,
    dropped: bool,
}

/// The worker's side.
pub(crate) struct Fetcher<I: Input + 'static> {
    shared: Arc<Shared<I>>,
}

struct Shared<I: Input> {
    state: Mutex<State<I>>,
    wake: Wake,
}

/// What `poll` finds.
pub(crate) enum Fetched<T> {
    Item(T),
    End,
    /// Nothing yet; the wake-up is arranged.
    Pending,
}

impl<I: Input + 'static> Fetcher<I> {
    /// Begins to read ahead.
    pub(crate) fn new(input: I, wake: Wake) -> Self {
        let state = State { input: Some(input), ready: VecDeque::new(), ended: false, dropped: false };
        let fetcher = Self { shared: Arc::new(Shared { state: Mutex::new(state), wake }) };
        fetcher.shared.start(&mut lock(&fetcher.shared.state));
        fetcher
    }

    /// The next piece, if it is there.
    pub(crate) fn poll(&self) -> Result<Fetched<I::Item>> {
        let mut state = lock(&self.shared.state);
        let Some(item) = state.ready.pop_front() else {
            return Ok(if state.ended { Fetched::End } else { Fetched::Pending });
        };
        self.shared.start(&mut state);
        Ok(item?.map_or(Fetched::End, Fetched::Item))
    }
}

impl<I: Input> Drop for Fetcher<I> {
    fn drop(&mut self) {
        lock(&self.shared.state).dropped = true;
    }
}

impl<I: Input + 'static> Shared<I> {
    /// Starts a job, unless one runs or there is nothing to do.
    fn start(self: &Arc<Self>, state: &mut State<I>) {
        if state.ended || state.ready.len() >= AHEAD {
            return;
        }
        let Some(input) = state.input.take() else { return };
        let shared = Arc::clone(self);
        spawn(move || shared.run(input));
    }

    fn run(&self, mut input: I) {
        loop {
            let item = catch_unwind(AssertUnwindSafe(|| input.next()))
                .unwrap_or_else(|_| Err(Error::internal("reading an input panicked")));
            let mut state = lock(&self.state);
            state.ended = !matches!(item, Ok(Some(_)));
            state.ready.push_back(item);
            let stop = state.ended || state.dropped || state.ready.len() >= AHEAD;
            if stop {
                state.input = Some(input);
                drop(state);
                (self.wake)();
                return;
            }
            drop(state);
            (self.wake)();
        }
    }
}
