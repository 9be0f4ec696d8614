//! Bytes to batches: of the seven columns of a bid the ones that are numbers, as most queries read.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use rheos_formats::csv::CsvOptions;
use rheos_formats::parquet::read::{ParquetDecoder, ParquetFooter, ParquetStep};
use rheos_formats::parquet::write::{ParquetCompression, ParquetWriter};
use rheos_formats::{DecodeLimits, Decoded, InputRange, OnError, TextDecoder, TextFormat};

use crate::Run;
use crate::input::{BATCH_ROWS, BID, NUMBERS, count, indices, rows};

/// Bytes that a decoder is given at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// The columns that are decoded from JSON.
const OF_JSON: [&str; 3] = ["auction", "price", "dateTime"];

fn json_text(bids: &[RecordBatch]) -> Vec<u8> {
    let mut text = vec![];
    bids.iter().for_each(|batch| rheos_formats::json::write::write_rows(batch, &mut text).unwrap());
    text
}

fn csv_text(bids: &[RecordBatch], options: &CsvOptions) -> Vec<u8> {
    let mut text = vec![];
    rheos_formats::csv::write::write_header(&bids[0].schema(), options, &mut text);
    bids.iter().for_each(|batch| rheos_formats::csv::write::write_rows(batch, options, &mut text).unwrap());
    text
}

pub(crate) fn json(bids: usize) -> Run {
    let bids = rows("bid", bids, &BID);
    let (schema, text) = (bids[0].schema(), json_text(&bids));
    Box::new(move || decode_text(&TextFormat::Json, &schema, &OF_JSON, &text))
}

/// The same by arrow-json, to compare.
pub(crate) fn arrow_json(bids: usize) -> Run {
    let bids = rows("bid", bids, &BID);
    let (schema, text) = (bids[0].schema(), json_text(&bids));
    let wanted = SchemaRef::new(schema.project(&indices(&schema, &OF_JSON)).unwrap());
    Box::new(move || {
        let reader =
            arrow::json::ReaderBuilder::new(wanted).with_batch_size(BATCH_ROWS).build(text.as_slice()).unwrap();
        reader.map(|batch| batch.unwrap().num_rows()).sum()
    })
}

pub(crate) fn csv(bids: usize) -> Run {
    let bids = rows("bid", bids, &BID);
    let (schema, options) = (bids[0].schema(), CsvOptions { multiline: false, ..CsvOptions::default() });
    let text = csv_text(&bids, &options);
    Box::new(move || decode_text(&TextFormat::Csv(options), &schema, &NUMBERS, &text))
}

/// The same by arrow-csv, to compare.
pub(crate) fn arrow_csv(bids: usize) -> Run {
    let bids = rows("bid", bids, &BID);
    let (schema, text) = (bids[0].schema(), csv_text(&bids, &CsvOptions::default()));
    Box::new(move || {
        let wanted = indices(&schema, &NUMBERS);
        let builder = arrow::csv::ReaderBuilder::new(schema).with_header(true).with_projection(wanted);
        let reader = builder.with_batch_size(BATCH_ROWS).build_buffered(text.as_slice()).unwrap();
        reader.map(|batch| batch.unwrap().num_rows()).sum()
    })
}

fn decode_text(format: &TextFormat, schema: &SchemaRef, columns: &[&str], text: &[u8]) -> usize {
    let limits = DecodeLimits { batch_rows: BATCH_ROWS, record_bytes_max: 1 << 20, on_error: OnError::Fail };
    let columns = indices(schema, columns);
    let mut decoder = TextDecoder::try_new(format, schema, &columns, limits, InputRange::default()).unwrap();
    let mut chunks = text.chunks(CHUNK_BYTES);
    let mut rows = 0;
    loop {
        match decoder.decode().unwrap() {
            Decoded::Batch(batch) => rows += batch.num_rows(),
            Decoded::NeedInput => match chunks.next() {
                Some(chunk) => decoder.push(chunk),
                None => decoder.finish(),
            },
            Decoded::End => return rows,
        }
    }
}

pub(crate) fn parquet(bids: usize) -> Run {
    let bids = rows("bid", bids, &BID);
    let schema = bids[0].schema();
    let mut writer = ParquetWriter::try_new(vec![], &schema, ParquetCompression::Snappy).unwrap();
    bids.iter().for_each(|batch| writer.write(batch).unwrap());
    let file = Bytes::from(writer.finish().unwrap());
    let footer = ParquetFooter::read(&file).unwrap();
    let wanted = SchemaRef::new(schema.project(&indices(&schema, &NUMBERS)).unwrap());
    let expected = count(&bids);
    Box::new(move || {
        let groups = 0..footer.row_groups();
        let rows = groups.map(|group| read_group(&file, &footer, group, &wanted)).sum();
        assert_eq!(rows, expected);
        rows
    })
}

fn read_group(file: &Bytes, footer: &ParquetFooter, group: usize, wanted: &SchemaRef) -> usize {
    let mut decoder = ParquetDecoder::try_new(footer, group, wanted, 0, BATCH_ROWS, OnError::Fail).unwrap();
    let mut rows = 0;
    loop {
        match decoder.decode().unwrap() {
            ParquetStep::NeedsData(ranges) => {
                let part = |range: &std::ops::Range<u64>| file.slice(range.start as usize..range.end as usize);
                let bytes = ranges.iter().map(part).collect();
                decoder.push(ranges, bytes).unwrap();
            }
            ParquetStep::Batch(batch) => rows += batch.num_rows(),
            ParquetStep::End => return rows,
        }
    }
}
