//! Decoders as a whole: any bytes, any cuts, round trips, limits.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use proptest::prelude::*;

use crate::csv::CsvOptions;
use crate::parquet::read::{ParquetDecoder, ParquetFooter, ParquetStep};
use crate::parquet::write::{ParquetCompression, ParquetWriter};
use crate::*;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

const TS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn limits(on_error: OnError) -> DecodeLimits {
    DecodeLimits { batch_rows: 7, record_bytes_max: 1000, on_error }
}

fn drive(decoder: &mut TextDecoder, input: &[u8], cut: usize) -> Result<Vec<RecordBatch>, DecodeError> {
    let mut chunks = input.chunks(cut.max(1));
    let mut batches = vec![];
    loop {
        match decoder.decode()? {
            Decoded::Batch(batch) => batches.push(batch),
            Decoded::End => return Ok(batches),
            Decoded::NeedInput => match chunks.next() {
                Some(chunk) => decoder.push(chunk),
                None => decoder.finish(),
            },
        }
    }
}

/// All rows and the number of skipped records, or the message of the error.
fn decode(
    format: &TextFormat,
    schema: &SchemaRef,
    columns: &[usize],
    on_error: OnError,
    input: &[u8],
    cut: usize,
) -> Result<(RecordBatch, u64), String> {
    let mut decoder = TextDecoder::try_new(format, schema, columns, limits(on_error), InputRange::default()).unwrap();
    let batches = drive(&mut decoder, input, cut).map_err(|e| e.into_error("x", || 0).message().to_string())?;
    assert!(batches.iter().all(|b| (1..=7).contains(&b.num_rows())));
    Ok((concat_batches(decoder.schema(), &batches).unwrap(), decoder.take_skipped()))
}

fn csv() -> TextFormat {
    TextFormat::Csv(CsvOptions::default())
}

fn ints(batch: &RecordBatch, column: usize) -> Vec<Option<i64>> {
    batch.column(column).as_primitive::<Int64Type>().iter().collect()
}

fn strings(batch: &RecordBatch, column: usize) -> Vec<Option<&str>> {
    batch.column(column).as_string_view().iter().collect()
}

#[test]
fn csv_columns_match_by_name_and_only_the_wanted_are_parsed() {
    let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8View), ("c", DataType::Int64)]);
    let input = b"\xef\xbb\xbfc,x,B,a\r\nnot a number,1,\"q\"\"\n\",5\r\n\r\n,,,\r\n,,\"\",6";
    let (batch, _) = decode(&csv(), &table, &[0, 1], OnError::Fail, input, 3).unwrap();
    assert_eq!(ints(&batch, 0), [Some(5), None, Some(6)]);
    assert_eq!(strings(&batch, 1), [Some("q\"\n"), None, Some("")]);
    let (batch, _) = decode(&csv(), &table, &[], OnError::Fail, input, 3).unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (3, 0));
}

#[test]
fn csv_by_position_with_another_delimiter_and_null() {
    let options =
        CsvOptions { header: false, delimiter: b';', null_literal: Some("NA".into()), ..CsvOptions::default() };
    let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8View)]);
    let (batch, _) = decode(&TextFormat::Csv(options), &table, &[1, 0], OnError::Fail, b"1;x,y\nNA;NA\n", 2).unwrap();
    assert_eq!(ints(&batch, 1), [Some(1), None]);
    assert_eq!(strings(&batch, 0), [Some("x,y"), None]);
}

