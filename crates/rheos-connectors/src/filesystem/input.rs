//! A text file as chunks of decompressed bytes, read on an I/O thread or, if the page cache has them, by the worker itself.
//!
//! ```text
//!   [header record, if the reading begins behind it]  chunk  chunk  ...  (small ones behind the split's end)
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rheos_core::error::Warn;
use rheos_core::{Error, ErrorKind, Result};
use rheos_formats::{TextFormat, first_record};

use super::gzip::Members;
use super::options::Compression;
use super::paths::shown;
use crate::io::buffers;
use crate::io::fetch::{Fetched, Input};
use crate::io::patience::{Patience, is_transient};
use crate::io::steady::SteadyReader;

/// Bytes of a chunk: they stay in the core's own cache until they are decoded.
const CHUNK_BYTES: usize = 256 << 10;

/// The error of a packed file that is damaged: what comes behind cannot be read.
pub(super) const DAMAGED: &str = "R0211";
const DAMAGED_CODE: u16 = 211;

/// Bytes of a page of memory, or a divisor of them.
const PAGE_BYTES: u64 = 4096;

/// Bytes of a chunk behind the end of a split, where only the rest of one record is needed.
const TAIL_BYTES: usize = 32 << 10;

/// Room before the bytes of a chunk, for the beginning of a record that the chunk before has: see
/// [`TextDecoder::push_buffer`](rheos_formats::TextDecoder::push_buffer).
pub(super) const ROOM_BYTES: usize = 64 << 10;

/// What an input gives.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The first record of the file, which names the columns.
    Header(Vec<u8>),
    /// Bytes behind [`ROOM_BYTES`] of room, and how many bytes of the file they took.
    Bytes(Vec<u8>, u64),
}

/// A text file, or a part of it.
pub(crate) struct FileInput {
    path: PathBuf,
    compression: Compression,
    /// Where reading begins, in decompressed bytes.
    offset: u64,
    /// Where only the rest of a record is missing.
    end: Option<u64>,
    /// How the header is found, if one is to be read.
    header: Option<(TextFormat, usize)>,
    opened: Option<Opened>,
    /// What went wrong behind the last piece.
    late: Option<io::Error>,
    patience: Patience,
}

enum Opened {
    Plain(Box<SteadyReader>),
    Packed { unpacked: Unpacked, disk_bytes_told: u64 },
}

/// Decompressed bytes, and how many of the file they took so far.
struct Unpacked {
    reader: Box<dyn Read + Send>,
    disk_bytes: Arc<AtomicU64>,
}

impl FileInput {
    /// `header`: the file's header is wanted although reading begins behind it; with the limit of its size.
    pub(crate) fn new(
        path: &Path,
        compression: Compression,
        offset: u64,
        end: Option<u64>,
        header: Option<(TextFormat, usize)>,
        warn: Warn,
    ) -> Self {
        let patience = Patience::new(warn);
        Self { path: path.into(), compression, offset, end, header, opened: None, late: None, patience }
    }

    fn open(&self) -> io::Result<Opened> {
        if self.compression.of(&self.path) == Compression::None {
            let file = SteadyReader::open(&self.path, self.patience.clone())?;
            // A pipe has no offsets.
            if file.about().is_file() {
                return if file.about().len() < self.offset {
                    Err(io::Error::other(Shorter))
                } else {
                    Ok(Opened::Plain(Box::new(file)))
                };
            }
        }
        let unpacked = open(&self.path, self.compression, self.offset, &self.patience)?;
        Ok(Opened::Packed { unpacked, disk_bytes_told: 0 })
    }

    fn piece(&mut self, buffer: Vec<u8>, bytes: u64) -> Piece {
        self.offset += bytes;
        let disk_bytes = match &mut self.opened {
            Some(Opened::Packed { unpacked, disk_bytes_told }) => {
                let total = unpacked.disk_bytes.load(Ordering::Relaxed);
                total - std::mem::replace(disk_bytes_told, total)
            }
            _ => bytes,
        };
        Piece::Bytes(buffer, disk_bytes)
    }

    fn failed(&self, error: &io::Error) -> Error {
        read_error(&self.path, self.compression, error)
    }
}

impl Input for FileInput {
    type Item = Piece;

