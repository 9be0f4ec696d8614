//! Savepoints of a job that another process runs: asked for by a socket in its folder, or by an object in its store.
//!
//! ```text
//!   rheos savepoint create ──► DIR/control.sock ──► thread of the job ──► JobControl::savepoint ──► answer, one line
//!                         └──► requests/<number> ── looked for now and then ──┘           └──► answers/<number>
//! ```
//! Invariants: what comes from outside has a limit in length and time; nothing here keeps the job from ending. Who may write in
//! the state directory may ask.

mod message;
mod objects;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use rheos_core::{Error, ErrorKind};
use rheos_runtime::{JobControl, RunConfig};

pub use objects::request_savepoint;
pub use socket::create_savepoint;

/// Who has asked has gone by then.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// How often a store is looked at for requests, at most: each look is a paid call.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(2);

/// Takes requests as long as it lives.
pub(crate) struct Desk {
    _place: Place,
}

/// Where requests come to; held, and closed by dropping it.
enum Place {
    Socket { _socket: socket::ControlSocket },
    Objects { _watch: objects::RequestWatch },
}

impl Desk {
    /// Of a job that keeps state. A job whose desk cannot be opened runs without, and says so.
    pub(crate) fn open(config: &RunConfig, control: &JobControl) -> Option<Self> {
        let state = config.state.as_ref()?;
        let opened = match state.store.folder() {
            Some(folder) => {
                socket::ControlSocket::start(folder, control.clone()).map(|socket| Place::Socket { _socket: socket })
            }
            None => {
                let interval = Duration::from_millis(config.epoch_interval_ms).max(LOOK_INTERVAL_MIN);
                objects::RequestWatch::start(Arc::clone(&state.store), interval, control.clone())
                    .map(|watch| Place::Objects { _watch: watch })
            }
        };
        let opened = opened.map(|place| Self { _place: place });
        opened.map_err(|error| (state.warn)(&error.context("the job cannot be asked for savepoints"))).ok()
    }
}

/// Nobody has taken up a request.
fn nobody(place: &str) -> Error {
    let message = format!("no job is running on the state directory {place}");
    Error::new(ErrorKind::External, 671, message)
        .with_hint("start it by 'rheos run --state-dir'; where a job was stopped, go on from its newest checkpoint")
}