#[test]
fn bad_csv_records_are_named_with_line_column_reason_and_text() {
    let table = schema(&[("a", DataType::Int8), ("t", TS), ("s", DataType::Utf8View)]);
    let message = |input: &[u8]| decode(&csv(), &table, &[0, 1, 2], OnError::Fail, input, 100).unwrap_err();
    let cases: [(&[u8], &str); 7] = [
        (b"a,t,s\n1,,x\n\"2\",\"\n\",x\n", "x, line 3, column 't': the value is not a TIMESTAMP"),
        (b"a,t,s\n1,,\n300,,\n", "x, line 3, column 'a': the value does not fit TINYINT: 300"),
        (b"a,t,s\nNaN,,\n", "x, line 2, column 'a': the value does not fit TINYINT: NaN"),
        (b"a,t,s\n1,292277026596-12-04 15:30:08,\n", "line 2, column 't': the value is not a TIMESTAMP"),
        (b"a,t,s\n1,,\n\n1,2\n", "x, line 4: the record has 2 fields instead of 3: 1,2"),
        (b"a,t,s\n1,,\xff\n", "x, line 2, column 's': the text is not valid UTF-8"),
        (b"a,t,s\n1,,\"x\n\n", "x, line 2: a quoted field is not closed"),
    ];
    for (input, want) in cases {
        assert!(message(input).contains(want), "{} / {want}", message(input));
    }
    // The earlier line is reported, also where it is found later.
    assert!(message(b"a,t,s\nx,,\n1\n").contains("line 2, column 'a'"));
}

#[test]
fn under_skip_only_the_bad_rows_are_missing() {
    let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8View)]);
    let long = "z".repeat(2000);
    let input = format!("a,b\n1,x\nx,y\n2\n3,{long}\n4,\u{e9}\n5,\"a\"b\n6,last");
    let (batch, skipped) = decode(&csv(), &table, &[0, 1], OnError::Skip, input.as_bytes(), 11).unwrap();
    assert_eq!(ints(&batch, 0), [Some(1), Some(4), Some(6)]);
    assert_eq!(skipped, 4);
}

#[test]
fn dead_letters_have_their_place_their_reason_and_their_bytes() {
    let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8View)]);
    let long = "z".repeat(2000);
    let mut input = format!("a,b\r\n1,x\r\nx,y\r\n2\r\n3,{long}\r\n4,").into_bytes();
    input.extend(b"\xff\r\n5,\"a\"b\r\n6,last");
    // Each is found by its text.
    let bad: [(&[u8], &str); 5] = [
        (b"x,y", "column 'a': the value does not fit BIGINT: x"),
        (b"2", "the record has 1 field instead of 2: 2"),
        (&input[18..18 + 256], "the record is longer than 1000 bytes: 3,zzz"),
        (b"4,\xff", "column 'b': the text is not valid UTF-8"),
        (b"5,\"a\"b", "text between a closing quote and the delimiter"),
    ];
    assert!(input[18..].starts_with(b"3,z"));
    for cut in [1, 11, usize::MAX] {
        let mut decoder =
            TextDecoder::try_new(&csv(), &table, &[0, 1], limits(OnError::DeadLetter), InputRange::default()).unwrap();
        let batches = drive(&mut decoder, &input, cut).unwrap();
        let batch = concat_batches(decoder.schema(), &batches).unwrap();
        assert_eq!(ints(&batch, 0), [Some(1), Some(6)]);
        let letters = decoder.take_letters();
        assert_eq!((decoder.take_read(), decoder.take_skipped(), letters.len()), (7, 0, 5));
        for (letter, (raw, reason)) in letters.iter().zip(bad) {
            // Of a line that is too long, as much as has come.
            assert!(letter.raw == raw || (raw.len() == 256 && raw.starts_with(&letter.raw)), "{letter:?}");
            assert!(letter.reason.contains(reason), "{letter:?}");
            let at = input.windows(letter.raw.len()).position(|w| w == letter.raw).unwrap() as u64;
            assert!(letter.position == Some(at) || letter.raw == b"2", "{letter:?}");
        }
    }
}

#[test]
fn not_null_is_checked() {
    let table: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
    let (batch, skipped) = decode(&csv(), &table, &[0], OnError::Skip, b"a\n1\n\n2\n", 9).unwrap();
    assert_eq!((ints(&batch, 0), skipped), (vec![Some(1), Some(2)], 1));
    let error = decode(&csv(), &table, &[0], OnError::Fail, b"a\n1\n\n2\n", 9).unwrap_err();
    assert!(error.contains("line 3, column 'a': the value is missing, but the column is NOT NULL"), "{error}");
}

