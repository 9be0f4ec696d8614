//! What names mean while a program is planned: tables, views, functions.
//!
//! Names keep their case. A name matches exactly, else without case where only one fits; function names never have case.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result as DfResult, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{
    AggregateUDF, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use rheos_core::change::Changes;
use rheos_core::connector::{Connector, TableDefinition};
use rheos_core::error::{Error, Result, Span, did_you_mean};
use rheos_core::letters::ERRORS_SUFFIX;
use rheos_core::sink::Sink;
use rheos_core::source::{Boundedness, Source, WatermarkSpec};
use rheos_functions::calendar::over_all_years;
use rheos_functions::time_texts::once_a_run;
use rheos_operators::aggregate::decimal_average;

use crate::cast_names::CastNames;
use crate::clock::in_micros;
use crate::computed::{ComputedColumn, ComputedSource};
use crate::diagnose::external;
use crate::fields::FieldNames;
use crate::hints::Hints;
use crate::proctime::Proctime;
use crate::ranking;
use crate::scalar::bounded::bounded;
use crate::scalar::list_agg;
use crate::scalar::multiples::Multiples;
use crate::side::{ErrorsSource, LATE_SUFFIX, LateSource, base};
use crate::types::Types;
use crate::unnest::UnnestRelations;
use crate::using::MergedJoins;
use crate::windows::{WindowFunctions, unknown_function};

/// A declared table.
pub(crate) struct Table {
    pub(crate) definition: TableDefinition,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) watermark: Option<WatermarkSpec>,
    /// The columns of its PRIMARY KEY, as they are declared.
    pub(crate) primary_key: Option<Vec<String>>,
    /// What a scan gives: the stored columns and, behind them, the metadata, and a computed event time.
    pub(crate) schema: SchemaRef,
    computed_time: Option<ComputedColumn>,
    places: Places,
    source: OnceLock<Result<Arc<dyn Source>>>,
}

impl Table {
    pub(crate) fn new(
        definition: TableDefinition,
        connector: Arc<dyn Connector>,
        watermark: Option<WatermarkSpec>,
        primary_key: Option<Vec<String>>,
        places: Places,
    ) -> Self {
        let schema = definition.read_schema();
        let source = OnceLock::new();
        Self { definition, connector, watermark, primary_key, schema, computed_time: None, places, source }
    }

    /// The same declaration, to plan with before all of it is known.
    pub(crate) fn clone_without_source(other: &Self) -> Self {
        let definition = other.definition.clone();
        let places = other.places.clone();
        let key = other.primary_key.clone();
        Self::new(definition, Arc::clone(&other.connector), other.watermark.clone(), key, places)
    }

    /// The same table with an event time that is computed.
    pub(crate) fn with_computed_time(mut self, column: ComputedColumn, watermark: WatermarkSpec) -> Self {
        let fields = self.schema.fields().iter().cloned().chain([Arc::clone(&column.field)]);
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        self.watermark = Some(watermark);
        self.computed_time = Some(column);
        self
    }

    /// The table for reading; asked of the connector once, and only for tables that are read.
    pub(crate) fn source(&self) -> Result<&Arc<dyn Source>> {
        let source = self.source.get_or_init(|| {
            let stored = self.connector.source(&self.definition).map_err(|e| self.places.locate(e))?;
            Ok(match &self.computed_time {
                Some(column) if stored.changes() != Changes::Append => {
                    let name = column.field.name();
                    let what =
                        format!("an event time that is computed ('{name}') of rows that change is not supported yet");
                    let error =
                        Error::invalid(142, what).with_hint("declare the WATERMARK for a column that is stored");
                    return Err(self.places.locate(error));
                }
                Some(column) => Arc::new(ComputedSource::new(stored, column.clone())),
                None => stored,
            })
        });
        source.as_ref().map_err(Clone::clone)
    }

