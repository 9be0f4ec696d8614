//! The expected figures are computed by hand from the generator's published parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::source::{Boundedness, ReaderContext, Source, SourcePoll, Split};
use rheos_core::{Error, ErrorKind, Result};

use super::{Nexmark, connector};

fn definition(options: &[(&str, &str)]) -> TableDefinition {
    let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<BTreeMap<_, _>>();
    let mut table = TableDefinition {
        name: "t".into(),
        schema: Arc::new(Schema::empty()),
        options,
        partitioned_by: vec![],
        primary_key: vec![],
        metadata: vec![],
    };
    if let Ok(Some(schema)) = Nexmark.infer_schema(&table) {
        table.schema = schema;
    }
    table
}

fn open(options: &[(&str, &str)]) -> Arc<dyn Source> {
    connector().source(&definition(options)).unwrap()
}

fn refused(options: &[(&str, &str)]) -> Error {
    connector().source(&definition(options)).unwrap_err()
}

fn read(source: &dyn Source, split: &Split, batch_rows: usize) -> Result<Vec<RecordBatch>> {
    let mut reader = source.open(split, None, ReaderContext::detached(batch_rows))?;
    let mut batches = vec![];
    loop {
        match reader.poll()? {
            SourcePoll::Batch(batch) => batches.push(batch),
            SourcePoll::Finished => return Ok(batches),
            SourcePoll::Pending => panic!("a table without a pace is never pending"),
        }
    }
}

fn read_all(source: &dyn Source, batch_rows: usize) -> RecordBatch {
    let found = source.discover(None, 2).unwrap();
    assert!(found.finished);
    let batches: Vec<_> = found.splits.iter().flat_map(|s| read(source, s, batch_rows).unwrap()).collect();
    assert!(batches.iter().all(|b| b.num_rows() <= batch_rows));
    concat_batches(&source.schema(), &batches).unwrap()
}

fn numbers<'a>(batch: &'a RecordBatch, name: &str) -> &'a [i64] {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values()
}

fn strings<'a>(batch: &'a RecordBatch, name: &str) -> impl Iterator<Item = &'a str> {
    batch.column_by_name(name).unwrap().as_string::<i32>().iter().map(|v| v.unwrap())
}

/// The rows of one kind out of the mixed table, as a batch of the flat table's columns.
fn rows_of(mixed: &RecordBatch, kind: &str) -> RecordBatch {
    let column = mixed.column_by_name(kind).unwrap();
    let present = arrow::compute::is_not_null(column).unwrap();
    let mixed = filter_record_batch(mixed, &present).unwrap();
    let rows: &StructArray = mixed.column_by_name(kind).unwrap().as_struct();
    RecordBatch::from(rows.clone())
}

#[test]
fn the_first_events_are_as_the_definition_says() {
    let batch = read_all(&*open(&[("events.num", "12346")]), 1000);
    let kinds = batch.column(0).as_primitive::<Int32Type>();
    let expected = |n: usize| if n.is_multiple_of(50) { 0 } else { i32::from(n % 50 > 3) + 1 };
    assert!((0..batch.num_rows()).all(|n| kinds.value(n) == expected(n)));
    assert_eq!(numbers(&rows_of(&batch, "person"), "id")[..3], [1000, 1001, 1002]);
    assert_eq!(numbers(&rows_of(&batch, "auction"), "id")[..4], [1000, 1001, 1002, 1003]);
    // 10,000 events a second from 2025-01-01 00:00 UTC, which is second 1,735,689,600: event 12345 comes after 1234 ms.
    let times = batch.column_by_name("dateTime").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(0), 1_735_689_600_000_000);
    assert_eq!(times.value(12345), 1_735_689_601_234_000);
}

#[test]
fn splits_and_batches_do_not_change_the_rows() {
    let source = open(&[("events.num", "230000")]);
    let found = source.discover(None, 3).unwrap();
    assert_eq!(found.splits.len(), 3);
    assert!(found.splits.iter().all(|s| s.sequence == 0));
    let whole = read_all(&*source, 8192);
    assert_eq!(whole.num_rows(), 230_000);
    assert_eq!(read_all(&*source, 777), whole);
    for (first, end) in [(0, 1), (49, 101), (99_999, 100_007), (200_000, 230_000)] {
        let split = Split { descriptor: format!("{{\"first\":{first},\"end\":{end}}}"), ..found.splits[0].clone() };
        let part = concat_batches(&source.schema(), &read(&*source, &split, 7).unwrap()).unwrap();
        assert_eq!(part, whole.slice(first, end - first));
    }
}