#[test]
fn a_line_of_100_mb_is_dropped_in_bounded_memory() {
    let table = schema(&[("a", DataType::Int64)]);
    let mut decoder = TextDecoder::try_new(
        &TextFormat::Json,
        &table,
        &[0],
        DecodeLimits { batch_rows: 10, record_bytes_max: 1 << 20, on_error: OnError::Skip },
        InputRange::default(),
    )
    .unwrap();
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        assert!(matches!(decoder.decode().unwrap(), Decoded::NeedInput));
        decoder.push(&chunk);
        assert!(decoder.buffered_bytes() <= 3 << 20, "{}", decoder.buffered_bytes());
    }
    assert!(matches!(decoder.decode().unwrap(), Decoded::NeedInput));
    decoder.push(b"\n{\"a\":1}\n");
    assert!(matches!(decoder.decode().unwrap(), Decoded::Batch(b) if b.num_rows() == 1));
    assert_eq!(decoder.take_skipped(), 1);
}

#[test]
fn json_scalars_and_nested_values() {
    let row = DataType::Struct(vec![Field::new("x", DataType::Int64, true), Field::new("t", TS, true)].into());
    let map =
        arrow::array::MapBuilder::new(None, arrow::array::StringViewBuilder::new(), arrow::array::Int64Builder::new())
            .finish();
    let table = schema(&[
        ("a", DataType::Int64),
        ("s", DataType::Utf8View),
        ("r", row),
        ("l", DataType::new_list(DataType::Float64, true)),
        ("m", map.data_type().clone()),
    ]);
    let input = concat!(
        r#"{"a":1,"s":"caf\u00e9","r":{"x":2,"t":"2013-01-01 05:00","y":0},"l":[1,null,2.5],"m":{"k":7,"j":null}}"#,
        "\n\n",
        r#"{"z":[{}],"s":{"raw":[1]},"a":"12"}"#,
        "\r\n",
        r#"{"a":null,"s":12.50,"r":null,"l":[],"m":{}}"#,
    );
    let all = [0, 1, 2, 3, 4];
    let (batch, _) = decode(&TextFormat::Json, &table, &all, OnError::Fail, input.as_bytes(), 5).unwrap();
    assert_eq!(ints(&batch, 0), [Some(1), Some(12), None]);
    assert_eq!(strings(&batch, 1), [Some("café"), Some(r#"{"raw":[1]}"#), Some("12.50")]);
    let mut text = vec![];
    json::write::write_rows(&batch, &mut text).unwrap();
    let first = r#"{"a":1,"s":"café","r":{"x":2,"t":"2013-01-01 05:00:00"},"l":[1.0,null,2.5],"m":{"k":7,"j":null}}"#;
    let lines: Vec<_> = std::str::from_utf8(&text).unwrap().lines().collect();
    assert_eq!(lines[0], first);
    assert_eq!(lines[1], r#"{"a":12,"s":"{\"raw\":[1]}","r":null,"l":null,"m":null}"#);
    assert_eq!(lines[2], r#"{"a":null,"s":"12.50","r":null,"l":[],"m":{}}"#);
}

#[test]
fn bad_json_records_are_named_also_deep_inside() {
    let row = DataType::Struct(vec![Field::new("x", DataType::new_list(DataType::Int8, true), true)].into());
    let table = schema(&[("a", DataType::Int64), ("r", row)]);
    let good = "{\"a\":1,\"r\":{\"x\":[1]}}\n";
    let cases = [
        ("{\"a\":1.5}", "line 2, column 'a': the value does not fit BIGINT: 1.5"),
        ("{\"r\":{\"x\":[1,2,300]}}", "line 2, column 'r': the value does not fit TINYINT: 300"),
        ("{\"r\":{\"x\":5}}", "line 2, column 'r': the value is not a JSON array: 5"),
        ("{\"r\":7}", "line 2, column 'r': the value is not a JSON object: 7"),
        ("{\"a\":1,}", "line 2: the line is not valid JSON: a key in quotes is missing"),
        ("hello", "line 2: the line is not valid JSON: it is not an object: hello"),
    ];
    for (line, want) in cases {
        let input = format!("{good}{line}\n{good}");
        let error = decode(&TextFormat::Json, &table, &[0, 1], OnError::Fail, input.as_bytes(), 9).unwrap_err();
        assert!(error.contains(want), "{error} / {want}");
        let (batch, skipped) = decode(&TextFormat::Json, &table, &[0, 1], OnError::Skip, input.as_bytes(), 9).unwrap();
        assert_eq!((batch.num_rows(), skipped), (2, 1), "{line}");
    }
}

fn wide_schema() -> SchemaRef {
    let row = DataType::Struct(vec![Field::new("x", DataType::Int64, true), Field::new("y", TS, true)].into());
    schema(&[
        ("i", DataType::Int64),
        ("f", DataType::Float64),
        ("b", DataType::Boolean),
        ("t", TS),
        ("s", DataType::Utf8View),
        ("d", DataType::Decimal128(10, 2)),
        ("y", DataType::Binary),
        ("l", DataType::new_list(DataType::Int64, true)),
        ("r", row),
    ])
}

const WIDE: [usize; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 8];

prop_compose! {
    fn wide_row()(
        i in prop::option::of(any::<i64>()), f in prop::option::of(any::<f64>()), b in prop::option::of(any::<bool>()),
        t in prop::option::of(-60_000_000_000_000_000i64..200_000_000_000_000_000), s in prop::option::of("[a\"\\\\,\r\n é]{0,5}"),
        d in prop::option::of(-9_999_999_999i128..9_999_999_999), y in prop::option::of(prop::collection::vec(any::<u8>(), 0..5)),
        l in prop::option::of(prop::collection::vec(prop::option::of(any::<i64>()), 0..3)), r in prop::option::of(any::<i64>()),
    ) -> (Option<i64>, Option<f64>, Option<bool>, Option<i64>, Option<String>, Option<i128>, Option<Vec<u8>>,
          Option<Vec<Option<i64>>>, Option<i64>) { (i, f, b, t, s, d, y, l, r) }
}

type WideRow = (
    Option<i64>,
    Option<f64>,
    Option<bool>,
    Option<i64>,
    Option<String>,
    Option<i128>,
    Option<Vec<u8>>,
    Option<Vec<Option<i64>>>,
    Option<i64>,
);

fn wide_batch(rows: &[WideRow]) -> RecordBatch {
    use arrow::array::*;
    let mut list = ListBuilder::new(Int64Builder::new());
    let mut row =
        StructBuilder::from_fields(vec![Field::new("x", DataType::Int64, true), Field::new("y", TS, true)], rows.len());
    for r in rows {
        match &r.7 {
            Some(items) => list.append_value(items.iter().copied()),
            None => list.append_null(),
        }
        row.field_builder::<Int64Builder>(0).unwrap().append_option(r.8);
        row.field_builder::<TimestampMicrosecondBuilder>(1).unwrap().append_option(r.3);
        row.append(r.8.is_some());
    }
    let decimals: Decimal128Array = rows.iter().map(|r| r.5).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.2).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|r| r.3).collect::<TimestampMicrosecondArray>()),
        Arc::new(rows.iter().map(|r| r.4.clone()).collect::<StringViewArray>()),
        Arc::new(decimals.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(rows.iter().map(|r| r.6.clone()).collect::<BinaryArray>()),
        Arc::new(list.finish()),
        Arc::new(row.finish()),
    ];
    RecordBatch::try_new(wide_schema(), columns).unwrap()
}

/// Batches as text: NaN equals itself, hidden values behind nulls do not count.
fn shown(batch: &RecordBatch) -> String {
    let mut out = vec![];
    json::write::write_rows(batch, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(rows in prop::collection::vec(wide_row(), 0..20), cut in 1usize..200) {
        let batch = wide_batch(&rows);
        let options = CsvOptions::default();
        let mut text = vec![];
        csv::write::write_header(batch.schema_ref(), &options, &mut text);
        csv::write::write_rows(&batch, &options, &mut text).unwrap();
        let (got, _) = decode(&TextFormat::Csv(options), &wide_schema(), &WIDE, OnError::Fail, &text, cut).unwrap();
        prop_assert_eq!(shown(&got), shown(&batch));
        let mut text = vec![];
        json::write::write_rows(&batch, &mut text).unwrap();
        for line in text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
        }
        let (got, _) = decode(&TextFormat::Json, &wide_schema(), &WIDE, OnError::Fail, &text, cut).unwrap();
        prop_assert_eq!(shown(&got), shown(&batch));
    }

    #[test]
    fn any_bytes_end_in_rows_or_skips_whatever_the_cuts(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'"'), Just(b','), Just(b'{'), Just(b'\\'), any::<u8>()], 0..300),
        cut in 1usize..50, header: bool, multiline: bool,
    ) {
        let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8View)]);
        let options = CsvOptions { header: false, multiline, ..CsvOptions::default() };
        let mut input = if header { b"{\"a\":1,\"b\":\"".to_vec() } else { vec![] };
        input.extend(&bytes);
        for format in [TextFormat::Csv(options), TextFormat::Json] {
            let whole = decode(&format, &table, &[0, 1], OnError::Skip, &input, usize::MAX).unwrap();
            let pieces = decode(&format, &table, &[0, 1], OnError::Skip, &input, cut).unwrap();
            prop_assert_eq!(&whole, &pieces);
            let failed = decode(&format, &table, &[0, 1], OnError::Fail, &input, cut);
            prop_assert_eq!(failed.is_err(), whole.1 > 0);
            prop_assert_eq!(failed, decode(&format, &table, &[0, 1], OnError::Fail, &input, usize::MAX));
        }
        let _ = infer_text_schema(&TextFormat::Json, &input, true);
        let _ = infer_text_schema(&csv(), &input, true);
    }

    #[test]
    fn damaged_parquet_is_an_error_never_a_panic(at in 0usize..100_000, byte: u8, cut in 0usize..2000) {
        let mut file = parquet_file();
        let len = file.len();
        file[at % len] = byte;
        let _ = read_parquet(file.clone().into(), &schema(&[("a", DataType::Int64), ("b", DataType::Utf8View)]), OnError::Skip);
        file.truncate(len - cut % len);
        let _ = read_parquet(file.into(), &schema(&[("a", DataType::Int64)]), OnError::Skip);
    }

    #[test]
    fn random_bytes_are_no_parquet(bytes: Vec<u8>) {
        prop_assert!(ParquetFooter::read(&Bytes::from(bytes)).is_err());
    }
}

