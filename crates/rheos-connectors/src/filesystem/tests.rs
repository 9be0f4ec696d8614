//! Files as a whole: every row once, every mistake named, every part committed once.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use rheos_core::connector::TableDefinition;
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos_core::source::{ReaderContext, Source, SourcePoll, Split};
use rheos_core::{Batch, CreditPool, Epoch, Error, ErrorKind, Result, Ticket};

use super::sink::FileSink;
use super::source::{FileSource, infer_schema};

const TS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

fn table(path: &Path, schema: &SchemaRef, options: &[(&str, &str)]) -> TableDefinition {
    let mut given: BTreeMap<String, String> = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    given.insert("path".into(), path.to_str().unwrap().into());
    TableDefinition { name: "t".into(), schema: Arc::clone(schema), options: given }
}

/// Rows of one split from a position; with the position behind each batch.
fn read_split(
    source: &dyn Source,
    split: &Split,
    position: Option<&str>,
    ctx: &ReaderContext,
) -> Result<Vec<(RecordBatch, String)>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut reader = source.open(split, position, ctx.clone())?;
    let mut batches = vec![];
    loop {
        match reader.poll()? {
            SourcePoll::Batch(batch) => {
                assert!((1..=ctx.batch_rows).contains(&batch.num_rows()));
                batches.push((batch, reader.position()));
            }
            SourcePoll::Finished => return Ok(batches),
            SourcePoll::Pending => {
                assert!(Instant::now() < deadline, "the reader hangs");
                std::thread::yield_now();
            }
        }
    }
}

struct Read {
    batches: Vec<RecordBatch>,
    splits: Vec<Split>,
    skipped: u64,
}

impl Read {
    fn ints(&self) -> Vec<Option<i64>> {
        self.batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()).collect()
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

fn read_source(source: &dyn Source) -> Result<Read> {
    let found = source.discover(None, 2)?;
    assert!(found.finished);
    let ctx = ReaderContext::detached(100);
    let mut batches = vec![];
    for split in &found.splits {
        batches.extend(read_split(source, split, None, &ctx)?.into_iter().map(|(b, _)| b));
    }
    let total: u64 = found.splits.iter().map(|s| s.size_bytes).sum();
    assert_eq!(ctx.counters.bytes.load(Ordering::Relaxed), total, "the progress bar ends at 100 %");
    let skipped = ctx.counters.skipped.load(Ordering::Relaxed);
    Ok(Read { batches, splits: found.splits, skipped })
}

fn read(path: &Path, schema: &SchemaRef, options: &[(&str, &str)]) -> Result<Read> {
    read_source(&FileSource::try_new(&table(path, schema, options))?)
}

fn fail(path: &Path, schema: &SchemaRef, options: &[(&str, &str)]) -> Error {
    read(path, schema, options).err().expect("it is refused")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

const CSV: (&str, &str) = ("format", "csv");
const JSON: (&str, &str) = ("format", "json");
const PARQUET: (&str, &str) = ("format", "parquet");
const LINES: (&str, &str) = ("multiline", "false");
const SKIP: (&str, &str) = ("on-error", "skip");

#[test]
fn files_of_a_folder_each_with_its_own_header() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b.csv", b"s,a\nx,3\n");
    write(folder.path(), "a.csv", b"a,s,more\n1,y,z\n2,\"q\nq\",z\n");
    write(folder.path(), "_c.csv", b"not,read\n");
    write(folder.path(), "empty.csv", b"");
    let table = schema(&[("a", DataType::Int64), ("s", DataType::Utf8View)]);
    let got = read(folder.path(), &table, &[CSV]).unwrap();
    assert_eq!(got.ints(), [Some(1), Some(2), Some(3)]);
    assert_eq!(got.splits.iter().map(|s| s.sequence).collect::<Vec<_>>(), [0, 1], "files are sequences of their own");
    let got = read(folder.path(), &table, &[CSV, ("file-order", "name")]).unwrap();
    assert!(got.splits.iter().all(|s| s.sequence == 0));
}

#[test]
fn only_the_projected_columns_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "a.csv", b"a,s\nbad,1\nbad,2\n");
    let table_schema = schema(&[("a", DataType::Int64), ("s", DataType::Int64)]);
    let source = FileSource::try_new(&table(&path, &table_schema, &[CSV])).unwrap();
    let projected = source.project(&[1]).unwrap();
    assert_eq!(read_source(projected.as_ref()).unwrap().ints(), [Some(1), Some(2)]);
    let none = source.project(&[]).unwrap();
    assert_eq!(read_source(none.as_ref()).unwrap().rows(), 2);
    assert!(projected.describe().contains(&("columns".into(), "s".into())));
}

