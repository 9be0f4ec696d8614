//! A disk that is full, or fails.

use std::path::Path;
use std::sync::Arc;

use rheos_log::Refusal;
use rheos_log::partition::{Isolation, Partition, PartitionOptions};

use crate::batches::{Batch, read_all};
use crate::power_disk::{Fails, PowerDisk};

const FOLDER: &str = "/log/t-0";

fn open(disk: &PowerDisk) -> Partition {
    let options = PartitionOptions { segment_bytes: 400, ..PartitionOptions::default() };
    Partition::open(Arc::new(disk.clone()), Path::new(FOLDER), options, &|_| ()).unwrap()
}

fn numbered(n: i32) -> Batch {
    Batch { producer: Some((1, 0, n)), payload_bytes: 50, ..Batch::default() }
}

fn append_all(partition: &Partition, numbers: std::ops::Range<i32>) {
    for n in numbers {
        partition.append(&mut numbered(n).bytes()).unwrap();
    }
}

/// The numbers that a reader sees.
fn seen(partition: &Partition) -> Vec<i32> {
    read_all(partition, Isolation::ReadUncommitted, 1000).iter().map(|(head, _)| head.first_sequence).collect()
}

#[test]
fn on_a_full_disk_writing_is_refused_reading_goes_on_and_it_heals() {
    for fails in [Fails::Write, Fails::Create] {
        let disk = PowerDisk::default();
        let partition = open(&disk);
        append_all(&partition, 0..3);
        partition.sync().unwrap();
        disk.fail(fails);
        for _ in 0..3 {
            // The fourth needs another segment.
            assert_eq!(partition.append(&mut numbered(3).bytes()), Err(Refusal::Storage), "{fails:?}");
            assert_eq!(seen(&partition), [0, 1, 2]);
        }
        disk.heal();
        append_all(&partition, 3..20);
        partition.sync().unwrap();
        assert!(seen(&partition).into_iter().eq(0..20));
        assert!(seen(&open(&disk)).into_iter().eq(0..20), "{fails:?}: {:?}", disk.listed());
    }
}

#[test]
fn what_a_failed_sync_may_have_lost_is_refused_and_may_be_sent_again() {
    let disk = PowerDisk::default();
    let partition = open(&disk);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    partition.append(&mut numbered(0).bytes()).unwrap();
    partition.sync().unwrap();
    let lost = partition.append(&mut numbered(1).bytes()).unwrap();
    disk.fail(Fails::Sync);
    for _ in 0..2 {
        assert_eq!(partition.sync().unwrap_err().code(), "R0801");
        assert_eq!(runtime.block_on(partition.wait(lost)), Err(Refusal::Storage));
        assert_eq!(partition.append(&mut numbered(1).bytes()), Err(Refusal::Storage));
        assert_eq!(seen(&partition), [0]);
    }
    disk.heal();
    let again = partition.append(&mut numbered(1).bytes()).unwrap();
    assert_eq!(runtime.block_on(partition.wait(lost)), Err(Refusal::Storage), "another has its place");
    partition.sync().unwrap();
    runtime.block_on(partition.wait(again)).unwrap();
    assert_eq!(seen(&partition), [0, 1]);
    assert_eq!(seen(&open(&disk)), [0, 1]);
}

#[test]
fn whole_batches_behind_a_damaged_one_are_kept_aside() {
    let disk = PowerDisk::default();
    let options = PartitionOptions::default();
    let folder = Path::new(FOLDER);
    let notes = std::cell::RefCell::new(vec![]);
    let open =
        || Partition::open(Arc::new(disk.clone()), folder, options, &|note| notes.borrow_mut().push(note)).unwrap();
    let partition = open();
    append_all(&partition, 0..3);
    partition.sync().unwrap();
    drop(partition);
    disk.damage(&folder.join("00000000000000000000.log"), 111 + 80);
    assert_eq!(seen(&open()), [0]);
    let kept = ("00000000000000000000.cut-111".to_string(), 222);
    assert!(disk.listed().contains(&kept), "{:?}", disk.listed());
    assert!(notes.borrow()[0].contains("behind byte 111 are 222 damaged bytes"), "{notes:?}");
}