fn parquet_file() -> Vec<u8> {
    let table = schema(&[("a", DataType::UInt64), ("b", DataType::Utf8), ("t", TS)]);
    let a: ArrayRef = Arc::new(arrow::array::UInt64Array::from_iter_values((0..100).chain([u64::MAX])));
    let b: ArrayRef =
        Arc::new(arrow::array::StringArray::from_iter_values((0..101).map(|n| format!("text number {n}"))));
    let t: ArrayRef = Arc::new(arrow::array::TimestampMicrosecondArray::from_iter_values((0..101).map(|n| n * 1_500)));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(40)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&table), Some(properties)).unwrap();
    writer.write(&RecordBatch::try_new(table, vec![a, b, t]).unwrap()).unwrap();
    writer.into_inner().unwrap()
}

fn read_parquet(file: Bytes, schema: &SchemaRef, on_error: OnError) -> Result<(Vec<RecordBatch>, u64), String> {
    let message = |e: rheos_core::Error| e.message().to_string();
    let footer = ParquetFooter::read(&file).map_err(message)?;
    let (mut batches, mut skipped) = (vec![], 0);
    for group in 0..footer.row_groups() {
        let mut decoder = ParquetDecoder::try_new(&footer, group, schema, 0, 16, on_error).map_err(message)?;
        loop {
            match decoder.decode().map_err(|e| message(e.into_error("x", || 0)))? {
                ParquetStep::NeedsData(ranges) => {
                    let cut = |r: &std::ops::Range<u64>| {
                        (r.end <= file.len() as u64).then(|| file.slice(r.start as usize..r.end as usize))
                    };
                    let bytes = ranges.iter().map(cut).collect::<Option<Vec<_>>>().ok_or("truncated")?;
                    decoder.push(ranges, bytes).map_err(message)?;
                }
                ParquetStep::Batch(batch) => batches.push(batch),
                ParquetStep::End => break,
            }
        }
        skipped += decoder.take_skipped();
    }
    Ok((batches, skipped))
}

