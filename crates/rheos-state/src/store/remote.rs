//! An object store as checkpoint store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
//!
//! ```text
//!   open:    what else lies there? ──► is a taken name refused (`probe`)? ──► take the lease, and keep it
//!   create:  put "if none match *" ──► done; or taken: by another, or by an earlier try whose answer got lost
//! ```
//! All that the protocol needs is the condition. A store that ignores it would let two runs write one entry: that is found
//! out before anything else is written.

mod client;
mod connect;
mod failure;
mod lease;
mod process;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use object_store::ObjectStore;
use rheos_core::{Error, ErrorKind, Result};

use self::client::{Client, Found};
use self::lease::HeldLease;
use super::{CheckpointStore, Creation, Listed, Note, WriteFailure};
use crate::errors::damaged;
use crate::names::{self, ANSWERS, JOURNAL, LEASE, OBJECTS, PROBE, REQUESTS};

pub(super) use self::connect::is_url;

/// Longest file that is written by one request, in bytes; longer objects go in parts of at least this size.
const PART_BYTES: usize = 16 << 20;

/// For how long a run counts as alive that does not renew its lease.
const LEASE_VALID: Duration = Duration::from_secs(6);

/// A prefix in a bucket, opened for one run or for a look.
#[derive(Debug)]
pub struct RemoteStore {
    client: Arc<Client>,
    /// `None` for a look: nothing is written but what asks the run that has it.
    lease: Option<HeldLease>,
}

impl RemoteStore {
    /// The prefix of a job, for the one run that uses it. Credentials and endpoint are taken from the environment.
    ///
    /// Waits up to six seconds to see whether a run that has left its lease there still renews it, and says so.
    ///
    /// Errors: `Invalid` (R0641) for what is no such URL, (R0645) for settings that are missing, (R0640) for a store that
    /// ignores conditions, (R0625) if it holds other things; `InputMissing` (R0624) if there is no such bucket; `InUse`
    /// (R0623) if another run uses it; `NotAllowed` or `External` (R0622) from the store.
    pub fn open(url: &str, note: &Note) -> Result<Self> {
        let (store, prefix) = connect::connect(url)?;
        Self::take(store, &prefix, url, LEASE_VALID, note)
    }

    /// The prefix of a job, for a look at it while a run may use it. Errors: as of `open`; `InputMissing` (R0624) if there is
    /// nothing.
    pub fn view(url: &str) -> Result<Self> {
        let (store, prefix) = connect::connect(url)?;
        let client = Client::try_new(store, &prefix, url)?;
        let names = client.top_names().map_err(|e| no_bucket(e, url))?;
        if !names.iter().any(|name| is_ours(name)) {
            let message = format!("'{url}' is no state directory: there is no journal");
            return Err(Error::new(ErrorKind::InputMissing, 624, message)
                .with_hint("give what 'rheos run --state-dir' was given"));
        }
        Ok(Self { client: Arc::new(client), lease: None })
    }

    /// As `open`, with a store that has been connected, for example one in memory. `prefix` may be empty; `shown` is its
    /// place, for messages.
    pub fn take(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        shown: &str,
        lease_valid: Duration,
        note: &Note,
    ) -> Result<Self> {
        let client = Arc::new(Client::try_new(store, prefix, shown)?);
        check_contents(&client)?;
        check_condition(&client)?;
        let lease = HeldLease::take(Arc::clone(&client), lease_valid, note)?;
        Ok(Self { client, lease: Some(lease) })
    }

    /// What the store's clock shows, a few seconds ago: when this run renewed its lease. Asked for only where ages are decided
    /// over, for that is a request more.
    fn now(&self, prefix: &str, is_empty: bool) -> Result<Option<SystemTime>> {
        match self.lease.is_some() && !is_empty && is_message(prefix) {
            true => self.client.modified(LEASE),
            false => Ok(None),
        }
    }

    fn check_writable(&self, name: &str) -> Result<()> {
        // Who looks may ask the run.
        match is_message(name) || self.lease.is_some() {
            true => Ok(()),
            false => Err(Error::internal(format!("'{name}' is written in a store that was opened for a look"))),
        }
    }
}

/// The time between two moments of one clock; what was written since the lease has no age.
fn age(modified: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(modified).unwrap_or_default()
}

/// Whether it is one of what runs and others ask each other.
fn is_message(name: &str) -> bool {
    [REQUESTS, ANSWERS].iter().any(|folder| name.starts_with(folder))
}

/// Whether it is what only a state directory has.
fn is_ours(name: &str) -> bool {
    name == JOURNAL.trim_end_matches('/') || name == PROBE
}

