//! Reads ahead: an input on the I/O threads is a few pieces ahead of the worker that takes them.
//!
//! ```text
//!   input.next() ──► [ready, ready, ready] ──► poll() on the worker ◄── input.next_now()
//! ```
//!
//! What is in memory already the worker takes itself: handing it from thread to thread costs several times as much as the
//! copy, since it moves between the caches of two cores.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use rheos_core::credit::Wake;
use rheos_core::{Error, Result};

use super::pool::{lock, spawn};

/// Pieces between input and worker, at most.
const AHEAD: usize = 3;

/// Pieces that are read by the I/O threads once the worker would have had to wait for one.
const BY_THREADS: usize = 64;

/// Something to read from.
pub(crate) trait Input: Send {
    /// What is read.
    type Item: Send;
    /// The next piece; `None` at the end. May block, and is called on an I/O thread.
    fn next(&mut self) -> Result<Option<Self::Item>>;
    /// The next piece if it is in memory; `Pending` where reading it may block.
    fn next_now(&mut self) -> Result<Fetched<Self::Item>>;
}

struct State<I: Input> {
    /// Absent while a job has it.
    input: Option<I>,
    ready: VecDeque<Result<Option<I::Item>>>,
    /// Pieces that the I/O threads have still to read before the worker tries again.
    by_threads: usize,
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
    /// Begins to read: opening an input may block, so the first piece comes from an I/O thread.
    pub(crate) fn new(input: I, wake: Wake) -> Self {
        let ready = VecDeque::new();
        let state = State { input: Some(input), ready, by_threads: 1, ended: false, dropped: false };
        let fetcher = Self { shared: Arc::new(Shared { state: Mutex::new(state), wake }) };
        fetcher.shared.start(&mut lock(&fetcher.shared.state));
        fetcher
    }

    /// The next piece, if it is there.
    pub(crate) fn poll(&self) -> Result<Fetched<I::Item>> {
        let mut state = lock(&self.shared.state);
        if let Some(item) = state.ready.pop_front() {
            self.shared.start(&mut state);
            return Ok(item?.map_or(Fetched::End, Fetched::Item));
        }
        if state.ended {
            return Ok(Fetched::End);
        }
        // Absent: an I/O thread has it and will wake the worker.
        let Some(input) = &mut state.input else { return Ok(Fetched::Pending) };
        let fetched = input.next_now();
        match &fetched {
            Ok(Fetched::Item(_)) => {}
            Ok(Fetched::Pending) => {
                state.by_threads = BY_THREADS;
                self.shared.start(&mut state);
            }
            Ok(Fetched::End) | Err(_) => state.ended = true,
        }
        fetched
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
        if state.ended || state.by_threads == 0 || state.ready.len() >= AHEAD {
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
            state.by_threads = state.by_threads.saturating_sub(1);
            let stop = state.ended || state.dropped || state.by_threads == 0 || state.ready.len() >= AHEAD;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// Numbers, of which some are not in memory.
    struct Numbers {
        next: u64,
        end: u64,
        missing: fn(u64) -> bool,
    }

    impl Input for Numbers {
        type Item = u64;

        fn next(&mut self) -> Result<Option<u64>> {
            self.next += 1;
            Ok((self.next <= self.end).then_some(self.next - 1))
        }

        fn next_now(&mut self) -> Result<Fetched<u64>> {
            if (self.missing)(self.next) {
                return Ok(Fetched::Pending);
            }
            Ok(self.next()?.map_or(Fetched::End, Fetched::Item))
        }
    }

    #[test]
    fn pieces_come_once_and_in_order_whoever_reads_them() {
        let missing: [fn(u64) -> bool; 4] = [|_| true, |_| false, |n| n % 100 == 7, |n| n > 150];
        for missing in missing {
            let (sender, receiver) = channel();
            let wake: Wake = Arc::new(move || sender.send(()).unwrap_or(()));
            let fetcher = Fetcher::new(Numbers { next: 0, end: 300, missing }, wake);
            let mut seen = Vec::new();
            loop {
                match fetcher.poll().unwrap() {
                    Fetched::Item(n) => seen.push(n),
                    Fetched::End => break,
                    Fetched::Pending => receiver.recv_timeout(Duration::from_secs(60)).unwrap(),
                }
            }
            assert_eq!(seen, (0..300).collect::<Vec<_>>());
            assert!(matches!(fetcher.poll(), Ok(Fetched::End)));
        }
    }
}
