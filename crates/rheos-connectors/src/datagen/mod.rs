//! `datagen`: makes tables by rule, one rule a column, for trying things out and for tests.
//!
//! Invariant: the value of a column in row `n` depends on the seed, the column's place and `n`, so a table is the same
//! whatever the parallelism, the splits and the columns that are read.
//!
//! ```text
//!   'fields.price.min' = '1' ──► spec (rule a column) ──► values (one array a column) ──► source (splits, pace)
//! ```

mod decimal;
pub(crate) mod random;
mod source;
mod spec;
mod values;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::sink::Sink;
use rheos_core::source::Source;
use rheos_core::{Error, Result};

use source::DatagenSource;
use spec::{COLUMN_OPTIONS, columns};

const OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "rows-per-second",
        OptionType::Rate,
        "",
        "Rows per second of real time, such as '10/s'; as fast as possible if not given.",
    ),
    OptionDef::new(
        "number-of-rows",
        OptionType::Integer { min: 0, max: 1_000_000_000_000_000 },
        "",
        "Rows of the table; without end if not given, unless a sequence has an end.",
    ),
    OptionDef::new("seed", OptionType::Integer { min: 0, max: i64::MAX }, "0", "Another seed gives other values."),
];

/// The connector.
pub(crate) fn connector() -> Arc<dyn Connector> {
    Arc::new(Datagen)
}

#[derive(Debug)]
struct Datagen;

impl Connector for Datagen {
    fn name(&self) -> &'static str {
        "datagen"
    }

    fn summary(&self) -> &'static str {
        "Makes rows by rule: random values and sequences, one rule a column."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![("Rows", OPTIONS), ("Columns", COLUMN_OPTIONS)]
    }

    fn check_options(&self, table: &TableDefinition) -> Result<()> {
        // Nothing is made before the first poll, and the options of columns need the columns.
        self.source(table).map(drop)
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        let options = Options::try_new("connector 'datagen'", &table.options, &[OPTIONS, COLUMN_OPTIONS])?;
        let seed = options.integer("seed").unwrap_or(0).unsigned_abs();
        let rate = options.rate_per_s("rows-per-second");
        // Timestamps keep the pace of the rows; without a pace they are a second apart.
        let step_us = rate.map_or(1_000_000, |r| (1e6 / r).round().max(1.0) as i64);
        let fields: Vec<_> = table.schema.fields().iter().map(AsRef::as_ref).collect();
        let specs =
            columns(&fields, &options, seed, step_us).map_err(|e| e.context(format!("table '{}'", table.name)))?;
        let asked = options.integer("number-of-rows").map(i64::unsigned_abs);
        let rows = specs.iter().filter_map(|s| s.rows).chain(asked).min();
        Ok(Arc::new(DatagenSource::new(Arc::clone(&table.schema), specs, rows, seed, rate)))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Err(Error::invalid(286, format!("table '{}' cannot be written: 'datagen' only makes rows", table.name))
            .with_hint("INSERT INTO a table of 'filesystem', 'print' or 'blackhole'"))
    }
}
