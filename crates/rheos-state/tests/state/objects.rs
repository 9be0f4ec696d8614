//! Objects: the golden file, damage, and what operators must not hand over.

use std::num::NonZeroU32;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringViewArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema};
use rheos_checkpoint::manifest::{Checksum, KeyGroupSet, Manifest, ObjectRef, Segment};
use rheos_checkpoint::recovery::SegmentCheck;
use rheos_checkpoint::rescale;
use rheos_core::key::{KeyGroup, KeyGroupAssignment};
use rheos_core::state::{Run, SnapshotReader, StateDelta, TableDelta, TableKind, Tombstone};
use rheos_core::{Epoch, ErrorKind, Generation, OperatorId, WorkerId};
use rheos_state::journal;
use rheos_state::kept::Kept;
use rheos_state::names::ObjectName;
use rheos_state::object::{self, Compression, SEGMENT_BYTES, WriteContext, WrittenObject};
use rheos_state::restore::{Restored, restore};
use rheos_state::store::{CheckpointStore, Fault, MemoryStore, Operation};

use crate::tables::{self, delta, of, row, rows, run};

/// Made by `golden/object-v1.py` with other implementations of Arrow and xxh3: every later version must read it.
const GOLDEN: &[u8] = include_bytes!("golden/object-v1.bin");

/// Made by `golden/object-v2.py`: a segment whose rows take each other's place.
const GOLDEN_UPSERTS: &[u8] = include_bytes!("golden/object-v2.bin");

const GOLDEN_CHANGES: &[u8] = include_bytes!("golden/object-v3.bin");

fn all_groups() -> KeyGroupSet {
    KeyGroupSet::range(0, 511)
}

fn context(worker: u32, groups: KeyGroupSet) -> WriteContext {
    let (worker, epoch) = (WorkerId(worker), Epoch(17));
    let name = ObjectName { generation: Generation(1), worker, epoch, merge: None };
    WriteContext { name, groups, compression: Compression::Lz4 }
}

fn manifest(objects: Vec<ObjectRef>) -> Manifest {
    tables::manifest(1, 17, &KeyGroupAssignment::even(512, 1), 2, objects)
}

fn read(store: &dyn CheckpointStore, manifest: &Manifest, workers: u32) -> rheos_core::Result<Vec<Restored>> {
    let assignment = KeyGroupAssignment::even(512, workers as usize);
    let plans = rescale::plan(manifest, &assignment, NonZeroU32::new(workers).unwrap());
    plans
        .iter()
        .zip(0..)
        .map(|(plan, worker)| restore(store, &Kept::default(), manifest, plan, WorkerId(worker)))
        .collect()
}

fn stored(store: &MemoryStore, written: &WrittenObject) -> Manifest {
    written.store(store).unwrap();
    manifest(vec![written.object.clone()])
}

fn golden() -> (MemoryStore, Manifest) {
    stored_bytes(GOLDEN)
}

fn stored_bytes(bytes: &[u8]) -> (MemoryStore, Manifest) {
    let store = MemoryStore::new();
    store.create("objects/g1-w0-e17", bytes).unwrap();
    let segments = object::read_index(&store, "g1-w0-e17").unwrap().unwrap();
    let (length_bytes, checksum) = (bytes.len() as u64, Checksum::of(bytes));
    (store, manifest(vec![ObjectRef { name: "g1-w0-e17".into(), length_bytes, checksum, segments }]))
}

