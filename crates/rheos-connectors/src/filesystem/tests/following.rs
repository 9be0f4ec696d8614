//! Input that grows: new files of a folder, new lines of a file.

use super::*;
use std::fs::OpenOptions;

const OFTEN: (&str, &str) = ("source.monitor-interval", "1 ms");
const FOLLOW: (&str, &str) = ("source.follow", "true");

fn source(path: &Path, options: &[(&str, &str)]) -> FileSource {
    FileSource::try_new(&table(path, &schema(&[("a", DataType::Int64)]), options)).unwrap()
}

/// Looks until there is something new.
fn look(source: &dyn Source) -> Vec<Split> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = source.discover(None, 2).unwrap();
        assert!(!found.finished, "it never ends");
        if !found.splits.is_empty() {
            return found.splits;
        }
        assert!(Instant::now() < deadline, "nothing new is found");
        std::thread::yield_now();
    }
}

fn ids(splits: &[Split]) -> Vec<(String, u32)> {
    // What follows the '@' tells it from another file of its name.
    let name = |id: &str| id.rsplit('/').next().unwrap().split('@').next().unwrap().to_string();
    splits.iter().map(|s| (name(&s.id), s.sequence)).collect()
}

fn found(names: &[(&str, u32)]) -> Vec<(String, u32)> {
    names.iter().map(|(name, sequence)| (name.to_string(), *sequence)).collect()
}

#[test]
fn new_files_are_found_once_and_hidden_or_empty_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(path, "b.csv", b"a\n1\n");
    write(path, "a.csv", b"a\n2\n");
    let source = source(path, &[CSV, OFTEN]);
    assert_eq!(source.boundedness(), rheos_core::source::Boundedness::Unbounded);
    // Each reading looks for itself.
    let other = source.project(&[0]).unwrap();
    for source in [&source as &dyn Source, other.as_ref()] {
        assert_eq!(ids(&source.discover(None, 1).unwrap().splits), found(&[("a.csv", 0), ("b.csv", 1)]));
    }
    write(path, ".c.csv", b"a\n3\n");
    write(path, "_SUCCESS", b"");
    write(path, "empty.csv", b"");
    fs::create_dir(path.join("deep")).unwrap();
    write(path, ".d.tmp", b"a\n4\n");
    fs::rename(path.join(".d.tmp"), path.join("deep/d.csv")).unwrap();
    let splits = look(&source);
    assert_eq!(ids(&splits), found(&[("d.csv", 2)]));
    let read = read_split(&source, &splits[0], None, &ReaderContext::detached(10)).unwrap();
    assert_eq!(read[0].0.column(0).as_primitive::<Int64Type>().values().as_ref(), [4]);
    // What was empty has come to be; what was read and has changed is not read again, what has gone may come again.
    write(path, "a.csv", b"a\n2\n2\n");
    fs::remove_file(path.join("b.csv")).unwrap();
    write(path, "empty.csv", b"a\n5\n");
    assert_eq!(ids(&look(&source)), found(&[("empty.csv", 3)]));
    // That look may have begun before the file was removed; the next one has not.
    write(path, "e.csv", b"a\n6\n");
    assert_eq!(ids(&look(&source)), found(&[("e.csv", 4)]));
    write(path, "b.csv", b"a\n7\n");
    assert_eq!(ids(&look(&source)), found(&[("b.csv", 5)]));
}

#[test]
fn new_files_of_a_glob_go_on_with_the_sequence_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let (path, glob) = (folder.path(), folder.path().join("in-*.parquet"));
    let order = ("file-order", "name");
    let source = source(&glob, &[PARQUET, OFTEN, order]);
    assert!(source.discover(None, 1).unwrap().splits.is_empty(), "a glob may begin without a file");
    let parquet = fs::read(write_parquet(path)).unwrap();
    let folder = path.join(".new");
    fs::create_dir(&folder).unwrap();
    for name in ["in-2.parquet", "in-1.parquet"] {
        write(&folder, name, &parquet);
        fs::rename(folder.join(name), path.join(name)).unwrap();
    }
    let mut splits = look(&source);
    while splits.len() < 8 {
        splits.extend(look(&source));
    }
    assert!(splits.iter().all(|s| s.sequence == 0));
    let rows: usize = splits
        .iter()
        .map(|s| read_split(&source, s, None, &ReaderContext::detached(1000)).unwrap())
        .map(|batches| batches.iter().map(|(b, _)| b.num_rows()).sum::<usize>())
        .sum();
    assert_eq!(rows, 2000);
}

#[test]
fn a_new_file_that_cannot_be_read_is_one_bad_record() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), &[CSV, OFTEN]);
    assert!(source.discover(None, 1).unwrap().splits.is_empty());
    write(folder.path(), "x.csv", b"b\n1\n");
    let splits = look(&source);
    assert_eq!(ids(&splits), found(&[("x.csv", 0)]));
    // Where nothing keeps it, it is as it was.
    let error = read_split(&source, &splits[0], None, &ReaderContext::detached(10)).unwrap_err();
    assert!(error.message().contains("x.csv': the header has no column 'a'"), "{error}");
    let letters = Arc::new(LetterBox::default());
    let ctx = ReaderContext { letters: Some(Arc::clone(&letters)), ..ReaderContext::detached(10) };
    let mut reader = source.open(&splits[0], Some("row 0"), ctx.clone()).unwrap();
    assert!(matches!(reader.poll().unwrap(), SourcePoll::Batch(batch) if batch.num_rows() == 0));
    let letter = letters.take().remove(0);
    assert_eq!((letter.position, letter.raw.len()), (Some(0), 0));
    assert!(letter.reason.contains("x.csv': the header has no column 'a'"), "{}", letter.reason);
    assert_eq!(ctx.counters.read.load(Ordering::Relaxed), 1);
    // It is exact: behind its position there is nothing.
    assert!(read_split(&source, &splits[0], Some(&reader.position()), &ctx).unwrap().is_empty());
    assert!(letters.take().is_empty() && matches!(reader.poll().unwrap(), SourcePoll::Finished));
}

