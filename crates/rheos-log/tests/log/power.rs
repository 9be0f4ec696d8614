//! Power failures at every point of some work: what was acknowledged is there, and nothing that was not sent.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use rheos_log::batch::{BatchHead, marker_kind};
use rheos_log::partition::{Isolation, Partition, PartitionOptions};

use crate::batches::{Batch, fetch_all, read_all};
use crate::power_disk::{Numbers, PowerDisk};

const PRODUCERS: usize = 3;

fn open(disk: &PowerDisk) -> Partition {
    let options = PartitionOptions { segment_bytes: 700, ..PartitionOptions::default() };
    Partition::open(Arc::new(disk.clone()), Path::new("/log/t-0"), options, &|_| ()).unwrap()
}

/// What was done: the log as it is to be, and how much of it was acknowledged behind so many operations of the disk.
#[derive(Default)]
struct Done {
    batches: Vec<Vec<u8>>,
    acknowledged: Vec<(usize, usize)>,
    /// Where the log began behind so many operations.
    starts: Vec<(usize, i64)>,
}

impl Done {
    /// Batches that had been acknowledged behind so many operations.
    fn acknowledged_at(&self, operations: usize) -> usize {
        let known = self.acknowledged.iter().filter(|(at, _)| *at <= operations);
        known.map(|(_, batches)| *batches).max().unwrap_or(0)
    }

    /// Where the log may begin: by what was acknowledged, and by what was asked for.
    fn starts_at(&self, operations: usize) -> RangeInclusive<i64> {
        let acknowledged = self.starts.iter().filter(|(at, _)| *at <= operations).map(|(_, start)| *start).max();
        let known = acknowledged.unwrap_or(0);
        known..=self.starts.iter().map(|(_, start)| *start).find(|start| *start > known).unwrap_or(known)
    }
}

/// Some work of producers with and without transactions.
fn work(disk: &PowerDisk, numbers: &mut Numbers) -> Done {
    let partition = open(disk);
    let (mut done, mut next, mut is_open) = (Done::default(), [0; PRODUCERS], [false; PRODUCERS]);
    for step in 0..60 {
        let producer = numbers.below(PRODUCERS);
        match numbers.below(5) {
            0 => {
                partition.sync().unwrap();
                done.acknowledged.push((disk.operations(), done.batches.len()));
            }
            1 if numbers.below(4) == 0 => {
                let offset = numbers.below(partition.offsets().high_watermark as usize + 1) as i64;
                let start = partition.delete_before(offset).unwrap();
                done.starts.push((disk.operations(), start));
            }
            1 if is_open[producer] => {
                is_open[producer] = false;
                let is_commit = numbers.below(2) == 0;
                let appended = partition.end_transaction(producer as i64, 0, is_commit, step).unwrap();
                let mut marker = rheos_log::batch::marker(producer as i64, 0, is_commit, step);
                rheos_log::batch::stamp(&mut marker, appended.base_offset);
                done.batches.push(marker);
            }
            _ => {
                let batch = Batch {
                    records: 1 + numbers.below(3) as i32,
                    payload_bytes: numbers.below(200),
                    fill: step as u8,
                    time_ms: step,
                    producer: Some((producer as i64, 0, next[producer])),
                    // The first one has none.
                    is_transactional: producer > 0,
                };
                next[producer] += batch.records;
                is_open[producer] = producer > 0;
                let mut bytes = batch.bytes();
                partition.append(&mut bytes).unwrap();
                done.batches.push(bytes);
            }
        }
    }
    done
}

/// Whether readers of what is committed get just that, by `all` batches and markers, also those that were deleted.
fn check_committed(partition: &Partition, all: &[Vec<u8>], what: &str) {
    let start = partition.offsets().start;
    let (_, aborted) = fetch_all(partition, Isolation::ReadCommitted, 1 << 20);
    // The outcome of the transaction that each batch is of: the next marker of its producer.
    let mut outcomes: BTreeMap<i64, Option<bool>> = BTreeMap::new();
    let mut expected: Vec<(BatchHead, Option<bool>)> = vec![];
    for bytes in all.iter().rev() {
        let head = BatchHead::read(bytes).unwrap().unwrap();
        if let Some(is_commit) = head.is_control().then(|| marker_kind(bytes)).flatten() {
            outcomes.insert(head.producer_id, Some(is_commit));
        } else if head.is_transactional() {
            expected.push((head, outcomes.get(&head.producer_id).copied().flatten()));
        }
    }
    let stable = partition.offsets().last_stable;
    let first_open = expected.iter().filter(|(_, outcome)| outcome.is_none()).map(|(head, _)| head.base_offset).min();
    assert_eq!(stable, first_open.unwrap_or(partition.offsets().high_watermark).max(start), "{what}");
    for (head, outcome) in expected.iter().filter(|(head, _)| (start..stable).contains(&head.base_offset)) {
        let is_left_out = aborted.iter().any(|a| {
            a.producer_id == head.producer_id && (a.first_offset..=a.marker_offset).contains(&head.base_offset)
        });
        assert_eq!(is_left_out, *outcome == Some(false), "{what}: {head:?}");
    }
}

/// After a failure: what is there, by what was sent.
fn check_after(disk: &PowerDisk, done: &Done, cut: usize, what: &str) {
    let partition = open(disk);
    let start = partition.offsets().start;
    assert!(done.starts_at(cut).contains(&start), "{what}: it starts at {start}, not in {:?}", done.starts_at(cut));
    let is_deleted = |bytes: &&Vec<u8>| BatchHead::read(bytes).unwrap().unwrap().end_offset() <= start;
    let deleted = done.batches.iter().take_while(is_deleted).count();
    let acknowledged = done.acknowledged_at(cut).saturating_sub(deleted);
    let found: Vec<Vec<u8>> =
        read_all(&partition, Isolation::ReadUncommitted, 500).into_iter().map(|(_, bytes)| bytes).collect();
    assert!(found.len() >= acknowledged, "{what}: {} of {acknowledged} batches", found.len());
    assert!(found == done.batches[deleted..deleted + found.len()], "{what}: other batches");
    check_committed(&partition, &done.batches[..deleted + found.len()], what);
    // Who sends the newest of its batches again is told where it is; and the log goes on behind.
    let newest = found.iter().rev().find(|bytes| !BatchHead::read(bytes).unwrap().unwrap().is_control());
    if let Some(newest) = newest {
        let head = BatchHead::read(newest).unwrap().unwrap();
        let at = partition.append(&mut newest.clone()).unwrap();
        assert_eq!((at.base_offset, at.end_offset), (head.base_offset, head.end_offset()), "{what}");
    }
    let more = partition.append(&mut Batch::default().bytes()).unwrap();
    assert_eq!(more.base_offset, partition.offsets().high_watermark, "{what}");
    partition.sync().unwrap();
    assert_eq!(read_all(&open(disk), Isolation::ReadUncommitted, 500).len(), found.len() + 1, "{what}");
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_fails() {
    let scale = std::env::var("RHEOS_TEST_SCALE").ok().and_then(|s| s.parse::<f64>().ok()).unwrap_or(1.0);
    for seed in 0..(10.0 * scale).max(1.0) as u64 {
        let mut numbers = Numbers::new(seed);
        let disk = PowerDisk::default();
        let done = work(&disk, &mut numbers);
        for cut in 0..=disk.operations() {
            for attempt in 0..3 {
                let after = disk.after_failure(cut, &mut numbers);
                let what = format!("seed {seed}, cut {cut}, attempt {attempt}");
                check_after(&after, &done, cut, &what);
            }
        }
    }
}
