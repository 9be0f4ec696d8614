//! Partitions: rows in the folders of their values and back, few open files, `_SUCCESS` when a partition is complete.

use super::*;
use arrow::array::{Array, BooleanArray, Date32Array, Int32Array, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rheos_core::time::Watermark;

const TEXT: DataType = DataType::Utf8;

/// 2024-05-01 00:00 UTC in ms, from `date -u -d 2024-05-01 +%s`.
const MAY: i64 = 1_714_521_600_000;
const HOUR: i64 = 3_600_000;

const COMMIT: [(&str, &str); 3] =
    [CSV, ("sink.commit-interval", "1 h"), ("sink.partition-commit.policy.kind", "success-file")];

fn partitioned(path: &Path, schema: &SchemaRef, by: &[&str], options: &[(&str, &str)]) -> TableDefinition {
    let partitioned_by = by.iter().map(|c| c.to_string()).collect();
    TableDefinition { partitioned_by, ..table(path, schema, options) }
}

/// All files below a folder, relative to it.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, before: &str, found: &mut Vec<String>) {
        for name in names(folder) {
            match folder.join(&name) {
                path if path.is_dir() => walk(&path, &format!("{before}{name}/"), found),
                _ => found.push(format!("{before}{name}")),
            }
        }
    }
    let mut found = vec![];
    walk(folder, "", &mut found);
    found
}

/// Rows (day, hour, n) of a table that is partitioned by day and hour.
fn events(rows: &[(Option<&str>, i32, i64)]) -> RecordBatch {
    let day: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|r| r.0)));
    let hour: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1)));
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2)));
    RecordBatch::try_from_iter_with_nullable([("day", day, true), ("hour", hour, true), ("n", n, true)]).unwrap()
}

fn event_sink(path: &Path, options: &[(&str, &str)]) -> FileSink {
    let schema = events(&[]).schema();
    FileSink::try_new(&partitioned(path, &schema, &["day", "hour"], options)).unwrap()
}

fn writer(sink: &FileSink, n: usize) -> Box<dyn SinkWriter> {
    sink.open(worker(n, n + 1)).unwrap()
}

#[test]
fn rows_lie_in_the_folders_of_their_values() {
    let folder = tempfile::tempdir().unwrap();
    let sink = event_sink(folder.path(), &[CSV]);
    sink.begin().unwrap();
    let mut writer = writer(&sink, 2);
    let day = Some("2024-05-01");
    put(writer.as_mut(), events(&[(day, 7, 1), (day, 8, 2), (day, 7, 3), (None, 7, 4)]), Ticket::none());
    put(writer.as_mut(), events(&[(Some("a/b=1"), 7, 5), (day, 8, 6), (Some(""), 7, 7)]), Ticket::none());
    sink.commit(None, &stage(writer.as_mut(), EpochEnd::Last)).unwrap();
    let files = tree(folder.path());
    // A part begins with the first row of its partition, and the columns of the partition are not in it.
    let want = [
        ("day=2024-05-01/hour=7/part-2-0.csv", "n\n1\n3\n"),
        ("day=2024-05-01/hour=8/part-2-1.csv", "n\n2\n6\n"),
        ("day=__HIVE_DEFAULT_PARTITION__/hour=7/part-2-2.csv", "n\n4\n7\n"),
        ("day=a%2Fb%3D1/hour=7/part-2-3.csv", "n\n5\n"),
    ];
    assert_eq!(files, want.map(|(name, _)| name));
    for (name, text) in want {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), text, "{name}");
    }
}