#[test]
fn the_golden_object_is_read() {
    let (store, manifest) = golden();
    let mut restored = read(&store, &manifest, 2).unwrap();
    let (mut b, mut a) = (restored.pop().unwrap(), restored.pop().unwrap());
    let of_a = a.take(&"aggregate-1".into());
    assert_eq!(of_a.tables().collect::<Vec<_>>(), ["fired", "slices"]);
    let fired = |deltas: Vec<TableDelta>| {
        assert_eq!((deltas.len(), deltas[0].layout.as_str()), (1, "window-fired/v1"));
        let marks = deltas[0].runs[0].rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        (deltas[0].runs[0].key_groups.clone(), marks)
    };
    assert_eq!(fired(of_a.deltas("fired")), (vec![KeyGroup(0)], vec![1000]));
    assert_eq!(fired(b.take(&"aggregate-1".into()).deltas("fired")), (vec![KeyGroup(511)], vec![2000]));
    let slices = &of_a.deltas("slices")[0];
    assert_eq!((slices.kind, slices.tombstones.len()), (TableKind::Keyed, 0));
    let Run { key_groups, rows } = &slices.runs[0];
    assert_eq!(*key_groups, [KeyGroup(3), KeyGroup(3), KeyGroup(7)]);
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[6, 8, 7]);
    let origins: Vec<_> = rows.column(1).as_string_view().iter().collect();
    assert_eq!(origins, [Some("ü"), None, Some("a text that is longer than a view")]);
    let sums: Vec<_> = rows.column(2).as_primitive::<Float64Type>().iter().map(|s| s.map(f64::to_bits)).collect();
    assert_eq!(sums, [Some(0.5_f64.to_bits()), Some((-0.0_f64).to_bits()), None]);
    assert!(a.take(&"sort-4".into()).deltas("rows").is_empty());
    assert_eq!(rows.schema_ref().field(0).name(), "slice");
    let tombstones: Vec<usize> = a.holdings.segments().iter().map(|h| h.header.tombstones.len()).collect();
    assert_eq!(tombstones, [1, 2, 1]);
}

#[test]
fn what_is_written_has_the_form_of_the_golden_object() {
    let fired = Run {
        key_groups: vec![KeyGroup(0), KeyGroup(511)],
        rows: batch(vec![("watermark_ms", Arc::new(Int64Array::from(vec![1000, 2000])))]),
    };
    let table = |table: &str, kind, layout: &str, runs| {
        let (table, layout, tombstones) = (table.into(), layout.into(), vec![Tombstone::All]);
        of(vec![TableDelta { table, kind, layout, replaces_by: vec![], gone_by: None, tombstones, runs }])
    };
    let deltas = [
        ("sort-4".into(), table("rows", TableKind::Single, "sort-rows/v1", vec![])),
        ("aggregate-1".into(), table("fired", TableKind::Keyed, "window-fired/v1", vec![fired])),
    ];
    let written = object::write(&context(0, all_groups()), &deltas).unwrap().unwrap();
    let (golden_store, golden) = golden();
    let golden = &golden.objects[0].segments;
    let mine = &written.object.segments;
    assert_eq!(mine.len(), 2);
    // The segment without rows is the same to the last byte, and so are the first bytes of the other.
    let bytes = |all: &[u8], s: &Segment, length| all[s.offset as usize..][..length].to_vec();
    let length = golden[2].length_bytes as usize;
    assert_eq!(bytes(&written.bytes, &mine[1], length), bytes(GOLDEN, &golden[2], length));
    assert_eq!(mine[1].checksum, golden[2].checksum);
    assert_eq!(bytes(&written.bytes, &mine[0], 140), bytes(GOLDEN, &golden[0], 140));
    assert_eq!(written.bytes[..16], GOLDEN[..16]);
    let end = |all: &[u8]| all[all.len() - 16..].to_vec();
    assert_eq!(end(&written.bytes), end(GOLDEN));
    let same = |s: &Segment| Segment { offset: 0, length_bytes: 0, checksum: Checksum(0), ..s.clone() };
    assert_eq!(same(&mine[0]), same(&golden[0]));
    assert_eq!(same(&mine[1]), same(&golden[2]));
    drop(golden_store);
}

#[test]
fn the_golden_object_of_upserts_is_read_and_written() {
    let (store, manifest) = stored_bytes(GOLDEN_UPSERTS);
    let state = read(&store, &manifest, 1).unwrap().remove(0).take(&"sessions-2".into());
    let [delta] = &state.deltas("sessions")[..] else { panic!("one segment, one delta") };
    assert_eq!((delta.layout.as_str(), &delta.replaces_by), ("window-sessions/v1", &vec![1, 2]));
    let Run { key_groups, rows } = &delta.runs[0];
    assert_eq!(*key_groups, [KeyGroup(3), KeyGroup(3), KeyGroup(9)]);
    let lines = ["1700|ü|1000|4", "2600|ü|2000|1", "1500|null|900|2"];
    assert_eq!(rheos_testkit::rows(std::slice::from_ref(rows)), lines);
    // Written again: the same header, so the same first bytes.
    let table = TableDelta { tombstones: vec![Tombstone::NamespacesUpTo(1400)], ..delta.clone() };
    let written = object::write(&context(0, all_groups()), &[("sessions-2".into(), of(vec![table]))]).unwrap().unwrap();
    assert_eq!(header(&written.bytes), header(GOLDEN_UPSERTS));
}

