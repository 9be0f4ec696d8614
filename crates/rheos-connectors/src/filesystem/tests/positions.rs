//! Sources: whatever was read up to a position and from there on is what is read at once.

use rheos_core::letters::LetterBox;

use super::*;

/// Rows and skipped records of one split: up to some poll, and from the position that is taken there.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    rows: Vec<i64>,
    skipped: u64,
}

impl Seen {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }

    fn join(&mut self, more: Seen) {
        self.rows.extend(more.rows);
        self.skipped += more.skipped;
    }
}

/// Asks a reader `polls` times, or to the end; gives the position there.
fn read_some(
    source: &dyn Source,
    split: &Split,
    position: Option<&str>,
    batch_rows: usize,
    mut polls: usize,
) -> (Seen, Option<String>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let letters = Arc::new(LetterBox::default());
    let ctx = ReaderContext { letters: Some(Arc::clone(&letters)), ..ReaderContext::detached(batch_rows) };
    let mut reader = source.open(split, position, ctx.clone()).unwrap();
    let mut seen = Seen::default();
    // The box is emptied before the position is asked for.
    let skipped = || ctx.counters.skipped.load(Ordering::Relaxed) + letters.take().len() as u64;
    while polls > 0 {
        match reader.poll().unwrap() {
            SourcePoll::Batch(batch) => seen.add(&batch),
            SourcePoll::Finished => return (Seen { skipped: skipped(), ..seen }, None),
            SourcePoll::Pending => std::thread::yield_now(),
        }
        assert!(Instant::now() < deadline, "the reader hangs");
        polls = polls.saturating_sub(1);
    }
    (Seen { skipped: skipped(), ..seen }, Some(reader.position()))
}

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

/// A growing file that was read to `{"a":2}`, and the position there.
fn followed(folder: &Path) -> (FileSource, Split, String) {
    let path = write(folder, "x.json", b"{\"a\":1}\n{\"a\":2}\n");
    let options = [JSON, ("source.follow", "true"), ("source.monitor-interval", "1 ms")];
    let source = FileSource::try_new(&table(&path, &schema(&[("a", DataType::Int64)]), &options)).unwrap();
    let split = source.discover(None, 1).unwrap().splits.remove(0);
    let (mut seen, mut position) = (vec![], None::<String>);
    while seen.len() < 2 {
        let (some, next) = read_some(&source, &split, position.as_deref(), 1, 1);
        seen.extend(some.rows);
        position = next;
    }
    assert_eq!(seen, [1, 2]);
    (source, split, position.unwrap())
}

/// The rows from a position on, as many as `n`, or the error.
fn go_on(source: &FileSource, split: &Split, position: &str, n: usize) -> Result<Vec<i64>> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut reader = source.open(split, Some(position), ReaderContext::detached(10))?;
    let mut seen = Seen::default();
    while seen.rows.len() < n {
        match reader.poll()? {
            SourcePoll::Batch(batch) => seen.add(&batch),
            _ => std::thread::yield_now(),
        }
        assert!(Instant::now() < deadline, "nothing comes");
    }
    Ok(seen.rows)
}

