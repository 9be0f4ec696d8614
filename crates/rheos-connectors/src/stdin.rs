//! Standard input as a table: csv or JSON lines, read once, by one worker, to its end.
//!
//! A thread of its own waits for input, since that may take for ever; rows go on as soon as their lines are complete.

use std::io::Read;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::credit::Wake;
use rheos_core::letters::OnError;
use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::sink::Sink;
use rheos_core::source::{Boundedness, Discovery, ReaderContext, Source, SourcePoll, Split, SplitReader};
use rheos_core::{Error, Result};
use rheos_formats::{DecodeError, DecodeLimits, Decoded, InputRange, TextDecoder, TextFormat};

use crate::filesystem::{CSV, ON_ERROR, RECORD_SIZE_MAX, account, decoding, on_error, record_bytes_max, text_format};
use crate::io::pool::lock;
use crate::narrow::{column_names, narrowed};

const OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "format",
        OptionType::OneOf(&["csv", "json"]),
        "",
        "How records are written; `json` is one object a line.",
    )
    .required(),
    ON_ERROR,
    RECORD_SIZE_MAX,
];

/// Bytes of a chunk, at most.
const CHUNK_BYTES: usize = 256 << 10;

/// The connector `stdin`.
pub(crate) fn connector() -> Arc<dyn Connector> {
    Arc::new(Stdin)
}

struct Stdin;

impl Connector for Stdin {
    fn name(&self) -> &'static str {
        "stdin"
    }

    fn summary(&self) -> &'static str {
        "Reads csv or JSON lines from standard input until it ends."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![("General", OPTIONS), ("Csv", CSV)]
    }

    fn check_options(&self, table: &TableDefinition) -> Result<()> {
        // Nothing is read before the first poll.
        self.source(table).map(drop)
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        let owner = format!("table '{}' (connector 'stdin')", table.name);
        let options = Options::try_new(&owner, &table.options, &[OPTIONS, CSV])?;
        let source = StdinSource {
            format: text_format(options.text("format"), &options)?,
            record_bytes_max: record_bytes_max(&options)?,
            on_error: on_error(&options),
            whole: Arc::clone(&table.schema),
            declared: Arc::clone(&table.schema),
            columns: (0..table.schema.fields().len()).collect(),
            input: Arc::new(Input::new(Box::new(std::io::stdin()), &CLAIMED)),
        };
        source.decoder(&ReaderContext::detached(1))?;
        Ok(Arc::new(source))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Err(Error::invalid(218, format!("table '{}' is standard input and can only be read", table.name))
            .with_hint("write to a table with the connector 'print'"))
    }
}

/// Whether a table of this process reads standard input.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// What is read; taken by its only reader. Of all tables on it one may claim it, before any is read.
struct Input {
    reader: Mutex<Option<Box<dyn Read + Send>>>,
    claimed: &'static AtomicBool,
    is_ours: AtomicBool,
}

impl Input {
    fn new(reader: Box<dyn Read + Send>, claimed: &'static AtomicBool) -> Self {
        Self { reader: Mutex::new(Some(reader)), claimed, is_ours: AtomicBool::new(false) }
    }

    fn claim(&self) -> Result<()> {
        if self.claimed.swap(true, Ordering::SeqCst) {
            return Err(read_once());
        }
        self.is_ours.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // A job that ended before it began to read leaves all of it to the next one.
        if self.is_ours.load(Ordering::SeqCst) && lock(&self.reader).is_some() {
            self.claimed.store(false, Ordering::SeqCst);
        }
    }
}

fn read_once() -> Error {
    Error::invalid(220, "standard input can be read only once")
        .with_hint("read it into one table and select from that table once, or save it to a file")
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}

#[derive(Debug, Clone)]
struct StdinSource {
    format: TextFormat,
    record_bytes_max: usize,
    on_error: OnError,
    /// The columns as they were declared.
    whole: SchemaRef,
    /// The same, maybe with fewer fields in ROW columns.
    declared: SchemaRef,
    columns: Vec<usize>,
    input: Arc<Input>,
}

impl StdinSource {
    fn decoder(&self, ctx: &ReaderContext) -> Result<TextDecoder> {
        let limits = DecodeLimits {
            batch_rows: ctx.batch_rows,
            record_bytes_max: self.record_bytes_max,
            on_error: decoding(self.on_error, ctx),
        };
        TextDecoder::try_new(&self.format, &self.declared, &self.columns, limits, InputRange::default())
    }
}

impl Source for StdinSource {
    fn schema(&self) -> SchemaRef {
        Arc::new(self.declared.project(&self.columns).expect("the columns are those of the table"))
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn on_error(&self) -> OnError {
        self.on_error
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        let columns = columns.iter().map(|c| self.columns[*c]).collect();
        Ok(Arc::new(Self { columns, ..self.clone() }))
    }

    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        let declared = narrowed(&self.declared, &self.schema(), schema)?;
        Ok(Some(Arc::new(Self { declared, ..self.clone() })))
    }

