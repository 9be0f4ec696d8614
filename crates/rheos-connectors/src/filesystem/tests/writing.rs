//! Writing: every part committed once.

use super::*;

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
fn parquet_is_packed_as_the_table_says() {
    for (given, codec) in [(None, "ZSTD"), (Some("snappy"), "SNAPPY"), (Some("uncompressed"), "UNCOMPRESSED")] {
        let folder = tempfile::tempdir().unwrap();
        let mut options = vec![("format", "parquet")];
        options.extend(given.map(|name| ("parquet.compression", name)));
        run_job(&sink(folder.path(), &options).unwrap(), 1, 1);
        let bytes = fs::read(folder.path().join("part-0-0.parquet")).unwrap();
        let footer = ::parquet::file::metadata::ParquetMetaDataReader::new()
            .parse_and_finish(&bytes::Bytes::from(bytes))
            .unwrap();
        let written = format!("{:?}", footer.row_group(0).column(0).compression());
        assert!(written.starts_with(codec), "{written}");
    }
}

#[test]
fn parts_become_visible_by_a_commit_that_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path(), &[CSV, ("sink.commit-interval", "1 h")]).unwrap();
    sink.begin().unwrap();
    let mut writer = sink.open(worker(3, 4)).unwrap();
    let pool = CreditPool::new(1, Arc::new(|| ()));
    put(writer.as_mut(), rows(0..10), pool.take(80));
    assert!(stage(writer.as_mut(), EpochEnd::Running).is_empty(), "the interval has not passed");
    let staged = stage(writer.as_mut(), EpochEnd::Last);
    assert_eq!(pool.outstanding_bytes(), 0, "written rows return their credit");
    assert_eq!(names(folder.path()), [".part-3-0.inprogress"]);
    sink.commit(None, &staged).unwrap();
    sink.commit(None, &staged).unwrap();
    assert_eq!(names(folder.path()), ["part-3-0.csv"]);
    fs::remove_file(folder.path().join("part-3-0.csv")).unwrap();
    assert_eq!(sink.commit(None, &staged).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn parts_roll_by_size_and_by_interval() {
    let folder = tempfile::tempdir().unwrap();
    let options = [JSON, ("sink.rolling-policy.file-size", "1 b"), ("compression", "none")];
    // The file is buffered, so a part is rolled when the buffer first goes to the disk.
    let sink_ = sink(folder.path(), &options).unwrap();
    sink_.begin().unwrap();
    let mut writer = sink_.open(worker(0, 1)).unwrap();
    (0..3).for_each(|_| put(writer.as_mut(), rows(0..50_000), Ticket::none()));
    assert_eq!(parts(&stage(writer.as_mut(), EpochEnd::Last)), 3);

    let folder = tempfile::tempdir().unwrap();
    let sink_ = sink(folder.path(), &[JSON, ("sink.commit-interval", "0 s")]).unwrap();
    sink_.begin().unwrap();
    let mut writer = sink_.open(worker(0, 1)).unwrap();
    for _ in 0..2 {
        put(writer.as_mut(), rows(0..5), Ticket::none());
        assert_eq!(parts(&stage(writer.as_mut(), EpochEnd::Running)), 1);
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
    let mut writer = dying.open(worker(0, 1)).unwrap();
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
fn what_is_replaced_stays_until_the_new_rows_are_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run_job(&sink(path, &[CSV]).unwrap(), 2, 1);
    let earlier = read(path, &schema(&[("a", DataType::Int64)]), &[CSV]).unwrap().ints();
    let replacing = || sink(path, &[JSON, ("sink.if-exists", "replace")]).unwrap();
    assert_eq!(replacing().replaces().as_deref(), Some(path));
    assert_eq!(sink(path, &[CSV]).unwrap().replaces(), None);
    // A job that fails.
    let dying = replacing();
    dying.begin().unwrap();
    let mut writer = dying.open(worker(0, 1)).unwrap();
    put(writer.as_mut(), rows(0..10), Ticket::none());
    let staged = stage(writer.as_mut(), EpochEnd::Last);
    assert_eq!(read(path, &schema(&[("a", DataType::Int64)]), &[CSV]).unwrap().ints(), earlier);
    dying.commit(None, &staged).unwrap();
    dying.commit(None, &staged).unwrap();
    assert_eq!(names(path), ["part-0-0.json"]);
    // A job that has no rows.
    let empty = replacing();
    empty.begin().unwrap();
    assert_eq!(names(path), ["part-0-0.json"]);
    empty.finish().unwrap();
    assert!(names(path).is_empty());
}

#[test]
fn a_folder_that_disappears_is_an_error_not_a_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let sink = sink(&path, &[CSV]).unwrap();
    sink.begin().unwrap();
    fs::remove_dir(&path).unwrap();
    let mut writer = sink.open(worker(0, 1)).unwrap();
    let pool = CreditPool::new(1, Arc::new(|| ()));
    let _ = writer.write(Batch::new(rows(0..10), pool.take(80)));
    let deadline = Instant::now() + Duration::from_secs(60);
    while writer.ready().is_ok() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(pool.outstanding_bytes(), 0);
}
