//! What is appended, read, ended and opened again, on the system's disk.

use std::path::Path;
use std::sync::Arc;

use rheos_log::Refusal;
use rheos_log::commit::Committer;
use rheos_log::disk::SystemDisk;
use rheos_log::partition::{Isolation, Partition, PartitionOptions, Retention};

use crate::batches::{Batch, fetch_all, read_all, split};

fn open(folder: &Path, segment_bytes: u64) -> Partition {
    let options = PartitionOptions { segment_bytes, batch_bytes_max: 100_000, ..PartitionOptions::default() };
    Partition::open(Arc::new(SystemDisk), folder, options, &|note| panic!("{note}")).unwrap()
}

fn append(partition: &Partition, batch: Batch) -> Result<(i64, i64), Refusal> {
    partition.append(&mut batch.bytes()).map(|a| (a.base_offset, a.end_offset))
}

#[test]
fn batches_come_back_as_they_were_sent_in_order_from_any_offset() {
    let folder = tempfile::tempdir().unwrap();
    let partition = open(folder.path(), 5_000);
    let mut expected = vec![];
    for n in 0..100 {
        let batch =
            Batch { records: n % 5 + 1, payload_bytes: (n as usize * 37) % 900, fill: n as u8, ..Batch::default() };
        let (base, end) = append(&partition, batch).unwrap();
        assert_eq!((base, end - base), (expected.last().map_or(0, |(_, end, _)| *end), i64::from(batch.records)));
        expected.push((base, end, batch.bytes()));
    }
    assert!(partition.offsets().high_watermark < expected.last().unwrap().1, "the last segment is not synced yet");
    partition.sync().unwrap();
    let check = |partition: &Partition| {
        for bytes_max in [1, 700, 1_000_000] {
            let found = read_all(partition, Isolation::ReadCommitted, bytes_max);
            assert_eq!(found.len(), expected.len());
            for ((head, bytes), (base, end, sent)) in found.iter().zip(&expected) {
                assert_eq!((head.base_offset, head.end_offset()), (*base, *end));
                // All but the offset is as it was sent.
                assert_eq!((&bytes[8..12], &bytes[16..]), (&sent[8..12], &sent[16..]));
            }
        }
        let end = expected.last().unwrap().1;
        for offset in 0..end {
            let batches = split(&partition.read(offset, 1, Isolation::ReadUncommitted).unwrap().batches);
            assert!(batches[0].0.base_offset <= offset && offset < batches[0].0.end_offset(), "{offset}");
        }
        assert_eq!(partition.read(end, 1, Isolation::ReadUncommitted).unwrap().batches, b"");
        for offset in [-1, end + 1] {
            assert_eq!(partition.read(offset, 1, Isolation::ReadUncommitted), Err(Refusal::OffsetOutOfRange));
        }
    };
    check(&partition);
    drop(partition);
    check(&open(folder.path(), 5_000));
    // Without indices, and with one that is damaged, they are made anew.
    let files = || std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path());
    let indices: Vec<_> = files().filter(|path| path.extension().is_some_and(|e| e == "index")).collect();
    assert!(indices.len() > 3);
    std::fs::write(&indices[0], b"no index").unwrap();
    std::fs::remove_file(&indices[1]).unwrap();
    check(&open(folder.path(), 5_000));
    assert!(indices.iter().all(|path| path.exists()));
}

#[test]
fn what_is_no_batch_of_a_client_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let partition = open(folder.path(), 1 << 20);
    let batch = Batch { records: 3, ..Batch::default() };
    let refused = |mut bytes: Vec<u8>, expected: Refusal| {
        assert_eq!(partition.append(&mut bytes), Err(expected));
    };
    refused(vec![], Refusal::CorruptMessage);
    refused(b"no batch at all".to_vec(), Refusal::CorruptMessage);
    refused(batch.bytes()[..50].to_vec(), Refusal::CorruptMessage);
    refused([batch.bytes(), vec![1, 2, 3]].concat(), Refusal::CorruptMessage);
    let mut damaged = batch.bytes();
    damaged[65] ^= 1;
    refused(damaged, Refusal::CorruptMessage);
    let mut old = batch.bytes();
    old[16] = 1;
    refused(old, Refusal::UnsupportedFormat);
    refused(Batch { payload_bytes: 100_000, ..batch }.bytes(), Refusal::MessageTooLarge);
    refused(Batch { records: 0, ..batch }.bytes(), Refusal::CorruptMessage);
    refused(rheos_log::batch::marker(1, 0, true, 0), Refusal::InvalidRecord);
    refused(Batch { is_transactional: true, ..batch }.bytes(), Refusal::InvalidTransactionState);
    refused(Batch { producer: Some((1, 0, -1)), ..batch }.bytes(), Refusal::InvalidRecord);
    let parts = [Batch { producer: Some((1, 0, 0)), ..batch }, Batch { producer: Some((1, 0, 4)), ..batch }];
    refused(parts.map(Batch::bytes).concat(), Refusal::OutOfOrderSequence);
    partition.sync().unwrap();
    assert_eq!(partition.offsets().high_watermark, 0);
}

