//! A text file as chunks of decompressed bytes, read on an I/O thread.
//!
//! ```text
//!   [header record, if the reading begins behind it]  chunk  chunk  ...  (small ones behind the split's end)
//! ```

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use rheos_core::{Error, ErrorKind, Result};
use rheos_formats::{TextFormat, first_record};

use super::options::Compression;
use super::paths::shown;
use crate::io::buffers;
use crate::io::fetch::Input;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 1 << 20;

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
}

struct Opened {
    reader: Box<dyn Read + Send>,
    disk_bytes: Arc<AtomicU64>,
    disk_bytes_told: u64,
}

impl FileInput {
    /// `header`: the file's header is wanted although reading begins behind it; with the limit of its size.
    pub(crate) fn new(
        path: &Path,
        compression: Compression,
        offset: u64,
        end: Option<u64>,
        header: Option<(TextFormat, usize)>,
    ) -> Self {
        Self { path: path.into(), compression, offset, end, header, opened: None }
    }

    fn failed(&self, error: &io::Error) -> Error {
        read_error(&self.path, self.compression, error)
    }
}

impl Input for FileInput {
    type Item = Piece;

    fn next(&mut self) -> Result<Option<Piece>> {
        if let Some((format, bytes_max)) = self.header.take() {
            return Ok(Some(Piece::Header(read_header(&self.path, self.compression, &format, bytes_max)?)));
        }
        if self.opened.is_none() {
            self.opened = Some(open(&self.path, self.compression, self.offset).map_err(|e| self.failed(&e))?);
        }
        let Some(opened) = &mut self.opened else { return Ok(None) };
        let wanted = match self.end {
            Some(end) if self.offset >= end => TAIL_BYTES,
            Some(end) => CHUNK_BYTES.min(usize::try_from(end - self.offset).unwrap_or(CHUNK_BYTES)),
            None => CHUNK_BYTES,
        };
        let mut buffer = buffers::take();
        let n = match fill(&mut opened.reader, &mut buffer, wanted) {
            Ok(0) => return Ok(None),
            Ok(n) => n,
            Err(e) => return Err(self.failed(&e)),
        };
        self.offset += n as u64;
        let total = opened.disk_bytes.load(Ordering::Relaxed);
        let disk_bytes = total - std::mem::replace(&mut opened.disk_bytes_told, total);
        Ok(Some(Piece::Bytes(buffer, disk_bytes)))
    }
}

/// Reads up to `wanted` bytes, fewer only at the end, behind the room of `buffer`, which had other bytes before.
fn fill(reader: &mut impl Read, buffer: &mut Vec<u8>, wanted: usize) -> io::Result<usize> {
    let size = ROOM_BYTES + wanted;
    if buffer.capacity() < size {
        *buffer = vec![0; size];
    }
    buffer.resize(size, 0);
    let mut read = 0;
    while read < wanted {
        match reader.read(&mut buffer[ROOM_BYTES + read..]) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(ROOM_BYTES + read);
    Ok(read)
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

fn open(path: &Path, compression: Compression, offset: u64) -> io::Result<Opened> {
    let mut file = File::open(path)?;
    let disk_bytes = Arc::<AtomicU64>::default();
    let compression = compression.of(path);
    if offset > 0 && compression == Compression::None {
        file.seek(SeekFrom::Start(offset))?;
    }
    let counted = Counted(file, Arc::clone(&disk_bytes));
    let mut reader: Box<dyn Read + Send> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, counted))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(BufReader::new(counted))?),
        Compression::None | Compression::Auto => Box::new(counted),
    };
    if offset > 0 && compression != Compression::None {
        io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
    }
    Ok(Opened { reader, disk_bytes, disk_bytes_told: 0 })
}

/// An error of reading a text file: damaged compression is told apart from the rest.
fn read_error(path: &Path, compression: Compression, error: &io::Error) -> Error {
    let name = shown(path);
    let packed = match compression.of(path) {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::None | Compression::Auto => return Error::io("read", &name, error),
    };
    let damaged = |what: String| {
        Error::new(ErrorKind::Corrupt, 211, what).with_hint("check the file, or whether 'compression' fits it")
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
            Error::io("read", &name, error)
        }
        io::ErrorKind::UnexpectedEof => damaged(format!("'{name}' ends in the middle of its {packed} data")),
        _ => damaged(format!("'{name}' is not valid {packed} data: {error}")),
    }
}

/// The beginning of a text file, at most `bytes_max` bytes, and whether that is all of it.
pub(crate) fn read_head(path: &Path, compression: Compression, bytes_max: usize) -> Result<(Vec<u8>, bool)> {
    let failed = |e: io::Error| read_error(path, compression, &e);
    let mut opened = open(path, compression, 0).map_err(failed)?;
    let mut head = Vec::new();
    (&mut opened.reader).take(bytes_max as u64 + 1).read_to_end(&mut head).map_err(failed)?;
    let complete = head.len() <= bytes_max;
    head.truncate(bytes_max);
    Ok((head, complete))
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
        let (head, complete) = read_head(path, compression, room)?;
        if let Some(record) = first_record(format, &head, complete) {
            return Ok(record);
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
    let Ok(opened) = open(path, compression, 0) else { return 0 };
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