    fn next(&mut self) -> Result<Option<Piece>> {
        if let Some((format, bytes_max)) = self.header.take() {
            let header = || read_header(&self.path, self.compression, &format, bytes_max);
            return Ok(Some(Piece::Header(self.patience.again(header)?)));
        }
        if self.opened.is_none() {
            self.opened = Some(self.open().map_err(|e| self.failed(&e))?);
        }
        if let Some(error) = self.late.take() {
            return Err(self.failed(&error));
        }
        let Some(opened) = &mut self.opened else { return Ok(None) };
        let (offset, wanted) = (self.offset, wanted_bytes(self.offset, self.end));
        let mut buffer = buffers::take();
        let read = match opened {
            Opened::Plain(file) => {
                fill(&mut buffer, wanted, &mut self.late, |bytes, at| file.read_at(bytes, offset + at))
            }
            Opened::Packed { unpacked, .. } => {
                fill(&mut buffer, wanted, &mut self.late, |bytes, _| unpacked.reader.read(bytes))
            }
        };
        Ok(match read.map_err(|e| self.failed(&e))? {
            0 => None,
            n => Some(self.piece(buffer, n as u64)),
        })
    }

    fn next_now(&mut self) -> Result<Fetched<Piece>> {
        let Some(Opened::Plain(file)) = &self.opened else { return Ok(Fetched::Pending) };
        let mut buffer = buffers::take();
        let mut late = None;
        let read = fill(&mut buffer, wanted_bytes(self.offset, self.end), &mut late, |bytes, at| {
            read_cached(file.file(), bytes, self.offset + at)
        });
        self.late = late.filter(|e| !is_transient(e));
        match read {
            Ok(0) => Ok(Fetched::End),
            Ok(n) => Ok(Fetched::Item(self.piece(buffer, n as u64))),
            // An I/O thread may wait until it goes.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || is_transient(&e) => {
                buffers::give(buffer);
                Ok(Fetched::Pending)
            }
            Err(e) => Err(self.failed(&e)),
        }
    }
}

/// Bytes that a reader at `offset` asks for: up to the end of a page, since copies out of the page cache that begin one
/// byte before a page take several times as long, and splits begin there.
fn wanted_bytes(offset: u64, end: Option<u64>) -> usize {
    let whole = CHUNK_BYTES - (offset % PAGE_BYTES) as usize;
    match end {
        Some(end) if offset >= end => TAIL_BYTES,
        Some(end) => whole.min(usize::try_from(end - offset).unwrap_or(whole)),
        None => whole,
    }
}

