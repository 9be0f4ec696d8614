//! Changes as they are written elsewhere, against a table that the same changes are made to.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use rheos_core::change::split;
use serde_json::{Value, json};

use super::{DebeziumOptions, write};
use crate::{DecodeError, DecodeLimits, Decoded, InputRange, OnError, TextDecoder, TextFormat};

/// id BIGINT NOT NULL, name STRING, n BIGINT NOT NULL
fn schema() -> SchemaRef {
    let field = |name: &str, data_type, nullable| Field::new(name, data_type, nullable);
    let fields =
        [field("id", DataType::Int64, false), field("name", DataType::Utf8, true), field("n", DataType::Int64, false)];
    Arc::new(Schema::new(fields.to_vec()))
}

fn decoder(key: Option<Vec<usize>>, columns: &[usize], on_error: OnError) -> TextDecoder {
    let limits = DecodeLimits { batch_rows: 3, record_bytes_max: 10_000, on_error };
    let format = TextFormat::Debezium(DebeziumOptions { key });
    TextDecoder::try_new(&format, &schema(), columns, limits, InputRange::default()).unwrap()
}

fn drive(decoder: &mut TextDecoder, input: &str, cut: usize) -> Result<Vec<RecordBatch>, DecodeError> {
    let mut chunks = input.as_bytes().chunks(cut);
    let mut batches = vec![];
    loop {
        match decoder.decode()? {
            Decoded::Batch(batch) => {
                assert_eq!(batch.schema(), *decoder.schema());
                batches.push(batch);
            }
            Decoded::NeedInput => match chunks.next() {
                Some(chunk) => decoder.push(chunk),
                None => decoder.finish(),
            },
            Decoded::End => return Ok(batches),
        }
    }
}

/// Rows as JSON with their weights, in order.
fn changes(batches: &[RecordBatch]) -> Vec<(Value, i64)> {
    let mut found = vec![];
    for batch in batches {
        let (rows, weights) = split(batch).unwrap();
        let mut text = vec![];
        crate::json::write::write_rows(&rows, &mut text).unwrap();
        let rows = text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap());
        found.extend(rows.zip(weights.unwrap().values().iter().copied()));
    }
    found
}

fn decoded(key: Option<Vec<usize>>, input: &str) -> Vec<(Value, i64)> {
    changes(&drive(&mut decoder(key, &[0, 1, 2], OnError::Fail), input, 7).unwrap())
}

fn row(id: i64, name: &str, n: i64) -> Value {
    json!({"id": id, "name": name, "n": n})
}

/// How a line is written: plainly, in an envelope, with more in it and in another order.
fn line(form: u8, before: &Value, after: &Value, op: &str) -> String {
    match form {
        0 => json!({"before": before, "after": after, "op": op}).to_string(),
        1 => json!({"schema": {"type": "struct"}, "payload": {"before": before, "after": after, "op": op}}).to_string(),
        _ => format!(
            r#"{{"op":"{op}","ts_ms":5,"source":{{"op":"x","before":1}},"after":{after}, "before" : {before}}}"#
        ),
    }
}

#[test]
fn each_kind_of_change_is_rows_that_come_and_go() {
    let (a, b, null) = (row(1, "a", 5), row(1, "b", 6), Value::Null);
    for form in 0..3 {
        let input = [
            line(form, &null, &a, "c"),
            line(form, &a, &b, "u"),
            String::new(),
            "null".into(),
            r#"{"schema":null,"payload":null}"#.into(),
            line(form, &b, &null, "d"),
            line(form, &null, &a, "r"),
        ];
        let input = input.join("\n");
        let all = [(a.clone(), 1), (a.clone(), -1), (b.clone(), 1), (b.clone(), -1), (a.clone(), 1)];
        assert_eq!(decoded(None, &input), all);
        // Under a key what comes replaces what was there, and a deletion knows its key only.
        let gone = json!({"id": 1, "name": null, "n": null});
        assert_eq!(decoded(Some(vec![0]), &input), [(a.clone(), 1), (b.clone(), 1), (gone, -1), (a.clone(), 1)]);
    }
}