    /// Where the columns of the PRIMARY KEY are among the stored ones. Errors: `Invalid` for one that is not stored, but computed.
    pub(crate) fn key_columns(&self) -> Result<Option<Vec<usize>>> {
        let place = |name: &String| {
            self.definition.schema.index_of(name).map_err(|_| {
                let table = &self.definition.name;
                Error::invalid(
                    141,
                    format!("the column '{name}' of the PRIMARY KEY of '{table}' is not stored, so rows have no key"),
                )
                .with_hint("name columns that are written")
            })
        };
        self.primary_key.as_ref().map(|key| key.iter().map(place).collect()).transpose()
    }

    /// The table for writing.
    pub(crate) fn sink(&self) -> Result<Arc<dyn Sink>> {
        self.connector.sink(&self.definition).map_err(|e| self.places.locate(e))
    }

    /// The source reduced to some columns.
    pub(crate) fn projected(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        self.source()?.project(columns).map_err(|e| self.places.locate(e))
    }

    /// Gives an error the place of the option that it names, else of the table.
    pub(crate) fn locate(&self, error: Error) -> Error {
        self.places.locate(error)
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
    /// The columns of PARTITIONED BY.
    pub(crate) partitioned_by: Vec<(String, Span)>,
}

impl Places {
    /// Gives an error of a connector the place of the option that it names, else of the table.
    pub(crate) fn locate(&self, error: Error) -> Error {
        if error.span().is_some() {
            return error;
        }
        let partition = self
            .partitioned_by
            .iter()
            .find(|(name, _)| error.message().contains(&format!("the partition column '{name}'")));
        if let Some((_, at)) = partition {
            return error.with_span(*at);
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
        Arc::clone(&self.0.schema)
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
    /// A table, and what is read from it if it has computed columns.
    Table(Arc<Table>, Option<Arc<LogicalPlan>>),
    View(Arc<LogicalPlan>),
}

/// Everything that a program can name.
pub(crate) struct Catalog {
    entries: BTreeMap<String, Entry>,
    scalars: BTreeMap<String, Arc<ScalarUDF>>,
    aggregates: BTreeMap<String, Arc<AggregateUDF>>,
    higher_order: BTreeMap<String, Arc<HigherOrderUDF>>,
    config: ConfigOptions,
    hints: Hints,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

impl Catalog {
    /// All built-in functions and no tables.
    pub(crate) fn new() -> Self {
        let mut config = ConfigOptions::default();
        config.execution.time_zone = Some("UTC".into());
        // Subqueries become joins; there is no other operator for them.
        config.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        let mut catalog = Self {
            entries: BTreeMap::new(),
            scalars: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            higher_order: BTreeMap::new(),
            config,
            hints: Hints::default(),
            expr_planners: vec![
                Arc::new(FieldNames),
                Arc::new(Multiples),
                Arc::new(CastNames),
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
                Arc::new(datafusion_functions_nested::planner::FieldAccessPlanner),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            ],
            relation_planners: vec![
                Arc::new(WindowFunctions::default()),
                Arc::new(UnnestRelations),
                Arc::new(MergedJoins),
            ],
        };
        for f in scalar_functions() {
            // What tells the time does so in the session's zone.
            let f = match f.name() {
                "now" | "current_date" | "current_time" => {
                    f.inner().with_updated_config(&catalog.config).map_or(f, Arc::new)
                }
                _ => f,
            };
            let f = bounded(once_a_run(over_all_years(in_micros(f))));
            for name in std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)) {
                catalog.scalars.insert(name.to_lowercase(), Arc::clone(&f));
            }
        }
        for f in higher_order_functions() {
            for name in std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)) {
                catalog.higher_order.insert(name.to_lowercase(), Arc::clone(&f));
            }
        }
        for f in aggregate_functions() {
            for name in std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)) {
                catalog.aggregates.insert(name.to_lowercase(), Arc::clone(&f));
            }
        }
        catalog
    }

    /// Lets days and hours be those of a zone, which has been checked.
    pub(crate) fn set_zone(&mut self, zone: &str) {
        self.config.execution.time_zone = Some(zone.to_string());
    }

    /// The program's hints.
    pub(crate) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// The program's hints, to be added to.
    pub(crate) fn hints_mut(&mut self) -> &mut Hints {
        &mut self.hints
    }

    /// The planner's configuration.
    pub(crate) fn config(&self) -> &ConfigOptions {
        &self.config
    }

    /// Adds a table.
    pub(crate) fn add_table(&mut self, table: Table) {
        self.entries.insert(table.definition.name.clone(), Entry::Table(Arc::new(table), None));
    }

    /// Adds a table that is read through a plan over its scan, which computes columns.
    pub(crate) fn add_computed(&mut self, table: Table, plan: impl FnOnce(&Self) -> Result<LogicalPlan>) -> Result<()> {
        let (name, table) = (table.definition.name.clone(), Arc::new(table));
        self.entries.insert(name.clone(), Entry::Table(Arc::clone(&table), None));
        let plan = plan(self)?;
        self.entries.insert(name, Entry::Table(table, Some(Arc::new(plan))));
        Ok(())
    }

    /// Adds a view.
    pub(crate) fn add_view(&mut self, name: &str, plan: LogicalPlan) {
        self.entries.insert(name.to_string(), Entry::View(Arc::new(plan)));
    }

    /// Whether a table or view has exactly this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether a view has exactly this name.
    pub(crate) fn is_view(&self, name: &str) -> bool {
        matches!(self.entries.get(name), Some(Entry::View(_)))
    }

    /// The names of views by which a plan, before it is optimized, calls something else.
    pub(crate) fn aliases_like_views(&self, plan: &LogicalPlan) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        crate::event_time::visit(plan, &mut |part| {
            if let LogicalPlan::SubqueryAlias(alias) = part
                && let Some(Entry::View(view)) = self.entries.get(alias.alias.table())
                && alias.input != *view
            {
                found.insert(alias.alias.table().to_string());
            }
        });
        found
    }

    /// The names of tables and views.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The names of all functions, those of windows apart.
    pub(crate) fn function_names(&self) -> impl Iterator<Item = &str> {
        let added = crate::dialect::ADDED.iter().chain(crate::scalar::rewrite::ADDED).map(|f| f.0);
        let known = self.scalars.keys().chain(self.aggregates.keys()).chain(self.higher_order.keys());
        known.map(String::as_str).chain(added).chain([list_agg::NAME])
    }

    /// Whether a function is an aggregate.
    pub(crate) fn is_aggregate(&self, name: &str) -> bool {
        is_aggregate(name)
    }

    /// The table to write to. Errors: there is none of that name, or it is a view.
    pub(crate) fn table(&self, name: &str) -> Result<&Arc<Table>> {
        if matches!(self.errors_of(name), Ok(Some(_))) || matches!(self.late_of(name), Ok(Some(_))) {
            return Err(
                Error::invalid(130, format!("'{name}' is written by the job itself")).with_hint("insert into a table")
            );
        }
        match self.entry(name)? {
            Entry::Table(table, _) => Ok(table),
            Entry::View(_) => Err(Error::invalid(130, format!("'{name}' is a view, and views cannot be written"))
                .with_hint("insert into a table")),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let found = match_name(name, self.entries.keys().map(String::as_str));
        found.and_then(|n| self.entries.get(n)).ok_or_else(|| self.unknown_table(name))
    }

    /// The table whose dead letters `name` stands for, if it does. Errors: it is a view.
    fn errors_of(&self, name: &str) -> Result<Option<Arc<Table>>> {
        let Some(base) = base(name, ERRORS_SUFFIX).filter(|_| self.entry(name).is_err()) else { return Ok(None) };
        match self.entry(base) {
            Ok(Entry::Table(table, _)) => Ok(Some(Arc::clone(table))),
            Ok(Entry::View(_)) => {
                Err(Error::invalid(662, format!("'{base}' is a view, and only tables have '{name}'"))
                    .with_hint("read the dead letters of the tables that it reads"))
            }
            Err(_) => Ok(None),
        }
    }

    /// The late rows that `name` stands for, if it does.
    pub(crate) fn late_of(&self, name: &str) -> DfResult<Option<LateSource>> {
        let Some(base) = base(name, LATE_SUFFIX).filter(|_| self.entry(name).is_err()) else { return Ok(None) };
        let Some(known) = match_name(base, self.names()) else { return Ok(None) };
        let plan = match self.entry(known).map_err(external)? {
            Entry::Table(table, None) => {
                let scan = Arc::new(TableScanSource(Arc::clone(table)));
                LogicalPlanBuilder::scan(TableReference::bare(known), scan, None)?.build()?
            }
            Entry::Table(_, Some(plan)) | Entry::View(plan) => LogicalPlan::clone(plan),
        };
        LateSource::try_new(known, &plan).map(Some).map_err(external)
    }

    /// The tables and views whose late rows are read, in lower case.
    pub(crate) fn set_late(&mut self, names: BTreeSet<String>) {
        self.relation_planners[0] = Arc::new(WindowFunctions { late: names });
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

/// Whether a function is an aggregate.
pub(crate) fn is_aggregate(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let all = aggregate_functions();
        let names = all.iter().flat_map(|f| std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)));
        names.chain([list_agg::NAME]).map(str::to_lowercase).collect()
    });
    NAMES.contains(&name.to_lowercase())
}

