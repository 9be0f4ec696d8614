//! What names mean while a program is planned: tables, views, functions.
//!
//! Names keep their case. A name matches exactly, else without case where only one fits; function names never have case.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result as DfResult, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::error::{Error, Result, Span, did_you_mean};
use rheos_core::sink::Sink;
use rheos_core::source::{Boundedness, Source, WatermarkSpec};

use crate::diagnose::external;
use crate::types::Types;
use crate::windows::WindowFunctions;

/// A declared table.
pub(crate) struct Table {
    pub(crate) definition: TableDefinition,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) watermark: Option<WatermarkSpec>,
    pub(crate) primary_key: Option<Span>,
    places: Places,
    source: OnceLock<Result<Arc<dyn Source>>>,
}

impl Table {
    pub(crate) fn new(
        definition: TableDefinition,
        connector: Arc<dyn Connector>,
        watermark: Option<WatermarkSpec>,
        primary_key: Option<Span>,
        places: Places,
    ) -> Self {
        Self { definition, connector, watermark, primary_key, places, source: OnceLock::new() }
    }

    /// The table for reading; asked of the connector once, and only for tables that are read.
    pub(crate) fn source(&self) -> Result<&Arc<dyn Source>> {
        let source =
            self.source.get_or_init(|| self.connector.source(&self.definition).map_err(|e| self.places.locate(e)));
        source.as_ref().map_err(Clone::clone)
    }

    /// The table for writing.
    pub(crate) fn sink(&self) -> Result<Arc<dyn Sink>> {
        self.connector.sink(&self.definition).map_err(|e| self.places.locate(e))
    }

    /// The source reduced to some columns.
    pub(crate) fn projected(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        self.source()?.project(columns).map_err(|e| self.places.locate(e))
    }

    pub(crate) fn boundedness(&self) -> Result<Boundedness> {
        Ok(self.source()?.boundedness())
    }
}

/// Where a table and its options stand in the program: what a connector finds wrong is shown there.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) table: Span,
    /// Each option: its name, and the places of name and value.
    pub(crate) options: Vec<(String, Span, Span)>,
}

impl Places {
    /// Gives an error of a connector the place of the option that it names, else of the table.
    pub(crate) fn locate(&self, error: Error) -> Error {
        if error.span().is_some() {
            return error;
        }
        let named = self.options.iter().find(|(name, ..)| error.message().contains(&format!("'{name}'")));
        match named {
            Some((_, name_at, _)) if error.message().contains("has no option") => error.with_span(*name_at),
            Some((_, _, value_at)) => error.with_span(*value_at),
            None => error.with_span(self.table),
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.definition.name)
    }
}

/// A table as the logical plan holds it.
pub(crate) struct TableScanSource(pub(crate) Arc<Table>);

impl TableSource for TableScanSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.definition.schema)
    }
}

/// A view as the logical plan holds it: it is put in where it is named.
struct ViewSource(Arc<LogicalPlan>);

impl TableSource for ViewSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.0.schema().inner())
    }

    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.0))
    }
}

/// The table behind a scan of the logical plan.
pub(crate) fn scanned_table(source: &Arc<dyn TableSource>) -> Option<&Arc<Table>> {
    source.downcast_ref::<TableScanSource>().map(|s| &s.0)
}

enum Entry {
    Table(Arc<Table>),
    View(Arc<LogicalPlan>),
}

