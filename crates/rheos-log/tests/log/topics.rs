//! Topics come, change and go, and are there as they were when the queue is opened again, also behind a power failure.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rheos_log::Refusal;
use rheos_log::disk::SystemDisk;
use rheos_log::partition::Isolation;
use rheos_log::settings::Settings;
use rheos_log::topics::{Limits, Topics};

use crate::batches::{Batch, read_all};
use crate::power_disk::{Fails, Numbers, PowerDisk};

fn open(folder: &Path) -> Topics {
    let limits = Limits { partitions_max: 10 };
    Topics::open(Arc::new(SystemDisk), folder, limits, &|note| panic!("{note}")).unwrap()
}

/// Each topic's number of partitions.
fn listed(topics: &Topics) -> Vec<(String, usize)> {
    topics.all().iter().map(|(name, topic)| (name.clone(), topic.partitions.len())).collect()
}

fn append(topics: &Topics, name: &str, partition: usize, fill: u8) {
    let partition = &topics.get(name).unwrap().partitions[partition];
    partition.append(&mut Batch { fill, time_ms: 1000, ..Batch::default() }.bytes()).unwrap();
    partition.sync().unwrap();
}

/// What the records of a partition are filled with.
fn fills(topics: &Topics, name: &str, partition: usize) -> Vec<u8> {
    let batches = read_all(&topics.get(name).unwrap().partitions[partition], Isolation::ReadUncommitted, 1 << 20);
    batches.iter().map(|(_, bytes)| bytes[bytes.len() - 1]).collect()
}

#[test]
fn topics_are_there_as_they_were_when_the_queue_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let topics = open(folder.path());
    let mut settings = Settings::default();
    settings.set("retention.ms", Some("100")).unwrap();
    topics.create("orders", 2, settings.clone()).unwrap();
    topics.create("a.b_C-1", 1, Settings::default()).unwrap();
    topics.add_partitions("orders", 3).unwrap();
    (0..3).for_each(|n| append(&topics, "orders", n, n as u8));
    append(&topics, "a.b_C-1", 0, 7);
    // A topic of the same name is another one.
    topics.delete("a.b_C-1").unwrap();
    assert!(topics.get("a.b_C-1").is_none());
    topics.create("a.b_C-1", 1, Settings::default()).unwrap();
    let check = |topics: &Topics| {
        assert_eq!(listed(topics), [("a.b_C-1".to_string(), 1), ("orders".to_string(), 3)]);
        (0..3).for_each(|n| assert_eq!(fills(topics, "orders", n), [n as u8]));
        assert_eq!(fills(topics, "a.b_C-1", 0), b"");
        assert_eq!(topics.get("orders").unwrap().settings, settings);
    };
    check(&topics);
    drop(topics);
    // What a crash leaves goes; what is somebody else's stays.
    for left in ["left-0.99", "orders-3.0"] {
        std::fs::create_dir(folder.path().join(left)).unwrap();
        std::fs::write(folder.path().join(left).join("00000000000000000000.log"), b"x").unwrap();
    }
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    let topics = open(folder.path());
    check(&topics);
    assert!(!folder.path().join("left-0.99").exists() && folder.path().join("mine").exists());
    // Records are kept by the settings of their topic, also by those that come later.
    assert_eq!(topics.retain(1099), (0, 0));
    topics.set("orders", Settings::default()).unwrap();
    assert_eq!(topics.retain(5000), (0, 0));
    settings.set("retention.ms", None).unwrap();
    assert_eq!(settings, Settings::default());
    settings.set("retention.ms", Some("200")).unwrap();
    topics.set("orders", settings.clone()).unwrap();
    assert_eq!(topics.retain(5000), (3 * 71, 0));
    assert_eq!(fills(&topics, "orders", 0), b"");
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let topics = open(folder.path());
    let create = |name: &str, partitions| topics.create(name, partitions, Settings::default()).map(|_| ());
    assert_eq!(create("t", 4), Ok(()));
    assert_eq!(create("t", 4), Err(Refusal::TopicExists));
    for name in ["", ".", "..", "a/b", "a b", "ü", &"x".repeat(250)] {
        assert_eq!(create(name, 1), Err(Refusal::InvalidTopicName), "{name}");
    }
    assert_eq!(create("u", 0), Err(Refusal::InvalidPartitions));
    assert_eq!(create("u", 7), Err(Refusal::TooManyPartitions));
    assert_eq!(create("u", u32::MAX), Err(Refusal::TooManyPartitions));
    assert_eq!(create(&"x".repeat(249), 1), Ok(()));
    assert_eq!(topics.add_partitions("t", 4).unwrap_err(), Refusal::InvalidPartitions);
    assert_eq!(topics.add_partitions("t", 10).unwrap_err(), Refusal::TooManyPartitions);
    assert_eq!(topics.add_partitions("v", 2).unwrap_err(), Refusal::UnknownTopic);
    assert_eq!(topics.delete("v"), Err(Refusal::UnknownTopic));
    assert_eq!(topics.set("v", Settings::default()), Err(Refusal::UnknownTopic));
    let mut settings = Settings::default();
    for (name, value) in [
        ("retention.ms", "-2"),
        ("retention.bytes", "many"),
        ("max.message.bytes", "0"),
        ("segment.bytes", "1"),
        ("cleanup.policy", "compact"),
        ("no.such", "1"),
    ] {
        let error = settings.set(name, Some(value)).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
    assert!(settings.shown().iter().all(|s| s.is_default));
}

