//! What a checkpoint remembers of the files of a folder: none is read twice, and none is missed.

use super::*;

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
