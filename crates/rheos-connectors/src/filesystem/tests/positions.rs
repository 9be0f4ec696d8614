//! Sources: whatever was read up to a position and from there on is what is read at once.

use super::*;

/// One record: a number, or something that is none.
#[derive(Debug, Clone)]
enum Record {
    Good(&'static str),
    Bad,
    /// Above the limit of records.
    Long,
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        6 => prop_oneof![Just("x"), Just("\"q\""), Just("\"a\"\"b\""), Just("é")].prop_map(Record::Good),
        1 => Just(Record::Bad),
        1 => Just(Record::Long),
    ]
}

const RECORD_BYTES_MAX: usize = 400;

/// A file of records, in which good ones are numbered; and the numbers.
fn text(records: &[Record], csv: bool, multiline: bool, header: bool, bom: bool, newline: &str) -> (String, Vec<i64>) {
    let (mut text, mut good) = (String::from(if bom { "\u{feff}" } else { "" }), vec![]);
    if csv && header {
        text += &format!("s,a{newline}");
    }
    for (n, record) in records.iter().enumerate() {
        let line = match record {
            Record::Good(s) => {
                good.push(n as i64);
                let s = if multiline && n % 3 == 0 { "\"1\n2\n\"" } else { s };
                if csv { format!("{s},{n}") } else { format!("{{\"s\":\"z\",\"a\":{n}}}") }
            }
            Record::Bad if csv => "x,oops".into(),
            Record::Bad => "{\"a\":".into(),
            Record::Long if csv => format!("{},7", "l".repeat(RECORD_BYTES_MAX + n)),
            Record::Long => format!("{{\"s\":\"{}\",\"a\":7}}", "l".repeat(RECORD_BYTES_MAX + n)),
        };
        text += &line;
        text += newline;
    }
    (text, good)
}

fn packed(text: &str, how: &str) -> Vec<u8> {
    match how {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
            out.write_all(text.as_bytes()).unwrap();
            out.finish().unwrap()
        }
        "zstd" => zstd::encode_all(text.as_bytes(), 1).unwrap(),
        _ => text.as_bytes().to_vec(),
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(300))]

    /// Whatever the file, the sizes of batches and splits, and the moments at which the job is restored.
    #[test]
    fn text_is_read_once_over_restarts(
        records in prop::collection::vec(record(), 0..60),
        (csv, multiline, header, bom, crlf) in any::<(bool, bool, bool, bool, bool)>(),
        compression in prop_oneof![3 => Just("none"), 1 => Just("gzip"), 1 => Just("zstd")],
        split_bytes in 1..500_u64,
        restarts in prop::collection::vec((0..12_usize, 1..9_usize), 0..5),
        on_error in prop_oneof![Just(SKIP), Just(LETTERS)],
    ) {
        let newline = if crlf { "\r\n" } else { "\n" };
        let (text, good) = text(&records, csv, csv && multiline, header, bom, newline);
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "x", &packed(&text, compression));
        let (split_bytes, record_bytes) = (format!("{split_bytes} b"), format!("{RECORD_BYTES_MAX} b"));
        let mut options = vec![
            ("format", if csv { "csv" } else { "json" }),
            on_error,
            ("compression", compression),
            ("source.split-size", split_bytes.as_str()),
            ("record.size-max", record_bytes.as_str()),
        ];
        if csv {
            options.extend([("csv.multiline", if multiline { "true" } else { "false" }), ("csv.header", if header { "true" } else { "false" })]);
        }
        let table_schema = if csv { schema(&[("s", DataType::Utf8), ("a", DataType::Int64)]) } else { schema(&[("a", DataType::Int64)]) };
        let source = FileSource::try_new(&table(&path, &table_schema, &options)).unwrap();
        let source = source.project(&[table_schema.fields().len() - 1]).unwrap();
        let mut all = Seen::default();
        for split in source.discover(None, 1).unwrap().splits {
            let mut position: Option<String> = None;
            let mut moments = restarts.iter().copied().chain([(usize::MAX, 7)]);
            loop {
                let (polls, batch_rows) = moments.next().unwrap();
                let (seen, next) = read_some(source.as_ref(), &split, position.as_deref(), batch_rows, polls);
                all.join(seen);
                match next {
                    Some(next) => position = Some(next),
                    None => break,
                }
            }
        }
        prop_assert_eq!(&all.rows, &good);
        prop_assert_eq!(all.skipped, (records.len() - good.len()) as u64);
    }

    /// The same of a file that grows and is rotated while the job runs or is down.
    #[test]
    fn growing_files_are_read_once_over_restarts(
        steps in prop::collection::vec((prop::collection::vec(record(), 0..6), any::<[bool; 3]>(), 0..8_usize), 1..8),
        (csv, header) in any::<(bool, bool)>(),
        on_error in prop_oneof![Just(SKIP), Just(LETTERS)],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "x", b"");
        let record_bytes = format!("{RECORD_BYTES_MAX} b");
        let mut options = vec![
            ("format", if csv { "csv" } else { "json" }),
            on_error,
            ("source.follow", "true"),
            ("source.monitor-interval", "1 ms"),
            ("record.size-max", record_bytes.as_str()),
        ];
        if csv {
            options.push(("csv.header", if header { "true" } else { "false" }));
        }
        let table_schema = if csv { schema(&[("s", DataType::Utf8), ("a", DataType::Int64)]) } else { schema(&[("a", DataType::Int64)]) };
        let source = FileSource::try_new(&table(&path, &table_schema, &options)).unwrap();
        let source = source.project(&[table_schema.fields().len() - 1]).unwrap();
        let split = source.discover(None, 1).unwrap().splits.remove(0);
        let (mut want, mut all, mut position) = (Seen::default(), Seen::default(), None::<String>);
        let mut begun = false;
        for (n, (records, [rotate, read_all, _], polls)) in steps.iter().enumerate() {
            let (lines, good) = text(records, csv, false, header && !begun, false, "\n");
            begun = true;
            // The last line comes in two pieces.
            let cut = lines.len() - lines.len().min(2);
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
            file.write_all(&lines.as_bytes()[..cut]).unwrap();
            let (seen, next) = read_some(source.as_ref(), &split, position.as_deref(), 3, *polls + 1);
            all.join(seen);
            position = next;
            file.write_all(&lines.as_bytes()[cut..]).unwrap();
            want.rows.extend(&good);
            want.skipped += (records.len() - good.len()) as u64;
            // Rotated at most once between two positions.
            let rotate = *rotate && !records.is_empty();
            if *read_all || rotate {
                let deadline = Instant::now() + Duration::from_secs(60);
                while all.rows.len() + (all.skipped as usize) < want.rows.len() + want.skipped as usize {
                    let (seen, next) = read_some(source.as_ref(), &split, position.as_deref(), 3, 5);
                    all.join(seen);
                    position = next;
                    prop_assert!(Instant::now() < deadline, "{:?} of {:?}", all, want);
                }
            }
            if rotate {
                // Rotations are not so near to each other that the clock of the file system could not tell them apart.
                file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(n as u64)).unwrap();
                fs::rename(&path, folder.path().join(format!("x.{n}"))).unwrap();
                write(folder.path(), "x", b"");
                begun = false;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while all != want {
            let (seen, next) = read_some(source.as_ref(), &split, position.as_deref(), 3, 5);
            all.join(seen);
            position = next;
            prop_assert!(Instant::now() < deadline, "{:?} of {:?} at {:?}", all, want, position);
        }
    }
}

