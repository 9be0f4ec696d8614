//! How long it takes to store and to restore. A measurement, not a check:
//! `cargo test --release --workspace --test state -- --ignored --nocapture speed`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use rheos_checkpoint::manifest::KeyGroupSet;
use rheos_checkpoint::rescale;
use rheos_core::key::{KeyGroup, KeyGroupAssignment};
use rheos_core::state::{Run, StateDelta, TableDelta, TableKind};
use rheos_core::{Epoch, Generation, OperatorId, WorkerId};
use rheos_state::journal;
use rheos_state::kept::Kept;
use rheos_state::names::ObjectName;
use rheos_state::object::{self, Compression, WriteContext};
use rheos_state::restore::restore;
use rheos_state::store::LocalStore;

use crate::tables::manifest;

/// Slices of a window aggregate: slice, key, count, sum, of random keys, in runs of 8,192 rows.
fn delta(rows: usize) -> StateDelta {
    let field = |name: &str, kind| Field::new(name, kind, false);
    let schema = Arc::new(Schema::new(vec![
        field("slice", DataType::Int64),
        field("key", DataType::Int64),
        field("count", DataType::Int64),
        field("sum", DataType::Float64),
    ]));
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let mut run = |rows: usize| {
        let keys: Vec<i64> = (0..rows).map(|_| random() as i64).collect();
        let counts: Int64Array = (0..rows).map(|_| (random() % 1000) as i64).collect();
        let sums: Float64Array = (0..rows).map(|_| random() as f64 / 7.0).collect();
        let slices: Int64Array = (0..rows).map(|row| (row / 1000) as i64).collect();
        let key_groups =
            keys.iter().map(|k| KeyGroup((*k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as u16 >> 6)).collect();
        let rows = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![Arc::new(slices), Arc::new(Int64Array::from(keys)), Arc::new(counts), Arc::new(sums)],
        );
        Run { key_groups, rows: rows.unwrap() }
    };
    let runs = (0..rows / 8192).map(|_| run(8192)).collect();
    let (table, layout) = ("slices".into(), "window-slices/v1".into());
    StateDelta {
        tables: vec![TableDelta {
            table,
            kind: TableKind::Keyed,
            layout,
            replaces_by: vec![],
            gone_by: None,
            tombstones: vec![],
            runs,
        }],
    }
}

#[test]
#[ignore = "a measurement, not a check"]
fn speed() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    let deltas: [(OperatorId, StateDelta); 1] = [("aggregate-1".into(), delta(4 << 20))];
    let raw = (4 << 20) as f64 * 34.0;
    let timed = |what: &str, start: Instant| {
        let seconds = start.elapsed().as_secs_f64();
        println!("{what:24} {:6.0} ms, {:5.0} MB/s of state", seconds * 1e3, raw / 1e6 / seconds);
    };
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let name = ObjectName {
            generation: Generation(1),
            worker: WorkerId(0),
            epoch: Epoch(compression as u64),
            merge: None,
        };
        let context = WriteContext { name, groups: KeyGroupSet::range(0, 1023), compression };
        let start = Instant::now();
        let written = object::write(&context, &deltas).unwrap().unwrap();
        timed(&format!("write, {compression:?}"), start);
        println!(
            "{:24} {:6.1} MB of {:.1}, {} segments",
            "",
            written.bytes.len() as f64 / 1e6,
            raw / 1e6,
            written.object.segments.len()
        );
        let start = Instant::now();
        written.store(&store).unwrap();
        timed("store", start);
        let assignment = KeyGroupAssignment::even(1024, 1);
        let manifest = manifest(1, 9, &assignment, 1, vec![written.object.clone()]);
        let start = Instant::now();
        assert_eq!(journal::verify(&store, &manifest.objects).unwrap().len(), written.object.segments.len());
        timed("verify", start);
        for workers in [1, 2_u32] {
            let assignment = KeyGroupAssignment::even(1024, workers as usize);
            let plans = rescale::plan(&manifest, &assignment, NonZeroU32::new(workers).unwrap());
            let start = Instant::now();
            let restored: Vec<_> = (0..workers)
                .map(|w| restore(&store, &Kept::default(), &manifest, &plans[w as usize], WorkerId(w)).unwrap())
                .collect();
            timed(&format!("restore, {workers} workers"), start);
            drop(restored);
        }
    }
}