/// Reads what the page cache has. Errors: `WouldBlock` if it has nothing there, or if the file system cannot tell.
#[cfg(target_os = "linux")]
fn read_cached(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    match preadv2(file, &mut [io::IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT) {
        Ok(n) => Ok(n),
        Err(Errno::INTR | Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// Reads up to `wanted` bytes behind the room of `buffer`, which had other bytes before; `read` is told how many came
/// already. Fewer come at the end, where `read` would block, and where it failed, which is an error only if none came;
/// what went wrong behind those that came is in `late`.
fn fill(
    buffer: &mut Vec<u8>,
    wanted: usize,
    late: &mut Option<io::Error>,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let size = ROOM_BYTES + wanted;
    if buffer.capacity() < size {
        *buffer = vec![0; size];
    }
    buffer.resize(size, 0);
    let mut done = 0;
    while done < wanted {
        match read(&mut buffer[ROOM_BYTES + done..], done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && done > 0 => break,
            Err(e) if done > 0 => {
                *late = Some(e);
                break;
            }
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(ROOM_BYTES + done);
    Ok(done)
}

/// Counts the bytes of the file as it lies on the disk.
struct Counted<R>(R, Arc<AtomicU64>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

fn open(path: &Path, compression: Compression, offset: u64, patience: &Patience) -> io::Result<Unpacked> {
    let mut file = SteadyReader::open(path, patience.clone())?;
    let disk_bytes = Arc::<AtomicU64>::default();
    let compression = compression.of(path);
    if offset > 0 && compression == Compression::None {
        file.skip_to(offset);
    }
    let counted = Counted(file, Arc::clone(&disk_bytes));
    let mut reader: Box<dyn Read + Send> = match compression {
        Compression::Gzip => Box::new(Members::new(BufReader::with_capacity(64 << 10, counted))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::new(counted))?),
        Compression::None | Compression::Auto => Box::new(counted),
    };
    if offset > 0 && compression != Compression::None {
        let passed = io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
        if passed < offset {
            return Err(io::Error::other(Shorter));
        }
    }
    Ok(Unpacked { reader, disk_bytes })
}

/// The end of a file comes before the place where its reading is to begin.
#[derive(Debug)]
struct Shorter;

impl fmt::Display for Shorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file is shorter than it was")
    }
}

impl std::error::Error for Shorter {}

/// The error for a file that is not any more as it was when it was cut into splits, or read up to a position.
pub(super) fn shorter(path: &Path) -> Error {
    let message = format!("'{}' has become shorter since it was found, so rows may be lost", shown(path));
    Error::new(ErrorKind::Corrupt, 233, message)
        .with_hint("leave files alone while a job reads them; put the file back, or start the job without its state")
}

/// An error of reading a text file: damaged compression is told apart from the rest.
fn read_error(path: &Path, compression: Compression, error: &io::Error) -> Error {
    if error.get_ref().is_some_and(|e| e.is::<Shorter>()) {
        return shorter(path);
    }
    let name = shown(path);
    // The disk has said it, not who unpacks.
    if error.raw_os_error().is_some() {
        return Error::io("read", &name, error);
    }
    let packed = match compression.of(path) {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::None | Compression::Auto => return Error::io("read", &name, error),
    };
    let damaged = |what: String| {
        Error::new(ErrorKind::Corrupt, DAMAGED_CODE, what).with_hint("check the file, or whether 'compression' fits it")
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
            Error::io("read", &name, error)
        }
        io::ErrorKind::UnexpectedEof if packed == "gzip" && !begins_as_gzip(path) => {
            damaged(format!("'{name}' is not valid gzip data: it does not begin as such"))
        }
        io::ErrorKind::UnexpectedEof => damaged(format!("'{name}' ends in the middle of its {packed} data")),
        _ => damaged(format!("'{name}' is not valid {packed} data: {error}")),
    }
}

/// Whether a file has gzip's first two bytes; a short one that has not is no gzip that is cut off.
fn begins_as_gzip(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(2).read_to_end(&mut head));
    read.is_err() || [0x1f, 0x8b].starts_with(&head)
}

/// The beginning of a text file, at most `bytes_max` bytes, and whether that is all of it.
pub(crate) fn read_head(path: &Path, compression: Compression, bytes_max: usize) -> Result<(Vec<u8>, bool)> {
    match read_begin(path, compression, bytes_max)? {
        (_, _, Some(error)) => Err(error),
        (head, complete, None) => Ok((head, complete)),
    }
}

/// [`read_head`], and what goes wrong behind the bytes that can be read.
fn read_begin(path: &Path, compression: Compression, bytes_max: usize) -> Result<(Vec<u8>, bool, Option<Error>)> {
    let failed = |e: io::Error| read_error(path, compression, &e);
    let mut opened = open(path, compression, 0, &Patience::new(Warn::default())).map_err(failed)?;
    let mut head = Vec::new();
    match (&mut opened.reader).take(bytes_max as u64 + 1).read_to_end(&mut head) {
        Err(e) if !head.is_empty() => return Ok((head, false, Some(failed(e)))),
        read => read.map_err(failed)?,
    };
    let complete = head.len() <= bytes_max;
    head.truncate(bytes_max);
    Ok((head, complete, None))
}

/// The first record of a text file.
///
/// Errors: `Invalid` if it is longer than `bytes_max`.
pub(crate) fn read_header(
    path: &Path,
    compression: Compression,
    format: &TextFormat,
    bytes_max: usize,
) -> Result<Vec<u8>> {
    // Headers are short; a long one is read again with more room.
    let mut room = (16 << 10).min(bytes_max);
    loop {
        let (head, complete, error) = read_begin(path, compression, room)?;
        if let Some(record) = first_record(format, &head, complete) {
            return Ok(record);
        }
        // A file that is damaged behind its header has one.
        if let Some(error) = error {
            return Err(error);
        }
        if complete {
            return Ok(Vec::new());
        }
        if room == bytes_max {
            return Err(Error::invalid(
                205,
                format!("the header of '{}' is longer than {bytes_max} bytes", shown(path)),
            )
            .with_hint("check whether the file is csv, or raise 'record.size-max'"));
        }
        room = room.saturating_mul(16).min(bytes_max);
    }
}

/// Newlines before `offset`: only asked for when an error is reported, so it may read the file again.
pub(crate) fn count_lines(path: &Path, compression: Compression, offset: u64) -> u64 {
    let Ok(opened) = open(path, compression, 0, &Patience::new(Warn::default())) else { return 0 };
    let mut reader = opened.reader.take(offset);
    let mut buffer = vec![0; 64 << 10];
    let mut lines = 0;
    while let Ok(n) = reader.read(&mut buffer) {
        if n == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..n]).count() as u64;
    }
    lines
}