#[test]
fn row_groups_are_read_once_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_parquet(folder.path());
    // 1000 rows in groups of 300. The texts are no numbers, so all of them are skipped.
    for (column, rows, skipped) in [("a", 1000, 0), ("s", 0, 1000)] {
        let table_schema = schema(&[(column, DataType::Int64)]);
        let source = FileSource::try_new(&table(&path, &table_schema, &[PARQUET, SKIP])).unwrap();
        for polls in 0..40 {
            let mut all = Seen::default();
            for split in source.discover(None, 1).unwrap().splits {
                let (first, position) = read_some(&source, &split, None, 77, polls);
                all.join(first);
                if let Some(position) = position {
                    let (rest, end) = read_some(&source, &split, Some(&position), 50, usize::MAX);
                    assert_eq!(end, None);
                    all.join(rest);
                }
            }
            assert_eq!((all.rows.len(), all.skipped), (rows, skipped));
            assert!(all.rows.iter().copied().eq(0..rows as i64));
        }
    }
}

#[test]
fn files_that_became_shorter_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let table_schema = schema(&[("a", DataType::Int64)]);
    let json: String = (0..100).map(|n| format!("{{\"a\":{n}}}\n")).collect();
    let parquet = fs::read(write_parquet(folder.path())).unwrap();
    let files = [
        ("x.json", JSON, json.as_bytes().to_vec(), b"{\"a\":1}\n".to_vec()),
        ("x.json.gz", JSON, packed(&json, "gzip"), packed("{\"a\":1}\n", "gzip")),
        ("x.json.zst", JSON, packed(&json, "zstd"), packed("{\"a\":1}\n", "zstd")),
        ("y.parquet", PARQUET, parquet, {
            let batch = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
            let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.into_inner().unwrap()
        }),
    ];
    for (name, format, bytes, shorter) in files {
        let path = write(folder.path(), name, &bytes);
        let source = FileSource::try_new(&table(&path, &table_schema, &[format])).unwrap();
        let splits = source.discover(None, 1).unwrap().splits;
        let split = splits.last().unwrap();
        let position = read_split(&source, split, None, &ReaderContext::detached(10)).unwrap().swap_remove(5).1;
        write(folder.path(), name, &shorter);
        // A new process, which knows no footer.
        let source = FileSource::try_new(&table(&path, &table_schema, &[format])).unwrap();
        let error = read_split(&source, split, Some(&position), &ReaderContext::detached(10)).unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0233"), "{error}");
        assert!(error.message().contains(name), "{error}");
        let error = source.open(split, Some("somewhere"), ReaderContext::detached(1)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