#[test]
fn every_format_matches_names_without_case_where_only_one_fits() {
    let table = schema(&[("id", DataType::Int64), ("N", DataType::Int64)]);
    for (format, input) in [(csv(), "ID,n\n1,2\n"), (TextFormat::Json, "{\"ID\":1,\"n\":2}\n")] {
        let (batch, _) = decode(&format, &table, &[0, 1], OnError::Fail, input.as_bytes(), 9).unwrap();
        assert_eq!((ints(&batch, 0), ints(&batch, 1)), (vec![Some(1)], vec![Some(2)]), "{input}");
    }
    let written = schema(&[("ID", DataType::Int64), ("n", DataType::Int64)]);
    let column = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n])) };
    let mut writer = ParquetWriter::try_new(Vec::new(), &written, ParquetCompression::Zstd).unwrap();
    writer.write(&RecordBatch::try_new(written, vec![column(1), column(2)]).unwrap()).unwrap();
    let (batches, _) = read_parquet(Bytes::from(writer.finish().unwrap()), &table, OnError::Fail).unwrap();
    assert_eq!((ints(&batches[0], 0), ints(&batches[0], 1)), (vec![Some(1)], vec![Some(2)]));
}

#[test]
fn parquet_columns_without_a_type_are_null_and_the_largest_numbers_fit_what_is_inferred() {
    let written = schema(&[("none", DataType::Null), ("big", DataType::UInt64)]);
    let none: ArrayRef = Arc::new(arrow::array::NullArray::new(2));
    let big: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![1, u64::MAX]));
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&written), None).unwrap();
    writer.write(&RecordBatch::try_new(written, vec![none, big]).unwrap()).unwrap();
    let file = Bytes::from(writer.into_inner().unwrap());
    for declared in [DataType::Int64, DataType::Utf8View, TS, DataType::Boolean, DataType::Date32] {
        let (batches, skipped) = read_parquet(file.clone(), &schema(&[("none", declared)]), OnError::Fail).unwrap();
        assert_eq!((batches[0].column(0).null_count(), skipped), (2, 0));
    }
    let inferred = ParquetFooter::read(&file).unwrap().schema();
    assert_eq!(inferred.field(1).data_type(), &DataType::Decimal128(20, 0));
    let (batches, _) = read_parquet(file, &inferred, OnError::Fail).unwrap();
    let values = batches[0].column(1).as_primitive::<arrow::datatypes::Decimal128Type>();
    assert_eq!(values.values().as_ref(), [1, i128::from(u64::MAX)]);
    assert_eq!(batches[0].column(0).null_count(), 2);
}