#[test]
fn every_type_comes_back_from_its_path() {
    let table_schema = schema(&[
        ("n", DataType::Int64),
        ("text", DataType::Utf8View),
        ("day", DataType::Date32),
        ("at", TS),
        ("flag", DataType::Boolean),
        ("small", DataType::Int16),
    ]);
    let by = ["flag", "text", "day", "at", "small"];
    // 2024-05-01 is day 19,844.
    let us = MAY * 1000 + 500;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2, 3])),
        Arc::new(StringViewArray::from(vec![Some("x y\"%"), Some("ü,\n"), None])),
        Arc::new(Date32Array::from(vec![Some(19_844), Some(-1), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(us), Some(0), None])),
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(arrow::array::Int16Array::from(vec![Some(-7), Some(0), None])),
    ];
    let rows = RecordBatch::try_new(Arc::clone(&table_schema), columns).unwrap();
    for format in [CSV, JSON, PARQUET] {
        let folder = tempfile::tempdir().unwrap();
        let definition = partitioned(folder.path(), &table_schema, &by, &[format, ("partition.default-name", "none")]);
        let sink = FileSink::try_new(&definition).unwrap();
        sink.begin().unwrap();
        let mut writer = writer(&sink, 0);
        put(writer.as_mut(), rows.clone(), Ticket::none());
        sink.commit(None, &stage(writer.as_mut(), EpochEnd::Last)).unwrap();
        let files = tree(folder.path());
        assert!(
            files[0].starts_with("flag=false/text=ü,%0A/day=1969-12-31/at=1970-01-01 00%3A00%3A00/small=0/part-0-1")
        );
        assert!(files[1].starts_with("flag=none/text=none/day=none/at=none/small=none/part-0-2"), "{files:?}");
        assert!(
            files[2].starts_with("flag=true/text=x y%22%25/day=2024-05-01/at=2024-05-01 00%3A00%3A00.0005/small=-7/")
        );
        if format == PARQUET {
            let file = fs::File::open(folder.path().join(&files[0])).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let names: Vec<_> = reader.schema().fields().iter().map(|f| f.name().clone()).collect();
            assert_eq!(names, ["n"]);
        }
        let source = FileSource::try_new(&definition).unwrap();
        let batches = read_source(&source).unwrap().batches;
        let mut got: Vec<_> = batches.iter().flat_map(|b| (0..b.num_rows()).map(|n| b.slice(n, 1))).collect();
        got.sort_by_key(|row| row.column(0).as_primitive::<Int64Type>().value(0));
        assert_eq!(got, (0..3).map(|n| rows.slice(n, 1)).collect::<Vec<_>>());
        // Only columns of the path, and columns of both in another order than in the files.
        let only_path = read_source(source.project(&[5]).unwrap().as_ref()).unwrap();
        assert_eq!((only_path.rows(), only_path.batches[0].num_columns()), (3, 1));
        let both = read_source(source.project(&[0, 4]).unwrap().as_ref()).unwrap();
        assert!(both.batches.iter().all(|b| b.schema().fields().iter().map(|f| f.name()).eq(["n", "flag"])));
    }
}

#[test]
fn what_cannot_be_a_partition_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let table_schema = schema(&[("n", DataType::Int64), ("x", DataType::Float64), ("s", TEXT)]);
    let message = |by: &[&str], options: &[(&str, &str)]| {
        FileSink::try_new(&partitioned(folder.path(), &table_schema, by, options)).unwrap_err().to_string()
    };
    assert!(message(&["x"], &[CSV]).contains("DOUBLE, which no path can hold"));
    assert!(message(&["y"], &[CSV]).contains("no partition column 'y'"));
    let two = schema(&[("a", TEXT), ("b", TEXT)]);
    let error = FileSink::try_new(&partitioned(folder.path(), &two, &["a", "b"], &[CSV])).unwrap_err();
    assert!(error.message().contains("nothing is left for its files"), "{error}");
    let kind = ("sink.partition-commit.policy.kind", "success-file");
    assert!(message(&[], &[CSV, kind]).contains("has no partitions"));
    let by_time = ("sink.partition-commit.trigger", "partition-time");
    let pattern = ("partition.time-extractor.timestamp-pattern", "$day");
    assert!(message(&["s"], &[CSV, kind, by_time, pattern]).contains("'$day'"));
}