#[test]
fn a_file_that_was_rotated_while_the_job_was_down_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (source, split, position) = followed(path);
    let mut file = fs::OpenOptions::new().append(true).open(path.join("x.json")).unwrap();
    file.write_all(b"{\"a\":3}\n").unwrap();
    fs::rename(path.join("x.json"), path.join("x.json.1")).unwrap();
    assert_eq!(go_on(&source, &split, &position, 1).unwrap(), [3], "no new file has been begun");
    write(path, "x.json", b"{\"a\":4}\n");
    assert_eq!(go_on(&source, &split, &position, 2).unwrap(), [3, 4]);
    // Rotated once more: what was read lies in x.json.2, and x.json.1 came between.
    fs::rename(path.join("x.json.1"), path.join("x.json.2")).unwrap();
    fs::rename(path.join("x.json"), path.join("x.json.1")).unwrap();
    write(path, "x.json", b"{\"a\":5}\n");
    assert_eq!(go_on(&source, &split, &position, 3).unwrap(), [3, 4, 5]);
    // What comes between cannot be read, or has gone.
    let accepting = accepting(path);
    write(path, "x.json.1.gz", b"no lines");
    touch(&path.join("x.json.2"), 10);
    touch(&path.join("x.json.1"), 20);
    let error = |why: &str| {
        let error = go_on(&source, &split, &position, 3).unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0233"));
        assert!(error.message().contains(why), "{error}");
        assert!(error.hint().unwrap().contains("'source.lost-lines' = 'accept'"), "{error}");
    };
    error("rotated more than once since it was read: it is '");
    error("x.json.1.gz' came behind it");
    assert_eq!(go_on(&accepting, &split, &position, 3).unwrap(), [3, 4, 5]);
    fs::remove_file(path.join("x.json.1.gz")).unwrap();
    fs::rename(path.join("x.json.2"), path.join("x.json.3")).unwrap();
    error("x.json.1' is the next that is there, so that one has gone");
    assert_eq!(go_on(&accepting, &split, &position, 3).unwrap(), [3, 4, 5]);
    fs::remove_file(path.join("x.json.3")).unwrap();
    error("x.json' has been replaced since it was read");
    assert_eq!(go_on(&accepting, &split, &position, 1).unwrap(), [5]);
    // Cut while it is followed.
    let split = accepting.discover(None, 1).unwrap().splits.remove(0);
    let told = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let to = Arc::clone(&told);
    let warn = rheos_core::error::Warn::new(Arc::new(move |e: &Error| to.lock().unwrap().push(e.to_string())));
    let mut reader = accepting.open(&split, None, ReaderContext { warn, ..ReaderContext::detached(10) }).unwrap();
    let mut until = |done: &dyn Fn(&Seen) -> bool| {
        let (mut seen, deadline) = (Seen::default(), Instant::now() + Duration::from_secs(60));
        while !done(&seen) {
            if let SourcePoll::Batch(batch) = reader.poll().unwrap() {
                seen.add(&batch);
            }
            assert!(Instant::now() < deadline, "nothing comes");
            std::thread::yield_now();
        }
        seen.rows
    };
    assert_eq!(until(&|seen| !seen.rows.is_empty()), [5]);
    fs::OpenOptions::new().write(true).open(path.join("x.json")).unwrap().set_len(0).unwrap();
    assert_eq!(until(&|_| !told.lock().unwrap().is_empty()), [0; 0]);
    assert!(
        told.lock().unwrap()[0]
            .contains("has become shorter while it was followed, so lines may be lost; reading goes on")
    );
    fs::OpenOptions::new().append(true).open(path.join("x.json")).unwrap().write_all(b"{\"a\":6}\n").unwrap();
    assert_eq!(until(&|seen| !seen.rows.is_empty()), [6]);
}

/// A source of `x.json` that goes on where lines may be lost.
fn accepting(folder: &Path) -> FileSource {
    let options =
        [JSON, ("source.follow", "true"), ("source.monitor-interval", "1 ms"), ("source.lost-lines", "accept")];
    FileSource::try_new(&table(&folder.join("x.json"), &schema(&[("a", DataType::Int64)]), &options)).unwrap()
}

fn touch(path: &Path, seconds: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

#[test]
fn a_followed_file_is_the_same_by_another_name_and_another_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs");
    fs::create_dir(&path).unwrap();
    let (_, split, position) = followed(&path);
    fs::OpenOptions::new().append(true).open(path.join("x.json")).unwrap().write_all(b"{\"a\":3}\n").unwrap();
    write(folder.path(), "y.json", b"{\"a\":1}\n{\"a\":2}\n{\"a\":4}\n");
    std::os::unix::fs::symlink(&path, folder.path().join("alias")).unwrap();
    let open = [(split.clone(), Some(position.clone()))];
    let follow = |name: &str| {
        let options = [JSON, ("source.follow", "true"), ("source.monitor-interval", "1 ms")];
        let source =
            FileSource::try_new(&table(&folder.path().join(name), &schema(&[("a", DataType::Int64)]), &options))?;
        source.resume(&open).and_then(|()| go_on(&source, &split, &position, 1))
    };
    for name in ["logs/x.json", "logs/../logs/x.json", "alias/x.json"] {
        assert_eq!(follow(name).unwrap(), [3], "{name}");
    }
    let error = follow("y.json").unwrap_err();
    assert_eq!(error.code(), "R0241");
    assert!(error.message().contains("logs/x.json', and the table now names '"), "{error}");
    fs::rename(&path, folder.path().join("moved")).unwrap();
    assert_eq!(follow("moved/x.json").unwrap(), [3]);
    let read_once =
        FileSource::try_new(&table(&folder.path().join("y.json"), &schema(&[("a", DataType::Int64)]), &[JSON]));
    assert_eq!(read_once.unwrap().resume(&open).unwrap_err().code(), "R0241");
}

