//! Expected values are computed by hand from the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float64Type, Int8Type, Int64Type, Schema, TimeUnit,
    TimestampMicrosecondType,
};
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::source::{Boundedness, ReaderContext, Source, SourcePoll};
use rheos_core::{Error, Result};

use super::{Datagen, connector};

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn source(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> Result<Arc<dyn Source>> {
    let fields: Vec<_> = columns.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect();
    let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<BTreeMap<_, _>>();
    connector().source(&TableDefinition {
        name: "t".into(),
        schema: Arc::new(Schema::new(fields)),
        options,
        partitioned_by: vec![],
        primary_key: vec![],
        metadata: vec![],
    })
}

fn refused(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> Error {
    source(columns, options).unwrap_err()
}

fn read(source: &dyn Source, batch_rows: usize) -> Result<RecordBatch> {
    let mut batches = vec![];
    for split in source.discover(None, 2)?.splits {
        let mut reader = source.open(&split, None, ReaderContext::detached(batch_rows))?;
        while let SourcePoll::Batch(batch) = reader.poll()? {
            assert!(batch.num_rows() <= batch_rows);
            batches.push(batch);
        }
    }
    Ok(concat_batches(&source.schema(), &batches)?)
}

fn table(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> RecordBatch {
    read(&*source(columns, options).unwrap(), 1000).unwrap()
}

fn every_type() -> Vec<(&'static str, DataType)> {
    vec![
        ("flag", DataType::Boolean),
        ("i8", DataType::Int8),
        ("i16", DataType::Int16),
        ("i32", DataType::Int32),
        ("i64", DataType::Int64),
        ("u64", DataType::UInt64),
        ("f32", DataType::Float32),
        ("f64", DataType::Float64),
        ("d38", DataType::Decimal128(38, 10)),
        ("text", DataType::Utf8),
        ("view", DataType::Utf8View),
        ("bytes", DataType::Binary),
        ("day", DataType::Date32),
        ("at", TIMESTAMP),
        ("utc", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ]
}

#[test]
fn every_type_is_made_and_does_not_depend_on_cuts_or_columns() {
    let options = [("number-of-rows", "150000"), ("fields.text.length", "5"), ("fields.view.length", "13")];
    let options = [options.as_slice(), &[("fields.bytes.length", "3"), ("fields.i64.null-rate", "0.5")]].concat();
    let source = source(&every_type(), &options).unwrap();
    assert_eq!((source.boundedness(), source.discover(None, 2).unwrap().splits.len()), (Boundedness::Bounded, 2));
    let whole = read(&*source, 8192).unwrap();
    assert_eq!(whole.num_rows(), 150_000);
    assert_eq!(read(&*source, 1717).unwrap(), whole);
    let some = [1, 4, 9];
    assert_eq!(read(&*source.project(&some).unwrap(), 999).unwrap(), whole.project(&some).unwrap());
    // 150,000 draws with even odds: five standard deviations are 968.
    assert!(whole.column(4).null_count().abs_diff(75_000) < 968);
    assert!(whole.column(0).as_boolean().true_count().abs_diff(75_000) < 968);
    assert_eq!(whole.column(9).as_string::<i32>().value(7).len(), 5);
    assert_eq!(whole.column(11).as_binary::<i32>().value(7).len(), 3);
    let tiny = whole.column(1).as_primitive::<Int8Type>();
    assert!((i8::MIN..=i8::MAX).all(|v| tiny.values().contains(&v)), "the whole range of the type");
}

#[test]
fn random_values_keep_their_bounds() {
    let batch = table(
        &[
            ("i", DataType::Int64),
            ("f", DataType::Float64),
            ("d", DataType::Decimal128(10, 2)),
            ("day", DataType::Date32),
            ("at", TIMESTAMP),
        ],
        &[
            ("number-of-rows", "20000"),
            ("fields.i.min", "-3"),
            ("fields.i.max", "3"),
            ("fields.f.min", "2.5"),
            ("fields.f.max", "3"),
            ("fields.d.min", "1.50"),
            ("fields.d.max", "2"),
            ("fields.day.min", "2013-01-30"),
            ("fields.day.max", "2013-02-02"),
            ("fields.at.min", "2013-01-01 00:00:00"),
            ("fields.at.max", "2013-01-01 00:00:00.000003"),
        ],
    );
    let mut counts = BTreeMap::new();
    batch.column(0).as_primitive::<Int64Type>().values().iter().for_each(|v| *counts.entry(*v).or_insert(0u32) += 1);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), (-3..=3).collect::<Vec<_>>());
    // 20,000 / 7 = 2857 each; five standard deviations are 247.
    assert!(counts.values().all(|n| n.abs_diff(2857) < 247), "{counts:?}");
    assert!(batch.column(1).as_primitive::<Float64Type>().values().iter().all(|v| (2.5..3.0).contains(v)));
    assert!(batch.column(2).as_primitive::<Decimal128Type>().values().iter().all(|v| (150..=200).contains(v)));
    // 2013-01-30 is day 15735 since 1970.
    let mut days = batch.column(3).as_primitive::<Date32Type>().values().to_vec();
    days.sort_unstable();
    days.dedup();
    assert_eq!(days, [15735, 15736, 15737, 15738]);
    let at = batch.column(4).as_primitive::<TimestampMicrosecondType>();
    assert!(at.values().iter().all(|t| (0..=3).contains(&(t - 1_356_998_400_000_000))));
}

#[test]
fn sequences_count_and_end() {
    let batch = table(
        &[
            ("i", DataType::Int64),
            ("s", DataType::Utf8),
            ("d", DataType::Decimal128(5, 1)),
            ("day", DataType::Date32),
            ("at", TIMESTAMP),
            ("f", DataType::Float64),
        ],
        &[
            ("fields.i.kind", "sequence"),
            ("fields.i.start", "10"),
            ("fields.i.end", "4"),
            ("fields.i.step", "-2"),
            ("fields.s.kind", "sequence"),
            ("fields.s.start", "98"),
            ("fields.d.kind", "sequence"),
            ("fields.d.step", "0.5"),
            ("fields.day.kind", "sequence"),
            ("fields.day.start", "2024-02-28"),
            ("fields.at.kind", "sequence"),
            ("fields.at.start", "2013-01-01 00:00:00"),
            ("fields.at.step", "250 ms"),
            ("fields.f.kind", "sequence"),
            ("fields.f.step", "0.25"),
        ],
    );
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[10, 8, 6, 4]);
    assert_eq!(batch.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["98", "99", "100", "101"]);
    assert_eq!(batch.column(2).as_primitive::<Decimal128Type>().values(), &[0, 5, 10, 15]);
    // 2024-02-28 is day 19781; 2024 is a leap year, which the count of days does not show.
    assert_eq!(batch.column(3).as_primitive::<Date32Type>().values(), &[19781, 19782, 19783, 19784]);
    let at = batch.column(4).as_primitive::<TimestampMicrosecondType>().values();
    assert_eq!(at[3] - 1_356_998_400_000_000, 750_000);
    assert_eq!(batch.column(5).as_primitive::<Float64Type>().values(), &[0.0, 0.25, 0.5, 0.75]);
}

#[test]
fn timestamps_in_the_past_are_out_of_order_by_so_much() {
    let options = [("number-of-rows", "5000"), ("fields.at.max-past", "3 s"), ("fields.at.step", "100 ms")];
    let batch = table(&[("at", TIMESTAMP)], &options);
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let behind = times.iter().enumerate().map(|(row, t)| 1_735_689_600_000_000 + row as i64 * 100_000 - t);
    let behind: Vec<_> = behind.collect();
    assert!(behind.iter().all(|us| (0..=3_000_000).contains(us)));
    assert!(behind.iter().any(|us| *us < 10_000) && behind.iter().any(|us| *us > 2_990_000));
}

#[test]
fn a_table_without_number_of_rows_has_no_end() {
    let source = source(&[("i", DataType::Int64)], &[]).unwrap();
    assert_eq!(source.boundedness(), Boundedness::Unbounded);
    let (a, b) = (source.discover(None, 1).unwrap(), source.discover(None, 1).unwrap());
    assert!(!a.finished);
    assert_eq!(a.splits.last().unwrap().descriptor, "[6300000,6400000]");
    assert_eq!(b.splits[0].descriptor, "[6400000,6500000]");
}

#[test]
fn a_table_without_end_goes_on_behind_what_a_checkpoint_remembers() {
    let new = || source(&[("i", DataType::Int64)], &[]).unwrap();
    let first = new();
    let known = [first.discover(None, 1).unwrap().splits, first.discover(None, 1).unwrap().splits].concat();
    let found = first.take_found().unwrap();
    assert_eq!((found.anew, found.entries.len()), (true, 1), "however many splits there were");
    let second = new();
    second.restore_found(&found.entries).unwrap();
    let third = new();
    third.restore(&known).unwrap();
    for source in [second, third] {
        assert_eq!(source.discover(None, 1).unwrap().splits[0].descriptor, "[12800000,12900000]");
    }
    assert_eq!(new().restore_found(&["x".into()]).unwrap_err().code(), "R0684");
}

#[test]
fn a_sequence_that_leaves_its_type_is_an_error_not_a_wrap() {
    let options = [("number-of-rows", "200"), ("fields.i.kind", "sequence")];
    let error = read(&*source(&[("i", DataType::Int8)], &options).unwrap(), 50).unwrap_err();
    assert!(error.message().contains("column 'i'"), "{error}");
}

#[test]
fn wrong_options_are_named() {
    let int = [("price", DataType::Int64)];
    assert_eq!(refused(&int, &[("fields.pirce.min", "1")]).hint(), Some("did you mean 'price'?"));
    assert_eq!(refused(&int, &[("number-of-row", "1")]).hint(), Some("did you mean 'number-of-rows'?"));
    assert!(refused(&int, &[("rows-per-second", "10")]).message().contains("'/s' is missing"));
    assert!(refused(&int, &[("fields.price.min", "x")]).message().contains("'x'"));
    assert!(refused(&int, &[("fields.price.min", "5"), ("fields.price.max", "4")]).message().contains("above"));
    assert!(refused(&int, &[("fields.price.length", "4")]).message().contains("does not use it"));
    assert!(refused(&int, &[("fields.price.null-rate", "2")]).message().contains("share"));
    assert!(
        refused(&[("b", DataType::Int8)], &[("fields.b.max", "300")]).message().contains("out of the column's range")
    );
    assert!(refused(&[("b", DataType::Boolean)], &[("fields.b.kind", "sequence")]).message().contains("no sequence"));
    let end = [("fields.price.kind", "sequence"), ("fields.price.start", "5"), ("fields.price.end", "4")];
    assert!(refused(&int, &end).message().contains("does not reach"));
    let list = DataType::new_list(DataType::Int64, true);
    assert!(refused(&[("l", list)], &[]).message().contains("cannot make column 'l'"));
    let definition = TableDefinition {
        name: "t".into(),
        schema: Arc::new(Schema::empty()),
        options: BTreeMap::new(),
        partitioned_by: vec![],
        primary_key: vec![],
        metadata: vec![],
    };
    assert!(Datagen.sink(&definition).unwrap_err().message().contains("only makes rows"));
}
