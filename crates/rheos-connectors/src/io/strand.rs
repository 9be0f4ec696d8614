//! Writes behind: messages from one worker to something that handles them one after another on the I/O threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use rheos_core::credit::Wake;
use rheos_core::{Error, Result};

use super::pool::{lock, spawn, spawn_alone};

/// Messages that wait, at most, for `ready` to be true.
const QUEUE_MAX: usize = 4;

/// Handles messages on an I/O thread.
pub(crate) trait Handler: Send {
    /// What it is told.
    type Message: Send;
    /// May block. After an error no message is handled any more.
    fn handle(&mut self, message: Self::Message) -> Result<()>;
}

struct State<H: Handler> {
    /// Absent while a job has it.
    handler: Option<H>,
    queue: VecDeque<H::Message>,
    failed: Option<Error>,
}

struct Shared<H: Handler> {
    state: Mutex<State<H>>,
    wake: Wake,
    /// Whether messages are handled on a thread of their own.
    alone: bool,
}

/// The worker's side.
pub(crate) struct Strand<H: Handler + 'static> {
    shared: Arc<Shared<H>>,
}

impl<H: Handler + 'static> Strand<H> {
    pub(crate) fn new(handler: H, wake: Wake) -> Self {
        Self::on(handler, wake, false)
    }

    /// For a handler that may wait for long: the I/O threads are for all.
    pub(crate) fn alone(handler: H, wake: Wake) -> Self {
        Self::on(handler, wake, true)
    }

    fn on(handler: H, wake: Wake, alone: bool) -> Self {
        let state = State { handler: Some(handler), queue: VecDeque::new(), failed: None };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wake, alone }) }
    }

    /// Whether another message should be sent. `false` arranges a wake-up. Errors: that of an earlier message.
    pub(crate) fn ready(&self) -> Result<bool> {
        self.look(|state| state.queue.len() < QUEUE_MAX)
    }

    /// Whether all messages have been handled. `false` arranges a wake-up. Errors: that of an earlier message.
    pub(crate) fn idle(&self) -> Result<bool> {
        self.look(|state| state.queue.is_empty() && state.handler.is_some())
    }

    fn look(&self, what: impl FnOnce(&State<H>) -> bool) -> Result<bool> {
        let state = lock(&self.shared.state);
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(what(&state)),
        }
    }

    /// Adds a message. Errors: that of an earlier message.
    pub(crate) fn send(&self, message: H::Message) -> Result<()> {
        let mut state = lock(&self.shared.state);
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        state.queue.push_back(message);
        let handler = state.handler.take();
        // Where the system gives no thread, the handler runs right here.
        drop(state);
        if let Some(handler) = handler {
            let shared = Arc::clone(&self.shared);
            match shared.alone {
                true => spawn_alone(move || shared.run(handler)),
                false => spawn(move || shared.run(handler)),
            }
        }
        Ok(())
    }
}

impl<H: Handler> Shared<H> {
    fn run(&self, mut handler: H) {
        loop {
            let message = {
                let mut state = lock(&self.state);
                match state.queue.pop_front() {
                    Some(message) => message,
                    None => {
                        state.handler = Some(handler);
                        break;
                    }
                }
            };
            let result = catch_unwind(AssertUnwindSafe(|| handler.handle(message)))
                .unwrap_or_else(|_| Err(Error::internal("writing an output panicked")));
            if let Err(error) = result {
                let mut state = lock(&self.state);
                state.failed = Some(error);
                // Dropping the messages returns the credit of the batches in them.
                state.queue.clear();
                state.handler = Some(handler);
                break;
            }
            (self.wake)();
        }
        (self.wake)();
    }
}