#[test]
fn a_file_outside_of_the_partitions_or_with_a_wrong_value_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let table_schema = schema(&[("n", DataType::Int64), ("hour", DataType::Int32)]);
    let definition = partitioned(folder.path(), &table_schema, &["hour"], &[CSV]);
    let read = || read_source(&FileSource::try_new(&definition).unwrap());
    fs::create_dir_all(folder.path().join("hour=07/more")).unwrap();
    write(folder.path(), "hour=07/more/x.csv", b"n\n1\n2\n");
    let got = read().unwrap();
    assert_eq!(got.batches[0].column(1).as_primitive::<arrow::datatypes::Int32Type>().values().as_ref(), [7, 7]);
    fs::create_dir(folder.path().join("hour=noon")).unwrap();
    let noon = write(folder.path(), "hour=noon/x.csv", b"n\n1\n");
    let error = read().err().unwrap();
    assert!(error.message().contains("hour=noon") && error.message().contains("column 'hour'"), "{error}");
    fs::remove_file(noon).unwrap();
    write(folder.path(), "x.csv", b"n\n1\n");
    let error = read().err().unwrap();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0231"));
}

#[test]
fn columns_of_the_path_are_found_where_none_are_declared() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("_day=1")).unwrap();
    write(folder.path(), "_day=1/x.csv", b"n\n1\n");
    let found = infer_schema(&partitioned(folder.path(), &schema(&[]), &["_day"], &[CSV])).unwrap().unwrap();
    let names: Vec<_> = found.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
    assert_eq!(names, ["n Int64", "_day Utf8View"]);
}

#[test]
fn few_files_are_open_and_the_one_that_waited_longest_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let sink = event_sink(folder.path(), &[CSV, ("sink.open-files-max", "2"), ("sink.commit-interval", "1 h")]);
    sink.begin().unwrap();
    let mut writer = writer(&sink, 0);
    // Hours 1 and 2 are open, 1 is used again, so 3 closes 2, and 2 closes 1.
    for (n, hour) in [1, 2, 1, 3, 2].into_iter().enumerate() {
        put(writer.as_mut(), events(&[(Some("d"), hour, n as i64)]), Ticket::none());
    }
    let staged = stage(writer.as_mut(), EpochEnd::Last);
    sink.commit(None, &staged).unwrap();
    let text = |name: &str| fs::read_to_string(folder.path().join("day=d").join(name)).unwrap();
    let want = ["hour=1/part-0-0.csv", "hour=2/part-0-1.csv", "hour=2/part-0-3.csv", "hour=3/part-0-2.csv"];
    assert_eq!(tree(&folder.path().join("day=d")), want);
    assert_eq!(want.map(text), ["n\n0\n2\n", "n\n1\n", "n\n4\n", "n\n3\n"]);
}

#[test]
fn parts_are_closed_by_age_and_inactivity_when_those_are_looked_at() {
    for (option, closed) in [
        (("sink.rolling-policy.rollover-interval", "0 s"), 2),
        (("sink.rolling-policy.inactivity-interval", "0 s"), 2),
        (("sink.rolling-policy.rollover-interval", "1 h"), 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sink = event_sink(folder.path(), &[CSV, option, ("sink.rolling-policy.check-interval", "0 s")]);
        sink.begin().unwrap();
        let mut writer = writer(&sink, 0);
        put(writer.as_mut(), events(&[(Some("d"), 1, 1), (Some("d"), 2, 2)]), Ticket::none());
        assert_eq!(parts(&stage(writer.as_mut(), EpochEnd::Running)), closed, "{option:?}");
    }
}

#[test]
fn a_partition_is_complete_when_the_watermark_of_every_worker_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let by_time = [
        ("sink.partition-commit.trigger", "partition-time"),
        ("sink.partition-commit.delay", "1 h"),
        ("partition.time-extractor.timestamp-pattern", "$day $hour:00:00"),
    ];
    let sink = event_sink(folder.path(), &[&COMMIT[..], &by_time[..]].concat());
    sink.begin().unwrap();
    let mut writers = [0, 1].map(|n| sink.open(worker(n, 2)).unwrap());
    let day = Some("2024-05-01");
    for (n, writer) in writers.iter_mut().enumerate() {
        put(writer.as_mut(), events(&[(day, 7, n as i64), (day, 8, 9), (None, 8, 9)]), Ticket::none());
    }
    // The hour ends at 8 o'clock. The first worker is there, the second one millisecond before.
    let mut step = |watermarks: [i64; 2], end: EpochEnd| {
        let mut staged = vec![];
        for (writer, watermark) in writers.iter_mut().zip(watermarks) {
            writer.on_watermark(Watermark(watermark));
            staged.extend(stage(writer.as_mut(), end));
        }
        sink.commit(None, &staged).unwrap();
        sink.commit(None, &staged).unwrap();
        tree(folder.path()).into_iter().filter(|name| !name.starts_with('.')).collect::<Vec<_>>()
    };
    let eight = MAY + 8 * HOUR;
    let seven = "day=2024-05-01/hour=7";
    assert_eq!(step([eight, eight - 1], EpochEnd::Running), [format!("{seven}/part-0-0.csv")]);
    let complete = ["_SUCCESS", "part-0-0.csv", "part-1-0.csv"].map(|name| format!("{seven}/{name}"));
    assert_eq!(step([eight, eight], EpochEnd::Running), complete);
    assert_eq!(step([eight, eight + HOUR - 1], EpochEnd::Running), complete, "the lowest watermark counts");
    let all = step([i64::MAX, i64::MAX], EpochEnd::Last);
    let complete: Vec<_> = all.iter().filter_map(|name| name.strip_suffix("/_SUCCESS")).collect();
    let null = "day=__HIVE_DEFAULT_PARTITION__/hour=8";
    assert_eq!(complete, [seven, "day=2024-05-01/hour=8", null], "the end of the input completes all");
    assert_eq!(all.len(), 3 + 6);
}

