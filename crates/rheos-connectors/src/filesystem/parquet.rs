//! Reads one row group: byte ranges are fetched on an I/O thread, rows are decoded on the worker.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use rheos_core::letters::DeadLetter;
use rheos_core::source::{ReaderContext, SourcePoll, SplitReader};
use rheos_core::{Error, ErrorKind, Result};
use rheos_formats::parquet::read::{ParquetDecoder, ParquetFooter, ParquetStep, truncated};
use rheos_formats::{DecodeError, OnError};

use super::input::shorter;
use super::paths::shown;
use super::position::{RowPosition, parse};
use super::reader::{Progress, count_records};
use crate::io::buffers;
use crate::io::once::Once;
use crate::io::patience::Patience;

/// Reads the footer of a file.
pub(crate) fn read_footer(path: &Path) -> Result<ParquetFooter> {
    let name = shown(path);
    let file = File::open(path).map_err(|e| Error::io("read", &name, &e))?;
    ParquetFooter::read(&file).map_err(|e| e.context(format!("'{name}'")))
}

/// The bytes of ranges of a file, in one buffer that was used before.
fn read_ranges(path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    let failed = |e: &std::io::Error| Error::io("read", &shown(path), e);
    let mut file = File::open(path).map_err(|e| failed(&e))?;
    let length = file.metadata().map_err(|e| failed(&e))?.len();
    let lengths = || ranges.iter().map(|range| range.end.saturating_sub(range.start));
    // All are known to be there before memory is asked for, so a footer cannot ask for more than the file is long.
    let total = lengths().try_fold(0_u64, u64::checked_add).filter(|total| *total <= length);
    let (Some(total), true) = (total, ranges.iter().all(|range| range.end <= length)) else {
        return Err(truncated().context(format!("'{}'", shown(path))));
    };
    let mut bytes = buffers::take();
    bytes.clear();
    bytes.reserve_exact(usize::try_from(total).unwrap_or(0));
    for (range, wanted) in ranges.iter().zip(lengths()) {
        file.seek(SeekFrom::Start(range.start)).map_err(|e| failed(&e))?;
        let read = (&mut file).take(wanted).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
        if read as u64 != wanted {
            return Err(truncated().context(format!("'{}'", shown(path))));
        }
    }
    let mut rest = buffers::share(bytes);
    Ok(lengths().map(|length| rest.split_to(usize::try_from(length).unwrap_or(usize::MAX))).collect())
}

enum State {
    Opening(Once<ParquetFooter>),
    Fetching(Vec<Range<u64>>, Once<Vec<Bytes>>),
    Decoding,
}

/// See the module.
pub(crate) struct ParquetReader {
    path: PathBuf,
    group: usize,
    schema: SchemaRef,
    on_error: OnError,
    ctx: ReaderContext,
    state: State,
    decoder: Option<ParquetDecoder>,
    /// Rows of the row group that were read before or by the batches so far.
    rows_done: u64,
    /// Rows of the row group.
    rows: u64,
    /// The rest of the row group is damaged, and a bad record.
    abandoned: bool,
    progress: Progress,
}

impl ParquetReader {
    /// A reader of row group `group`; `footer` if it is known already, `rows_done` from an earlier position.
    #[expect(clippy::too_many_arguments, reason = "everything that a split and its table say, once")]
    pub(crate) fn try_new(
        path: PathBuf,
        group: usize,
        footer: Option<ParquetFooter>,
        position: Option<&str>,
        size_bytes: u64,
        schema: SchemaRef,
        on_error: OnError,
        ctx: ReaderContext,
    ) -> Result<Self> {
        let RowPosition(rows_done) = position.map_or(Ok(RowPosition(0)), |text| parse(text, "a row group"))?;
        let opening = path.clone();
        let state = match footer {
            Some(_) => State::Decoding,
            None => {
                let patience = Patience::new(ctx.warn.clone());
                State::Opening(Once::spawn(ctx.wake.clone(), move || patience.again(|| read_footer(&opening))))
            }
        };
        let progress = Progress::new(size_bytes);
        let mut reader = Self {
            path,
            group,
            schema,
            on_error,
            ctx,
            state,
            decoder: None,
            rows_done,
            rows: 0,
            abandoned: false,
            progress,
        };
        if let Some(footer) = footer {
            reader.begin(&footer)?;
        }
        Ok(reader)
    }