/// A reading of a folder, and what it remembers of it.
fn folder_source(path: &Path, more: &[(&str, &str)]) -> FileSource {
    FileSource::try_new(&table(path, &schema(&[("a", DataType::Int64)]), &[&[JSON], more].concat())).unwrap()
}

const LOOKS: (&str, &str) = ("source.monitor-interval", "1 ms");

fn ids_of(splits: &[Split]) -> Vec<String> {
    splits.iter().map(|s| s.id.rsplit('/').next().unwrap().split([':', '@']).next().unwrap().to_string()).collect()
}

#[test]
fn files_are_known_however_the_folder_is_spelled_and_also_when_it_is_not_followed_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    fs::create_dir(&path).unwrap();
    write(&path, "a.json", b"{\"a\":1}\n");
    write(&path, "b.json", b"{\"a\":2}\n");
    let first = folder_source(&path, &[LOOKS]);
    assert_eq!(first.discover(None, 1).unwrap().splits.len(), 2);
    let found = first.take_found().unwrap().entries;
    write(&path, "c.json", b"{\"a\":3}\n");
    std::os::unix::fs::symlink(&path, folder.path().join("alias")).unwrap();
    // As versions before remembered them.
    let text = |name: &str| format!("{{\"path\":{:?}}}", path.join(name));
    let old = vec![text("a.json"), text("b.json"), "{\"next\":2}".to_string()];
    for entries in [&found, &old] {
        for name in ["in", "in/", "in/../in", "alias", "alias/*.json"] {
            for more in [&[LOOKS][..], &[]] {
                let source = folder_source(&folder.path().join(name), more);
                source.restore_found(entries).unwrap();
                let splits = source.discover(None, 1).unwrap();
                assert_eq!((ids_of(&splits.splits), splits.splits[0].sequence), (vec!["c.json".into()], 2), "{name}");
                assert_eq!(splits.finished, more.is_empty());
            }
        }
    }
    // Another place is read from its start, and that is told; but not what is the same, as where a folder was moved.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    write(&other, "a.json", b"{\"a\":1}\n");
    fs::rename(path.join("b.json"), other.join("b.json")).unwrap();
    let source = folder_source(&other, &[LOOKS]);
    source.restore_found(&found).unwrap();
    let splits = source.discover(None, 1).unwrap().splits;
    assert_eq!(ids_of(&splits), ["a.json"]);
    let told = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let to = Arc::clone(&told);
    let warn = rheos_core::error::Warn::new(Arc::new(move |e: &Error| to.lock().unwrap().push(e.to_string())));
    source.open(&splits[0], None, ReaderContext { warn, ..ReaderContext::detached(1) }).map(drop).unwrap();
    assert!(told.lock().unwrap()[0].contains("the 2 files that have been read lie elsewhere"), "{told:?}");
    // Written by hand: every later version reads it.
    let mark =
        r#"{"identity":{"inode":77,"head_bytes":0,"head_hash":3244421341483603138},"size_bytes":8,"modified_ns":5}"#;
    let written =
        [format!(r#"{{"file":{{"place":"/x/a.json","mark":{mark}}}}}"#), r#"{"file":{"place":"/x/pipe"}}"#.into()];
    folder_source(&other, &[LOOKS]).restore_found(&written).unwrap();
    // What was not read to its end must belong to the table.
    let half =
        [(folder_source(&path, &[LOOKS]).discover(None, 1).unwrap().splits.remove(0), Some("byte 0".to_string()))];
    assert_eq!(source.resume(&half).unwrap_err().code(), "R0241");
    folder_source(&folder.path().join("alias"), &[]).resume(&half).unwrap();
}

#[test]
fn another_file_of_a_known_name_is_new_and_a_changed_or_copied_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["a.json", "b.json", "c.json", "d.json"] {
        write(path, name, b"{\"a\":1}\n{\"a\":2}\n");
        touch(&path.join(name), 5);
    }
    let first = folder_source(path, &[LOOKS]);
    let splits = first.discover(None, 1).unwrap().splits;
    let found = first.take_found().unwrap().entries;
    let replace = |name: &str, bytes: &[u8]| {
        write(path, ".new", bytes);
        touch(&path.join(".new"), if name == "c.json" { 5 } else { 6 });
        fs::rename(path.join(".new"), path.join(name)).unwrap();
    };
    replace("a.json", b"{\"a\":7}\n{\"a\":8}\n");
    fs::OpenOptions::new().append(true).open(path.join("b.json")).unwrap().write_all(b"{\"a\":3}\n").unwrap();
    replace("c.json", b"{\"a\":1}\n{\"a\":2}\n");
    let source = folder_source(path, &[LOOKS]);
    source.restore_found(&found).unwrap();
    let new = source.discover(None, 1).unwrap().splits;
    assert_eq!(ids_of(&new), ["a.json"]);
    assert_ne!(new[0].id, splits[0].id, "that of the old one may not be done");
    let (seen, _) = read_some(&source, &new[0], None, 10, usize::MAX);
    assert_eq!(seen.rows, [7, 8]);
    assert_eq!(source.take_found().unwrap().entries.len(), 2, "it and the next sequence");
    // What was found of the old one and not read is gone; what was read in part cannot go on in another file.
    let (seen, end) = read_some(&source, &splits[0], None, 10, usize::MAX);
    assert_eq!((seen.rows, end), (vec![], None));
    let error = source.open(&splits[0], Some("byte 8"), ReaderContext::detached(1)).err().unwrap();
    assert_eq!(error.code(), "R0233");
    assert!(error.message().contains("was replaced by another file when it had been read in part"), "{error}");
    // So it is in a process that goes on.
    replace("a.json", b"{\"a\":9}\n");
    let deadline = Instant::now() + Duration::from_secs(60);
    let again = loop {
        let found = source.discover(None, 1).unwrap().splits;
        if !found.is_empty() {
            break found;
        }
        assert!(Instant::now() < deadline, "nothing is found");
    };
    assert_eq!(ids_of(&again), ["a.json"]);
    assert_ne!(again[0].id, new[0].id);
}

