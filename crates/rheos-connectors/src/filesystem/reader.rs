//! Reads one split of a text file: chunks come from an I/O thread, rows are decoded on the worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::source::{ReaderContext, SourcePoll, SplitReader};
use rheos_core::{Error, Result};
use rheos_formats::{DecodeError, DecodeLimits, Decoded, InputRange, OnError, TextDecoder, TextFormat};

use super::input::{DAMAGED, FileInput, Piece, ROOM_BYTES, count_lines};
use super::options::{Compression, FileOptions, decoding};
use super::paths::shown;
use super::position::{BytePosition, parse};
use super::splits::{FileSplit, Part};
use crate::io::buffers;
use crate::io::fetch::{Fetched, Fetcher};

/// See the module.
pub(crate) struct TextReader {
    path: PathBuf,
    compression: Compression,
    decoder: TextDecoder,
    fetcher: Fetcher<FileInput>,
    ctx: ReaderContext,
    /// Where the decoder began.
    offset: u64,
    progress: Progress,
    on_error: OnError,
    /// Whether any bytes have come.
    has_begun: bool,
}

/// Tells the bytes that are done: in the end exactly the split's size.
pub(crate) struct Progress {
    size_bytes: u64,
    told_bytes: u64,
}

impl Progress {
    pub(crate) fn new(size_bytes: u64) -> Self {
        Self { size_bytes, told_bytes: 0 }
    }

    pub(crate) fn add(&mut self, bytes: u64, ctx: &ReaderContext) {
        let bytes = bytes.min(self.size_bytes - self.told_bytes);
        self.told_bytes += bytes;
        ctx.counters.add_bytes(bytes);
    }

    pub(crate) fn finish(&mut self, ctx: &ReaderContext) {
        self.add(self.size_bytes, ctx);
    }
}

impl TextReader {
    /// A reader of `columns` of the `declared` table. `position`: from [`SplitReader::position`].
    #[expect(clippy::too_many_arguments, reason = "everything that a split and its table say, once")]
    pub(crate) fn try_new(
        split: FileSplit,
        size_bytes: u64,
        position: Option<&str>,
        format: &TextFormat,
        options: &FileOptions,
        declared: &SchemaRef,
        columns: &[usize],
        ctx: ReaderContext,
    ) -> Result<Self> {
        let (start, end) = match split.part {
            Part::Lines { start, end } => (start, Some(end)),
            _ => (0, None),
        };
        let range = match position {
            Some(text) => parse::<BytePosition>(text, "a file of text")?.range(end),
            // A line that begins at `start` is known by the newline before it.
            None => InputRange { offset: start.saturating_sub(1), skip_first: start > 0, end },
        };
        let behind_header = range.offset > 0 || range.skip_first;
        let header = (behind_header && format.has_header()).then(|| (format.clone(), options.record_bytes_max));
        let limits = DecodeLimits {
            batch_rows: ctx.batch_rows,
            record_bytes_max: options.record_bytes_max,
            on_error: decoding(options.on_error, &ctx),
        };
        let input = FileInput::new(&split.path, options.compression, range.offset, range.end, header, ctx.warn.clone());
        Ok(Self {
            decoder: TextDecoder::try_new(format, declared, columns, limits, range)?,
            fetcher: Fetcher::new(input, ctx.wake.clone()),
            compression: options.compression,
            offset: range.offset,
            progress: Progress::new(size_bytes),
            on_error: limits.on_error,
            // What lies before the position could be unpacked.
            has_begun: range.offset > 0,
            path: split.path,
            ctx,
        })
    }

    /// The next piece. What is left of a packed file that is damaged is one bad record, but a file of which nothing can be
    /// unpacked is not what its table says.
    fn fetch(&mut self) -> Result<Fetched<Piece>> {
        match self.fetcher.poll() {
            Err(error) if error.code() == DAMAGED && self.on_error != OnError::Fail && self.has_begun => {
                self.decoder.abandon(error.message());
                Ok(Fetched::End)
            }
            fetched => fetched,
        }
    }

    fn decode_error(&self, error: DecodeError) -> Error {
        let name = format!("'{}'", shown(&self.path));
        error.into_error(&name, || count_lines(&self.path, self.compression, self.offset))
    }
}

impl SplitReader for TextReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        loop {
            let decoded = self.decoder.decode();
            let full = account(&mut self.decoder, &self.ctx);
            if let Some(bad) = self.decoder.take_first_skipped() {
                let (path, compression, offset) = (self.path.clone(), self.compression, self.offset);
                let lines_before = move || count_lines(&path, compression, offset);
                let name = format!("'{}'", shown(&self.path));
                self.ctx.counters.note_skipped(move || bad.message(&name, lines_before()));
            }
            match decoded.map_err(|e| self.decode_error(e))? {
                Decoded::Batch(batch) => {
                    count_records(&self.ctx, batch.num_rows());
                    return Ok(SourcePoll::Batch(batch));
                }
                Decoded::End => {
                    buffers::give(self.decoder.take_buffer());
                    self.progress.finish(&self.ctx);
                    return Ok(SourcePoll::Finished);
                }
                Decoded::NeedInput if full => return Ok(SourcePoll::Batch(no_rows(&self.decoder))),
                Decoded::NeedInput => match self.fetch()? {
                    Fetched::Pending => return Ok(SourcePoll::Pending),
                    Fetched::End => self.decoder.finish(),
                    Fetched::Item(Piece::Header(record)) => {
                        self.decoder.set_header(&record).map_err(|e| self.decode_error(DecodeError::Other(e)))?
                    }
                    Fetched::Item(Piece::Bytes(bytes, disk_bytes)) => {
                        self.has_begun = true;
                        let used = self.decoder.push_buffer(bytes, ROOM_BYTES);
                        self.progress.add(disk_bytes, &self.ctx);
                        buffers::give(used);
                    }
                },
            }
        }
    }

    fn position(&self) -> String {
        BytePosition::of(self.decoder.rest()).to_string()
    }
}

/// Tells the engine what a decoder has counted and found bad. Whether it is to look, see [`ReaderContext::put_letters`].
pub(crate) fn account(decoder: &mut TextDecoder, ctx: &ReaderContext) -> bool {
    ctx.counters.add_read(decoder.take_read());
    ctx.counters.add_skipped(decoder.take_skipped());
    ctx.put_letters(decoder.take_letters())
}

/// A batch that lets the engine look.
pub(crate) fn no_rows(decoder: &TextDecoder) -> RecordBatch {
    RecordBatch::new_empty(Arc::clone(decoder.schema()))
}

/// Adds rows to the counter of decoded records.
pub(crate) fn count_records(ctx: &ReaderContext, rows: usize) {
    ctx.counters.records.fetch_add(rows as u64, Ordering::Relaxed);
}