#[test]
fn a_new_file_that_cannot_be_read_is_named_where_bad_records_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(folder.path(), &[CSV, OFTEN, ("on-error", "fail")]);
    assert!(source.discover(None, 1).unwrap().splits.is_empty());
    write(folder.path(), "x.csv", b"b\n1\n");
    let deadline = Instant::now() + Duration::from_secs(60);
    let error = loop {
        match source.discover(None, 1) {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline),
        }
        std::thread::yield_now();
    };
    assert!(error.message().contains("x.csv': the header has no column 'a'"), "{error}");
}

/// A reader of a growing file, and what it gives.
struct Growing(Box<dyn rheos_core::source::SplitReader>);

impl Growing {
    fn open(source: &FileSource, position: Option<&str>) -> Self {
        let found = source.discover(None, 2).unwrap();
        assert!(found.finished && found.splits.len() == 1);
        Self(source.open(&found.splits[0], position, ReaderContext::detached(10)).unwrap())
    }

    fn next(&mut self) -> Result<RecordBatch> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match self.0.poll()? {
                SourcePoll::Batch(batch) => return Ok(batch),
                SourcePoll::Finished => panic!("a growing file has no end"),
                SourcePoll::Pending => assert!(Instant::now() < deadline, "nothing comes"),
            }
            std::thread::yield_now();
        }
    }

    /// The next `n` values.
    fn take(&mut self, n: usize) -> Vec<i64> {
        let mut values = vec![];
        while values.len() < n {
            values.extend_from_slice(self.next().unwrap().column(0).as_primitive::<Int64Type>().values());
        }
        values
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn appended_lines_are_read_and_a_torn_one_waits_for_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.csv", b"s,a\nx,1\nx,2\nx,3");
    let source = source(&path, &[CSV, OFTEN, FOLLOW]);
    let mut reader = Growing::open(&source, None);
    assert_eq!(reader.take(2), [1, 2]);
    let position = reader.0.position();
    append(&path, "0\n\"q\nq\",4");
    assert_eq!(reader.take(1), [30], "the line was not complete before");
    append(&path, "\n");
    assert_eq!(reader.take(1), [4]);
    drop(reader);
    // From a position in the middle, the header is that of the file.
    append(&path, "x,5\n");
    assert_eq!(Growing::open(&source, Some(&position)).take(3), [30, 4, 5]);
}

#[test]
fn a_header_that_comes_in_pieces_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.csv", b"s,");
    let mut reader = Growing::open(&source(&path, &[CSV, OFTEN, FOLLOW]), None);
    append(&path, "a\nx,1\n");
    assert_eq!(reader.take(1), [1]);
}

#[test]
fn a_file_that_is_rotated_is_read_to_its_end_and_the_new_one_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.json", b"{\"a\":1}\n");
    let mut reader = Growing::open(&source(&path, &[JSON, OFTEN, FOLLOW]), None);
    assert_eq!(reader.take(1), [1]);
    append(&path, "{\"a\":2}\n{\"a\":3}");
    fs::rename(&path, folder.path().join("x.json.1")).unwrap();
    append(&path, "{\"a\":4}\n");
    assert_eq!(reader.take(3), [2, 3, 4], "the last line of the old file needs no newline");
    append(&path, "{\"a\":5}\n");
    assert_eq!(reader.take(1), [5]);
}

#[test]
fn a_file_that_becomes_shorter_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.json", b"{\"a\":1}\n{\"a\":2}\n");
    let mut reader = Growing::open(&source(&path, &[JSON, OFTEN, FOLLOW]), None);
    assert_eq!(reader.take(2), [1, 2]);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(8).unwrap();
    let error = reader.next().unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0233"));
    assert!(error.message().contains("x.json' has become shorter"), "{error}");
}

#[test]
fn a_bad_line_of_a_growing_file_is_named_or_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "x.csv", b"a\n1\noops\n2\n");
    let mut skipping = Growing::open(&source(&path, &[CSV, OFTEN, FOLLOW, SKIP]), None);
    assert_eq!(skipping.take(2), [1, 2]);
    let error = Growing::open(&source(&path, &[CSV, OFTEN, FOLLOW]), None).next().unwrap_err();
    assert!(error.message().contains("x.csv', line 3, column 'a'"), "{error}");
}

#[test]
fn only_one_plain_file_can_be_followed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "x.json.gz", b"");
    let message = |path: &Path| source(path, &[JSON, FOLLOW]).discover(None, 1).unwrap_err().to_string();
    assert!(message(folder.path()).contains("is a folder"));
    assert!(message(&folder.path().join("*.json")).contains("is a glob"));
    assert!(message(&folder.path().join("x.json.gz")).contains("is compressed"));
    assert!(message(&folder.path().join("x.json")).contains("does not exist"));
}