#[test]
fn a_file_that_was_cut_while_the_job_was_down_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (source, split, position) = followed(path);
    let text = |text: &[u8]| {
        let file = fs::OpenOptions::new().write(true).truncate(true).open(path.join("x.json"));
        file.unwrap().write_all(text).unwrap();
        go_on(&source, &split, &position, 1)
    };
    assert!(text(b"{\"a\":1}\n").unwrap_err().message().contains("has become shorter since it was read"));
    let error = text(b"{\"a\":7}\n{\"a\":8}\n{\"a\":9}\n").unwrap_err();
    assert!(error.message().contains("does not begin any more as it did"), "{error}");
    assert_eq!(text(b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n").unwrap(), [3]);
}

#[test]
fn a_followed_folder_goes_on_behind_the_files_that_a_checkpoint_knows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let source = |order: &'static str| {
        let options = [JSON, ("source.monitor-interval", "1 ms"), ("file-order", order)];
        FileSource::try_new(&table(path, &schema(&[("a", DataType::Int64)]), &options)).unwrap()
    };
    write(path, "a.json", b"{\"a\":1}\n");
    write(path, "c.json", b"{\"a\":2}\n");
    let ids = |splits: &[Split]| -> Vec<_> {
        splits
            .iter()
            .map(|s| (s.id.rsplit('/').next().unwrap().split(':').next().unwrap().to_string(), s.sequence))
            .collect()
    };
    for (order, sequence) in [("none", 2), ("name", 0)] {
        let known = source(order).discover(None, 1).unwrap().splits;
        assert_eq!(known.len(), 2);
        let restored = source(order);
        restored.restore(&known).unwrap();
        write(path, "b.json", b"{\"a\":3}\n");
        assert_eq!(ids(&restored.discover(None, 1).unwrap().splits), [("b.json".to_string(), sequence)]);
        fs::remove_file(path.join("b.json")).unwrap();
    }
}

