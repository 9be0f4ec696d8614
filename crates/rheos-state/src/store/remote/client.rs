//! An object store's requests as calls that block, with the errors of this crate.
//!
//! Requests are driven by two threads of their own and awaited by the caller's, who may be anybody: also a thread of another
//! async runtime.

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Error as Cause, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};
use rheos_core::{Error, Result};
use tokio::runtime::{Builder, Runtime};

use super::failure::{failed, not_written};
use super::too_short;
use crate::errors::{damaged, unreachable};
use crate::names;
use crate::store::{Creation, WriteFailure};

/// Requests that are made at once for one file, at most.
const REQUESTS_MAX: usize = 4;
/// What one request reads, at most, in bytes.
const READ_BYTES: u64 = 16 << 20;
/// Parts of a file, at most; S3's limit is 10,000.
const PARTS_MAX: usize = 10_000;

/// A file of the store.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) length_bytes: u64,
    /// By the store's clock.
    pub(super) modified: SystemTime,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    shown: String,
    /// `None` while it is dropped.
    runtime: Option<Runtime>,
}

impl Client {
    /// Errors: `External` (R0622) where no thread can be started.
    pub(super) fn try_new(store: Arc<dyn ObjectStore>, prefix: &str, shown: &str) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("rheos-store").enable_all().build();
        let runtime = runtime.map_err(|e| unreachable(format!("no thread can be started for '{shown}': {e}")))?;
        let (prefix, shown) = (prefix.to_string(), shown.trim_end_matches('/').to_string());
        Ok(Self { store, prefix, shown, runtime: Some(runtime) })
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.runtime.as_ref().map(|runtime| runtime.enter());
        block_on(future)
    }

    fn path(&self, name: &str) -> Result<Path> {
        names::check(name)?;
        let path = if self.prefix.is_empty() { name.to_string() } else { format!("{}/{name}", self.prefix) };
        Path::parse(path).map_err(|e| Error::internal(format!("'{name}' is no name of an object: {e}")))
    }

    fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.shown)
    }

    /// Writes a file whose name must be free.
    pub(super) fn put_new(&self, name: &str, bytes: &[u8]) -> Result<Creation, WriteFailure> {
        match self.put(name, bytes, PutMode::Create) {
            Ok(()) => Ok(Creation::Created),
            Err((Cause::AlreadyExists { .. }, _)) => match self.length_bytes(name) {
                Ok(Some(_)) => Ok(Creation::Exists),
                // Servers say "conflict" also of two requests that meet, of which none may have been carried out.
                Ok(None) => Err(WriteFailure::Unknown(unreachable(format!(
                    "'{}' was said to exist, and cannot be found",
                    self.place(name)
                )))),
                Err(error) => Err(WriteFailure::Unknown(error)),
            },
            Err((_, failure)) => Err(failure),
        }
    }

    /// Writes a file, in place of one that may exist.
    pub(super) fn put_over(&self, name: &str, bytes: &[u8]) -> Result<(), WriteFailure> {
        self.put(name, bytes, PutMode::Overwrite).map_err(|(_, failure)| failure)
    }

    fn put(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<(), (Cause, WriteFailure)> {
        let no_path = |error: Error| {
            let cause = Cause::Generic { store: "name", source: error.message().to_string().into() };
            (cause, WriteFailure::NotWritten(error))
        };
        let path = self.path(name).map_err(no_path)?;
        let payload = PutPayload::from(bytes.to_vec());
        let put = self.wait(self.store.put_opts(&path, payload, PutOptions::from(mode)));
        put.map(|_| ()).map_err(|cause| {
            let failure = not_written("write", &self.place(name), &cause);
            (cause, failure)
        })
    }

    /// Writes a long file in parts of at least `part_bytes`, unconditionally. Readers see all of it, or nothing.
    pub(super) fn put_parts(&self, name: &str, bytes: &[u8], part_bytes: usize) -> Result<(), WriteFailure> {
        let path = self.path(name).map_err(WriteFailure::NotWritten)?;
        let part_bytes = part_bytes.max(bytes.len().div_ceil(PARTS_MAX));
        let not_begun = |cause: &Cause| WriteFailure::NotWritten(failed("write", &self.place(name), cause));
        self.wait(async {
            let mut upload = self.store.put_multipart(&path).await.map_err(|e| not_begun(&e))?;
            let parts = bytes.chunks(part_bytes).map(|part| upload.put_part(PutPayload::from(part.to_vec())));
            let stored = stream::iter(parts).buffer_unordered(REQUESTS_MAX).try_collect::<Vec<()>>().await;
            if let Err(cause) = stored {
                // Parts that stay cost money, no correctness.
                let _ = upload.abort().await;
                return Err(not_begun(&cause));
            }
            let completed = upload.complete().await;
            completed.map(|_| ()).map_err(|e| not_written("write", &self.place(name), &e))
        })
    }

    /// A whole file; `None` if there is none.
    pub(super) fn read(&self, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        let read = async {
            let Some(result) = found(self.store.get_opts(&path, GetOptions::default()).await)? else {
                return Ok(None);
            };
            match result.meta.size > limit_bytes {
                true => Ok(Some(None)),
                false => result.bytes().await.map(|bytes| Some(Some(bytes.to_vec()))),
            }
        };
        match self.wait(read).map_err(|e| failed("read", &self.place(name), &e))? {
            None => Ok(None),
            Some(Some(bytes)) => Ok(Some(bytes)),
            Some(None) => Err(damaged(format!("'{}' is longer than {limit_bytes} bytes", self.place(name)))),
        }
    }

    /// A stretch of a file that is not empty; `None` if there is no file. `Corrupt` if the file ends before.
    pub(super) fn read_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        let step = |start: u64| start..range.end.min(start.saturating_add(READ_BYTES));
        let failed = |cause: Cause| failed("read", &self.place(name), &cause);
        let first = step(range.start);
        let result = self.wait(async { found(self.get(&path, first.clone()).await) }).map_err(failed)?;
        let Some(result) = result else { return Ok(None) };
        // Before memory is asked for: the range may come from a manifest that lies.
        if result.meta.size < range.end || result.range != first {
            return Err(too_short(self, name, result.meta.size, range.end));
        }
        let starts = (1..).map_while(|n: u64| {
            let start = range.start + n * READ_BYTES;
            (start < range.end).then_some(start)
        });
        let read = async {
            let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
            bytes.extend_from_slice(&result.bytes().await?);
            let rest = stream::iter(starts).map(|start| {
                let stretch = step(start);
                let path = &path;
                async move { self.get(path, stretch).await?.bytes().await }
            });
            let mut rest = pin!(rest.buffered(REQUESTS_MAX));
            while let Some(stretch) = rest.try_next().await? {
                bytes.extend_from_slice(&stretch);
            }
            Ok(bytes)
        };
        let bytes = self.wait(read).map_err(failed)?;
        match bytes.len() as u64 == range.end - range.start {
            true => Ok(Some(bytes)),
            false => Err(too_short(self, name, range.start + bytes.len() as u64, range.end)),
        }
    }

    async fn get(&self, path: &Path, range: Range<u64>) -> Result<GetResult, Cause> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        self.store.get_opts(path, options).await
    }

    pub(super) fn length_bytes(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.head(name)?.map(|meta| meta.size))
    }

    /// When a file was written, by the store's clock; `None` if there is none.
    pub(super) fn modified(&self, name: &str) -> Result<Option<SystemTime>> {
        Ok(self.head(name)?.map(|meta| meta.last_modified.into()))
    }

    fn head(&self, name: &str) -> Result<Option<ObjectMeta>> {
        let path = self.path(name)?;
        let head = self.wait(async { found(self.store.head(&path).await) });
        head.map_err(|e| failed("read", &self.place(name), &e))
    }

    /// All files whose name begins with `prefix`, in any order.
    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Found>> {
        // Object stores list by folder.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = match (self.prefix.as_str(), folder) {
            ("", folder) => folder.to_string(),
            (prefix, "") => prefix.to_string(),
            (prefix, folder) => format!("{prefix}/{folder}"),
        };
        let folder = Path::parse(&folder).map_err(|e| Error::internal(format!("'{folder}' is no prefix: {e}")))?;
        let listed = |meta: ObjectMeta| {
            let name = self.name(&meta.location)?.to_string();
            let modified = SystemTime::from(meta.last_modified);
            name.starts_with(prefix).then_some(Found { name, length_bytes: meta.size, modified })
        };
        let all = self.wait(self.store.list(Some(&folder)).try_filter_map(async |m| Ok(listed(m))).try_collect());
        all.map_err(|e| failed("list", &self.place(prefix), &e))
    }

    /// The names of files and folders right below the prefix.
    pub(super) fn top_names(&self) -> Result<Vec<String>> {
        let folder = Path::parse(&self.prefix).map_err(|e| Error::internal(format!("a prefix is none: {e}")))?;
        let found = self.wait(self.store.list_with_delimiter(Some(&folder)));
        let found = found.map_err(|e| failed("list", &self.shown, &e))?;
        let files = found.objects.iter().map(|meta| &meta.location);
        let names = found.common_prefixes.iter().chain(files).filter_map(|path| self.name(path));
        Ok(names.map(str::to_string).collect())
    }

    /// A path without the store's prefix.
    fn name<'p>(&self, path: &'p Path) -> Option<&'p str> {
        match self.prefix.as_str() {
            "" => Some(path.as_ref()),
            prefix => path.as_ref().strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let deleted = self.wait(async { found(self.store.delete(&path).await) });
        deleted.map(|_| ()).map_err(|e| failed("remove", &self.place(name), &e))
    }

    /// Copies a file inside of the store. Errors: also R0622 if there is none.
    pub(super) fn copy(&self, from: &str, to: &str) -> Result<()> {
        let (from_path, to_path) = (self.path(from)?, self.path(to)?);
        let copied = self.wait(self.store.copy(&from_path, &to_path));
        copied.map_err(|e| failed("copy", &self.place(from), &e))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed on those of another runtime, and there is nothing to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What is not there is an answer.
fn found<T>(result: Result<T, Cause>) -> Result<Option<T>, Cause> {
    match result {
        Err(Cause::NotFound { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread. What it waits for is driven by the runtime that has been entered.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