#[test]
fn a_field_that_looks_like_null_has_a_hint_in_csv_alone() {
    let table = schema(&[("a", DataType::Int64)]);
    let hint = |format: &TextFormat, input: &str| {
        let limits = DecodeLimits { batch_rows: 9, record_bytes_max: 100, on_error: OnError::Fail };
        let mut decoder = TextDecoder::try_new(format, &table, &[0], limits, InputRange::default()).unwrap();
        let error = drive(&mut decoder, input.as_bytes(), 9).unwrap_err().into_error("x", || 0);
        assert_eq!(error.code(), "R0301");
        error.hint().unwrap().contains("csv.null-literal")
    };
    assert!(hint(&csv(), "a\nNA\n") && hint(&csv(), "a\n1\n\\N\n"));
    assert!(!hint(&csv(), "a\n\"NA\"\n") && !hint(&csv(), "a\nNAB\n"));
    assert!(!hint(&TextFormat::Json, "{\"a\":\"NA\"}\n"));
}

#[test]
fn parquet_is_projected_reordered_and_cast() {
    let file = Bytes::from(parquet_file());
    let table = schema(&[("t", TS), ("a", DataType::Int64)]);
    let (batches, skipped) = read_parquet(file.clone(), &table, OnError::Skip).unwrap();
    let all = concat_batches(&table, &batches).unwrap();
    assert_eq!((all.num_rows(), skipped), (100, 1));
    assert_eq!(all.column(0).as_primitive::<TimestampMicrosecondType>().value(99), 99 * 1500);
    assert_eq!(ints(&all, 1)[99], Some(99));
    let error = read_parquet(file.clone(), &table, OnError::Fail).unwrap_err();
    assert!(error.contains("row 101, column 'a': the value does not fit BIGINT: 18446744073709551615"), "{error}");
    let error = read_parquet(file.clone(), &schema(&[("bb", DataType::Int64)]), OnError::Fail).unwrap_err();
    assert!(error.contains("no column 'bb'"), "{error}");
    let footer = ParquetFooter::read(&file).unwrap();
    let minima: Vec<_> = (0..3).map(|g| footer.min_time_ms(g, "t")).collect();
    assert_eq!(minima, [Some(0), Some(60), Some(120)]);
    assert_eq!(footer.min_time_ms(0, "a"), None);
    let (batches, _) = read_parquet(file, &schema(&[("b", DataType::Utf8View)]), OnError::Fail).unwrap();
    assert_eq!(batches[0].column(0).as_string_view().value(3), "text number 3");
}