/// Whether a function is one of single rows.
pub(crate) fn is_scalar(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let all = scalar_functions();
        let names = all.iter().flat_map(|f| std::iter::once(f.name()).chain(f.aliases().iter().map(String::as_str)));
        let added = crate::dialect::ADDED.iter().chain(crate::scalar::rewrite::ADDED).map(|f| f.0);
        names.chain(added).map(str::to_lowercase).collect()
    });
    NAMES.contains(&name.to_lowercase())
}

/// All scalar functions.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = datafusion_functions::all_default_functions();
    all.extend(datafusion_functions_nested::all_default_nested_functions());
    all.push(Arc::new(ScalarUDF::new_from_impl(Proctime::new())));
    // They would name files of DataFusion's own scans, which do not exist here.
    // `from_unixtime` is Flink's, which gives text; `map_entries` panics for maps whose fields have other names;
    // `octet_length` takes no BYTES.
    let left_out = ["input_file_name", "file_row_index", "from_unixtime", "map_entries", "octet_length"];
    all.retain(|f| !left_out.contains(&f.name()));
    all.extend(rheos_functions::functions());
    all
}

/// All functions over lambdas.
pub(crate) fn higher_order_functions() -> Vec<Arc<HigherOrderUDF>> {
    datafusion_functions_nested::all_default_higher_order_functions()
}

/// All aggregate functions.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let all = datafusion_functions_aggregate::all_default_aggregate_functions();
    all.into_iter().map(decimal_average::replace).collect()
}

impl ContextProvider for Catalog {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        if let Some(table) = self.errors_of(name.table()).map_err(external)? {
            return Ok(Arc::new(ErrorsSource(table)));
        }
        if let Some(late) = self.late_of(name.table())? {
            return Ok(Arc::new(late));
        }
        match self.entry(name.table()).map_err(external)? {
            Entry::Table(table, None) => Ok(Arc::new(TableScanSource(Arc::clone(table)))),
            Entry::Table(_, Some(plan)) | Entry::View(plan) => Ok(Arc::new(ViewSource(Arc::clone(plan)))),
        }
    }

    fn get_table_function_source(&self, name: &str, _: Vec<datafusion_expr::Expr>) -> DfResult<Arc<dyn TableSource>> {
        Err(external(unknown_function(name)))
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

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.higher_order.get(&name.to_lowercase()).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregates.get(&name.to_lowercase()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        ranking::function(name)
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
        self.higher_order.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        ranking::RANKING.map(str::to_string).to_vec()
    }
}
