//! Reading: every row once, from any position, every mistake named.

use super::*;

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
fn only_the_wanted_fields_of_a_row_are_read() {
    let row = |fields: &[(&str, DataType)]| DataType::Struct(schema(fields).fields().clone());
    let inner = row(&[("y", DataType::Int64), ("z", DataType::Int64)]);
    let whole = schema(&[("a", DataType::Int64), ("r", row(&[("x", DataType::Int64), ("s", inner)]))]);
    let part = schema(&[("r", row(&[("s", row(&[("z", DataType::Int64)]))]))]);
    let folder = tempfile::tempdir().unwrap();
    // What is not wanted would be a bad record.
    let json = write(folder.path(), "a.json", br#"{"a":"bad","r":{"x":"bad","s":{"y":"bad","z":7}}}"#);
    let csv = write(folder.path(), "a.csv", b"a,r\nbad,\"{\"\"x\"\":{},\"\"s\"\":{\"\"y\"\":[],\"\"z\"\":7}}\"\n");
    for (path, format) in [(json, JSON), (csv, CSV)] {
        let source = FileSource::try_new(&table(&path, &whole, &[format])).unwrap().project(&[1]).unwrap();
        assert!(read_source(source.as_ref()).is_err());
        let narrow = source.narrow(&part).unwrap().unwrap();
        assert_eq!(narrow.schema(), part);
        assert!(narrow.describe().contains(&("columns".into(), "r(s(z))".into())));
        let got = read_source(narrow.as_ref()).unwrap();
        let r = got.batches[0].column(0).as_struct();
        assert_eq!(r.column(0).as_struct().column(0).as_primitive::<Int64Type>().values().as_ref(), [7]);
        assert!(narrow.narrow(&source.schema()).is_err(), "what was taken away does not come back");
    }
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
        let error = fail(&path, &table, &[JSON]);
        assert!(error.message().contains(name) && error.message().contains("ends in the middle"), "{error}");
        assert_eq!(read(&path, &table, &[JSON, SKIP]).unwrap().skipped, 1);
        let path = write(folder.path(), name, b"no compressed data at all");
        assert!(fail(&path, &table, &[JSON, SKIP]).message().contains("is not valid"));
    }
    // Behind a good file: zeros mean nothing, anything else is told.
    let padded = write(folder.path(), "padded.json.gz", &[gzip.as_slice(), &[0; 700], &gzip, &[0; 512]].concat());
    assert_eq!(read(&padded, &table, &[JSON]).unwrap().rows(), 100_000);
    for rest in [b"x".as_slice(), b"more", b"\0\0more than a header"] {
        let path = write(folder.path(), "more.json.gz", &[&gzip, rest].concat());
        let error = fail(&path, &table, &[JSON]);
        assert!(error.message().contains("behind its end stands something"), "{error}");
        let got = read(&path, &table, &[JSON, SKIP]).unwrap();
        assert_eq!((got.rows(), got.skipped), (50_000, 1));
    }
    // Shorter than gzip's header.
    let path = write(folder.path(), "short.json.gz", b"not gzip");
    assert!(fail(&path, &table, &[JSON, SKIP]).message().contains("is not valid gzip data"));
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
fn what_is_left_of_a_packed_file_that_is_cut_off_is_one_bad_record() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = std::iter::once("a\n".into()).chain((0..200_000).map(|n| format!("{n}\n"))).collect();
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let cut = &packed[..packed.len() / 2];
    // What can be unpacked of it, told by the library alone.
    let mut whole = vec![];
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(cut), &mut whole).unwrap_err();
    let rest = whole.iter().rposition(|b| *b == b'\n').unwrap() + 1;
    let rows = whole[..rest].iter().filter(|b| **b == b'\n').count() - 1;
    assert!(rows > 50_000);
    let path = write(folder.path(), "x.csv.gz", cut);
    let table_schema = schema(&[("a", DataType::Int64)]);
    assert_eq!(fail(&path, &table_schema, &[CSV]).code(), "R0211");
    let got = read(&path, &table_schema, &[CSV, SKIP]).unwrap();
    assert_eq!((got.rows(), got.skipped), (rows, 1));
    let source = FileSource::try_new(&table(&path, &table_schema, &[CSV])).unwrap();
    let letters = Arc::new(LetterBox::default());
    let ctx = ReaderContext { letters: Some(Arc::clone(&letters)), ..ReaderContext::detached(100) };
    let split = &source.discover(None, 1).unwrap().splits[0];
    let found: usize = read_split(&source, split, None, &ctx).unwrap().iter().map(|(b, _)| b.num_rows()).sum();
    let letters = letters.take();
    assert_eq!((found, letters.len()), (rows, 1));
    assert_eq!((letters[0].position, letters[0].raw.as_slice()), (Some(rest as u64), &whole[rest..]));
    assert!(letters[0].reason.contains("ends in the middle of its gzip data"), "{}", letters[0].reason);
    assert_eq!(ctx.counters.read.load(Ordering::Relaxed), rows as u64 + 1);
    // Also where reading goes on right before the damage.
    let whole_lines = LetterBox::default();
    let ctx = ReaderContext { letters: Some(Arc::new(whole_lines)), ..ReaderContext::detached(100) };
    let text = &whole[..rest];
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packed.write_all(text).unwrap();
    let mut packed = packed.finish().unwrap();
    // The checksum.
    let at = packed.len() - 8;
    packed[at] ^= 1;
    let path = write(folder.path(), "sum.csv.gz", &packed);
    let source = FileSource::try_new(&table(&path, &table_schema, &[CSV])).unwrap();
    let split = &source.discover(None, 1).unwrap().splits[0];
    let read = read_split(&source, split, Some(&format!("byte {rest}")), &ctx).unwrap();
    assert_eq!(read.iter().map(|(b, _)| b.num_rows()).sum::<usize>(), 0);
    let letters = ctx.letters.as_ref().unwrap().take();
    assert_eq!((letters.len(), letters[0].position), (1, Some(rest as u64)));
}