    fn begin(&mut self, footer: &ParquetFooter) -> Result<()> {
        if self.group >= footer.row_groups() || self.rows_done > footer.row_group_rows(self.group) {
            return Err(shorter(&self.path));
        }
        self.rows = footer.row_group_rows(self.group);
        let decoder = ParquetDecoder::try_new(
            footer,
            self.group,
            &self.schema,
            self.rows_done,
            self.ctx.batch_rows,
            self.on_error,
        );
        self.decoder = Some(decoder.map_err(|e| self.named(e))?);
        Ok(())
    }

    /// What is left of a damaged row group is one bad record: position and letter say so together.
    fn abandon(&mut self, error: &Error) -> SourcePoll {
        self.abandoned = true;
        let (position, reason) = (Some(self.rows_done), error.message().to_string());
        self.rows_done = self.rows;
        self.ctx.counters.add_read(1);
        if self.on_error == OnError::Skip {
            let note = format!("'{}', row {} of row group {}: {reason}", shown(&self.path), self.rows_done, self.group);
            self.ctx.counters.add_skipped(1);
            self.ctx.counters.note_skipped(move || note.clone());
        } else {
            self.ctx.put_letters(vec![DeadLetter { position, reason, raw: vec![] }]);
        }
        SourcePoll::Batch(RecordBatch::new_empty(SchemaRef::clone(&self.schema)))
    }

    fn named(&self, error: Error) -> Error {
        error.context(format!("'{}'", shown(&self.path)))
    }

    /// Takes what an I/O thread has brought; false if it is not there yet.
    fn receive(&mut self) -> Result<bool> {
        match std::mem::replace(&mut self.state, State::Decoding) {
            State::Decoding => {}
            State::Opening(footer) => match footer.take() {
                Some(footer) => self.begin(&footer?)?,
                None => {
                    self.state = State::Opening(footer);
                    return Ok(false);
                }
            },
            State::Fetching(ranges, bytes) => match bytes.take() {
                Some(bytes) => {
                    let bytes = bytes?;
                    if let Some(decoder) = &mut self.decoder {
                        let size = bytes.iter().map(|b| b.len() as u64).sum();
                        decoder.push(ranges, bytes).map_err(|e| e.context(format!("'{}'", shown(&self.path))))?;
                        self.progress.add(size, &self.ctx);
                    }
                }
                None => {
                    self.state = State::Fetching(ranges, bytes);
                    return Ok(false);
                }
            },
        }
        Ok(true)
    }
}

impl SplitReader for ParquetReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        if self.abandoned {
            self.progress.finish(&self.ctx);
            return Ok(SourcePoll::Finished);
        }
        loop {
            if !self.receive()? {
                return Ok(SourcePoll::Pending);
            }
            let Some(decoder) = &mut self.decoder else {
                return Err(Error::internal("a row group is read before its file is open"));
            };
            let (step, rows_before) = (decoder.decode(), self.rows_done);
            self.rows_done = decoder.rows_done();
            self.ctx.counters.add_read(self.rows_done - rows_before);
            self.ctx.counters.add_skipped(decoder.take_skipped());
            self.ctx.put_letters(decoder.take_letters());
            if let Some(bad) = decoder.take_first_skipped() {
                let name = format!("'{}'", shown(&self.path));
                self.ctx.counters.note_skipped(move || bad.message(&name, 0));
            }
            if let Err(DecodeError::Other(error)) = &step
                && error.kind() == ErrorKind::User
                && self.on_error != OnError::Fail
            {
                let error = error.clone();
                return Ok(self.abandon(&error));
            }
            let step = step.map_err(|e| e.into_error(&format!("'{}'", shown(&self.path)), || 0))?;
            match step {
                ParquetStep::Batch(batch) => {
                    count_records(&self.ctx, batch.num_rows());
                    return Ok(SourcePoll::Batch(batch));
                }
                ParquetStep::End => {
                    self.progress.finish(&self.ctx);
                    return Ok(SourcePoll::Finished);
                }
                ParquetStep::NeedsData(ranges) => {
                    let (path, wanted) = (self.path.clone(), ranges.clone());
                    let patience = Patience::new(self.ctx.warn.clone());
                    let read = move || patience.again(|| read_ranges(&path, &wanted));
                    let bytes = Once::spawn(self.ctx.wake.clone(), read);
                    self.state = State::Fetching(ranges, bytes);
                }
            }
        }
    }

    fn position(&self) -> String {
        RowPosition(self.rows_done).to_string()
    }
}