/// A prefix with a user's files in it is taken for a mistake.
fn check_contents(client: &Client) -> Result<()> {
    let names = client.top_names().map_err(|e| no_bucket(e, client.shown()))?;
    let objects = OBJECTS.trim_end_matches('/');
    if names.iter().any(|name| is_ours(name)) {
        return Ok(());
    }
    match names.iter().find(|name| !["", objects, LEASE].contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let message = format!("'{}' is no state directory: it holds '{name}'", client.shown());
            Err(Error::invalid(625, message).with_hint("give a prefix of its own, where nothing is yet"))
        }
    }
}

/// A name that is taken must be refused. The file stays: the next run finds it taken by the first try.
fn check_condition(client: &Client) -> Result<()> {
    let text = b"a name that is taken is refused\n";
    for _ in 0..2 {
        match client.put_new(PROBE, text) {
            Ok(Creation::Exists) => return Ok(()),
            Ok(Creation::Created) => {}
            Err(failure) => return Err(failure.error().clone()),
        }
    }
    // Whoever starts next must find out, too. If it stays, only one try of two is saved.
    let _ = client.delete(PROBE);
    let message = format!("'{}' does not refuse to write a name that is taken", client.shown());
    Err(Error::invalid(640, message).with_hint(
        "two runs could destroy each other's state there: take a store that honours 'If-None-Match: *', or a local folder",
    ))
}

/// At the start, what is not found is the bucket.
fn no_bucket(error: Error, url: &str) -> Error {
    match failure::is_missing(&error) {
        true => Error::new(ErrorKind::InputMissing, 624, format!("there is no bucket or container of '{url}'"))
            .with_hint("look at its name, the region and the endpoint, or make it"),
        false => error,
    }
}

impl CheckpointStore for RemoteStore {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure> {
        self.check_writable(name).map_err(WriteFailure::NotWritten)?;
        // Only journal entries are written by rivals, and these are short. An object's name is one writer's alone.
        match bytes.len() > PART_BYTES && name.starts_with(OBJECTS) {
            false => self.client.put_new(name, bytes),
            true => match self.client.length_bytes(name).map_err(WriteFailure::NotWritten)? {
                Some(_) => Ok(Creation::Exists),
                None => self.client.put_parts(name, bytes, PART_BYTES).map(|()| Creation::Created),
            },
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.check_writable(name).map_err(WriteFailure::NotWritten)?;
        match bytes.len() > PART_BYTES {
            false => self.client.put_over(name, bytes),
            true => self.client.put_parts(name, bytes, PART_BYTES),
        }
    }

    fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        self.client.read(name, limit_bytes)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let read = match range.is_empty() {
            true => Ok(Some(Vec::new())),
            false => self.client.read_range(name, range.clone()),
        };
        // Nothing was read, or a range was refused that may lie behind the end: the length tells.
        let asks = range.is_empty() || matches!(&read, Err(e) if e.kind() == ErrorKind::External);
        if !asks {
            return read;
        }
        match self.client.length_bytes(name)? {
            None => Ok(None),
            Some(length) if range.start > range.end || range.end > length => {
                Err(too_short(&self.client, name, length, range.end))
            }
            Some(_) => read,
        }
    }

    fn length_bytes(&self, name: &str) -> Result<Option<u64>> {
        self.client.length_bytes(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        let mut found = self.client.list(prefix)?;
        found.retain(|l| names::check(&l.name).is_ok() && ![LEASE, PROBE].contains(&l.name.as_str()));
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let now = self.now(prefix, found.is_empty())?;
        let listed = |f: Found| {
            let age = now.map_or_else(|| f.modified.elapsed().ok(), |now| Some(age(f.modified, now)));
            Listed { name: f.name, length_bytes: f.length_bytes, age }
        };
        Ok(found.into_iter().map(listed).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.check_writable(name)?;
        self.client.delete(name)
    }

    fn keep(&self, name: &str) -> Result<()> {
        self.check_writable(name)?;
        self.client.copy(name, &names::damaged_path(name))
    }

    fn place(&self) -> String {
        format!("'{}'", self.client.shown())
    }
}

fn too_short(client: &Client, name: &str, length: u64, end: u64) -> Error {
    damaged(format!("'{}/{name}' has {length} bytes, and {end} are asked for", client.shown()))
}

impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.client.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_go_by_one_clock() {
        let moment = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!(age(moment(100), moment(160)), Duration::from_secs(60));
        assert_eq!(age(moment(161), moment(160)), Duration::ZERO, "it was written behind the last look at the clock");
    }
}