#[test]
fn a_reader_goes_on_from_its_position() {
    let source = open(&[("events.num", "5000"), ("table", "auction")]);
    let split = &source.discover(None, 1).unwrap().splits[0];
    let mut reader = source.open(split, None, ReaderContext::detached(100)).unwrap();
    let SourcePoll::Batch(_) = reader.poll().unwrap() else { panic!("rows come first") };
    let mut resumed = source.open(split, Some(&reader.position()), ReaderContext::detached(100)).unwrap();
    let (SourcePoll::Batch(a), SourcePoll::Batch(b)) = (reader.poll().unwrap(), resumed.poll().unwrap()) else {
        panic!("5000 events have 300 auctions")
    };
    assert_eq!(a, b);
}

#[test]
fn flat_tables_are_the_rows_of_the_mixed_one() {
    let options = [("events.num", "3021"), ("seed", "7")];
    let mixed = read_all(&*open(&options), 500);
    for (kind, rows) in [("person", 61), ("auction", 183), ("bid", 2777)] {
        let flat = read_all(&*open(&[options[0], options[1], ("table", kind)]), 64);
        assert_eq!(flat.num_rows(), rows, "60 rounds of 50, then one person, three auctions, 17 bids");
        assert_eq!(flat, rows_of(&mixed, kind));
    }
}

#[test]
fn a_projection_gives_the_same_values() {
    for table in ["events", "person", "auction", "bid"] {
        let source = open(&[("events.num", "1000"), ("table", table)]);
        let full = read_all(&*source, 128);
        for column in 0..full.num_columns() {
            let part = read_all(&*source.project(&[column]).unwrap(), 128);
            assert_eq!(part, full.project(&[column]).unwrap());
        }
        let none = read_all_rows(&*source.project(&[]).unwrap());
        assert_eq!(none, full.num_rows());
    }
}

#[test]
fn a_narrowed_row_gives_the_same_values_of_its_fields() {
    let source = open(&[("events.num", "1000")]);
    let full = read_all(&*source, 128);
    let kinds = ["person", "auction", "bid"];
    let narrowed = |names: &[&str]| {
        let keep = |field: &Arc<Field>| match field.data_type() {
            DataType::Struct(parts) if kinds.contains(&field.name().as_str()) => {
                let parts = parts.iter().filter(|part| names.contains(&part.name().as_str())).cloned();
                Field::new(field.name(), DataType::Struct(parts.collect()), true)
            }
            _ => field.as_ref().clone(),
        };
        Arc::new(Schema::new(source.schema().fields().iter().map(keep).collect::<Vec<_>>()))
    };
    for names in [&["price", "extra", "id"][..], &["url"], &["dateTime", "reserve", "channel", "name"], &[]] {
        let schema = narrowed(names);
        let part = source.narrow(&schema).unwrap().unwrap();
        assert_eq!(part.schema(), schema);
        // A projection of what is narrow, and less of it again.
        let part = part.project(&[1, 2, 3]).unwrap().narrow(&Arc::new(schema.project(&[1, 2, 3]).unwrap()));
        let part = read_all(&*part.unwrap().unwrap(), 77);
        assert_eq!(part.num_rows(), full.num_rows());
        for kind in kinds {
            let (all, some): (&StructArray, &StructArray) =
                (full.column_by_name(kind).unwrap().as_struct(), part.column_by_name(kind).unwrap().as_struct());
            assert_eq!(all.nulls(), some.nulls());
            for (name, values) in some.column_names().iter().zip(some.columns()) {
                assert_eq!(all.column_by_name(name), Some(values), "{kind}.{name}");
            }
        }
    }
    let wrong = |schema: Schema| source.narrow(&Arc::new(schema)).unwrap_err().kind();
    assert_eq!(wrong(Schema::empty()), ErrorKind::Internal);
    let mut fields: Vec<Field> = source.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[3] = Field::new("bid", DataType::Struct(vec![Field::new("price", DataType::Int32, true)].into()), true);
    assert_eq!(wrong(Schema::new(fields.clone())), ErrorKind::Internal, "a field of another type");
    fields[3] = Field::new("bid", DataType::Struct(vec![Field::new("prize", DataType::Int64, true)].into()), true);
    assert_eq!(wrong(Schema::new(fields)), ErrorKind::Internal, "a field that there is not");
}

