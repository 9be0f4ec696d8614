//! One file of lines that becomes longer, as `tail -F` reads it: lines go on as they are appended, an incomplete last line
//! waits for its end.
//!
//! ```text
//!   thread:  read to the end ──chunks──► [bounded] ──► decoder on the worker
//!               └─ sleep an interval ─┘
//! ```
//!
//! A file that is replaced (rotated: renamed away, or removed and made anew) is read to its end, then the new one from its
//! beginning; also if that happened between a checkpoint and its restore, and several times (see `rotation`). A file that becomes
//! shorter is an error, since which lines were lost cannot be known, unless the table accepts that.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use rheos_core::credit::Wake;
use rheos_core::error::Warn;
use rheos_core::source::{ReaderContext, SourcePoll, SplitReader};
use rheos_core::{Error, ErrorKind, Result};
use rheos_formats::{DecodeError, DecodeLimits, Decoded, InputRange, TextDecoder, TextFormat, first_record};

use super::input::count_lines;
use super::options::{Compression, FileOptions};
use super::paths::{is_glob, missing, shown};
use super::position::{BytePosition, FileIdentity, GrowingPosition, parse};
use super::reader::{account, count_records, no_rows};
use super::rotation::{find, lost, read_head, successor};
use crate::io::patience::Patience;
use crate::io::pool::lock;

/// Bytes of a chunk, at most.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks on their way, at most.
const AHEAD: usize = 3;

/// Whether a path can be followed line by line.
///
/// Errors: `InputMissing` where there is no such file, `Invalid` for what is not one plain file.
pub(crate) fn check_growing(options: &FileOptions) -> Result<PathBuf> {
    let path = PathBuf::from(&options.path);
    let refuse = |what: &str, hint: &str| {
        let what = format!("'source.follow' reads one growing file, but '{}' is {what}", options.path);
        Err(Error::invalid(234, what).with_hint(hint))
    };
    let new_files = "follow the new files of a folder by 'source.monitor-interval' = '1 s'";
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => refuse("a folder", new_files),
        Ok(metadata) if !metadata.is_file() => refuse("no plain file", "take 'source.follow' away"),
        Ok(_) if options.compression.of(&path) != Compression::None => {
            refuse("compressed", "follow the file before it is compressed")
        }
        Ok(_) => Ok(path),
        Err(_) if is_glob(&options.path) => refuse("a glob", new_files),
        Err(error) => Err(missing(&options.path, &error)),
    }
}

/// What a decoder of the file is made from; each file that takes its place gets a new one.
#[derive(Debug, Clone)]
pub(crate) struct RowDecoder {
    pub(crate) format: TextFormat,
    pub(crate) declared: SchemaRef,
    pub(crate) columns: Vec<usize>,
    pub(crate) limits: DecodeLimits,
}

impl RowDecoder {
    fn at(&self, range: InputRange) -> Result<TextDecoder> {
        TextDecoder::try_new(&self.format, &self.declared, &self.columns, self.limits, range)
    }
}

/// What the thread tells.
enum News {
    /// The inode of the file that is read, and the bytes before the place where reading begins, or the first of them.
    Opened(u64, Vec<u8>),
    /// The record that names the columns, where reading does not begin with it.
    Header(Vec<u8>),
    /// What has been appended.
    Bytes(Vec<u8>),
    /// The file was replaced by one with this inode, and is at its end.
    Replaced(u64),
}

/// What is known of a file.
struct Known {
    inode: u64,
    /// What has been read of its first bytes.
    head: Vec<u8>,
    /// As the position says, until the file has been found.
    before: Option<FileIdentity>,
}

impl Known {
    fn new(inode: u64) -> Self {
        Self { inode, head: Vec::new(), before: None }
    }

    /// Its identity at `offset`, which needs no byte behind it.
    fn identity(&self, offset: u64) -> FileIdentity {
        let length = self.head.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        self.before.unwrap_or_else(|| FileIdentity::new(self.inode, &self.head[..length]))
    }

    /// Notes bytes that follow those before.
    fn read(&mut self, bytes: &[u8]) {
        let missing = FileIdentity::HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
    }
}

/// See the module.
pub(crate) struct GrowingReader {
    path: PathBuf,
    rows: RowDecoder,
    decoder: TextDecoder,
    /// Where the decoder began.
    offset: u64,
    /// The file that the decoder reads; absent until one was opened.
    file: Option<Known>,
    /// The inode of the file that follows it.
    next_inode: u64,
    news: Receiver<Result<News>>,
    sleep: Arc<Sleep>,
    patience: Patience,
    ctx: ReaderContext,
}

