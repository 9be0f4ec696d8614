//! Reads one split of a text file: chunks come from an I/O thread, rows are decoded on the worker.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use rheos_core::source::{ReaderContext, SourcePoll, SplitReader};
use rheos_core::{Error, Result};
use rheos_formats::{DecodeError, DecodeLimits, Decoded, InputRange, TextDecoder, TextFormat};

use super::input::{FileInput, Piece, ROOM_BYTES, count_lines};
use super::options::{Compression, FileOptions};
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
            on_error: options.on_error,
        };
        let input = FileInput::new(&split.path, options.compression, range.offset, range.end, header);
        Ok(Self {
            decoder: TextDecoder::try_new(format, declared, columns, limits, range)?,
            fetcher: Fetcher::new(input, ctx.wake.clone()),
            compression: options.compression,
            offset: range.offset,
            progress: Progress::new(size_bytes),
            path: split.path,
            ctx,
        })
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
            self.ctx.counters.add_skipped(self.decoder.take_skipped());
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
                Decoded::NeedInput => match self.fetcher.poll()? {
                    Fetched::Pending => return Ok(SourcePoll::Pending),
                    Fetched::End => self.decoder.finish(),
                    Fetched::Item(Piece::Header(record)) => {
                        self.decoder.set_header(&record).map_err(|e| self.decode_error(DecodeError::Other(e)))?
                    }
                    Fetched::Item(Piece::Bytes(bytes, disk_bytes)) => {
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

/// Adds rows to the counter of decoded records.
pub(crate) fn count_records(ctx: &ReaderContext, rows: usize) {
    ctx.counters.records.fetch_add(rows as u64, Ordering::Relaxed);
}