#[test]
fn who_reads_what_is_committed_waits_for_open_transactions_and_is_told_of_aborted_ones() {
    let folder = tempfile::tempdir().unwrap();
    let check = |partition: &Partition| {
        let (batches, aborted) = fetch_all(partition, Isolation::ReadCommitted, 1_000_000);
        // Producer 1's first transaction was given up; producer 3's is open from offset 9 on.
        assert_eq!(batches.last().unwrap().0.end_offset(), 9);
        let aborted: Vec<_> = aborted.iter().map(|a| (a.producer_id, a.first_offset, a.marker_offset)).collect();
        assert_eq!(aborted, [(1, 0, 4)]);
        let offsets = partition.offsets();
        assert_eq!((offsets.last_stable, offsets.high_watermark), (9, 11));
        // Behind the marker there is nothing to leave out; before the first record nothing yet.
        assert_eq!(partition.read(5, 1_000_000, Isolation::ReadCommitted).unwrap().aborted, []);
        assert_eq!(partition.read(0, 1_000_000, Isolation::ReadUncommitted).unwrap().aborted, []);
        let last = read_all(partition, Isolation::ReadUncommitted, 1_000_000).pop().unwrap();
        assert_eq!(last.0.end_offset(), 11);
    };
    let of = |id: i64, sequence: i32| Batch {
        records: 2,
        producer: Some((id, 0, sequence)),
        is_transactional: true,
        ..Batch::default()
    };
    let partition = open(folder.path(), 200);
    append(&partition, of(1, 0)).unwrap();
    append(&partition, of(2, 0)).unwrap();
    assert_eq!(partition.end_transaction(1, 0, false, 0).unwrap().base_offset, 4);
    assert_eq!(append(&partition, of(1, 2)).unwrap(), (5, 7));
    partition.end_transaction(1, 0, true, 0).unwrap();
    partition.end_transaction(2, 0, true, 0).unwrap();
    append(&partition, of(3, 0)).unwrap();
    partition.sync().unwrap();
    check(&partition);
    drop(partition);
    let partition = open(folder.path(), 200);
    check(&partition);
    // Producers are known as before.
    assert_eq!(append(&partition, of(3, 0)).unwrap(), (9, 11), "it has come before");
    assert_eq!(append(&partition, of(3, 4)), Err(Refusal::OutOfOrderSequence));
    partition.end_transaction(3, 1, false, 0).unwrap();
    assert_eq!(append(&partition, of(3, 2)), Err(Refusal::InvalidProducerEpoch), "it is fenced");
    assert_eq!(partition.end_transaction(3, 0, true, 0), Err(Refusal::InvalidProducerEpoch));
}

#[test]
fn the_first_batch_of_a_time_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let partition = open(folder.path(), 20_000);
    // Times that go up and down; each batch has 70 bytes and more.
    let times: Vec<i64> = (0..2000).map(|n| 1000 + n * 10 - (n % 7) * 25).collect();
    for time_ms in &times {
        append(&partition, Batch { time_ms: *time_ms, ..Batch::default() }).unwrap();
    }
    partition.sync().unwrap();
    for time_ms in (900..21_000).step_by(37) {
        let expected = times.iter().position(|t| *t >= time_ms).map(|n| n as i64);
        let found = partition.at_time(time_ms).unwrap().map(|batch| split(&batch)[0].0.base_offset);
        assert_eq!(found, expected, "{time_ms}");
    }
}

