//! Generated rows, the same in every run.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use rheos::connector::TableDefinition;
use rheos::source::{ReaderContext, SourcePoll};

/// Rows of a batch, as in a job.
pub(crate) const BATCH_ROWS: usize = 8192;

/// So many rows of `kind` (`bid`, `auction`) with these columns, in the order of event time: 10,000 events a second.
pub(crate) fn rows(kind: &str, rows: usize, columns: &[&str]) -> Vec<RecordBatch> {
    let connectors = rheos::connectors();
    let connector = connectors.get("nexmark").unwrap();
    let mut table = TableDefinition {
        name: kind.into(),
        schema: Arc::new(Schema::empty()),
        options: BTreeMap::from([("table".into(), kind.into()), ("events.num".into(), "0".into())]),
        partitioned_by: vec![],
        primary_key: vec![],
        metadata: vec![],
    };
    table.schema = connector.infer_schema(&table).unwrap().unwrap();
    let wanted: Vec<usize> = columns.iter().map(|name| table.schema.index_of(name).unwrap()).collect();
    let source = connector.source(&table).unwrap().project(&wanted).unwrap();
    let mut batches = vec![];
    let mut missing = rows;
    for split in source.discover(None, 1).unwrap().splits {
        let mut reader = source.open(&split, None, ReaderContext::detached(BATCH_ROWS)).unwrap();
        while let SourcePoll::Batch(batch) = reader.poll().unwrap() {
            let batch = batch.slice(0, batch.num_rows().min(missing));
            missing -= batch.num_rows();
            batches.push(batch);
            if missing == 0 {
                return batches;
            }
        }
    }
    batches
}

/// All columns of a bid.
pub(crate) const BID: [&str; 7] = ["auction", "bidder", "price", "channel", "url", "dateTime", "extra"];

/// The columns of a bid that are numbers.
pub(crate) const NUMBERS: [&str; 4] = ["auction", "bidder", "price", "dateTime"];

/// Indices of columns.
pub(crate) fn indices(schema: &SchemaRef, names: &[&str]) -> Vec<usize> {
    names.iter().map(|name| schema.index_of(name).unwrap()).collect()
}

/// Rows of all batches.
pub(crate) fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}
