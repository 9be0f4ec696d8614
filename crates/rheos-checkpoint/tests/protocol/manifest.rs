//! The text of manifests and other entries. The golden files were written by `golden/write.py` with the reference
//! implementation of xxh3, not by this crate: every later version must read them, and this version must write them byte for
//! byte.

use std::num::NonZeroU32;

use rheos_checkpoint::journal::{Claim, Committed, Entry, EntryNumber, Nonce, Restored, Witness};
use rheos_checkpoint::manifest::{Checksum, JobPhase, Manifest, NUMBER_MAX, Repeat, SplitProgress, text};
use rheos_core::key::KeyGroup;
use rheos_core::state::TableKind;
use rheos_core::{Epoch, ErrorKind, Generation, JobId};
use xxhash_rust::xxh3::xxh3_64;

const GOLDEN: &str = include_str!("golden/manifest-v1.json");
const GOLDEN_CLAIM: &str = include_str!("golden/claim-v1.json");
const GOLDEN_COMMITTED: &str = include_str!("golden/committed-v1.json");
const GOLDEN_RETIRED: &str = include_str!("golden/retired-v1.json");
const NEWER: &str = include_str!("golden/manifest-v2.json");
const ENCRYPTED: &str = include_str!("golden/manifest-encrypted.json");
const NUMBER: EntryNumber = EntryNumber(12);

fn golden() -> Manifest {
    text::decode(GOLDEN.as_bytes()).unwrap()
}

