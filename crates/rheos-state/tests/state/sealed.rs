//! Encrypted stores: the golden file, damage, keys that are missing or wrong, and that nothing can be read without them.

use std::fs;
use std::sync::{Arc, Mutex};

use rheos_checkpoint::manifest::Checksum;
use rheos_core::{Error, ErrorKind};
use rheos_state::store::{CheckpointStore, KeyRing, MemoryStore, Note, SealedStore};

/// Made by `golden/sealed-v1.py` with other implementations of AES-GCM, HKDF and xxh3: every later version must read it.
const GOLDEN: &[u8] = include_bytes!("golden/sealed-v1.bin");
const FRAME: usize = 64 << 10;

/// The bytes 0 to 31, and 31 to 0.
const UP: &str = "2026-11:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const DOWN: &str = "2026-12:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 % 251) as u8).collect()
}

fn sealed(inner: &Arc<MemoryStore>, keys: &str) -> SealedStore {
    SealedStore::new(Arc::clone(inner) as _, KeyRing::parse(keys).unwrap())
}

fn without_key(inner: &Arc<MemoryStore>) -> SealedStore {
    SealedStore::new(Arc::clone(inner) as _, KeyRing::empty())
}

fn told<T: std::fmt::Debug>(result: Result<T, Error>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind(), error.code())
}

#[test]
fn the_golden_file_is_read_whole_and_in_parts() {
    let inner = Arc::new(MemoryStore::new());
    inner.create("journal/golden", GOLDEN).unwrap();
    for keys in [UP.to_string(), format!("# the new one first\n\n{DOWN}\n{UP}\n")] {
        let store = sealed(&inner, &keys);
        assert_eq!(store.read("journal/golden", 70_000).unwrap().unwrap(), bytes(70_000));
        assert_eq!(store.length_bytes("journal/golden").unwrap(), Some(70_000));
        for range in [0..1, 0..70_000, 10..20, 65_535..65_537, 65_536..70_000, 69_999..70_000, 70_000..70_000, 5..5] {
            let read = store.read_range("journal/golden", range.clone()).unwrap().unwrap();
            assert_eq!(read, bytes(70_000)[range.start as usize..range.end as usize], "{range:?}");
        }
        assert_eq!(told(store.read_range("journal/golden", 69_999..70_001)), (ErrorKind::Corrupt, "R0626".into()));
        assert_eq!(told(store.read("journal/golden", 69_999)), (ErrorKind::Corrupt, "R0626".into()));
    }
}

#[test]
fn what_is_written_comes_back_and_does_not_show() {
    let inner = Arc::new(MemoryStore::new());
    let store = sealed(&inner, UP);
    for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 17] {
        let (name, plain) = (format!("objects/{length}"), bytes(length));
        store.create(&name, &plain).unwrap();
        assert_eq!(store.read(&name, length as u64).unwrap().unwrap(), plain);
        assert_eq!(store.length_bytes(&name).unwrap(), Some(length as u64));
        let all = length as u64;
        for (start, end) in [(0, all), (all / 2, all), (all / 3, all / 2), (0, all.min(7))] {
            let read = store.read_range(&name, start..end).unwrap().unwrap();
            assert_eq!(read, plain[start as usize..end as usize], "{start}..{end} of {length}");
        }
        let stored = inner.read(&name, u64::MAX).unwrap().unwrap();
        assert_eq!(stored.len(), 256 + length + 16 * length.div_ceil(FRAME).max(1));
        assert!(!stored.windows(16).any(|w| plain.windows(16).take(300).any(|p| p == w)), "{length}");
    }
    store.create("objects/same", &bytes(100)).unwrap();
    store.create("objects/other", &bytes(100)).unwrap();
    let of = |name: &str| inner.read(name, u64::MAX).unwrap().unwrap()[256..].to_vec();
    assert_ne!(of("objects/same"), of("objects/other"), "files have keys of their own");
    // A file that was replaced is not read by what is remembered of the old one.
    store.read_range("objects/same", 0..10).unwrap();
    store.replace("objects/same", &bytes(FRAME + 5)).unwrap();
    assert_eq!(store.read_range("objects/same", 60_000..65_000).unwrap().unwrap(), bytes(FRAME + 5)[60_000..65_000]);
}