#[test]
fn a_batch_keeps_its_values_while_others_are_made() {
    let source = open(&[("events.num", "20000"), ("table", "bid")]);
    let split = &source.discover(None, 1).unwrap().splits[0];
    let mut reader = source.open(split, None, ReaderContext::detached(1000)).unwrap();
    let mut kept = vec![];
    let mut rows = 0;
    while let SourcePoll::Batch(batch) = reader.poll().unwrap() {
        // Most batches are gone before the next one is made; some stay.
        if rows % 3000 == 0 {
            kept.push((rows, batch.clone()));
        }
        rows += batch.num_rows();
    }
    let all = read_all(&*source, 8192);
    assert!(kept.len() > 5 && kept.iter().all(|(first, batch)| all.slice(*first, batch.num_rows()) == *batch));
}

#[test]
fn event_times_are_what_they_are_defined_to_be() {
    for rate in ["1", "7", "999", "1000", "1001", "10000", "123456", "1000000000"] {
        let source = open(&[("events.num", "5000"), ("first-event.rate", rate)]);
        let batch = read_all(&*source.project(&[4]).unwrap(), 777);
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        // 2025-01-01 is day 20089.
        let us = |n: u128| 20_089 * 86_400_000_000 + (n * 1000 / rate.parse::<u128>().unwrap()) as i64 * 1000;
        assert!(times.values().iter().zip(0..).all(|(time, n)| *time == us(n)), "{rate}");
    }
}

fn read_all_rows(source: &dyn Source) -> usize {
    let splits = source.discover(None, 1).unwrap().splits;
    splits.iter().flat_map(|s| read(source, s, 100).unwrap()).map(|b| b.num_rows()).sum()
}

#[test]
fn a_share_of_the_ids_is_hot() {
    let source = open(&[("events.num", "100000")]);
    let mixed = read_all(&*source, 8192);
    let share = |hits: usize, of: usize| hits as f64 / of as f64;
    let bids = rows_of(&mixed, "bid");
    assert_eq!(bids.num_rows(), 92_000);
    // Bid i is in round i / 46; its newest auction is 3 * round + 2, its newest person is the round's number.
    let hot_auction = |i: usize| ((3 * (i / 46) + 2) / 100 * 100 + 1000) as i64;
    let hits = numbers(&bids, "auction").iter().enumerate().filter(|(i, a)| **a == hot_auction(*i)).count();
    // Half are hot by choice; of the other half about one in 111 is by chance. Five standard deviations are 0.008.
    assert!((0.492..0.513).contains(&share(hits, 92_000)), "{hits}");
    let hot_bidder = |i: usize| ((i / 46) / 100 * 100 + 1001) as i64;
    let hits = numbers(&bids, "bidder").iter().enumerate().filter(|(i, a)| **a == hot_bidder(*i)).count();
    // Three in four by choice, a few by chance; five standard deviations are 0.007.
    assert!((0.743..0.760).contains(&share(hits, 92_000)), "{hits}");
    let auctions = rows_of(&mixed, "auction");
    let hot_seller = |i: usize| ((i / 3) / 100 * 100 + 1000) as i64;
    let hits = numbers(&auctions, "seller").iter().enumerate().filter(|(i, a)| **a == hot_seller(*i)).count();
    // 6,000 auctions: five standard deviations are 0.028.
    assert!((0.722..0.785).contains(&share(hits, 6000)), "{hits}");
    let hits = strings(&bids, "channel").filter(|c| !c.starts_with("channel-")).count();
    assert!((0.492..0.508).contains(&share(hits, 92_000)), "{hits}");
}