/// What is remembered, checkpoint by checkpoint, as a table of state keeps it.
#[derive(Default)]
struct Remembered(Vec<String>);

impl Remembered {
    /// Takes what one checkpoint adds. Returns how much that was.
    fn checkpoint(&mut self, source: &FileSource) -> usize {
        let Some(found) = source.take_found() else { return 0 };
        if found.anew {
            self.0.clear();
        }
        let added = found.entries.len();
        self.0.extend(found.entries);
        added
    }
}

#[test]
fn a_checkpoint_remembers_each_file_of_a_followed_folder_once_and_forgets_those_that_have_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let new = || {
        let options = [JSON, ("source.monitor-interval", "1 ms")];
        FileSource::try_new(&table(path, &schema(&[("a", DataType::Int64)]), &options)).unwrap()
    };
    let discover = |source: &FileSource, wanted: usize| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut found = vec![];
        while found.len() < wanted {
            assert!(std::time::Instant::now() < deadline, "{} of {wanted} files are found", found.len());
            found.extend(source.discover(None, 1).unwrap().splits);
        }
        found
    };
    for n in 0..500 {
        write(path, &format!("old-{n}.json"), b"{\"a\":1}\n");
    }
    let source = new();
    let mut remembered = Remembered::default();
    let old = discover(&source, 500);
    assert_eq!(remembered.checkpoint(&source), 501, "each file, and the next sequence");
    assert_eq!(remembered.checkpoint(&source), 0, "nothing is new");
    write(path, "one.json", b"{\"a\":2}\n");
    discover(&source, 1);
    assert_eq!(remembered.checkpoint(&source), 2);
    // A later job goes on behind all of them, and with their sequences.
    let restored = new();
    restored.restore_found(&remembered.0).unwrap();
    write(path, "two.json", b"{\"a\":3}\n");
    let found = discover(&restored, 1);
    assert!(found[0].id.contains("two.json") && found[0].sequence == 501, "{found:?}");
    assert_eq!(remembered.checkpoint(&restored), 2);
    // Files come and go: what is remembered stays in proportion to what is there.
    let mut source = restored;
    for round in 0..20 {
        for n in 0..100 {
            write(path, &format!("new-{round}-{n}.json"), b"{\"a\":4}\n");
        }
        assert_eq!(discover(&source, 100).len(), 100);
        for n in 0..100 {
            fs::remove_file(path.join(format!("new-{round}-{n}.json"))).unwrap();
        }
        remembered.checkpoint(&source);
        if round == 10 {
            source = new();
            source.restore_found(&remembered.0).unwrap();
        }
    }
    let bound = 2 * (502 + 100) + 1000 + 102;
    assert!(remembered.0.len() <= bound, "{} entries for 502 files", remembered.0.len());
    let last = new();
    last.restore_found(&remembered.0).unwrap();
    write(path, "three.json", b"{\"a\":5}\n");
    let found = discover(&last, 1);
    assert!(found[0].id.contains("three.json") && found[0].sequence == 502 + 2000, "{found:?}");
    // A checkpoint of an earlier version has the splits themselves: the next one remembers them in the new form.
    let migrated = new();
    migrated.restore(&old).unwrap();
    assert_eq!(Remembered::default().checkpoint(&migrated), 501);
    let error = new().restore_found(&["{}".to_string()]).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (rheos_core::ErrorKind::Corrupt, "R0684"));
}