#[test]
fn compressed_files_by_suffix_or_option() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..50_000).map(|n| format!("{{\"a\":{n}}}\n")).collect();
    let gzip = {
        let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let table = schema(&[("a", DataType::Int64)]);
    let all: Vec<_> = (0..50_000).map(Some).collect();
    // Two members, one behind the other, are one file.
    let twice = write(folder.path(), "twice.json.gz", &[gzip.clone(), gzip.clone()].concat());
    assert_eq!(read(&twice, &table, &[JSON]).unwrap().rows(), 100_000);
    let path = write(folder.path(), "x.json.zst", &zstd);
    assert_eq!(read(&path, &table, &[JSON]).unwrap().ints(), all);
    let path = write(folder.path(), "x.json", &gzip);
    assert_eq!(read(&path, &table, &[JSON, ("compression", "gzip")]).unwrap().ints(), all);
    for (name, bytes) in [("cut.json.gz", &gzip), ("cut.json.zst", &zstd)] {
        let path = write(folder.path(), name, &bytes[..bytes.len() / 2]);
        let error = fail(&path, &table, &[JSON, SKIP]);
        assert!(error.message().contains(name) && error.message().contains("ends in the middle"), "{error}");
        let path = write(folder.path(), name, b"no compressed data at all");
        assert!(fail(&path, &table, &[JSON, SKIP]).message().contains("is not valid"));
    }
}

#[test]
fn a_gzip_with_a_header_goes_on_from_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    out.write_all(b"x,a\n").unwrap();
    (0..1000).for_each(|n| out.write_all(format!("\"q\n\",{n}\n").as_bytes()).unwrap());
    let path = write(folder.path(), "x.csv.gz", &out.finish().unwrap());
    check_positions(&path, &[CSV], 1000);
}

#[test]
fn lines_and_row_groups_go_on_from_their_positions() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = (0..1000).map(|n| format!("x,{n}\r\n")).collect();
    let path = write(folder.path(), "x.csv", format!("x,a\r\n{text}").as_bytes());
    check_positions(&path, &[CSV, LINES, ("source.split-size", "1000 b")], 1000);
    check_positions(&write_parquet(folder.path()), &[PARQUET], 1000);
}

/// Whatever the position behind a batch, what follows it is read from there.
fn check_positions(path: &Path, options: &[(&str, &str)], rows: i64) {
    let source = FileSource::try_new(&table(path, &schema(&[("a", DataType::Int64)]), options)).unwrap();
    let ints = |batches: &[(RecordBatch, String)]| -> Vec<i64> {
        batches.iter().flat_map(|(b, _)| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    };
    let ctx = ReaderContext::detached(77);
    let mut all = vec![];
    for split in source.discover(None, 1).unwrap().splits {
        let whole = read_split(&source, &split, None, &ctx).unwrap();
        for n in 0..whole.len() {
            let rest = read_split(&source, &split, Some(&whole[n].1), &ReaderContext::detached(50)).unwrap();
            assert_eq!(ints(&rest), ints(&whole[n + 1..]), "{} from {}", split.id, whole[n].1);
        }
        all.extend(ints(&whole));
    }
    assert_eq!(all, (0..rows).collect::<Vec<_>>());
}

fn write_parquet(folder: &Path) -> std::path::PathBuf {
    let a: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let t: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values((0..1000).map(|n| n * 1_000_000)));
    let s: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..1000).map(|n| format!("text {n}"))));
    let batch = RecordBatch::try_from_iter([("s", s), ("t", t), ("a", a)]).unwrap();
    let path = folder.join("x.parquet");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

#[test]
fn parquet_row_groups_carry_their_lower_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_parquet(folder.path());
    let table_schema = schema(&[("t", TS), ("a", DataType::Int32)]);
    let source = FileSource::try_new(&table(&path, &table_schema, &[PARQUET])).unwrap();
    let bounds = |time| -> Vec<_> {
        source.discover(time, 2).unwrap().splits.iter().map(|s| (s.sequence, s.not_before_ms)).collect()
    };
    assert_eq!(bounds(Some(0)), [0, 300_000, 600_000, 900_000].map(|ms| (0, Some(ms))));
    assert_eq!(bounds(None), [(0, None); 4]);
    assert_eq!(read_source(&source).unwrap().rows(), 1000);
    let error = fail(&path, &schema(&[("b", DataType::Int64)]), &[PARQUET]);
    assert!(error.message().contains("no column 'b'") && error.message().contains("x.parquet"), "{error}");
    let error = fail(&path, &schema(&[("s", DataType::Int64)]), &[PARQUET]);
    assert!(error.message().contains("row 1, column 's': the value does not fit BIGINT: text 0"), "{error}");
    let noise: Vec<u8> = (0..5000u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    let error = fail(&write(folder.path(), "noise.parquet", &noise), &table_schema, &[PARQUET]);
    assert!(error.message().contains("noise.parquet': it is not a readable Parquet file"), "{error}");
    assert!(read(&write(folder.path(), "empty.parquet", b""), &table_schema, &[PARQUET]).is_err());
}