#[test]
fn values_lie_in_their_ranges() {
    let mixed = read_all(&*open(&[("events.num", "50000"), ("first-event.rate", "1000")]), 8192);
    let bids = rows_of(&mixed, "bid");
    assert!(numbers(&bids, "price").iter().all(|p| (100..=100_000_000).contains(p)));
    let below_1000 = numbers(&bids, "price").iter().filter(|p| **p < 100_000).count();
    // Prices are even in their logarithm, so half are below 10^3 dollars; 46,000 bids, five deviations are 536.
    assert!(below_1000.abs_diff(23_000) < 536, "{below_1000}");
    for (i, (auction, bidder)) in numbers(&bids, "auction").iter().zip(numbers(&bids, "bidder")).enumerate() {
        let (auctions, persons) = ((3 * (i / 46) + 3) as i64, (i / 46 + 1) as i64);
        assert!((1000..1000 + auctions + 10).contains(auction), "ten auctions ahead at most");
        assert!((1000..1000 + persons.max(2) + 10).contains(bidder), "ten persons ahead at most");
    }
    // Padding of a bid: 100 bytes less 32; of these 68 four fifths, give or take.
    let lengths: Vec<usize> = strings(&bids, "extra").map(str::len).collect();
    assert!(lengths.iter().all(|n| (54..82).contains(n)));
    let url = strings(&bids, "url").collect::<Vec<_>>();
    assert!(url.iter().all(|u| u.starts_with("https://www.nexmark.com/") && u.contains("/item.htm?query=1")));
    let auctions = rows_of(&mixed, "auction");
    assert!(numbers(&auctions, "category").iter().all(|c| (10..15).contains(c)));
    let reserve = numbers(&auctions, "reserve").iter().zip(numbers(&auctions, "initialBid"));
    assert!(reserve.into_iter().all(|(reserve, first)| reserve > first));
    // 100 auctions are opened in 1,666 events, 1.666 s at this rate: an auction is open for 1 ms to twice that.
    let time = |c: &str| auctions.column_by_name(c).unwrap().as_primitive::<TimestampMicrosecondType>().clone();
    let open = time("expires").values().iter().zip(time("dateTime").values()).map(|(e, t)| e - t).collect::<Vec<_>>();
    assert!(open.iter().all(|us| (1000..=3_334_000).contains(us)));
    let mean = open.iter().sum::<i64>() / open.len() as i64;
    assert!((mean - 1_666_000).abs() < 90_000, "3,000 auctions: five deviations are 88 ms, not {mean}");
    let persons = rows_of(&mixed, "person");
    assert!(strings(&persons, "creditCard").all(|c| c.len() == 19));
    assert!(strings(&persons, "emailAddress").all(|c| c.contains('@') && c.ends_with(".com")));
    let sizes = |batch: &RecordBatch| -> usize {
        let texts = batch.columns().iter().filter_map(|c| c.as_string_opt::<i32>());
        texts.map(|t| t.values().len()).sum()
    };
    // 200 bytes a person, of which 8 are the id; 500 an auction, of which 48 are numbers.
    assert!((sizes(&persons) / 1000).abs_diff(192) < 5);
    assert!((sizes(&auctions) / 3000).abs_diff(452) < 5);
}

#[test]
fn declared_columns_choose_what_is_made() {
    let full = read_all(&*open(&[("events.num", "500")]), 500);
    let bid = DataType::Struct(vec![Field::new("price", DataType::Int64, true)].into());
    let declared = vec![Field::new("BID", bid, true), Field::new("event_type", DataType::Int64, true)];
    let mut table = definition(&[("events.num", "500")]);
    table.schema = Arc::new(Schema::new(declared));
    let batch = read_all(&*connector().source(&table).unwrap(), 500);
    let (all, some): (&StructArray, &StructArray) =
        (full.column_by_name("bid").unwrap().as_struct(), batch.column(0).as_struct());
    assert_eq!(all.column_by_name("price").unwrap(), some.column(0));
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 0);
    assert_eq!(some.column(0).null_count(), 40, "values are null where their row is");

    let declared = |name: &str, data_type| {
        let mut table = definition(&[("table", "bid")]);
        table.schema = Arc::new(Schema::new(vec![Field::new(name, data_type, true)]));
        connector().source(&table).unwrap_err()
    };
    assert_eq!(declared("pirce", DataType::Int64).hint(), Some("did you mean 'price'?"));
    assert!(declared("price", DataType::Boolean).message().contains("cannot be Boolean"));
}