    fn discover(&self, _time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        self.input.claim()?;
        let split =
            Split { id: "stdin".into(), sequence: 0, not_before_ms: None, size_bytes: 0, descriptor: "{}".into() };
        Ok(Discovery { splits: vec![split], finished: true })
    }

    fn open(&self, _split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let input = lock(&self.input.reader).take().filter(|_| position.is_none()).ok_or_else(read_once)?;
        let (sender, chunks) = sync_channel(3);
        let wake = ctx.wake.clone();
        std::thread::Builder::new()
            .name("rheos-stdin".into())
            .spawn(move || read_all(input, &sender, &wake))
            .map_err(|e| Error::io("start a thread for", "standard input", &e))?;
        Ok(Box::new(StdinReader { decoder: self.decoder(&ctx)?, chunks, ctx }))
    }

    fn describe(&self) -> Vec<(String, String)> {
        let format = if self.format == TextFormat::Json { "json" } else { "csv" };
        vec![
            ("connector".into(), "stdin".into()),
            ("format".into(), format.into()),
            ("columns".into(), column_names(&self.schema(), &self.whole)),
        ]
    }
}

/// Sends what there is as soon as it is there.
fn read_all(mut input: Box<dyn Read + Send>, sender: &SyncSender<Result<Vec<u8>>>, wake: &Wake) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let item = match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                chunk.truncate(n);
                Ok(chunk)
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => Err(Error::io("read", "standard input", &e)),
        };
        let failed = item.is_err();
        // The reader is gone when the job has ended.
        if sender.send(item).is_err() {
            return;
        }
        wake();
        if failed {
            break;
        }
    }
    // An empty chunk is the end: the channel itself closes a moment after the last wake-up.
    let _ = sender.send(Ok(Vec::new()));
    wake();
}

struct StdinReader {
    decoder: TextDecoder,
    chunks: Receiver<Result<Vec<u8>>>,
    ctx: ReaderContext,
}

impl SplitReader for StdinReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        loop {
            let decoded = self.decoder.decode();
            let full = account(&mut self.decoder, &self.ctx);
            if let Some(bad) = self.decoder.take_first_skipped() {
                self.ctx.counters.note_skipped(move || bad.message("standard input", 0));
            }
            match decoded.map_err(|e: DecodeError| e.into_error("standard input", || 0))? {
                Decoded::Batch(batch) => {
                    crate::filesystem::count_records(&self.ctx, batch.num_rows());
                    return Ok(SourcePoll::Batch(batch));
                }
                Decoded::End => return Ok(SourcePoll::Finished),
                Decoded::NeedInput if full => {
                    return Ok(SourcePoll::Batch(RecordBatch::new_empty(Arc::clone(self.decoder.schema()))));
                }
                Decoded::NeedInput => match self.chunks.try_recv() {
                    Ok(chunk) => {
                        let chunk = chunk?;
                        if chunk.is_empty() {
                            self.decoder.finish();
                        } else {
                            self.ctx.counters.add_bytes(chunk.len() as u64);
                            self.decoder.push(&chunk);
                        }
                    }
                    Err(TryRecvError::Empty) => return Ok(SourcePoll::Pending),
                    Err(TryRecvError::Disconnected) => self.decoder.finish(),
                },
            }
        }
    }

    fn position(&self) -> String {
        self.decoder.rest().offset.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    static CLAIMED: AtomicBool = AtomicBool::new(false);

    #[test]
    fn rows_come_before_the_end_and_it_is_read_once() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let (lines, input) = std::io::pipe().map(|(r, w)| (w, r)).unwrap();
        let mut lines = lines;
        let source = StdinSource {
            format: TextFormat::Json,
            record_bytes_max: 100,
            on_error: OnError::Fail,
            whole: Arc::clone(&schema),
            declared: schema,
            columns: vec![0],
            input: Arc::new(Input::new(Box::new(input), &CLAIMED)),
        };
        let second =
            StdinSource { input: Arc::new(Input::new(Box::new(std::io::empty()), &CLAIMED)), ..source.clone() };
        let splits = source.discover(None, 2).unwrap().splits;
        assert_eq!(second.discover(None, 2).unwrap_err().code(), "R0220", "another table would find nothing");
        let mut reader = source.open(&splits[0], None, ReaderContext::detached(10)).unwrap();
        assert!(source.open(&splits[0], None, ReaderContext::detached(10)).is_err());
        let mut wait = || loop {
            match reader.poll().unwrap() {
                SourcePoll::Pending => std::thread::yield_now(),
                other => return other,
            }
        };
        std::io::Write::write_all(&mut lines, b"{\"a\":1}\n{\"a\":").unwrap();
        let SourcePoll::Batch(batch) = wait() else { panic!("a row is complete") };
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values().as_ref(), [1]);
        std::io::Write::write_all(&mut lines, b"2}").unwrap();
        drop(lines);
        assert!(matches!(wait(), SourcePoll::Batch(b) if b.num_rows() == 1));
        assert!(matches!(wait(), SourcePoll::Finished));
    }
}