#[test]
fn lines_are_right_in_a_split_that_begins_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "a\n".to_string();
    (0..1000).for_each(|n| text.push_str(&format!("{n}\n")));
    text.push_str("oops\n5\n");
    let path = write(folder.path(), "x.csv", text.as_bytes());
    let table = schema(&[("a", DataType::Int64)]);
    let error = fail(&path, &table, &[CSV, LINES, ("source.split-size", "100 b")]);
    assert!(error.message().contains("x.csv', line 1002, column 'a'"), "{error}");
    assert!(error.message().ends_with(": oops"), "{error}");
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::User, "R0301"));
    let got = read(&path, &table, &[CSV, LINES, SKIP, ("source.split-size", "100 b")]).unwrap();
    assert_eq!((got.rows(), got.skipped), (1001, 1));
    assert!(got.splits.len() > 30);
}

#[test]
fn a_newline_in_quotes_is_found_where_lines_are_promised() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.csv", b"a,s\n1,\"x\ny\"\n");
    let table = schema(&[("a", DataType::Int64), ("s", DataType::Utf8View)]);
    let error = fail(&path, &table, &[CSV, LINES]);
    assert!(error.message().contains("line 2: a quoted field goes on behind the end of the line"), "{error}");
    assert!(error.hint().unwrap().contains("'csv.multiline' = 'true'"));
    assert_eq!(read(&path, &table, &[CSV]).unwrap().ints(), [Some(1)]);
}

#[test]
fn a_header_without_a_column_is_refused_before_the_job_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.csv", b"dep_dely,b\n1,2\n");
    let table_schema = schema(&[("dep_delay", DataType::Int64)]);
    let source = FileSource::try_new(&table(&path, &table_schema, &[CSV])).unwrap();
    let error = source.discover(None, 1).unwrap_err();
    assert!(error.message().contains("x.csv': the header has no column 'dep_delay'"), "{error}");
    assert!(error.hint().unwrap().contains("did you mean 'dep_dely'"), "{error}");
    let bad_type = schema(&[("i", DataType::Interval(arrow::datatypes::IntervalUnit::DayTime))]);
    assert!(FileSource::try_new(&table(&path, &bad_type, &[CSV])).unwrap_err().message().contains("column 'i'"));
}

#[test]
fn random_bytes_are_refused_or_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..100_000u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect();
    let path = write(folder.path(), "noise", &noise);
    let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8View)]);
    for options in [vec![JSON], vec![CSV, ("header", "false")], vec![CSV, LINES, ("header", "false")]] {
        assert_eq!(fail(&path, &table, &options).kind(), ErrorKind::User);
        let skipping: Vec<_> = options.iter().copied().chain([SKIP]).collect();
        assert!(read(&path, &table, &skipping).unwrap().skipped > 0);
    }
    assert!(fail(&path, &table, &[CSV]).message().contains("noise'"));
}

#[test]
fn a_line_of_100_mb_is_skipped_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.json");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"{\"a\":1}\n{\"a\":\"").unwrap();
    let chunk = vec![b'x'; 1 << 20];
    (0..100).for_each(|_| file.write_all(&chunk).unwrap());
    file.write_all(b"\"}\n{\"a\":2}\n").unwrap();
    let table = schema(&[("a", DataType::Int64)]);
    let got = read(&path, &table, &[JSON, SKIP]).unwrap();
    assert_eq!((got.ints(), got.skipped), (vec![Some(1), Some(2)], 1));
    let error = fail(&path, &table, &[JSON, ("record.size-max", "1 MiB")]);
    assert!(error.message().contains("line 2: the record is longer than 1048576 bytes"), "{error}");
}

#[test]
fn a_file_or_folder_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.csv", b"a\n1\n");
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::File::open(&path).is_ok() {
        eprintln!("SKIPPED: this user may read everything, so permissions cannot be tested");
        return;
    }
    let table = schema(&[("a", DataType::Int64)]);
    for path in [&path, &locked, &locked.join("x.csv")] {
        let error = fail(path, &table, &[CSV]);
        assert_eq!(error.kind(), ErrorKind::InputMissing);
        assert!(error.message().contains("permission denied"), "{error}");
    }
}