#[test]
fn a_late_part_is_added_and_the_partition_declared_complete_again() {
    let folder = tempfile::tempdir().unwrap();
    let by_time = ("sink.partition-commit.trigger", "partition-time");
    let sink = event_sink(folder.path(), &[COMMIT[0], COMMIT[2], by_time, ("sink.commit-interval", "0 s")]);
    sink.begin().unwrap();
    let mut writer = writer(&sink, 0);
    let mut step = |n: i64, end: EpochEnd| {
        put(writer.as_mut(), events(&[(Some("2024-05-01"), 7, n)]), Ticket::none());
        writer.on_watermark(Watermark(MAY));
        sink.commit(None, &stage(writer.as_mut(), end)).unwrap();
    };
    step(1, EpochEnd::Running);
    let success = folder.path().join("day=2024-05-01/hour=7/_SUCCESS");
    fs::remove_file(&success).unwrap();
    step(2, EpochEnd::Running);
    assert!(success.exists(), "it is written anew");
    fs::remove_file(&success).unwrap();
    // Stopped, not at the end of its input: the watermark stays, and that partition's time has come.
    step(3, EpochEnd::Last);
    assert_eq!(names(success.parent().unwrap()), ["_SUCCESS", "part-0-0.csv", "part-0-1.csv", "part-0-2.csv"]);
}

#[test]
fn the_clock_declares_partitions_complete_after_the_delay() {
    for (delay, running, stopped) in [("0 s", true, true), ("1 d", false, false)] {
        let folder = tempfile::tempdir().unwrap();
        let options = [COMMIT[0], COMMIT[2], ("sink.commit-interval", "0 s"), ("sink.partition-commit.delay", delay)];
        let sink =
            event_sink(folder.path(), &[&options[..], &[("sink.partition-commit.success-file.name", "_ok")]].concat());
        sink.begin().unwrap();
        let mut writer = writer(&sink, 0);
        let success = folder.path().join("day=d/hour=7/_ok");
        put(writer.as_mut(), events(&[(Some("d"), 7, 1)]), Ticket::none());
        sink.commit(None, &stage(writer.as_mut(), EpochEnd::Running)).unwrap();
        assert_eq!(success.exists(), running, "{delay}");
        sink.commit(None, &stage(writer.as_mut(), EpochEnd::Last)).unwrap();
        assert_eq!(success.exists(), stopped, "{delay}");
    }
}

#[test]
fn a_partition_without_a_time_ends_the_job_when_its_first_row_comes() {
    let folder = tempfile::tempdir().unwrap();
    let by_time = ("sink.partition-commit.trigger", "partition-time");
    let sink = event_sink(folder.path(), &[&COMMIT[..], &[by_time]].concat());
    sink.begin().unwrap();
    let mut writer = writer(&sink, 0);
    put(writer.as_mut(), events(&[(Some("soon"), 7, 1)]), Ticket::none());
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = loop {
        match writer.ready() {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline),
        }
        std::thread::yield_now();
    };
    assert!(error.message().contains("'day=soon/hour=7' has no time"), "{error}");
}