#[test]
fn parquet_round_trip_with_two_columns_of_one_name() {
    let table = schema(&[("a", DataType::Int64), ("a", DataType::Utf8View)]);
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let b: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), Some("")]));
    let batch = RecordBatch::try_new(Arc::clone(&table), vec![a, b]).unwrap();
    let mut writer = ParquetWriter::try_new(Vec::new(), &table, ParquetCompression::Zstd).unwrap();
    writer.write(&batch).unwrap();
    assert!(writer.bytes() > 0);
    let file = Bytes::from(writer.finish().unwrap());
    let back = schema(&[("a", DataType::Int64), ("a_1", DataType::Utf8View)]);
    let (batches, _) = read_parquet(file, &back, OnError::Fail).unwrap();
    assert_eq!(batches[0].columns(), batch.columns());
}

#[test]
fn parquet_is_packed_as_asked_and_read_whatever_it_is() {
    use ParquetCompression::*;
    let table = schema(&[("a", DataType::Int64)]);
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let batch = RecordBatch::try_new(Arc::clone(&table), vec![column]).unwrap();
    for (compression, codec) in
        [(Zstd, "ZSTD"), (Snappy, "SNAPPY"), (Lz4, "LZ4_RAW"), (Gzip, "GZIP"), (Uncompressed, "UNCOMPRESSED")]
    {
        let mut writer = ParquetWriter::try_new(Vec::new(), &table, compression).unwrap();
        writer.write(&batch).unwrap();
        let file = Bytes::from(writer.finish().unwrap());
        let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
        let written = format!("{:?}", builder.metadata().row_group(0).column(0).compression());
        assert!(written.starts_with(codec), "{written}");
        let (batches, _) = read_parquet(file, &table, OnError::Fail).unwrap();
        assert_eq!(concat_batches(&table, &batches).unwrap(), batch);
    }
}