#[test]
fn schemas_are_found_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let none = schema(&[]);
    let names = |path: &Path, options: &[(&str, &str)]| -> Vec<String> {
        let found = infer_schema(&table(path, &none, options)).unwrap().unwrap();
        found.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
    };
    let csv = write(folder.path(), "x.csv", b"a,t\n1,2013-01-01 05:00\n");
    assert_eq!(names(&csv, &[CSV]), ["a Int64", "t Timestamp(µs)"]);
    assert_eq!(names(&write_parquet(folder.path()), &[PARQUET]), ["s Utf8View", "t Timestamp(µs)", "a Int64"]);
    let empty = write(folder.path(), "empty.csv", b"");
    assert!(infer_schema(&table(&empty, &none, &[CSV])).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Every cut gives every row once, in order.
    #[test]
    fn every_row_is_read_once_whatever_the_split_size(
        lines in prop::collection::vec(prop_oneof!["[0-9]{1,12}", Just(String::new()), Just("\r".into())], 0..40),
        size in 1u64..60, last_newline: bool, crlf: bool, bom: bool, header: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut text = lines.join(if crlf { "\r\n" } else { "\n" });
        let want: Vec<_> = lines.iter().filter_map(|l| l.parse::<i64>().ok()).map(Some).collect();
        if header {
            text = format!("b,a\n{}", text.lines().map(|l| if l.is_empty() { "\n".into() } else { format!("x,{l}\n") }).collect::<String>());
        } else if last_newline {
            text.push('\n');
        }
        let text = format!("{}{text}", if bom { "\u{feff}" } else { "" });
        let path = write(folder.path(), "x.csv", text.as_bytes());
        let size = format!("{size} b");
        let header = if header { "true" } else { "false" };
        let table = schema(&[("a", DataType::Int64)]);
        let got = read(&path, &table, &[CSV, LINES, ("header", header), ("source.split-size", size.as_str()), SKIP]).unwrap();
        let got: Vec<_> = got.ints().into_iter().filter(Option::is_some).collect();
        prop_assert_eq!(got, want);
    }
}

// ---- the sink

fn rows(range: std::ops::Range<i64>) -> RecordBatch {
    let a: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    RecordBatch::try_from_iter_with_nullable([("a", a, true)]).unwrap()
}

fn sink(path: &Path, options: &[(&str, &str)]) -> Result<FileSink> {
    FileSink::try_new(&table(path, &schema(&[("a", DataType::Int64)]), options))
}

fn stage(writer: &mut dyn SinkWriter, end: EpochEnd) -> Vec<Committable> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(staged) = writer.stage(Epoch(1), end).unwrap() {
            return staged;
        }
        assert!(Instant::now() < deadline, "the writer hangs");
        std::thread::yield_now();
    }
}

fn put(writer: &mut dyn SinkWriter, batch: RecordBatch, ticket: Ticket) {
    while !writer.ready().unwrap() {
        std::thread::yield_now();
    }
    writer.write(Batch::new(batch, ticket)).unwrap();
}