#[test]
fn a_table_without_end_is_found_bit_by_bit() {
    let source = open(&[]);
    assert_eq!(source.boundedness(), Boundedness::Unbounded);
    let (a, b) = (source.discover(None, 1).unwrap(), source.discover(None, 1).unwrap());
    assert!(!a.finished && !b.finished);
    let firsts: Vec<_> = a.splits.iter().chain(&b.splits).map(|s| s.id.clone()).collect();
    let expected: Vec<_> = (0..firsts.len()).map(|k| format!("events-{}", k * 100_000)).collect();
    assert_eq!(firsts, expected);
    let kept = open(&[("events.num", "10"), ("keep-alive", "true")]);
    assert_eq!(kept.boundedness(), Boundedness::Unbounded);
    assert_eq!((kept.discover(None, 1).unwrap().splits.len(), kept.discover(None, 1).unwrap().splits.len()), (1, 0));
}

#[test]
fn stop_at_ends_the_table() {
    let rows = |options: &[(&str, &str)]| read_all_rows(&*open(options));
    assert_eq!(rows(&[("events.num", "100"), ("stop-at", "60")]), 60);
    assert_eq!(rows(&[("events.num", "100"), ("stop-at", "-1")]), 100);
    assert_eq!(rows(&[("stop-at", "70")]), 70);
}

#[test]
fn wrong_options_are_named() {
    assert_eq!(refused(&[("event.num", "5")]).hint(), Some("did you mean 'events.num'?"));
    assert!(refused(&[("first-event.rate", "5"), ("next-event.rate", "6")]).message().contains("cannot change"));
    assert!(refused(&[("start-time", "yesterday")]).message().contains("'yesterday'"));
    assert!(refused(&[("person.proportion", "0")]).hint().unwrap().contains("from 1"));
    assert!(connector().sink(&definition(&[])).unwrap_err().message().contains("only makes rows"));
}

#[test]
fn a_paced_table_waits_and_wakes() {
    let source = open(&[("events.num", "30"), ("rows-per-second", "300/s"), ("table", "events")]);
    let split = &source.discover(None, 1).unwrap().splits[0];
    let (sender, receiver) = std::sync::mpsc::channel();
    let ctx = ReaderContext { wake: Arc::new(move || sender.send(()).unwrap_or(())), ..ReaderContext::detached(8192) };
    let start = std::time::Instant::now();
    let mut reader = source.open(split, None, ctx).unwrap();
    let (mut rows, mut waits) = (0, 0);
    loop {
        match reader.poll().unwrap() {
            SourcePoll::Batch(batch) => rows += batch.num_rows(),
            SourcePoll::Pending => {
                waits += 1;
                receiver.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
            }
            SourcePoll::Finished => break,
        }
    }
    assert_eq!(rows, 30);
    assert!(waits > 0 && start.elapsed().as_millis() >= 96, "the last of 30 rows at 300/s is due after 97 ms");
}

#[test]
#[ignore = "a measurement, not a check: cargo test --release -- --ignored --nocapture"]
fn speed() {
    for (name, table, columns) in [
        ("bid, numbers and time", "bid", Some(vec![0, 1, 2, 5])),
        ("bid, all", "bid", None),
        ("events, all", "events", None),
    ] {
        let source = open(&[("events.num", "5000000"), ("table", table)]);
        let source = columns.map_or(Arc::clone(&source), |c| source.project(&c).unwrap());
        let start = std::time::Instant::now();
        let mut rows = 0;
        for split in source.discover(None, 1).unwrap().splits {
            let mut reader = source.open(&split, None, ReaderContext::detached(8192)).unwrap();
            while let SourcePoll::Batch(batch) = reader.poll().unwrap() {
                rows += batch.num_rows();
            }
        }
        let events_per_s = 5_000_000.0 / start.elapsed().as_secs_f64();
        println!("{name}: {rows} rows, {:.1} M events/s", events_per_s / 1e6);
    }
}