#[test]
fn each_byte_counts() {
    let inner = Arc::new(MemoryStore::new());
    let store = sealed(&inner, UP);
    let plain = bytes(FRAME + 100);
    store.create("objects/a", &plain).unwrap();
    let whole = inner.read("objects/a", u64::MAX).unwrap().unwrap();
    // The first line, both frames, what authenticates them; the flip of a bit, by hand where keys would be named.
    let places = (0..256_usize).chain([256, 300, 256 + FRAME, 256 + FRAME + 15, 256 + FRAME + 16, whole.len() - 1]);
    for place in places {
        assert!(inner.flip_bit("objects/a", place, 0));
        let (kind, code) = told(sealed(&inner, UP).read("objects/a", u64::MAX));
        assert_eq!((kind, code.as_str()), (ErrorKind::Corrupt, "R0626"), "byte {place}");
        assert!(inner.flip_bit("objects/a", place, 0));
    }
    // Cut off anywhere, also between frames.
    for length in [whole.len() - 1, 256 + FRAME + 16, 256 + FRAME, 256 + 16, 256, 200, 30] {
        inner.replace("objects/cut", &whole[..length]).unwrap();
        let read = sealed(&inner, UP).read_range("objects/cut", 0..plain.len() as u64);
        assert_eq!(told(read), (ErrorKind::Corrupt, "R0626".into()), "cut at {length}");
        assert_eq!(told(sealed(&inner, UP).read("objects/cut", u64::MAX)).0, ErrorKind::Corrupt, "cut at {length}");
    }
    // Frames in another order, and a file under another's name.
    let mut moved = whole[..256].to_vec();
    moved.extend_from_slice(&whole[256 + FRAME + 16..]);
    inner.replace("objects/cut", &moved).unwrap();
    assert_eq!(told(sealed(&inner, UP).read("objects/cut", u64::MAX)).0, ErrorKind::Corrupt);
    inner.replace("objects/b", &whole).unwrap();
    assert_eq!(told(sealed(&inner, UP).read("objects/b", u64::MAX)).0, ErrorKind::Corrupt);
    assert_eq!(sealed(&inner, UP).read("objects/a", u64::MAX).unwrap().unwrap(), plain);
}

#[test]
fn keys_change_and_a_key_that_is_not_there_or_is_wrong_is_no_damage() {
    let inner = Arc::new(MemoryStore::new());
    without_key(&inner).create("journal/0", b"before there was a key").unwrap();
    sealed(&inner, UP).create("journal/1", b"by the first key").unwrap();
    let both = sealed(&inner, &format!("{DOWN}\n{UP}"));
    both.create("journal/2", b"by the second key").unwrap();
    for (name, text) in [("0", "before there was a key"), ("1", "by the first key"), ("2", "by the second key")] {
        let name = format!("journal/{name}");
        assert_eq!(both.read(&name, 99).unwrap().unwrap(), text.as_bytes());
        assert_eq!(both.read_range(&name, 3..7).unwrap().unwrap(), text.as_bytes()[3..7]);
    }
    let old = sealed(&inner, UP).read("journal/2", 99).unwrap_err();
    assert_eq!((old.kind(), old.code().as_str()), (ErrorKind::Invalid, "R0651"));
    assert!(old.message().contains("'2026-12'") && old.message().contains("2026-11"), "{old}");
    let none = without_key(&inner).read("journal/1", 99).unwrap_err();
    assert_eq!((none.kind(), none.code().as_str()), (ErrorKind::Invalid, "R0651"));
    assert!(none.message().contains("no key was given") && none.hint().is_some(), "{none}");
    let wrong = sealed(&inner, &DOWN.replace("2026-12", "2026-11"));
    for error in [wrong.read("journal/1", 99).unwrap_err(), wrong.read_range("journal/1", 0..3).unwrap_err()] {
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0652"), "{error}");
    }
}