fn run_job(sink: &FileSink, workers: usize, batches: usize) -> Vec<Committable> {
    sink.begin().unwrap();
    let mut staged = vec![];
    for worker in 0..workers {
        let mut writer = sink.open(WriterContext { worker, wake: Arc::new(|| ()) }).unwrap();
        for n in 0..batches as i64 {
            put(writer.as_mut(), rows(n * 100..(n + 1) * 100), Ticket::none());
        }
        staged.extend(stage(writer.as_mut(), EpochEnd::Last));
    }
    sink.commit(&staged).unwrap();
    staged
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_can_be_read_in_every_format() {
    let table = schema(&[("a", DataType::Int64)]);
    for (format, compression, suffix) in [
        ("csv", "auto", "csv"),
        ("csv", "gzip", "csv.gz"),
        ("json", "none", "json"),
        ("json", "zstd", "json.zst"),
        ("parquet", "auto", "parquet"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/out");
        let options = [("format", format), ("compression", compression)];
        let staged = run_job(&sink(&path, &options).unwrap(), 2, 3);
        assert_eq!(names(&path), [format!("part-0-0.{suffix}"), format!("part-1-0.{suffix}")]);
        assert_eq!(staged.len(), 2);
        let mut got = read(&path, &table, &[("format", format)]).unwrap().ints();
        got.sort();
        let want: Vec<_> = (0..600).map(|n| Some(n / 2)).collect();
        assert_eq!(got, want, "{format}");
    }
}

#[test]
fn parts_become_visible_by_a_commit_that_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path(), &[CSV, ("sink.commit-interval", "1 h")]).unwrap();
    sink.begin().unwrap();
    let mut writer = sink.open(WriterContext { worker: 3, wake: Arc::new(|| ()) }).unwrap();
    let pool = CreditPool::new(1, Arc::new(|| ()));
    put(writer.as_mut(), rows(0..10), pool.take(80));
    assert!(stage(writer.as_mut(), EpochEnd::Running).is_empty(), "the interval has not passed");
    let staged = stage(writer.as_mut(), EpochEnd::Last);
    assert_eq!(pool.outstanding_bytes(), 0, "written rows return their credit");
    assert_eq!(names(folder.path()), [".part-3-0.inprogress"]);
    sink.commit(&staged).unwrap();
    sink.commit(&staged).unwrap();
    assert_eq!(names(folder.path()), ["part-3-0.csv"]);
    fs::remove_file(folder.path().join("part-3-0.csv")).unwrap();
    assert_eq!(sink.commit(&staged).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn parts_roll_by_size_and_by_interval() {
    let folder = tempfile::tempdir().unwrap();
    let options = [JSON, ("sink.rolling-policy.file-size", "1 b"), ("compression", "none")];
    // The file is buffered, so a part is rolled when the buffer first goes to the disk.
    let sink_ = sink(folder.path(), &options).unwrap();
    sink_.begin().unwrap();
    let mut writer = sink_.open(WriterContext { worker: 0, wake: Arc::new(|| ()) }).unwrap();
    (0..3).for_each(|_| put(writer.as_mut(), rows(0..50_000), Ticket::none()));
    assert_eq!(stage(writer.as_mut(), EpochEnd::Last).len(), 3);

    let folder = tempfile::tempdir().unwrap();
    let sink_ = sink(folder.path(), &[JSON, ("sink.commit-interval", "0 s")]).unwrap();
    sink_.begin().unwrap();
    let mut writer = sink_.open(WriterContext { worker: 0, wake: Arc::new(|| ()) }).unwrap();
    for _ in 0..2 {
        put(writer.as_mut(), rows(0..5), Ticket::none());
        assert_eq!(stage(writer.as_mut(), EpochEnd::Running).len(), 1);
    }
    assert!(stage(writer.as_mut(), EpochEnd::Last).is_empty(), "no rows, no part");
}

#[test]
fn leftovers_go_and_earlier_parts_stay_or_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run_job(&sink(path, &[CSV]).unwrap(), 1, 1);
    // A job that dies: its rows were never committed.
    let dying = sink(path, &[CSV]).unwrap();
    dying.begin().unwrap();
    let mut writer = dying.open(WriterContext { worker: 0, wake: Arc::new(|| ()) }).unwrap();
    put(writer.as_mut(), rows(0..10), Ticket::none());
    stage(writer.as_mut(), EpochEnd::Last);
    assert_eq!(names(path), [".part-0-1.inprogress", "part-0-0.csv"]);
    run_job(&sink(path, &[CSV]).unwrap(), 1, 1);
    assert_eq!(names(path), ["part-0-0.csv", "part-0-1.csv"]);
    let error = sink(path, &[CSV, ("sink.if-exists", "fail")]).unwrap().begin().unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Conflict, "R0213"));
    run_job(&sink(path, &[JSON, ("sink.if-exists", "replace")]).unwrap(), 2, 1);
    assert_eq!(names(path), ["part-0-0.json", "part-1-0.json"]);
    fs::write(path.join("mine.csv"), "x").unwrap();
    let error = sink(path, &[CSV, ("sink.if-exists", "replace")]).unwrap().begin().unwrap_err();
    assert!(error.message().contains("'mine.csv'"), "{error}");
    assert_eq!(names(path).len(), 3, "nothing was deleted");
    let error = sink(&path.join("mine.csv"), &[CSV]).unwrap().begin().unwrap_err();
    assert!(error.message().contains("is a file, but rows are written to a folder"), "{error}");
}

#[test]
fn a_folder_that_disappears_is_an_error_not_a_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let sink = sink(&path, &[CSV]).unwrap();
    sink.begin().unwrap();
    fs::remove_dir(&path).unwrap();
    let mut writer = sink.open(WriterContext { worker: 0, wake: Arc::new(|| ()) }).unwrap();
    let pool = CreditPool::new(1, Arc::new(|| ()));
    let _ = writer.write(Batch::new(rows(0..10), pool.take(80)));
    let deadline = Instant::now() + Duration::from_secs(60);
    while writer.ready().is_ok() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(pool.outstanding_bytes(), 0);
}
