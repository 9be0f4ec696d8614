//! A growing file in a job that goes on: found again under another name, refused where lines may be lost.

use super::*;

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