/// Everything that a program can name.
pub(crate) struct Catalog {
    entries: BTreeMap<String, Entry>,
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    config: ConfigOptions,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

impl Catalog {
    /// All built-in functions and no tables.
    pub(crate) fn new() -> Self {
        let mut config = ConfigOptions::default();
        config.execution.time_zone = Some("UTC".into());
        let mut catalog = Self {
            entries: BTreeMap::new(),
            scalars: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            config,
            expr_planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
                Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            ],
            relation_planners: vec![Arc::new(WindowFunctions)],
        };
        for f in scalar_functions() {
            // What tells the time does so in the session's zone.
            let f = match f.name() {
                "now" | "current_date" | "current_time" => {
                    f.inner().with_updated_config(&catalog.config).map_or(f, Arc::new)
                }
                _ => f,
            };
            for name in std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)) {
                catalog.scalars.insert(name.to_lowercase(), Arc::clone(&f));
            }
        }
        for f in aggregate_functions() {
            for name in std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)) {
                catalog.aggregates.insert(name.to_lowercase(), Arc::clone(&f));
            }
        }
        catalog
    }

    /// The planner's configuration.
    pub(crate) fn config(&self) -> &ConfigOptions {
        &self.config
    }

    /// Adds a table.
    pub(crate) fn add_table(&mut self, table: Table) {
        self.entries.insert(table.definition.name.clone(), Entry::Table(Arc::new(table)));
    }

    /// Adds a view.
    pub(crate) fn add_view(&mut self, name: &str, plan: LogicalPlan) {
        self.entries.insert(name.to_string(), Entry::View(Arc::new(plan)));
    }

    /// Whether a table or view has exactly this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The names of tables and views.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The names of scalar and aggregate functions.
    pub(crate) fn function_names(&self) -> impl Iterator<Item = &str> {
        let added = crate::dialect::ADDED.iter().map(|f| f.0);
        self.scalars.keys().chain(self.aggregates.keys()).map(String::as_str).chain(added)
    }

    /// The table to write to. Errors: there is none of that name, or it is a view.
    pub(crate) fn table(&self, name: &str) -> Result<&Arc<Table>> {
        match self.entry(name)? {
            Entry::Table(table) => Ok(table),
            Entry::View(_) => Err(Error::invalid(130, format!("'{name}' is a view, and views cannot be written"))
                .with_hint("insert into a table")),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let found = match_name(name, self.entries.keys().map(String::as_str));
        found.and_then(|n| self.entries.get(n)).ok_or_else(|| self.unknown_table(name))
    }

    /// "There is no table", with the nearest name.
    pub(crate) fn unknown_table(&self, name: &str) -> Error {
        let names: Vec<_> = self.names().collect();
        let list = match names.as_slice() {
            [] => "the program declares no tables; begin with CREATE TABLE".to_string(),
            names => format!("the tables and views are: {}", names.join(", ")),
        };
        Error::invalid(130, format!("there is no table or view '{name}'")).with_hint(did_you_mean(
            name,
            names.iter().copied(),
            &list,
        ))
    }
}

/// The name that `name` stands for: itself, else the only one that differs in case.
pub(crate) fn match_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut loose = None;
    let mut count = 0;
    for k in known {
        if k == name {
            return Some(k);
        }
        if k.to_lowercase() == name.to_lowercase() {
            loose = Some(k);
            count += 1;
        }
    }
    loose.filter(|_| count == 1)
}

/// All scalar functions.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = datafusion_functions::all_default_functions();
    all.extend(datafusion_functions_nested::all_default_nested_functions());
    // They would name files of DataFusion's own scans, which do not exist here.
    all.retain(|f| !["input_file_name", "file_row_index"].contains(&f.name()));
    all
}

/// All aggregate functions; `grouping` is left out, since grouping sets are.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut all = datafusion_functions_aggregate::all_default_aggregate_functions();
    all.retain(|f| f.name() != "grouping");
    all
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        match self.entry(name.table()).map_err(external)? {
            Entry::Table(table) => Ok(Arc::new(TableScanSource(Arc::clone(table)))),
            Entry::View(plan) => Ok(Arc::new(ViewSource(Arc::clone(plan)))),
        }
    }

    fn get_table_function_source(&self, name: &str, _: Vec<datafusion_expr::Expr>) -> DfResult<Arc<dyn TableSource>> {
        let hint = did_you_mean(name, ["tumble", "hop"], "the table functions are TUMBLE and HOP");
        Err(external(Error::invalid(133, format!("there is no table function '{name}'")).with_hint(hint)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalars.get(&name.to_lowercase()).cloned()
    }

    /// None: the parser does not read their lambdas (`x -> x + 1`).
    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(&name.to_lowercase()).cloned()
    }

    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.config
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![]
    }
}
