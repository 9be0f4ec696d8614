//! `nexmark`: the event generator of the Nexmark benchmark, an online auction (Tucker et al., 2002).
//!
//! The distribution and the options follow the generator of the project nexmark/nexmark, which follows Apache Beam's.
//! Where that one draws from a sequence of random numbers, this one computes each value from (seed, field, event number):
//! a run is the same whatever the parallelism, and only the columns that are read are made. Bidder ids are ids of
//! persons; the official generator adds the first id twice to them.
//!
//! ```text
//!   event number ──► kind, event time ──► one column after another ──► batch
//!   (config, event)                      (columns, text)               (table, source)
//! ```

mod columns;
pub(crate) mod config;
mod event;
mod source;
mod spare;
mod table;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::options::{OptionDef, Options};
use rheos_core::sink::Sink;
use rheos_core::source::Source;
use rheos_core::{Error, Result};

use config::{Config, DISTRIBUTION, OPTIONS};
use source::NexmarkSource;
use table::{Shape, Table};

/// The connector.
pub(crate) fn connector() -> Arc<dyn Connector> {
    Arc::new(Nexmark)
}

#[derive(Debug)]
struct Nexmark;

impl Nexmark {
    fn options_of(&self, table: &TableDefinition) -> Result<Options> {
        Options::try_new("connector 'nexmark'", &table.options, &[OPTIONS, DISTRIBUTION])
    }
}

impl Connector for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn summary(&self) -> &'static str {
        "Makes the events of the Nexmark benchmark: persons, auctions and bids."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![("Events", OPTIONS), ("Distribution", DISTRIBUTION)]
    }

    fn infer_schema(&self, table: &TableDefinition) -> Result<Option<SchemaRef>> {
        let options = self.options_of(table)?;
        Ok(Some(Table::full_schema(Shape::named(options.text("table")))))
    }

    fn check_options(&self, table: &TableDefinition) -> Result<()> {
        // Nothing is made before the first poll.
        self.source(table).map(drop)
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        let options = self.options_of(table)?;
        let config = Config::try_new(&options)?;
        let columns = Table::try_new(Shape::named(options.text("table")), &table.schema)
            .map_err(|e| e.context(format!("table '{}'", table.name)))?;
        Ok(Arc::new(NexmarkSource::new(config, columns)))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Err(Error::invalid(286, format!("table '{}' cannot be written: 'nexmark' only makes rows", table.name))
            .with_hint("INSERT INTO a table of 'filesystem', 'print' or 'blackhole'"))
    }
}
