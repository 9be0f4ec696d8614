//! How the planner meets connectors without knowing any: a registry of factories.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::{Error, Result, did_you_mean};
use crate::options::{OptionDef, OptionType, Options};
use crate::sink::Sink;
use crate::source::Source;

/// A table as its `CREATE TABLE` declares it, the time and key clauses apart.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// The table's name, for messages.
    pub name: String,
    /// The physical columns: `TIMESTAMP` is microseconds without a zone, `TIMESTAMP_LTZ` microseconds in UTC.
    pub schema: SchemaRef,
    /// `WITH (...)` without `connector` and without the table-level options ([`TABLE_OPTIONS`]).
    pub options: BTreeMap<String, String>,
    /// `PARTITIONED BY (...)`: names of columns of `schema`, each once. Empty where the connector has no partitions.
    pub partitioned_by: Vec<String>,
    /// `PRIMARY KEY (...)`: names of columns of `schema`, each once. Empty where rows have no key, or one that is computed.
    pub primary_key: Vec<String>,
    /// `name TYPE METADATA FROM 'key'`: columns for reading, whose values the connector makes. They are not in `schema`.
    pub metadata: Vec<MetadataColumn>,
}

impl TableDefinition {
    /// The columns of [`Connector::source`]: those of `schema`, and behind them the metadata.
    pub fn read_schema(&self) -> SchemaRef {
        if self.metadata.is_empty() {
            return Arc::clone(&self.schema);
        }
        let metadata = self.metadata.iter().map(|m| Arc::new(Field::new(&m.name, m.data_type.clone(), true)));
        Arc::new(Schema::new(self.schema.fields().iter().cloned().chain(metadata).collect::<Vec<_>>()))
    }
}

/// A column that says where a row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataColumn {
    /// The column's name.
    pub name: String,
    /// One of the keys of [`Connector::metadata`].
    pub key: String,
    /// The key's type, as the table declares it.
    pub data_type: DataType,
}

/// Something that a connector knows about each row beside its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataKey {
    /// What stands behind `METADATA FROM`.
    pub key: &'static str,
    /// The type of its values.
    pub data_type: DataType,
    /// What it is, in one sentence.
    pub help: &'static str,
}

/// The options of every table that is read, whatever its connector: the planner takes them out.
pub const TABLE_OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "idle-timeout",
        OptionType::Duration,
        "",
        "A part of the source without a row for so long does not hold the watermark back. Needs a WATERMARK.",
    ),
    OptionDef::new(
        "watermark.max-jump",
        OptionType::Text,
        "",
        "A record whose event time is further ahead of the clock is a bad one: a duration, or `off`. `1 d` where the input does not \
         end, else `off`. Needs a WATERMARK.",
    ),
];

/// One system that tables can live in.
pub trait Connector: Send + Sync {
    /// The value of `'connector' = '...'`.
    fn name(&self) -> &'static str;

    /// What it is, in one sentence.
    fn summary(&self) -> &'static str;

    /// The options, in the groups in which help shows them: (heading, definitions).
    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])>;

    /// Whether its tables can be read at all.
    fn is_readable(&self) -> bool {
        true
    }

    /// Whether its tables can be `PARTITIONED BY` columns. One that says so heeds [`TableDefinition::partitioned_by`].
    fn has_partitions(&self) -> bool {
        false
    }

    /// What its tables tell about each row. One that has such keys heeds [`TableDefinition::metadata`].
    fn metadata(&self) -> Vec<MetadataKey> {
        vec![]
    }

    /// The columns of a table that is declared without any, if the connector can know them.
    fn infer_schema(&self, table: &TableDefinition) -> Result<Option<SchemaRef>> {
        let _ = table;
        Ok(None)
    }

    /// Checks a table that nothing may ever read or write, without a look at what it names (files, servers).
    ///
    /// Errors: `Invalid` for an unknown, missing or wrong option. A connector that can check more without opening anything
    /// does it here.
    fn check_options(&self, table: &TableDefinition) -> Result<()> {
        let owner = format!("table '{}' (connector '{}')", table.name, self.name());
        let groups: Vec<_> = self.options().into_iter().map(|(_, defs)| defs).collect();
        Options::try_new(&owner, &table.options, &groups).map(drop)
    }

    /// The table for reading, with the columns of [`TableDefinition::read_schema`]. Errors: `Invalid` where it can only be written, or for wrong options.
    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>>;

    /// The table for writing. Errors: `Invalid` where it can only be read, or for wrong options.
    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>>;

    /// The table for writing dead letters that no query reads, if the connector keeps such; see
    /// [`letters`](crate::letters). What goes wrong there does not end the job: it waits for a disk that is full, and what is
    /// lost of letters that are not visible yet is told and passed over.
    fn letters_sink(&self, table: &TableDefinition) -> Result<Option<Arc<dyn Sink>>> {
        let _ = table;
        Ok(None)
    }
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
