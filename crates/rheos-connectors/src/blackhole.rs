//! Takes rows and forgets them: for measuring. Batches arrive finished, with every column.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use rheos_core::change::Changes;
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::options::{OptionDef, Options};
use rheos_core::sink::{Committable, EpochEnd, Sink, SinkWriter, WriterContext};
use rheos_core::source::Source;
use rheos_core::{Batch, Epoch, Error, Result};

/// The connector `blackhole`.
pub(crate) fn connector() -> Arc<dyn Connector> {
    Arc::new(Blackhole)
}

/// A sink that takes rows on every worker and forgets them.
pub fn discard(schema: SchemaRef) -> Arc<dyn Sink> {
    Arc::new(BlackholeSink { schema, rows: Arc::default() })
}

struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn summary(&self) -> &'static str {
        "Takes finished rows and forgets them, for measuring."
    }

    fn is_readable(&self) -> bool {
        false
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        Err(Error::invalid(218, format!("table '{}' forgets its rows and can only be written", table.name))
            .with_hint("read from a table with the connector 'filesystem', 'datagen' or 'nexmark'"))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Options::try_new(&format!("table '{}' (connector 'blackhole')", table.name), &table.options, &[])?;
        Ok(discard(Arc::clone(&table.schema)))
    }
}

#[derive(Debug)]
struct BlackholeSink {
    schema: SchemaRef,
    rows: Arc<AtomicU64>,
}

impl Sink for BlackholeSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn accepts(&self) -> Changes {
        Changes::Retract
    }

    fn open(&self, _ctx: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(BlackholeWriter(Arc::clone(&self.rows))))
    }

    /// What is forgotten twice is forgotten once.
    fn is_transactional(&self) -> bool {
        true
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("connector".into(), "blackhole".into())]
    }
}

struct BlackholeWriter(Arc<AtomicU64>);

impl SinkWriter for BlackholeWriter {
    fn ready(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.0.fetch_add(batch.records.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn stage(&mut self, _epoch: Epoch, _end: EpochEnd) -> Result<Option<Vec<Committable>>> {
        Ok(Some(vec![]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use rheos_core::Ticket;

    #[test]
    fn rows_are_counted_and_their_credit_returned() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let records = RecordBatch::try_from_iter([("a", a)]).unwrap();
        let sink = BlackholeSink { schema: records.schema(), rows: Arc::default() };
        let mut writer = sink.open(WriterContext::detached()).unwrap();
        let pool = rheos_core::CreditPool::new(10, Arc::new(|| ()));
        writer.write(Batch::new(records.clone(), pool.take(24))).unwrap();
        writer.write(Batch::new(records, Ticket::none())).unwrap();
        assert_eq!((sink.rows.load(Ordering::Relaxed), pool.outstanding_bytes()), (6, 0));
    }
}
