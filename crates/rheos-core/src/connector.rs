//! How the planner meets connectors without knowing any: a registry of factories.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result, did_you_mean};
use crate::options::OptionDef;
use crate::sink::Sink;
use crate::source::Source;

/// A table as its `CREATE TABLE` declares it, the time and key clauses apart.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// The table's name, for messages.
    pub name: String,
    /// The physical columns: `TIMESTAMP` is microseconds without a zone, `TIMESTAMP_LTZ` microseconds in UTC.
    pub schema: SchemaRef,
    /// `WITH (...)` without `connector` and without the table-level options (`idle-timeout`).
    pub options: BTreeMap<String, String>,
}

/// One system that tables can live in.
pub trait Connector: Send + Sync {
    /// The value of `'connector' = '...'`.
    fn name(&self) -> &'static str;

    /// What it is, in one sentence.
    fn summary(&self) -> &'static str;

    /// The options, in the groups in which help shows them: (heading, definitions).
    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])>;

    /// The columns of a table that is declared without any, if the connector can know them.
    fn infer_schema(&self, table: &TableDefinition) -> Result<Option<SchemaRef>> {
        let _ = table;
        Ok(None)
    }

    /// The table for reading. Errors: `Invalid` where it can only be written, or for wrong options.
    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>>;

    /// The table for writing. Errors: `Invalid` where it can only be read, or for wrong options.
    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>>;
}

/// The connectors that a program can name.
#[derive(Clone, Default)]
pub struct ConnectorRegistry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
}

impl ConnectorRegistry {
    /// Adds a connector under its name.
    pub fn register(&mut self, connector: Arc<dyn Connector>) {
        self.connectors.insert(connector.name(), connector);
    }

    /// All connectors, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }

    /// A connector. Errors: `Invalid` with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Connector>> {
        self.connectors.get(name).ok_or_else(|| {
            let names = self.connectors.keys().copied().collect::<Vec<_>>();
            let list = format!("the connectors are: {}", names.join(", "));
            Error::invalid(116, format!("there is no connector '{name}'")).with_hint(did_you_mean(name, names, &list))
        })
    }
}