impl GrowingReader {
    /// `position`: from [`SplitReader::position`]. Errors: `External` where no thread can be started.
    pub(crate) fn try_new(
        path: PathBuf,
        (interval, accepts_loss): (Duration, bool),
        position: Option<&str>,
        rows: RowDecoder,
        ctx: ReaderContext,
    ) -> Result<Self> {
        let position = position.map_or(Ok(GrowingPosition::Start), |text| parse(text, "a growing file"))?;
        let (range, file) = match position {
            GrowingPosition::Start => (InputRange::default(), None),
            GrowingPosition::At(at, file) => {
                (at.range(None), Some(Known { inode: file.inode, head: Vec::new(), before: Some(file) }))
            }
        };
        let (sender, news) = sync_channel(AHEAD);
        let sleep = Arc::<Sleep>::default();
        let patience = Patience::new(ctx.warn.clone());
        let tail = Tail {
            path: path.clone(),
            interval,
            accepts_loss,
            warn: ctx.warn.clone(),
            header: rows.format.has_header().then(|| (rows.format.clone(), rows.limits.record_bytes_max)),
            sender,
            wake: ctx.wake.clone(),
            patience: patience.clone(),
            sleep: Arc::clone(&sleep),
        };
        std::thread::Builder::new()
            .name("rheos-follow".into())
            .spawn(move || tail.run(position))
            .map_err(|e| Error::io("start a thread for", &shown(&path), &e))?;
        let decoder = rows.at(range)?;
        Ok(Self { decoder, path, rows, offset: range.offset, file, next_inode: 0, news, sleep, patience, ctx })
    }

    fn decode_error(&self, error: DecodeError) -> Error {
        let name = format!("'{}'", shown(&self.path));
        error.into_error(&name, || count_lines(&self.path, Compression::None, self.offset))
    }

    fn hear(&mut self, news: News) -> Result<()> {
        match news {
            News::Opened(inode, head) => self.file = Some(Known { inode, head, before: None }),
            News::Header(record) => {
                self.decoder.set_header(&record).map_err(|e| self.decode_error(DecodeError::Other(e)))?;
            }
            News::Bytes(bytes) => {
                self.ctx.counters.add_bytes(bytes.len() as u64);
                if let Some(file) = &mut self.file {
                    file.read(&bytes);
                }
                self.decoder.push(&bytes);
            }
            News::Replaced(inode) => {
                self.next_inode = inode;
                self.decoder.finish();
            }
        }
        Ok(())
    }
}

impl SplitReader for GrowingReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        loop {
            let decoded = self.decoder.decode();
            let full = account(&mut self.decoder, &self.ctx);
            if let Some(bad) = self.decoder.take_first_skipped() {
                let (path, offset) = (self.path.clone(), self.offset);
                let lines_before = move || count_lines(&path, Compression::None, offset);
                let name = format!("'{}'", shown(&self.path));
                self.ctx.counters.note_skipped(move || bad.message(&name, lines_before()));
            }
            match decoded.map_err(|e| self.decode_error(e))? {
                Decoded::Batch(batch) => {
                    count_records(&self.ctx, batch.num_rows());
                    return Ok(SourcePoll::Batch(batch));
                }
                Decoded::End => {
                    (self.offset, self.file) = (0, Some(Known::new(self.next_inode)));
                    self.decoder = self.rows.at(InputRange::default())?;
                }
                Decoded::NeedInput if full => return Ok(SourcePoll::Batch(no_rows(&self.decoder))),
                Decoded::NeedInput => match self.news.try_recv() {
                    Ok(news) => self.hear(news?)?,
                    Err(TryRecvError::Empty) => return Ok(SourcePoll::Pending),
                    Err(TryRecvError::Disconnected) => {
                        return Err(Error::internal(format!("nobody follows '{}' any more", shown(&self.path))));
                    }
                },
            }
        }
    }

    fn position(&self) -> String {
        let at = BytePosition::of(self.decoder.rest());
        let position = match &self.file {
            Some(file) => GrowingPosition::At(at, file.identity(at.offset)),
            None => GrowingPosition::Start,
        };
        position.to_string()
    }
}

impl Drop for GrowingReader {
    fn drop(&mut self) {
        self.patience.end();
        self.sleep.end();
    }
}

/// The thread's side.
struct Tail {
    path: PathBuf,
    interval: Duration,
    accepts_loss: bool,
    warn: Warn,
    header: Option<(TextFormat, usize)>,
    sender: SyncSender<Result<News>>,
    wake: Wake,
    patience: Patience,
    sleep: Arc<Sleep>,
}

impl Tail {
    fn run(self, start: GrowingPosition) {
        if let Err(error) = self.follow(start) {
            // The reader may have gone.
            let _ = self.sender.send(Err(error));
            (self.wake)();
        }
    }

    /// Opens the file that reading begins in. `None`: the reader has gone.
    fn begin(&self, start: GrowingPosition) -> Result<Option<(File, u64)>> {
        let GrowingPosition::At(at, identity) = start else {
            let (file, inode) = self.steadily(|| self.open())?;
            return Ok(self.tell(News::Opened(inode, Vec::new())).then_some((file, 0)));
        };
        let Some(mut file) = self.unless_lost(find(&self.path, &identity, at.offset))? else {
            let (file, inode) = self.steadily(|| self.open())?;
            return Ok(self.tell(News::Replaced(inode)).then_some((file, 0)));
        };
        let mut head = read_head(&file).map_err(|e| self.failed(&e))?;
        head.truncate(usize::try_from(at.offset).unwrap_or(usize::MAX));
        if !self.tell(News::Opened(identity.inode, head)) {
            return Ok(None);
        }
        if let Some((format, bytes_max)) = self.header.as_ref().filter(|_| at.offset > 0)
            && !self.tell(News::Header(self.read_header(&file, format, *bytes_max, at.offset)?))
        {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(at.offset)).map_err(|e| self.failed(&e))?;
        Ok(Some((file, at.offset)))
    }

