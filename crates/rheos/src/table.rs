//! Tables declared in Rust: what `CREATE TABLE` is in SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rheos_core::connector::{Connector, ConnectorRegistry, TableDefinition};
use rheos_core::error::{Error, Result, did_you_mean};
use rheos_core::sink::Sink;
use rheos_core::source::{MaxJump, Source, WatermarkSpec};
use rheos_core::units::parse_duration_ms;

/// A table that a stream reads or writes.
///
/// ```
/// use rheos::{Table, types};
///
/// let flights = Table::new("flights", "filesystem")
///     .option("path", "flights.csv")
///     .option("format", "csv")
///     .column("origin", types::string())
///     .column("sched_dep", types::timestamp())
///     .watermark("sched_dep", "5 s");
/// # let _ = flights;
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Table {
    name: String,
    connector: String,
    fields: Vec<Field>,
    options: BTreeMap<String, String>,
    partitioned_by: Vec<String>,
    watermark: Option<(String, String)>,
    idle_timeout: Option<String>,
    max_jump: MaxJump,
}

impl Table {
    /// A table called `name` (for messages) in the system `connector`.
    pub fn new(name: impl Into<String>, connector: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            connector: connector.into(),
            fields: Vec::new(),
            options: BTreeMap::new(),
            partitioned_by: Vec::new(),
            watermark: None,
            idle_timeout: None,
            max_jump: MaxJump::Unset,
        }
    }

    /// An option of the connector; `rheos connectors NAME` lists them.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// A column that may be null. A table without columns takes them from the connector, if it knows them.
    pub fn column(mut self, name: impl Into<String>, kind: DataType) -> Self {
        self.fields.push(Field::new(name, kind, true));
        self
    }

    /// The columns whose values stand in the names of folders and not in the files, as `PARTITIONED BY` in SQL.
    pub fn partitioned_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.partitioned_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The event time, and by how much rows may be out of order (`"5 s"`).
    pub fn watermark(mut self, column: impl Into<String>, delay: impl Into<String>) -> Self {
        self.watermark = Some((column.into(), delay.into()));
        self
    }

    /// Parts of the source without a row for so long do not hold the watermark back (`"1 min"`).
    pub fn idle_timeout(mut self, timeout: impl Into<String>) -> Self {
        self.idle_timeout = Some(timeout.into());
        self
    }

    /// A record whose event time is further ahead of the clock (`"1 d"`) is a bad one. A day where the input does not end, unless it
    /// is told otherwise.
    ///
    /// Errors: `Invalid` for what is no duration.
    pub fn max_jump(mut self, most: &str) -> Result<Self> {
        self.max_jump = MaxJump::Ms(parse_duration_ms(most)?);
        Ok(self)
    }

    /// The table for reading.
    pub(crate) fn to_source(&self, registry: &ConnectorRegistry) -> Result<(Arc<dyn Source>, Option<WatermarkSpec>)> {
        let connector = self.connector(registry)?;
        let mut definition = self.definition(Schema::new(self.fields.clone()));
        if self.fields.is_empty() {
            definition.schema = connector.infer_schema(&definition)?.ok_or_else(|| {
                Error::invalid(511, format!("table '{}' has no columns", self.name))
                    .with_hint("declare them with column(name, type)")
            })?;
        }
        let source = connector.source(&definition)?;
        let watermark = match &self.watermark {
            None => None,
            Some((column, delay)) => Some(watermark_spec(
                &self.name,
                &source.schema(),
                column,
                delay,
                self.idle_timeout.as_deref(),
                self.max_jump,
            )?),
        };
        Ok((source, watermark))
    }

    /// The table for writing rows of `input`; without columns of its own it takes those.
    pub(crate) fn to_sink(&self, registry: &ConnectorRegistry, input: &Schema) -> Result<Arc<dyn Sink>> {
        let schema = if self.fields.is_empty() { input.clone() } else { Schema::new(self.fields.clone()) };
        self.connector(registry)?.sink(&self.definition(schema))
    }

    fn connector<'a>(&self, registry: &'a ConnectorRegistry) -> Result<&'a Arc<dyn Connector>> {
        let connector = registry.get(&self.connector)?;
        if !self.partitioned_by.is_empty() && !connector.has_partitions() {
            return Err(Error::invalid(168, format!("tables of '{}' have no partitions", connector.name()))
                .with_hint("take partitioned_by(..) away, or write to a table of 'filesystem'"));
        }
        Ok(connector)
    }

    fn definition(&self, schema: Schema) -> TableDefinition {
        TableDefinition {
            name: self.name.clone(),
            schema: Arc::new(schema),
            options: self.options.clone(),
            partitioned_by: self.partitioned_by.clone(),
            primary_key: vec![],
            metadata: vec![],
        }
    }
}

fn watermark_spec(
    table: &str,
    schema: &Schema,
    column: &str,
    delay: &str,
    idle_timeout: Option<&str>,
    max_jump: MaxJump,
) -> Result<WatermarkSpec> {
    let index = schema.fields().iter().position(|f| f.name() == column).ok_or_else(|| {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let list = format!("the columns are: {}", names.join(", "));
        Error::invalid(512, format!("table '{table}' has no column '{column}'")).with_hint(did_you_mean(
            column,
            names.iter().copied(),
            &list,
        ))
    })?;
    if !matches!(schema.field(index).data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
        let kind = schema.field(index).data_type();
        return Err(Error::invalid(513, format!("the event time '{column}' has the type {kind}, not a timestamp"))
            .with_hint("declare it with types::timestamp() or types::timestamp_ltz()"));
    }
    Ok(WatermarkSpec {
        column: index,
        delay_ms: parse_duration_ms(delay)?,
        idle_timeout_ms: idle_timeout.map(parse_duration_ms).transpose()?,
        max_jump,
    })
}

/// The column types under their SQL names.
pub mod types {
    use arrow::datatypes::{DataType, TimeUnit};

    /// `STRING`.
    pub fn string() -> DataType {
        DataType::Utf8
    }

    /// `BOOLEAN`.
    pub fn boolean() -> DataType {
        DataType::Boolean
    }

    /// `INT`, 32 bits.
    pub fn int() -> DataType {
        DataType::Int32
    }

    /// `BIGINT`, 64 bits.
    pub fn bigint() -> DataType {
        DataType::Int64
    }

    /// `DOUBLE`.
    pub fn double() -> DataType {
        DataType::Float64
    }

    /// `DECIMAL(precision, scale)`.
    pub fn decimal(precision: u8, scale: i8) -> DataType {
        DataType::Decimal128(precision, scale)
    }

    /// `DATE`.
    pub fn date() -> DataType {
        DataType::Date32
    }

    /// `TIMESTAMP`: microseconds without a zone, read as UTC.
    pub fn timestamp() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, None)
    }

    /// `TIMESTAMP_LTZ`: microseconds, a moment.
    pub fn timestamp_ltz() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    /// `BYTES`.
    pub fn bytes() -> DataType {
        DataType::Binary
    }
}