/// Made by `golden/object-v3.py`: rows that say that earlier ones are gone.
#[test]
fn the_golden_object_of_changes_is_read_and_written() {
    let (store, manifest) = stored_bytes(GOLDEN_CHANGES);
    let state = read(&store, &manifest, 1).unwrap().remove(0).take(&"join-2".into());
    let [delta] = &state.deltas("left")[..] else { panic!("one segment, one delta") };
    assert_eq!((&delta.replaces_by, delta.gone_by), (&vec![0, 1], Some(2)));
    let Run { key_groups, rows } = &delta.runs[0];
    assert_eq!(*key_groups, [KeyGroup(3), KeyGroup(3), KeyGroup(9)]);
    assert_eq!(rheos_testkit::rows(std::slice::from_ref(rows)), ["ü|1000|2", "ü|2000|0", "null|900|-1"]);
    let written = object::write(&context(0, all_groups()), &[("join-2".into(), of(vec![delta.clone()]))]);
    assert_eq!(header(&written.unwrap().unwrap().bytes), header(GOLDEN_CHANGES));
}

#[test]
fn what_is_gone_must_be_told_by_a_number_of_rows_that_replace_others() {
    let delta = delta("left", TableKind::Keyed, &[], &[&[row(3, 1, 1)]]);
    let wrong = [(vec![], Some(1)), (vec![0], Some(2)), (vec![0], Some(3))];
    for (replaces_by, gone_by) in wrong {
        let table = TableDelta { replaces_by, gone_by, ..delta.clone() };
        let error = object::write(&context(0, all_groups()), &[("join-2".into(), of(vec![table]))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

/// The text in front of an object's first rows.
fn header(bytes: &[u8]) -> String {
    let length = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    String::from_utf8(bytes[20..20 + length].to_vec()).unwrap()
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(n, c)| Field::new(*n, c.data_type().clone(), c.null_count() > 0)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
}

fn small() -> WrittenObject {
    let rows = [row(3, 1, 1), row(400, 2, 2), row(7, 9, 3)];
    let slices = delta("slices", TableKind::Keyed, &[Tombstone::NamespacesUpTo(0)], &[&rows]);
    let sorted = delta("rows", TableKind::Single, &[Tombstone::All], &[&rows[..1]]);
    let deltas = [("sort-4".into(), of(vec![sorted])), ("aggregate-1".into(), of(vec![slices]))];
    object::write(&context(0, all_groups()), &deltas).unwrap().unwrap()
}

#[test]
fn a_flipped_bit_is_an_error_that_names_object_and_operator_or_does_no_harm() {
    let written = small();
    let mut harmless = 0;
    for byte in 0..written.bytes.len() {
        let store = MemoryStore::new();
        let manifest = stored(&store, &written);
        store.flip_bit("objects/g1-w0-e17", byte, (byte % 8) as u8);
        let segment =
            written.object.segments.iter().find(|s| (s.offset..s.offset + s.length_bytes).contains(&(byte as u64)));
        match (read(&store, &manifest, 2), segment) {
            (Err(error), Some(segment)) => {
                let told = error.message();
                assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0626"), "byte {byte}");
                assert!(told.contains("g1-w0-e17") && told.contains(&segment.operator.0), "byte {byte}: {told}");
            }
            (Ok(_), None) => harmless += 1,
            (result, _) => panic!("byte {byte}: {:?}", result.map(|_| ())),
        }
        // Whoever has the file alone sees damage of the footer.
        match object::read_index(&store, "g1-w0-e17") {
            Ok(index) => assert_eq!(index.unwrap(), written.object.segments, "byte {byte}"),
            Err(error) => {
                assert!(matches!(error.code().as_str(), "R0626" | "R0627"), "byte {byte}: {error}");
                assert!(error.message().contains("g1-w0-e17"));
            }
        }
    }
    assert!(harmless < 2000, "{harmless} bytes are outside of the segments");
}

#[test]
fn an_object_that_is_cut_or_gone_is_an_error() {
    let written = small();
    for length in 0..written.bytes.len() {
        let store = MemoryStore::new();
        let manifest = stored(&store, &written);
        store.truncate("objects/g1-w0-e17", length);
        let end = written.object.segments.last().map(|s| (s.offset + s.length_bytes) as usize).unwrap();
        assert_eq!(read(&store, &manifest, 1).is_err(), length < end, "cut at {length}");
        assert_eq!(object::read_index(&store, "g1-w0-e17").unwrap_err().code(), "R0626", "cut at {length}");
    }
    let store = MemoryStore::new();
    let manifest = stored(&store, &written);
    store.inject(Operation::Read, "objects/", 1, Fault::Unreachable);
    assert_eq!(read(&store, &manifest, 1).unwrap_err().kind(), ErrorKind::External);
    store.lose("objects/g1-w0-e17");
    let error = read(&store, &manifest, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let told = error.message();
    assert!(told.contains("g1-w0-e17' is missing") && told.contains("aggregate-1"), "{told}");
    assert_eq!(object::read_index(&store, "g1-w0-e17").unwrap(), None);
}

#[test]
fn what_was_kept_when_it_was_verified_is_not_read_again() {
    let written = small();
    let lengths: Vec<u64> = written.object.segments.iter().map(|s| s.length_bytes).collect();
    let all: u64 = lengths.iter().sum();
    for (bytes_max, kept_bytes) in [(all, all), (all - 1, lengths[0]), (0, 0)] {
        let store = MemoryStore::new();
        let manifest = stored(&store, &written);
        let mut kept = Kept::new(bytes_max);
        let checks = journal::verify_and_keep(&store, &manifest.objects, &mut kept).unwrap();
        assert!(checks.values().all(|c| *c == SegmentCheck::Whole));
        assert_eq!(kept.bytes(), kept_bytes);
        store.lose("objects/g1-w0-e17");
        let assignment = KeyGroupAssignment::even(512, 1);
        let plan = rescale::plan(&manifest, &assignment, NonZeroU32::MIN).remove(0);
        match restore(&store, &kept, &manifest, &plan, WorkerId(0)) {
            Ok(mut restored) => {
                assert_eq!(kept_bytes, all);
                assert_eq!(rows(&restored.take(&"aggregate-1".into()).deltas("slices")).len(), 3);
            }
            Err(error) => assert!(kept_bytes < all && error.message().contains("is missing"), "{error}"),
        }
    }
    // What is damaged is not kept.
    let store = MemoryStore::new();
    let manifest = stored(&store, &written);
    let segment = &written.object.segments[0];
    store.flip_bit("objects/g1-w0-e17", segment.offset as usize + 70, 0);
    let mut kept = Kept::new(all);
    let checks = journal::verify_and_keep(&store, &manifest.objects, &mut kept).unwrap();
    assert_eq!(checks.values().filter(|c| **c != SegmentCheck::Whole).count(), 1);
    assert_eq!(kept.bytes(), all - segment.length_bytes);
}

#[test]
fn a_manifest_that_lies_about_a_segment_is_an_error() {
    let written = small();
    let check = |change: &dyn Fn(&mut Segment)| {
        let store = MemoryStore::new();
        let mut manifest = stored(&store, &written);
        change(&mut manifest.objects[0].segments[0]);
        let error = read(&store, &manifest, 1).unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0626"));
        error.message().to_string()
    };
    check(&|s| s.length_bytes += 8);
    check(&|s| s.length_bytes = u64::MAX - s.offset);
    check(&|s| s.offset = u64::MAX);
    check(&|s| (s.offset, s.length_bytes, s.checksum) = (0, 0, Checksum::of(b"")));
    check(&|s| (s.length_bytes, s.checksum) = (8, Checksum::of(&written.bytes[s.offset as usize..][..8])));
    assert!(check(&|s| s.layout = "other/v1".into()).contains("test/v1"));
    assert!(check(&|s| s.kind = TableKind::Split).contains("keyed"));
}

/// A header that fits its checksum and says something else.
#[test]
fn a_later_version_is_refused_by_name() {
    let store = MemoryStore::new();
    let mut written = small();
    let segment = &mut written.object.segments[0];
    let at = segment.offset as usize;
    let text = String::from_utf8_lossy(&written.bytes[at + 4..at + 24]).into_owned();
    let digit = at + 4 + text.find("\"version\":1").unwrap() + 10;
    written.bytes[digit] = b'4';
    segment.checksum = Checksum::of(&written.bytes[at..at + segment.length_bytes as usize]);
    let manifest = stored(&store, &written);
    let error = read(&store, &manifest, 1).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0627"));
    assert!(error.message().contains("version 4") && error.message().contains("aggregate-1"), "{error}");
    let mut later = GOLDEN.to_vec();
    let version_at = later.len() - 16;
    later[version_at] = 9;
    store.create("objects/later", &later).unwrap();
    let error = object::read_index(&store, "later").unwrap_err();
    assert_eq!((error.code().as_str(), error.message().contains("version 9")), ("R0627", true), "{error}");
}

#[test]
fn nothing_changed_gives_no_object() {
    assert!(object::write(&context(0, all_groups()), &[]).unwrap().is_none());
    let empty = of(vec![delta("slices", TableKind::Keyed, &[], &[&[]])]);
    assert!(object::write(&context(0, all_groups()), &[("a".into(), empty)]).unwrap().is_none());
    // A worker that owns no key groups has nothing to say of them.
    let none = of(vec![delta("slices", TableKind::Keyed, &[Tombstone::All], &[])]);
    assert!(object::write(&context(0, KeyGroupSet::default()), &[("a".into(), none)]).unwrap().is_none());
}

#[test]
fn deltas_that_break_the_contract_are_refused() {
    let refused = |worker: u32, tables: Vec<TableDelta>, expected: &str| {
        let error =
            object::write(&context(worker, KeyGroupSet::range(0, 9)), &[("op-1".into(), of(tables))]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        let told = error.message();
        assert!(told.contains(expected) && told.contains("op-1"), "{told}");
    };
    let keyed = |tombstones: &[Tombstone], group| delta("t", TableKind::Keyed, tombstones, &[&[row(group, 1, 1)]]);
    refused(0, vec![keyed(&[], 10)], "does not own");
    refused(0, vec![keyed(&[], 1), keyed(&[], 2)], "twice");
    refused(1, vec![delta("t", TableKind::Single, &[], &[&[row(0, 1, 1)]])], "worker 0");
    let mut no_groups = keyed(&[], 1);
    no_groups.runs[0].key_groups.clear();
    refused(0, vec![no_groups], "key group each");
    let other = batch(vec![("a", Arc::new(StringViewArray::from(vec!["x"])))]);
    let mut mixed = keyed(&[], 1);
    mixed.runs.push(Run { key_groups: vec![KeyGroup(1)], rows: other.clone() });
    refused(0, vec![mixed], "differ in their columns");
    let mut unnamed = keyed(&[Tombstone::NamespacesUpTo(3)], 1);
    unnamed.runs = vec![Run { key_groups: vec![KeyGroup(1)], rows: other }];
    refused(0, vec![unnamed], "Int64");
}

#[test]
fn columns_of_all_shapes_come_back() {
    let dictionary: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let views =
        Arc::new(StringViewArray::from(vec!["a text that does not fit into a view", "", "another one that does not"]));
    let item = Arc::new(Field::new_list_field(DataType::Utf8View, false));
    let lists = ListArray::new(item, OffsetBuffer::new(vec![0, 1, 1, 3].into()), views, None);
    let rows = batch(vec![("d", Arc::new(dictionary)), ("l", Arc::new(lists))]);
    let nothing = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &RecordBatchOptions::new().with_row_count(Some(5)),
    );
    let table = |table: &str, kind, runs| TableDelta {
        table: table.into(),
        kind,
        layout: "any/v1".into(),
        replaces_by: vec![],
        gone_by: None,
        tombstones: vec![],
        runs,
    };
    let bare = |rows: RecordBatch| Run { key_groups: vec![], rows };
    let nothing = nothing.unwrap();
    let keyed = Run { key_groups: vec![KeyGroup(2), KeyGroup(0), KeyGroup(1)], rows: rows.clone() };
    let deltas = of(vec![
        table("keyed", TableKind::Keyed, vec![keyed]),
        table("rows", TableKind::Single, vec![bare(rows.clone()), bare(rows.slice(1, 2))]),
        table("nothing", TableKind::Single, vec![bare(nothing.clone()), bare(nothing)]),
    ]);
    let written = object::write(&context(0, all_groups()), &[("op-1".into(), deltas)]).unwrap().unwrap();
    let store = MemoryStore::new();
    let manifest = stored(&store, &written);
    let state = read(&store, &manifest, 1).unwrap().remove(0).take(&"op-1".into());
    let lines = |rows: &RecordBatch| rheos_testkit::rows(std::slice::from_ref(rows));
    let found = &state.deltas("rows")[0].runs[0].rows;
    assert_eq!(lines(found), [lines(&rows), lines(&rows.slice(1, 2))].concat());
    let found = &state.deltas("keyed")[0].runs[0];
    assert_eq!(found.key_groups, [KeyGroup(0), KeyGroup(1), KeyGroup(2)]);
    assert_eq!(lines(&found.rows), [lines(&rows.slice(1, 2)), lines(&rows.slice(0, 1))].concat());
    let found: usize = state.deltas("nothing")[0].runs.iter().map(|r| r.rows.num_rows()).sum();
    assert_eq!(found, 10);
}

#[test]
fn views_do_not_drag_along_what_they_do_not_show() {
    let all: StringViewArray = (0..100_000).map(|n| Some(format!("a text of some length, number {n}"))).collect();
    let rows = batch(vec![("text", Arc::new(all))]).slice(50_000, 1);
    let table = TableDelta {
        table: "rows".into(),
        kind: TableKind::Single,
        layout: "any/v1".into(),
        replaces_by: vec![],
        gone_by: None,
        tombstones: vec![],
        runs: vec![Run { key_groups: vec![], rows }],
    };
    let deltas = [("op-1".into(), of(vec![table]))];
    let written = object::write(&context(0, KeyGroupSet::default()), &deltas).unwrap().unwrap();
    assert!(written.bytes.len() < 4096, "{} bytes for one row", written.bytes.len());
}

#[test]
fn a_large_table_is_cut_so_that_each_worker_reads_its_part() {
    let groups = |n: i64| ((n * 7919) % 512) as u16;
    let all: Vec<_> = (0..2_400_000).map(|n| row(groups(n), n, n)).collect();
    let run = run(TableKind::Keyed, &all);
    let bytes = run.rows.get_array_memory_size();
    assert!(bytes > 2 * SEGMENT_BYTES, "{bytes}");
    let mut table = delta("slices", TableKind::Keyed, &[Tombstone::NamespacesUpTo(-1)], &[]);
    table.runs = vec![run];
    let deltas: [(OperatorId, StateDelta); 1] = [("op-1".into(), of(vec![table]))];
    let written = object::write(&context(0, all_groups()), &deltas).unwrap().unwrap();
    let segments = &written.object.segments;
    assert!((2..=bytes / SEGMENT_BYTES + 1).contains(&segments.len()), "{} segments", segments.len());
    let covered: Vec<KeyGroup> = segments.iter().flat_map(|s| s.groups.iter()).collect();
    assert_eq!(covered, (0..512).map(KeyGroup).collect::<Vec<_>>());
    let store = MemoryStore::new();
    let manifest = stored(&store, &written);
    let mut restored = read(&store, &manifest, 4).unwrap();
    let held: usize = restored.iter().map(|r| r.holdings.segments().len()).sum();
    assert!(held < 4 * segments.len(), "not every worker reads every segment");
    for (worker, restored) in restored.iter_mut().enumerate() {
        let found = rows(&restored.take(&"op-1".into()).deltas("slices"));
        let owned = (worker as u16 * 128)..(worker as u16 * 128 + 128);
        let mut expected: Vec<_> = all.iter().filter(|r| owned.contains(&r.group)).copied().collect();
        expected.sort_by_key(|r| r.group);
        assert_eq!(found, expected);
    }
}

#[test]
fn an_operator_that_is_gone_is_forgotten_with_what_only_it_holds() {
    let store = MemoryStore::new();
    let manifest = stored(&store, &small());
    let mut restored = read(&store, &manifest, 1).unwrap().remove(0);
    restored.take(&"aggregate-1".into());
    let left: Vec<OperatorId> = restored.left().cloned().collect();
    assert_eq!(left, ["sort-4".into()]);
    let of = |restored: &Restored| {
        let objects = restored.holdings.objects();
        objects.iter().flat_map(|o| &o.segments).map(|s| s.operator.0.clone()).collect::<Vec<_>>()
    };
    assert_eq!(of(&restored), ["aggregate-1", "sort-4"]);
    restored.holdings.forget(&left[0]);
    assert_eq!(of(&restored), ["aggregate-1"]);
    restored.holdings.forget(&"aggregate-1".into());
    assert!(restored.holdings.objects().is_empty());
}