    /// `None`: lines may be lost, and that is told.
    fn unless_lost<T>(&self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Err(e) if self.accepts_loss && e.kind() == ErrorKind::Corrupt => {
                let message = format!("{}; reading goes on with what is there", e.message());
                self.warn.tell(&Error::new(ErrorKind::Corrupt, 233, message));
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// The file that follows one that was replaced, and its inode. `None`: it cannot be opened yet.
    fn next(&self, file: &File, is_known: bool) -> Result<Option<(File, u64)>> {
        let next = self.patience.again(|| successor(&self.path, file, is_known))?;
        self.unless_lost(next.gap.map_or(Ok(()), Err))?;
        match next.file {
            Some(next) => {
                let inode = next.metadata().map_err(|e| self.failed(&e))?.ino();
                Ok(Some((next, inode)))
            }
            None => Ok(self.open().ok()),
        }
    }

    /// The first record, which ends before `offset`. The file may have another name by now.
    fn read_header(&self, mut file: &File, format: &TextFormat, bytes_max: usize, offset: u64) -> Result<Vec<u8>> {
        let length = offset.min(bytes_max as u64 + 1);
        let mut bytes = Vec::new();
        let read = file.rewind().and_then(|()| file.take(length).read_to_end(&mut bytes));
        read.map_err(|e| self.failed(&e))?;
        Ok(first_record(format, &bytes, true).unwrap_or_default())
    }

    /// Returns when the reader has gone. Errors: the file cannot be read, or has become shorter.
    fn follow(&self, start: GrowingPosition) -> Result<()> {
        let Some((mut file, mut offset)) = self.begin(start)? else { return Ok(()) };
        // Whether it had its name when it was opened here.
        let mut is_known = !self.is_replaced(&file)?;
        loop {
            // Looked at first: what was appended before the file was replaced is read behind the look.
            let replaced = self.is_replaced(&file)?;
            loop {
                let mut chunk = Vec::new();
                // What has come before it failed is in the chunk, and is not read again.
                self.steadily(|| {
                    let room = CHUNK_BYTES - chunk.len();
                    (&mut file).take(room as u64).read_to_end(&mut chunk)
                })?;
                if chunk.is_empty() {
                    break;
                }
                offset += chunk.len() as u64;
                if !self.tell(News::Bytes(chunk)) {
                    return Ok(());
                }
            }
            if self.steadily(|| file.metadata())?.len() < offset {
                let cut = Err::<(), _>(lost(&self.path, "has become shorter while it was followed"));
                self.unless_lost(cut)?;
                let inode = self.steadily(|| file.rewind().and_then(|()| file.metadata()))?.ino();
                offset = 0;
                if !self.tell(News::Replaced(inode)) {
                    return Ok(());
                }
            } else if replaced && let Some((next, inode)) = self.next(&file, is_known)? {
                (file, offset) = (next, 0);
                is_known = !self.is_replaced(&file)?;
                if !self.tell(News::Replaced(inode)) {
                    return Ok(());
                }
            } else if self.sleep.sleep(self.interval) {
                return Ok(());
            }
        }
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = File::open(&self.path)?;
        let inode = file.metadata()?.ino();
        Ok((file, inode))
    }

    /// Whether the path names another file now; while it names none, it may come.
    fn is_replaced(&self, file: &File) -> Result<bool> {
        let same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let open = self.steadily(|| file.metadata())?;
        let named = || match fs::metadata(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            named => named.map(Some),
        };
        Ok(self.steadily(named)?.is_some_and(|named| !same(&named, &open)))
    }

    fn steadily<T>(&self, attempt: impl FnMut() -> io::Result<T>) -> Result<T> {
        self.patience.steadily("read", &shown(&self.path), attempt).map_err(|e| self.failed(&e))
    }

    /// Publishes, then wakes. `false`: the reader has gone.
    fn tell(&self, news: News) -> bool {
        let told = self.sender.send(Ok(news)).is_ok();
        (self.wake)();
        told
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::io("read", &shown(&self.path), error)
    }
}

/// A sleep that its owner can end.
#[derive(Default)]
struct Sleep {
    over: Mutex<bool>,
    bell: Condvar,
}

impl Sleep {
    /// Whether it was ended.
    fn sleep(&self, interval: Duration) -> bool {
        let waited = self.bell.wait_timeout_while(lock(&self.over), interval, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn end(&self) {
        *lock(&self.over) = true;
        self.bell.notify_all();
    }
}