#[test]
fn a_message_that_is_longer_than_its_topic_allows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let topics = open(folder.path());
    let topic = topics.create("t", 1, Settings::default()).unwrap();
    let send = |payload_bytes| topic.partitions[0].append(&mut Batch { payload_bytes, ..Batch::default() }.bytes());
    assert!(send(1000).is_ok());
    let mut settings = Settings::default();
    settings.set("max.message.bytes", Some("500")).unwrap();
    topics.set("t", settings).unwrap();
    assert_eq!(send(1000).unwrap_err(), Refusal::MessageTooLarge);
    assert!(send(439).is_ok());
}

#[test]
fn on_a_full_disk_no_topic_is_half_created() {
    let disk = PowerDisk::default();
    let data = Path::new("/log");
    let open = || Topics::open(Arc::new(disk.clone()), data, Limits::default(), &|note| panic!("{note}")).unwrap();
    let topics = open();
    topics.create("a", 1, Settings::default()).unwrap();
    for fails in [Fails::Create, Fails::Write, Fails::Sync] {
        disk.fail(fails);
        assert_eq!(topics.create("b", 2, Settings::default()).unwrap_err(), Refusal::Storage, "{fails:?}");
        assert_eq!(topics.delete("a"), Err(Refusal::Storage), "{fails:?}");
        disk.heal();
        assert_eq!(listed(&topics), [("a".to_string(), 1)], "{fails:?}");
        assert_eq!(listed(&open()), [("a".to_string(), 1)], "{fails:?}");
    }
    topics.create("b", 2, Settings::default()).unwrap();
    assert_eq!(listed(&open()).len(), 2);
}

#[test]
fn topics_are_as_before_or_behind_what_was_done_when_the_power_failed() {
    for seed in 0..20 {
        let (disk, data, mut numbers) = (PowerDisk::default(), Path::new("/log"), Numbers::new(seed));
        let open = |disk: &PowerDisk| Topics::open(Arc::new(disk.clone()), data, Limits::default(), &|_| ()).unwrap();
        let topics = open(&disk);
        // Behind so many operations: the topics, by name their number and partitions; and which of them have a record.
        let mut states = vec![(0, BTreeMap::new())];
        let mut written = BTreeMap::new();
        for _ in 0..12 {
            let name = ["a", "b", "c"][numbers.below(3)];
            let has = topics.get(name).map(|topic| topic.partitions.len());
            match (has, numbers.below(3)) {
                (None, _) => drop(topics.create(name, 1 + numbers.below(2) as u32, Settings::default()).unwrap()),
                (Some(_), 0) => topics.delete(name).unwrap(),
                (Some(n), 1) => drop(topics.add_partitions(name, n as u32 + 1).unwrap()),
                (Some(_), _) => {
                    let number = topics.get(name).unwrap().number;
                    append(&topics, name, 0, number as u8);
                    written.entry(number).or_insert(disk.operations());
                }
            }
            let now = topics.all().into_iter().map(|(name, t)| (name, (t.number, t.partitions.len()))).collect();
            states.push((disk.operations(), now));
        }
        for cut in 0..=disk.operations() {
            let after = disk.after_failure(cut, &mut numbers);
            let found = open(&after);
            let told: BTreeMap<_, _> =
                found.all().into_iter().map(|(name, t)| (name, (t.number, t.partitions.len()))).collect();
            let before = states.iter().rposition(|(at, _)| *at <= cut).unwrap();
            let may_be = &states[before..(before + 2).min(states.len())];
            assert!(may_be.iter().any(|(_, state)| *state == told), "seed {seed}, cut {cut}: {told:?} of {may_be:?}");
            for (name, (number, _)) in &told {
                let fills = fills(&found, name, 0);
                assert!(
                    fills.iter().all(|fill| u64::from(*fill) == *number),
                    "seed {seed}, cut {cut}: {name}: {fills:?}"
                );
                if written.get(number).is_some_and(|at| *at <= cut) {
                    assert!(!fills.is_empty(), "seed {seed}, cut {cut}: {name} has lost its record");
                }
            }
        }
    }
}
