//! Connectors without data: `memory` has an end, `endless` has none, `known` knows its columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rheos_core::connector::{Connector, ConnectorRegistry, MetadataKey, TableDefinition};
use rheos_core::error::{Error, Result};
use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::sink::{Sink, SinkWriter, WriterContext};
use rheos_core::source::{Boundedness, Discovery, ReaderContext, Source, Split, SplitReader};
use rheos_sql::{Output, PlanOptions, Program, ResultRows};

const OPTIONS: &[OptionDef] = &[
    OptionDef::new("path", OptionType::Text, "", "Where it is."),
    OptionDef::new("format", OptionType::OneOf(&["csv", "json"]), "csv", "What it is written in."),
];

#[derive(Debug)]
struct Fake {
    name: &'static str,
    boundedness: Boundedness,
}

impl Connector for Fake {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        "A table for tests."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![("Options", OPTIONS)]
    }

    fn has_partitions(&self) -> bool {
        self.name == "endless"
    }

    fn metadata(&self) -> Vec<MetadataKey> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let key = |key, data_type| MetadataKey { key, data_type, help: "A key for tests." };
        match self.name {
            "endless" => vec![key("offset", DataType::Int64), key("timestamp", time)],
            _ => vec![],
        }
    }

    fn infer_schema(&self, _table: &TableDefinition) -> Result<Option<SchemaRef>> {
        let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)];
        Ok((self.name == "known").then(|| Arc::new(Schema::new(fields))))
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        Options::try_new(&format!("connector '{}'", self.name), &table.options, &[OPTIONS])?;
        Ok(Arc::new(FakeSource { schema: table.read_schema(), boundedness: self.boundedness }))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Options::try_new(&format!("connector '{}'", self.name), &table.options, &[OPTIONS])?;
        Ok(Arc::new(FakeSink { schema: Arc::clone(&table.schema) }))
    }
}

#[derive(Debug)]
struct FakeSource {
    schema: SchemaRef,
    boundedness: Boundedness,
}

impl Source for FakeSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        self.boundedness
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        assert!(columns.is_sorted(), "projected columns ascend");
        let schema = Arc::new(self.schema.project(columns)?);
        Ok(Arc::new(Self { schema, boundedness: self.boundedness }))
    }

    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        Ok(Some(Arc::new(Self { schema: Arc::clone(schema), boundedness: self.boundedness })))
    }

    fn discover(&self, _: Option<usize>, _: usize) -> Result<Discovery> {
        Ok(Discovery { splits: vec![], finished: true })
    }

    fn open(&self, _: &Split, _: Option<&str>, _: ReaderContext) -> Result<Box<dyn SplitReader>> {
        Err(Error::internal("never opened"))
    }

    fn describe(&self) -> Vec<(String, String)> {
        let names: Vec<_> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        vec![("columns".into(), names.join(", "))]
    }
}

#[derive(Debug)]
struct FakeSink {
    schema: SchemaRef,
}

impl Sink for FakeSink {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn open(&self, _: WriterContext) -> Result<Box<dyn SinkWriter>> {
        Err(Error::internal("never opened"))
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

/// The three connectors.
pub(crate) fn registry() -> ConnectorRegistry {
    let mut registry = ConnectorRegistry::default();
    registry.register(Arc::new(Fake { name: "memory", boundedness: Boundedness::Bounded }));
    registry.register(Arc::new(Fake { name: "known", boundedness: Boundedness::Bounded }));
    registry.register(Arc::new(Fake { name: "endless", boundedness: Boundedness::Unbounded }));
    registry
}

pub(crate) fn options() -> PlanOptions {
    PlanOptions {
        variables: BTreeMap::from([("INPUT".to_string(), "/data/x.csv".to_string())]),
        settings: BTreeMap::new(),
        query_time_ms: 1_356_998_400_000,
        letters: None,
        results: ResultRows::Final,
        result_sink: Arc::new(|_, schema| Arc::new(FakeSink { schema })),
    }
}

/// The tables that the cases read: a bounded one, and an endless one with event time.
pub(crate) const TABLES: &str = "\
CREATE TABLE flights (origin STRING, dep_delay DOUBLE, distance INT, sched TIMESTAMP(3), Carrier STRING) \
WITH ('connector' = 'memory');
CREATE TABLE bid (auction BIGINT, price BIGINT, url STRING, ts TIMESTAMP(3), other TIMESTAMP(3), \
WATERMARK FOR ts AS ts - INTERVAL '4' SECOND) WITH ('connector' = 'endless');
CREATE TABLE out (a BIGINT, b STRING) WITH ('connector' = 'memory');
";

/// Plans a program as it stands.
pub(crate) fn plan(text: &str) -> Result<Program> {
    rheos_sql::plan(text, &options(), &registry())
}

/// The text plan of one query over [`TABLES`].
pub(crate) fn explained(query: &str) -> Result<String> {
    let program = plan(&format!("{TABLES}EXPLAIN {query}"))?;
    match program.outputs.into_iter().next() {
        Some(Output::Explain { text }) => Ok(text),
        _ => Err(Error::internal("nothing was explained")),
    }
}

/// The result columns of one query over [`TABLES`]: `name TYPE`.
pub(crate) fn columns(query: &str) -> Result<Vec<String>> {
    let program = plan(&format!("{TABLES}{query}"))?;
    match program.outputs.into_iter().next() {
        Some(Output::Rows { schema, .. }) => {
            Ok(schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect())
        }
        _ => Err(Error::internal("no rows")),
    }
}