#[test]
fn what_is_deleted_or_too_old_or_too_much_is_gone_also_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let partition = open(folder.path(), 1_000);
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    // Ten records a segment, at times 0, 10, 20, ...; the last segment has five.
    for n in 0..105 {
        append(&partition, Batch { payload_bytes: 39, time_ms: n * 10, ..Batch::default() }).unwrap();
    }
    partition.sync().unwrap();
    let all = files();
    let check = |partition: &Partition, start: i64| {
        assert_eq!(partition.offsets().start, start);
        assert_eq!(partition.read(start - 1, 100, Isolation::ReadUncommitted), Err(Refusal::OffsetOutOfRange));
        let found = read_all(partition, Isolation::ReadUncommitted, 1_000_000);
        assert_eq!((found[0].0.base_offset, found.len() as i64), (start, 105 - start));
        let first = partition.at_time(0).unwrap().map(|batch| split(&batch)[0].0.base_offset);
        assert_eq!(first, Some(start));
    };
    assert_eq!(partition.delete_before(106), Err(Refusal::OffsetOutOfRange));
    assert_eq!(partition.delete_before(25), Ok(25));
    assert_eq!(partition.delete_before(7), Ok(25), "it is gone already");
    check(&partition, 25);
    assert_eq!(files(), all - 4 + 1, "two segments with an index each, and where it starts");
    check(&open(folder.path(), 1_000), 25);
    let retention = Retention { age_ms: Some(500), bytes: None };
    // The newest records of the segments are of 290, 390, 490, ...
    assert_eq!(partition.retain(&retention, 991), Ok(3_000));
    check(&partition, 50);
    let retention = Retention { age_ms: None, bytes: Some(3_000) };
    assert_eq!(partition.retain(&retention, 0), Ok(2_000));
    check(&partition, 70);
    assert_eq!(partition.retain(&retention, 0), Ok(0));
    assert_eq!(partition.retain(&Retention::default(), i64::MAX), Ok(0));
    drop(partition);
    let partition = open(folder.path(), 1_000);
    check(&partition, 70);
    // Everything is too old: also what stands in the last segment.
    assert_eq!(partition.retain(&Retention { age_ms: Some(0), bytes: None }, 100_000), Ok(3_500));
    let end = partition.offsets();
    assert_eq!((end.start, end.high_watermark), (105, 105));
    assert_eq!(append(&partition, Batch::default()).unwrap(), (105, 106));
    drop(partition);
    assert_eq!(open(folder.path(), 1_000).offsets().start, 105);
    std::fs::write(folder.path().join("start"), b"nonsense").unwrap();
    let error = Partition::open(Arc::new(SystemDisk), folder.path(), PartitionOptions::default(), &|_| ()).unwrap_err();
    assert!(error.code() == "R0802" && error.message().contains("start' is damaged"), "{error}");
}

#[test]
fn a_damaged_or_missing_segment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let partition = open(folder.path(), 500);
    for _ in 0..20 {
        append(&partition, Batch { payload_bytes: 100, ..Batch::default() }).unwrap();
    }
    partition.sync().unwrap();
    drop(partition);
    let first = folder.path().join("00000000000000000000.log");
    let open_again = || Partition::open(Arc::new(SystemDisk), folder.path(), PartitionOptions::default(), &|_| ());
    let bytes = std::fs::read(&first).unwrap();
    let mut damaged = bytes.clone();
    damaged[200] ^= 1;
    std::fs::write(&first, &damaged[..damaged.len() - 1]).unwrap();
    let error = open_again().unwrap_err();
    assert!(error.code() == "R0802" && error.message().contains("00000.log' has no batch at byte 161"), "{error}");
    std::fs::write(&first, &bytes).unwrap();
    drop(open_again().unwrap());
    let second = folder.path().join(format!("{:020}.log", 3));
    std::fs::rename(&second, folder.path().join("away")).unwrap();
    let error = open_again().unwrap_err();
    assert!(error.message().contains("00003.log' is missing"), "{error}");
}

#[test]
fn many_write_at_once_and_each_waits_for_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let partition = Arc::new(open(folder.path(), 30_000));
    let committer = Committer::try_new(|error| panic!("{error}")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8_i64 {
            let (partition, committer) = (&partition, &committer);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for n in 0..200 {
                    let batch = Batch { producer: Some((writer, 0, n)), fill: n as u8, ..Batch::default() };
                    let appended = partition.append(&mut batch.bytes()).unwrap();
                    committer.ask(partition);
                    runtime.block_on(partition.wait(appended)).unwrap();
                    assert!(partition.offsets().high_watermark >= appended.end_offset);
                }
            });
        }
    });
    drop(committer);
    drop(partition);
    let found = read_all(&open(folder.path(), 30_000), Isolation::ReadUncommitted, 10_000);
    for writer in 0..8 {
        let numbers = found.iter().filter(|(head, _)| head.producer_id == writer).map(|(head, _)| head.first_sequence);
        assert!(numbers.eq(0..200), "{writer}");
    }
}