#[test]
fn under_a_key_no_row_before_an_update_is_needed_and_a_key_may_change() {
    let (a, b) = (row(1, "a", 5), row(2, "a", 5));
    let input = [line(0, &Value::Null, &a, "u"), line(0, &json!({"id": 1}), &b, "u")].join("\n");
    let gone = json!({"id": 1, "name": null, "n": null});
    assert_eq!(decoded(Some(vec![0]), &input), [(a, 1), (gone, -1), (b, 1)]);
}

#[test]
fn only_the_wanted_columns_are_looked_at() {
    let input = r#"{"before":{"id":1,"name":"a","n":"no number"},"after":null,"op":"d"}"#;
    let batches = drive(&mut decoder(None, &[1], OnError::Fail), input, 5).unwrap();
    assert_eq!(changes(&batches), [(json!({"name": "a"}), -1)]);
    let batches = drive(&mut decoder(None, &[], OnError::Fail), input, 5).unwrap();
    assert_eq!((batches[0].num_rows(), batches[0].num_columns()), (1, 1));
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().values(), &[-1]);
}

#[test]
fn what_is_no_change_says_why() {
    let a = row(1, "a", 5);
    let null = Value::Null;
    let update = line(0, &null, &a, "u");
    for (input, reason) in [
        (a.to_string(), "it is no change of Debezium: it has no 'op'"),
        ("7".into(), "the line is not valid JSON"),
        (r#"{"payload":7}"#.into(), "its 'payload' is no object"),
        (line(0, &null, &null, "c"), "it has no row 'after' the change"),
        (line(0, &null, &json!([1]), "r"), "it has no row 'after' the change"),
        (update.clone(), "it has no row 'before' the change, and the table has no primary key"),
        (line(1, &null, &a, "d"), "it has no row 'before' the change"),
        (line(0, &null, &null, "t"), "(op 't', TRUNCATE) is not supported"),
        (line(0, &null, &null, "m"), "it is a message (op 'm')"),
        (line(0, &a, &a, "x"), "its 'op' is none of c, r, u, d"),
        (r#"{"after":{"id":1},"op":7}"#.into(), "its 'op' is none of c, r, u, d"),
        (line(0, &null, &json!({"id": "x", "n": 1}), "c"), "column 'id': the value does not fit BIGINT: x"),
        (line(0, &json!({"id": "x", "n": 1}), &a, "u"), "column 'id': the value does not fit BIGINT: x"),
        (line(0, &null, &json!({"id": 1}), "c"), "column 'n': the value is missing, but the column is NOT NULL"),
        (line(0, &json!({"n": 1}), &null, "d"), "column 'id': the value is missing, but the column is NOT NULL"),
    ] {
        let error = drive(&mut decoder(None, &[0, 1, 2], OnError::Fail), &input, 11).unwrap_err();
        let error = error.into_error("x", || 0);
        assert!(error.message().contains(reason), "{input}: {}", error.message());
    }
    let keyed = |input: &str| drive(&mut decoder(Some(vec![0]), &[0, 1, 2], OnError::Fail), input, 11);
    keyed(&update).unwrap();
    let error = keyed(&line(0, &json!({"n": 1}), &null, "d")).unwrap_err().into_error("x", || 0);
    assert!(error.message().contains("column 'id': the value is missing, but it is of the primary key"), "{error}");
}

#[test]
fn a_bad_change_is_left_out_as_a_whole_and_counted_once() {
    let (a, bad) = (row(1, "a", 5), json!({"id": 1, "name": "b", "n": "x"}));
    let input = [
        line(0, &Value::Null, &a, "c"),
        line(0, &a, &bad, "u"),
        line(0, &bad, &a, "u"),
        line(0, &a, &Value::Null, "d"),
        "{".into(),
    ];
    let input = input.join("\n");
    for on_error in [OnError::Skip, OnError::DeadLetter] {
        let mut decoder = decoder(None, &[0, 1, 2], on_error);
        let batches = drive(&mut decoder, &input, 9).unwrap();
        assert_eq!(changes(&batches), [(a.clone(), 1), (a.clone(), -1)]);
        assert_eq!(decoder.take_read(), 5);
        match on_error {
            OnError::Skip => assert_eq!(decoder.take_skipped(), 3),
            _ => {
                let reasons: Vec<_> = decoder.take_letters().into_iter().map(|letter| letter.reason).collect();
                assert_eq!(reasons.len(), 3);
                assert!(reasons[0].starts_with("column 'n': the value does not fit BIGINT"), "{reasons:?}");
            }
        }
    }
}

/// A key, the row that it has then (none: it is gone), and how the change is written.
type Doing = (i64, Option<(String, i64)>, u8);

/// What is done to a table: insert or update of a key, or a deletion.
fn doings() -> impl Strategy<Value = Vec<Doing>> {
    let value = prop::option::weighted(0.7, ("[a\"\\\\é]{0,6}", any::<i64>()));
    prop::collection::vec((0i64..6, value, 0u8..3), 0..40)
}

proptest! {
    /// Folded, the changes are the table; and what is written of them is read again.
    #[test]
    fn the_changes_add_up_to_the_table(doings in doings(), cut in 1usize..300) {
        let mut table: BTreeMap<i64, Value> = BTreeMap::new();
        let mut lines = vec![];
        for (id, value, form) in doings {
            let before = table.get(&id).cloned();
            match (value, before) {
                (Some((name, n)), before) => {
                    let (after, op) = (row(id, &name, n), if before.is_some() { "u" } else { "c" });
                    lines.push(line(form, &before.unwrap_or_default(), &after, op));
                    table.insert(id, after);
                }
                (None, Some(before)) => {
                    lines.push(line(form, &before, &Value::Null, "d"));
                    table.remove(&id);
                }
                (None, None) => {}
            }
        }
        let want: Vec<Value> = table.values().cloned().collect();
        let batches = drive(&mut decoder(None, &[0, 1, 2], OnError::Fail), &lines.join("\n"), cut).unwrap();
        prop_assert_eq!(&folded(changes(&batches)), &want);
        let keyed = drive(&mut decoder(Some(vec![0]), &[0, 1, 2], OnError::Fail), &lines.join("\n"), cut).unwrap();
        prop_assert_eq!(&replaced(changes(&keyed)), &want);
        for key in [None, Some(&[0usize][..])] {
            let mut written = vec![];
            for batch in &batches {
                write::write_rows(batch, key, &mut written).unwrap();
            }
            let written = String::from_utf8(written).unwrap();
            prop_assert_eq!(key.is_none() && written.contains("\"op\":\"u\""), false);
            let again = drive(&mut decoder(None, &[0, 1, 2], OnError::Fail), &written, cut).unwrap();
            prop_assert_eq!(changes(&again), changes(&batches));
        }
    }
}

fn folded(changes: Vec<(Value, i64)>) -> Vec<Value> {
    let mut weights: BTreeMap<String, (Value, i64)> = BTreeMap::new();
    for (row, weight) in changes {
        weights.entry(row.to_string()).or_insert((row, 0)).1 += weight;
    }
    let mut rows: Vec<Value> = weights.into_values().filter(|(_, n)| *n != 0).map(|(row, _)| row).collect();
    rows.sort_by_key(|row| row["id"].as_i64());
    rows
}

fn replaced(changes: Vec<(Value, i64)>) -> Vec<Value> {
    let mut table = BTreeMap::new();
    for (row, weight) in changes {
        let id = row["id"].as_i64();
        match weight {
            1 => drop(table.insert(id, row)),
            _ => drop(table.remove(&id)),
        }
    }
    table.into_values().collect()
}