#[test]
fn files_that_are_not_encrypted_are_taken_as_they_are() {
    for keys in ["", UP] {
        let inner = Arc::new(MemoryStore::new());
        let store = if keys.is_empty() { without_key(&inner) } else { sealed(&inner, keys) };
        for kind in ["claim", "manifest", "committed", "retired"] {
            let text = format!(r#"{{"rheos":"{kind}","version":1,"key":null}}"#);
            inner.create(&format!("journal/{kind}"), text.as_bytes()).unwrap();
            assert_eq!(store.read(&format!("journal/{kind}"), 99).unwrap().unwrap(), text.as_bytes());
        }
        for (name, bytes) in [("empty", b"".as_slice()), ("object", b"RheosObj\x01"), ("short", b"{")] {
            inner.create(name, bytes).unwrap();
            assert_eq!(store.read(name, 99).unwrap().unwrap(), bytes);
            assert_eq!(store.read_range(name, 0..bytes.len() as u64).unwrap().unwrap(), bytes);
        }
    }
}

#[test]
fn another_version_is_no_damage() {
    let text = "2\nk\nsalt\ncheck\n";
    let line = format!(
        r#"{{"rheos":"encrypted","version":2,"key":"k","salt":"salt","check":"check","checksum":"{}"}}"#,
        Checksum::of(text.as_bytes())
    );
    let inner = Arc::new(MemoryStore::new());
    inner.create("journal/1", format!("{line:255}\n").as_bytes()).unwrap();
    assert_eq!(told(sealed(&inner, UP).read("journal/1", 99)), (ErrorKind::Invalid, "R0627".into()));
}

#[test]
fn a_file_of_keys_is_checked_and_never_shown() {
    let secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    for (text, told) in [
        ("", "there is no key"),
        ("# a comment\n", "there is no key"),
        (&format!("\n{secret}"), "line 2: there is no ':'"),
        (&format!(":{secret}"), "line 1: an id is"),
        (&format!("a b:{secret}"), "line 1: an id is"),
        (&format!("{}:{secret}", "x".repeat(65)), "line 1: an id is"),
        ("k:AAECAwQ=", "line 1: the key 'k' is not 32 bytes"),
        (&format!("k:{secret}\nk:{secret}"), "line 2: the key 'k' is there twice"),
    ] {
        let error = KeyRing::parse(text).unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0650"), "{text}");
        assert!(error.message().contains(told) && !error.message().contains("AAEC"), "{error}");
        assert!(error.hint().is_some_and(|h| h.contains("openssl")), "{error}");
    }
    let ring = KeyRing::parse(&format!("{UP}\r\n {DOWN} ")).unwrap();
    assert_eq!(ring.ids().collect::<Vec<_>>(), ["2026-11", "2026-12"]);
    assert!(!format!("{ring:?}").contains("AAEC"));
}

#[test]
#[cfg(unix)]
fn a_file_of_keys_that_others_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    fs::write(&path, UP).unwrap();
    let notes: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&notes);
    let note: Note = Arc::new(move |error| seen.lock().unwrap().push(error.code()));
    for (mode, told) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 2)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(KeyRing::read(&path, &note).unwrap().ids().next(), Some("2026-11"));
        assert_eq!(*notes.lock().unwrap(), vec!["R0653"; told], "{mode:o}");
    }
    let missing = KeyRing::read(&folder.path().join("none"), &note).unwrap_err();
    assert_eq!((missing.kind(), missing.code().as_str()), (ErrorKind::InputMissing, "R0650"));
}