/// Bytes of a page are overwritten: what comes before is read, what is left of the row group is one bad record.
#[test]
fn what_is_left_of_a_damaged_row_group_is_one_bad_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(write_parquet(folder.path())).unwrap();
    let data = bytes.len() / 4;
    bytes[4..data].fill(0xff);
    let path = write(folder.path(), "damaged.parquet", &bytes);
    let table_schema = schema(&[("a", DataType::Int64), ("s", DataType::Utf8)]);
    let source = FileSource::try_new(&table(&path, &table_schema, &[PARQUET])).unwrap();
    let splits = source.discover(None, 1).unwrap().splits;
    let damaged: Vec<_> =
        splits.iter().filter(|split| read_split(&source, split, None, &ReaderContext::detached(10)).is_err()).collect();
    assert!(!damaged.is_empty(), "the file is not damaged where it is read");
    for split in damaged {
        let letters = Arc::new(LetterBox::default());
        let ctx = ReaderContext { letters: Some(Arc::clone(&letters)), ..ReaderContext::detached(10) };
        let read = read_split(&source, split, None, &ctx).unwrap();
        let rows: usize = read.iter().map(|(b, _)| b.num_rows()).sum();
        let found = letters.take();
        assert_eq!((found.len(), found[0].position), (1, Some(rows as u64)));
        assert_eq!(ctx.counters.read.load(Ordering::Relaxed), rows as u64 + 1);
        // Behind the letter nothing is left.
        let mut reader = source.open(split, None, ctx.clone()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while letters.take().is_empty() {
            assert!(Instant::now() < deadline && !matches!(reader.poll().unwrap(), SourcePoll::Finished));
        }
        let again = read_split(&source, split, Some(&reader.position()), &ctx).unwrap();
        assert_eq!((again.iter().map(|(b, _)| b.num_rows()).sum::<usize>(), letters.take().len()), (0, 0));
    }
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
    #![proptest_config(rheos_testkit::cases(40))]
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