#[test]
fn partitions_are_numbered_on_and_replaced_with_what_belongs_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = |options: &[(&str, &str)], hour: i32| -> Result<()> {
        let sink = event_sink(folder.path(), &[&COMMIT[..], options].concat());
        sink.begin()?;
        let mut writer = writer(&sink, 0);
        put(writer.as_mut(), events(&[(Some("d"), hour, 1)]), Ticket::none());
        writer.on_watermark(Watermark::MAX);
        sink.commit(None, &stage(writer.as_mut(), EpochEnd::Last))
    };
    let day = |names: &[&str]| names.iter().map(|n| format!("day=d/{n}")).collect::<Vec<_>>();
    run(&[], 1).unwrap();
    run(&[], 1).unwrap();
    run(&[], 2).unwrap();
    let three =
        ["hour=1/_SUCCESS", "hour=1/part-0-0.csv", "hour=1/part-0-1.csv", "hour=2/_SUCCESS", "hour=2/part-0-2.csv"];
    assert_eq!(tree(folder.path()), day(&three));
    let error = run(&[("sink.if-exists", "fail")], 1).unwrap_err();
    assert_eq!(error.code(), "R0213");
    let mine = write(folder.path(), "day=d/hour=2/mine.csv", b"x\n");
    let error = run(&[("sink.if-exists", "replace")], 3).unwrap_err();
    assert!(error.message().contains("'day=d/hour=2/mine.csv'"), "{error}");
    assert_eq!(tree(folder.path()).len(), 6, "nothing was deleted");
    fs::remove_file(mine).unwrap();
    run(&[("sink.if-exists", "replace")], 3).unwrap();
    assert_eq!(tree(folder.path()), day(&["hour=3/_SUCCESS", "hour=3/part-0-0.csv"]));
    assert_eq!(names(&folder.path().join("day=d")), ["hour=3"], "empty folders are gone");
}

proptest! {
    #![proptest_config(rheos_testkit::cases(40))]
    /// Whatever the values, the batches and the limit of open files: every row is read back with its values.
    #[test]
    fn rows_are_written_and_read_back_with_their_values(
        batches in prop::collection::vec(prop::collection::vec((prop::option::of("[a-c:/%= é]{1,3}"), 0..3i32), 1..12), 1..6),
        open in 1..4usize,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let open = open.to_string();
        let sink = event_sink(folder.path(), &[CSV, ("sink.open-files-max", open.as_str())]);
        sink.begin().unwrap();
        let mut writer = writer(&sink, 0);
        let mut want = vec![];
        for batch in &batches {
            let rows: Vec<_> = batch.iter().map(|(day, hour)| (day.as_deref(), *hour, 0)).collect();
            let rows: Vec<_> = rows.into_iter().enumerate().map(|(n, r)| (r.0, r.1, (want.len() + n) as i64)).collect();
            put(writer.as_mut(), events(&rows), Ticket::none());
            want.extend(rows.iter().map(|r| (r.0.map(str::to_string), r.1, r.2)));
        }
        sink.commit(None, &stage(writer.as_mut(), EpochEnd::Last)).unwrap();
        let definition = partitioned(folder.path(), &events(&[]).schema(), &["day", "hour"], &[CSV]);
        let got = read_source(&FileSource::try_new(&definition).unwrap()).unwrap();
        let mut rows: Vec<_> = got.batches.iter().flat_map(|b| {
            let (day, hour) = (b.column(0).as_string::<i32>(), b.column(1).as_primitive::<arrow::datatypes::Int32Type>());
            let n = b.column(2).as_primitive::<Int64Type>();
            (0..b.num_rows()).map(|r| (day.is_valid(r).then(|| day.value(r).to_string()), hour.value(r), n.value(r))).collect::<Vec<_>>()
        }).collect();
        rows.sort_by_key(|row| row.2);
        prop_assert_eq!(rows, want);
    }
}