/// A golden text with a change in its body, under a first line that fits again.
fn with_body(golden: &str, kind: &str, from: &str, to: &str) -> Vec<u8> {
    let (_, body) = golden.trim_end().split_once('\n').unwrap();
    assert!(body.contains(from), "{from} is not there");
    let body = body.replacen(from, to, 1);
    let sum = Checksum(xxh3_64(format!("{kind}\n1\n\n{body}").as_bytes()));
    let first =
        format!(r#"{{"rheos":"{kind}","version":1,"key":null,"length_bytes":{},"checksum":"{sum}"}}"#, body.len());
    format!("{first}\n{body}\n").into_bytes()
}

fn refusal(bytes: &[u8]) -> (String, String) {
    let error = text::decode(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.hint().is_some());
    (error.code(), error.message().to_string())
}

#[test]
fn the_golden_manifest_is_read() {
    let m = golden();
    assert_eq!((m.entry, m.generation, m.epoch, m.parallelism.get()), (NUMBER, Generation(4), Epoch(17), 2));
    assert_eq!((m.phase, m.wall_time_ms, m.processing_time_ms), (JobPhase::Running, 1700000000456, 1700000000123));
    assert_eq!(m.program.context, br#"{"zone":"UTC"}"#);
    assert_eq!(m.program.operators[1].facts[0], ("group by".to_string(), "origin".to_string()));
    assert_eq!(m.savepoint.as_deref(), Some("before-upgrade"));
    assert_eq!(m.objects[0].checksum, Checksum::of(b"g1"));
    let kinds: Vec<_> = m.objects.iter().flat_map(|o| &o.segments).map(|s| s.kind).collect();
    use TableKind::{Broadcast, Keyed, Single, Split};
    assert_eq!(kinds, [Keyed, Broadcast, Single, Keyed, Split]);
    let scattered = &m.objects[2].segments[0].groups;
    assert!(scattered.iter().eq((256..512).map(|i| KeyGroup(2 * i + 1))), "{scattered}");
    let source = &m.sources[0];
    assert_eq!(source.splits[0].progress, SplitProgress::Reading("4711".into()));
    assert_eq!((source.splits[0].split.not_before_ms, source.splits[0].split.size_bytes), (Some(-100), 123_456));
    assert_eq!((source.splits[2].id(), source.enumerator.as_str()), ("ü.csv:0", "c.csv"));
    let sink = &m.sinks[0];
    assert_eq!((sink.releases.len(), sink.last_release.unwrap().through), (2, Epoch(16)));
    assert_eq!(sink.held[0].committable.0, [0, 255, 7]);
    assert_eq!(m.sinks[1].repeat, Repeat::Replaces);
    assert_eq!(m.counters["source-0/decoded"], u64::MAX);
    assert!(m.assignment().owns(1, KeyGroup(512)) && m.assignment().owns(0, KeyGroup(511)));
}

#[test]
fn what_is_written_is_the_golden_text() {
    let claim = Claim {
        generation: Generation(13),
        nonce: Nonce(0xabcdef),
        job: JobId(0x1234),
        restored: Some(Restored { entry: NUMBER, generation: Generation(4) }),
        first_epoch: Epoch(18),
        checkpoints_kept: NonZeroU32::new(3).unwrap(),
        damaged: vec!["g4-w1-e17".into()],
    };
    let committed = Committed { entry: EntryNumber(14), generation: Generation(13), manifest: NUMBER };
    let cases = [
        (12, Entry::Manifest(golden().into()), GOLDEN),
        (13, Entry::Claim(claim), GOLDEN_CLAIM),
        (14, Entry::Committed(committed), GOLDEN_COMMITTED),
        (3, Entry::Retired, GOLDEN_RETIRED),
    ];
    for (number, entry, text) in cases {
        let number = EntryNumber(number);
        assert_eq!(String::from_utf8(entry.encode(number).unwrap()).unwrap(), text);
        assert_eq!(Entry::decode(number, text.as_bytes()).unwrap(), entry);
        // A copy under another name is no entry, and none is written there.
        let copy = Entry::decode(number.next(), text.as_bytes()).unwrap();
        assert!(
            matches!(&copy, Entry::Unreadable(why) if why.contains(&format!("copy of entry {number}"))),
            "{copy:?}"
        );
        if entry != Entry::Retired {
            assert_eq!(entry.encode(number.next()).unwrap_err().kind(), ErrorKind::Internal);
        }
    }
}

#[test]
fn a_text_that_ends_anywhere_is_refused() {
    for end in 0..GOLDEN.len() {
        assert_eq!(refusal(&GOLDEN.as_bytes()[..end]).0, "R0601", "cut at {end}");
    }
}

#[test]
fn a_bit_that_flips_anywhere_is_damage_also_in_the_version() {
    for text in [GOLDEN, GOLDEN_CLAIM, NEWER] {
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                assert_eq!(refusal(&bytes).0, "R0601", "byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn another_version_or_an_encrypted_text_is_refused_by_name_and_is_no_damage() {
    let (code, message) = refusal(NEWER.as_bytes());
    assert_eq!((code.as_str(), message.contains("version 2")), ("R0602", true), "{message}");
    assert_eq!(Entry::decode(NUMBER, NEWER.as_bytes()).unwrap_err().code(), "R0602");
    let error = Entry::decode(NUMBER, ENCRYPTED.as_bytes()).unwrap_err();
    assert_eq!((error.code().as_str(), error.message().contains("'2026-11'")), ("R0610", true));
    let damaged = Entry::decode(NUMBER, &GOLDEN.as_bytes()[..200]).unwrap();
    assert!(matches!(damaged, Entry::Unreadable(_)));
}

#[test]
fn a_body_of_another_form_is_refused_with_its_field() {
    let cases = [
        (r#""epoch":17,"phase""#, r#""phase""#, "missing field `epoch`"),
        (r#""epoch":17,"phase""#, r#""epoch":17,"more":1,"phase""#, "unknown field `more`"),
        (r#""length_bytes":900,"checksum":""#, r#""length_bytes":900,"checksum":"x"#, "not a checksum"),
        (r#""kind":"split""#, r#""kind":"heap""#, "'heap' is not a kind of table"),
        ("AP8H", "AP8", "not base64"),
        (r#""phase":"running""#, r#""phase":"paused""#, "unknown variant `paused`"),
        (r#""parallelism":2"#, r#""parallelism":0"#, "nonzero"),
        (r#""groups":"0-300,600-1023""#, r#""groups":"0-300,301-1023""#, "not a set of key groups"),
    ];
    for (from, to, expected) in cases {
        let (code, message) = refusal(&with_body(GOLDEN, "manifest", from, to));
        assert_eq!((code.as_str(), message.contains(expected)), ("R0601", true), "{message}");
    }
}

#[test]
fn contents_that_do_not_fit_together_are_refused_with_their_place() {
    let too_many = r#""last":1023,"worker":1"#;
    let cases = [
        (r#""entry":12"#, r#""entry":4"#, "no number for one of generation 4"),
        (r#""entry":12"#, &format!(r#""entry":{}"#, NUMBER_MAX + 1), "no number"),
        (r#""epoch":17,"phase""#, r#""epoch":18446744073709551615,"phase""#, "is too large"),
        (r#""key_hash_version":1"#, r#""key_hash_version":2"#, "2 is not known"),
        (r#""id":"tumble-1""#, r#""id":"sink-5""#, "'sink-5' is out of order or there twice"),
        (r#""first":512,"last":1023,"worker":1"#, r#""first":513,"last":1023,"worker":1"#, "owners: the ranges"),
        (too_many, r#""last":1023,"worker":2"#, "there is no worker 2"),
        (too_many, r#""last":32768,"worker":1"#, "there are 32769 key groups"),
        (r#""name":"g4-w1-e17","length_bytes":900"#, r#""name":"g4-w1-e17","length_bytes":499"#, "ends behind its end"),
        (r#""name":"g4-w1-e17""#, r#""name":"g4-w0-e17""#, "'g4-w0-e17' is out of order or there twice"),
        (r#""offset":400"#, r#""offset":399"#, "segments overlap at byte 399"),
        (r#""first_epoch":5,"last_epoch":9"#, r#""first_epoch":5,"last_epoch":18"#, "epochs 5 to 18"),
        (
            r#""first_epoch":5,"last_epoch":9"#,
            r#""first_epoch":5,"last_epoch":17"#,
            "two segments hold epochs 17 to 17 of key group 601",
        ),
        (r#"600-1023"#, r#"600-1024"#, "there is no key group 1024"),
        (r#""holder":0"#, r#""holder":2"#, "there is no worker 2"),
        (r#""kind":"split""#, r#""kind":"keyed""#, "keyed tables, and only those"),
        (
            r#""operator":"sort-4","table":"rows","kind":"single""#,
            r#""operator":"rules-3","table":"rules","kind":"broadcast""#,
            "two segments hold epochs 17 to 17",
        ),
        (r#""id":"d.csv:0""#, r#""id":"b.csv:0""#, "'b.csv:0' is out of order or there twice"),
        (r#""epoch":17,"worker":0"#, r#""epoch":18,"worker":0"#, "of an epoch after 17"),
        (r#""epoch":17,"worker":0"#, r#""epoch":16,"worker":0"#, "it holds back what it has released"),
        (r#""epoch":9,"worker":0"#, r#""epoch":16,"worker":0"#, "committables are not in order"),
        (r#""through":16"#, r#""through":18"#, "released more than epoch 17"),
        (r#"{"generation":4,"sequence":1}"#, r#"{"generation":4,"sequence":0}"#, "the releases are not in order"),
    ];
    for (from, to, expected) in cases {
        let (code, message) = refusal(&with_body(GOLDEN, "manifest", from, to));
        assert_eq!((code.as_str(), message.contains(expected)), ("R0603", true), "{from}: {message}");
    }
}

#[test]
fn entries_that_speak_of_what_comes_after_them_cannot_be_read() {
    let cases = [
        (GOLDEN_CLAIM, "claim", 13, r#""entry":12"#, r#""entry":13"#),
        (GOLDEN_CLAIM, "claim", 13, r#""generation":4"#, r#""generation":12"#),
        (GOLDEN_CLAIM, "claim", 13, r#""first_epoch":18"#, r#""first_epoch":18446744073709551615"#),
        (GOLDEN_COMMITTED, "committed", 14, r#""manifest":12"#, r#""manifest":14"#),
    ];
    for (golden, kind, number, from, to) in cases {
        let entry = Entry::decode(EntryNumber(number), &with_body(golden, kind, from, to)).unwrap();
        assert!(matches!(entry, Entry::Unreadable(_)), "{to}: {entry:?}");
    }
}

#[test]
fn names_of_entries_and_witnesses_sort_as_their_numbers() {
    assert_eq!(EntryNumber(7).file_name(), "00000000000000000007.json");
    assert_eq!(EntryNumber::from_file_name("00000000000000000007.json"), Some(EntryNumber(7)));
    let others = [
        "7.json",
        "00000000000000000007.json.tmp",
        "0000000000000000000x.json",
        ".json",
        "",
        "18446744073709551615.json",
    ];
    for other in others {
        assert_eq!(EntryNumber::from_file_name(other), None, "{other}");
    }
    assert_eq!(EntryNumber(7).witness_name(), "head-00000000000000000007");
    assert_eq!(EntryNumber::from_witness_name("head-00000000000000000007"), Some(EntryNumber(7)));
    for other in ["head-7", "head-", "00000000000000000007", "head-00000000000000000000", "head-18446744073709551615"] {
        assert_eq!(EntryNumber::from_witness_name(other), None, "{other}");
    }
}

#[test]
fn a_witness_that_cannot_be_read_still_tells_its_number() {
    let witness = Witness { number: EntryNumber(7), checksum: Some(Checksum(0xab)) };
    assert_eq!(witness.contents(), "00000000000000ab 00000000000000ab\n");
    let read = |contents: &[u8]| Witness::read("head-00000000000000000007", contents);
    assert_eq!(read(witness.contents().as_bytes()), Some(witness));
    let unknown = Witness { checksum: None, ..witness };
    for contents in
        ["", "00000000000000ab", "00000000000000ab 00000000000000aa\n", "0000000000000ab 0000000000000ab\n", "äöüäöüäö"]
    {
        assert_eq!(read(contents.as_bytes()), Some(unknown), "{contents}");
    }
    for at in 0..witness.contents().len() {
        let mut bytes = witness.contents().into_bytes();
        bytes[at] ^= 1;
        assert_eq!(read(&bytes), Some(unknown), "{at}");
    }
    assert_eq!(Witness::read("0.json", b""), None);
}
