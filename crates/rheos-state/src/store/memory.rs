//! A store in memory, for tests: with the faults that real stores have.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rheos_core::Result;

use super::{CheckpointStore, Creation, Listed, WriteFailure};
use crate::errors::{damaged, full, unreachable};
use crate::names;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `create` or `replace`.
    Write,
    /// `read`, `read_range` or `length_bytes`.
    Read,
    /// `list`.
    List,
    /// `delete`.
    Delete,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The store cannot be reached; nothing is done.
    Unreachable,
    /// A write finds no space.
    Full,
    /// A write is done, and the caller hears that its outcome is unknown.
    DoneUnknown,
    /// A write is not done, and the caller hears that its outcome is unknown.
    NotDoneUnknown,
    /// A write is told as done, and only so many bytes are there.
    Torn(usize),
    /// The call takes so long, and is done.
    Slow(Duration),
}

/// Files in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, Vec<u8>>,
    faults: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    operation: Operation,
    prefix: String,
    fault: Fault,
    times: usize,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next `times` operations of this kind on names that begin with `prefix` have this fault.
    pub fn inject(&self, operation: Operation, prefix: &str, times: usize, fault: Fault) {
        self.lock().faults.push(Planned { operation, prefix: prefix.into(), fault, times });
    }

    /// Forgets all faults that have not come yet.
    pub fn heal(&self) {
        self.lock().faults.clear();
    }

    /// Turns one bit of a file; whether there is such a byte.
    pub fn flip_bit(&self, name: &str, byte: usize, bit: u8) -> bool {
        let mut inner = self.lock();
        let found = inner.files.get_mut(name).and_then(|f| f.get_mut(byte));
        found.map(|b| *b ^= 1 << (bit % 8)).is_some()
    }

    /// Cuts a file; whether it was longer.
    pub fn truncate(&self, name: &str, length: usize) -> bool {
        let mut inner = self.lock();
        let file = inner.files.get_mut(name).filter(|f| f.len() > length);
        file.map(|f| f.truncate(length)).is_some()
    }

    /// Takes a file away, as if it had been lost; what it held.
    pub fn lose(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().files.remove(name)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that this call has. A slow call has been slow when this returns.
    fn fault(&self, operation: Operation, name: &str) -> Option<Fault> {
        let mut inner = self.lock();
        let here = |p: &&mut Planned| p.operation == operation && p.times > 0 && name.starts_with(&p.prefix);
        let planned = inner.faults.iter_mut().find(here)?;
        planned.times -= 1;
        let fault = planned.fault;
        drop(inner);
        match fault {
            Fault::Slow(duration) => {
                std::thread::sleep(duration);
                None
            }
            fault => Some(fault),
        }
    }

    /// The fault of a call that does not write, if it fails.
    fn check(&self, operation: Operation, name: &str) -> Result<()> {
        match self.fault(operation, name) {
            None => Ok(()),
            Some(_) => Err(unreachable(format!("the store cannot be reached for '{name}'"))),
        }
    }

    fn write(&self, name: &str, bytes: &[u8], replace: bool) -> Result<Creation, WriteFailure> {
        names::check(name).map_err(WriteFailure::NotWritten)?;
        let fault = self.fault(Operation::Write, name);
        let unknown = || WriteFailure::Unknown(unreachable(format!("no answer came for '{name}'")));
        match fault {
            Some(Fault::Unreachable) => {
                let error = unreachable(format!("the store cannot be reached for '{name}'"));
                return Err(WriteFailure::NotWritten(error));
            }
            Some(Fault::Full) => return Err(WriteFailure::NotWritten(full(name, "the store is full"))),
            Some(Fault::NotDoneUnknown) => return Err(unknown()),
            _ => {}
        }
        let mut inner = self.lock();
        let free = replace || !inner.files.contains_key(name);
        if free {
            let kept = match fault {
                Some(Fault::Torn(length)) => length.min(bytes.len()),
                _ => bytes.len(),
            };
            inner.files.insert(name.to_string(), bytes[..kept].to_vec());
        }
        match fault {
            Some(Fault::DoneUnknown) => Err(unknown()),
            _ if free => Ok(Creation::Created),
            _ => Ok(Creation::Exists),
        }
    }

    fn get<T>(&self, name: &str, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<Option<T>> {
        names::check(name)?;
        self.check(Operation::Read, name)?;
        self.lock().files.get(name).map(|f| read(f)).transpose()
    }
}

impl CheckpointStore for MemoryStore {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure> {
        self.write(name, bytes, false)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.write(name, bytes, true).map(|_| ())
    }

    fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        self.get(name, |file| match file.len() as u64 > limit_bytes {
            true => Err(damaged(format!("'{name}' is longer than {limit_bytes} bytes"))),
            false => Ok(file.to_vec()),
        })
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        self.get(name, |file| {
            let found = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
            let found = found.and_then(|(start, end)| file.get(start..end));
            let short = || damaged(format!("'{name}' has {} bytes, and {} are asked for", file.len(), range.end));
            found.map(<[u8]>::to_vec).ok_or_else(short)
        })
    }

    fn length_bytes(&self, name: &str) -> Result<Option<u64>> {
        self.get(name, |file| Ok(file.len() as u64))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Listed>> {
        self.check(Operation::List, prefix)?;
        let inner = self.lock();
        let listed = |(name, file): (&String, &Vec<u8>)| Listed {
            name: name.clone(),
            length_bytes: file.len() as u64,
            age: None,
        };
        Ok(inner.files.iter().filter(|(name, _)| name.starts_with(prefix)).map(listed).collect())
    }

    fn delete(&self, name: &str) -> Result<()> {
        names::check(name)?;
        self.check(Operation::Delete, name)?;
        self.lock().files.remove(name);
        Ok(())
    }

    fn keep(&self, name: &str) -> Result<()> {
        self.check(Operation::Write, name)?;
        let mut inner = self.lock();
        let Some(file) = inner.files.get(name).cloned() else {
            return Err(unreachable(format!("there is no '{name}'")));
        };
        inner.files.insert(names::damaged_path(name), file);
        Ok(())
    }

    fn place(&self) -> String {
        "memory".to_string()
    }
}
