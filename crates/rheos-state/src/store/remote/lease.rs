//! The lease of a run: a small file that changes as long as the run lives.
//!
//! What is decided about it is in [`rheos_checkpoint::lease`]; here it is read, renewed by a thread, and removed at the end.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rheos_checkpoint::journal::Nonce;
use rheos_checkpoint::lease::{Lease, LeaseState, LeaseWatch};
use rheos_core::{Error, ErrorKind, Result};
use xxhash_rust::xxh3::xxh3_128;

use super::client::Client;
use super::process;
use crate::errors::unreachable;
use crate::names::LEASE;
use crate::store::{Creation, Note};

/// Longest lease that is read, in bytes.
const LEASE_BYTES_MAX: u64 = 4096;
/// How often a lease is renewed in the time that it is valid.
const BEATS: u32 = 3;
/// How long the end of a run waits for its lease to be removed. One that stays runs out.
const REMOVAL_MAX: Duration = Duration::from_secs(2);

/// Renewed as long as it lives.
#[derive(Debug)]
pub(super) struct HeldLease {
    /// Closed to end the thread.
    stop: Option<mpsc::Sender<()>>,
    /// Closed by the thread when it has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl HeldLease {
    /// Takes the lease, if nobody has it or it has run out.
    ///
    /// Errors: `InUse` (R0623); those of the store.
    pub(super) fn take(client: Arc<Client>, valid: Duration, note: &Note) -> Result<Self> {
        let lease = wait_and_take(&client, valid, note)?;
        let (stop, stopped) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let renew = move || {
            renew(&client, lease, valid / BEATS, &stopped);
            drop(end);
        };
        let thread = std::thread::Builder::new().name("rheos-lease".into()).spawn(renew);
        thread.map_err(|e| unreachable(format!("no thread can be started for the lease: {e}")))?;
        Ok(Self { stop: Some(stop), ended: Mutex::new(ended) })
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(REMOVAL_MAX);
    }
}

fn wait_and_take(client: &Client, valid: Duration, note: &Note) -> Result<Lease> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (mut watch, began, mut noted) = (LeaseWatch::new(ms(valid)), Instant::now(), false);
    loop {
        let seen = read(client)?;
        let has_ended = seen.as_ref().and_then(|l| l.process.as_deref()).is_some_and(process::has_ended);
        let state = if has_ended { LeaseState::Free } else { watch.saw(seen.clone(), ms(began.elapsed())) };
        match state {
            LeaseState::InUse(error) => return Err(error.context(format_args!("'{}'", client.shown()))),
            LeaseState::Free => {
                if let Some(lease) = write_first(client, seen.is_some())? {
                    return Ok(lease);
                }
            }
            LeaseState::LookAgain(wait_ms) => {
                if let Some(lease) = seen.filter(|_| !noted) {
                    let seconds = valid.as_secs_f64();
                    let what = format!("{} has left its lease in '{}'", lease.holder, client.shown());
                    let wait = format!("{what}; waiting up to {seconds} s to see whether it still runs");
                    note(&Error::new(ErrorKind::InUse, 623, wait));
                    noted = true;
                }
                std::thread::sleep(Duration::from_millis(wait_ms));
            }
        }
    }
}

/// The lease in the store. One that cannot be read is somebody's, too.
fn read(client: &Client) -> Result<Option<Lease>> {
    let Some(bytes) = client.read(LEASE, LEASE_BYTES_MAX)? else { return Ok(None) };
    let unknown =
        || Lease { holder: "a run that cannot be told".into(), nonce: Nonce(xxh3_128(&bytes)), beat: 0, process: None };
    Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|_| unknown())))
}

fn text(lease: &Lease) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(lease).map_err(|e| Error::internal(format!("a lease cannot be written: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

/// The first beat; `None` if somebody was faster.
fn write_first(client: &Client, replaces: bool) -> Result<Option<Lease>> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".into());
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    let lease = Lease {
        holder: format!("process {} on host '{}'", std::process::id(), host.trim()),
        nonce: Nonce(half() << 64 | half()),
        beat: 0,
        process: process::this(),
    };
    let bytes = text(&lease)?;
    if replaces {
        client.put_over(LEASE, &bytes)?;
        return Ok(Some(lease));
    }
    match client.put_new(LEASE, &bytes)? {
        Creation::Created => Ok(Some(lease)),
        // Or by an earlier try of this very request.
        Creation::Exists => Ok((read(client)?.as_ref() == Some(&lease)).then_some(lease)),
    }
}

/// Renews the lease until it is to stop or has another holder. What the store refuses is tried again with the next beat:
/// whoever takes over meanwhile is noticed by the journal.
fn renew(client: &Client, mut lease: Lease, beat: Duration, stopped: &mpsc::Receiver<()>) {
    let is_mine = |lease: &Lease| match read(client) {
        Ok(Some(found)) => Some(found.nonce == lease.nonce),
        Ok(None) => Some(true),
        Err(_) => None,
    };
    while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(beat) {
        match is_mine(&lease) {
            Some(false) => return,
            None => {}
            Some(true) => {
                lease.beat += 1;
                if let Ok(bytes) = text(&lease) {
                    let _ = client.put_over(LEASE, &bytes);
                }
            }
        }
    }
    if is_mine(&lease) == Some(true) {
        let _ = client.delete(LEASE);
    }
}
