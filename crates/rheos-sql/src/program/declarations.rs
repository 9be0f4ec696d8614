//! What a program declares: tables, whose columns may be computed and may be event times, and views.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use rheos_core::connector::TableDefinition;
use rheos_core::error::{Error, Result, Span, did_you_mean};
use rheos_core::source::WatermarkSpec;

use super::Planner;
use crate::catalog::{Catalog, Places, Table, match_name};
use crate::computed::ComputedColumn;
use crate::ddl::{self, TableDdl};
use crate::statement::ViewDdl;
use crate::tokens::{Tokens, place};
use crate::{diagnose, lower, metadata, optimize, query, types};

impl Planner<'_> {
    pub(super) fn create_table(&mut self, mut ddl: TableDdl) -> Result<()> {
        let at = place(ddl.name.span);
        if self.declared(&ddl.name.value, ddl.if_not_exists, at)? {
            return Ok(());
        }
        let connector_option = ddl::connector_name(&mut ddl)?;
        let connector =
            self.registry.get(&connector_option.value).map_err(|e| e.with_span(connector_option.value_at))?;
        let time_options = TimeOptions {
            idle_timeout: ddl.take_option("idle-timeout"),
            max_jump: ddl.take_option("watermark.max-jump"),
        };
        let places = Places {
            table: at,
            options: ddl.options.iter().map(|o| (o.name.clone(), o.name_at, o.value_at)).collect(),
            partitioned_by: ddl.partitioned_by.iter().map(|i| (i.value.clone(), place(i.span))).collect(),
        };
        let name = ddl.name.value.clone();
        if let Some(first) = ddl.partitioned_by.first().filter(|_| !connector.has_partitions()) {
            return Err(Error::invalid(168, format!("tables of '{}' have no partitions", connector.name()))
                .with_hint("take PARTITIONED BY away, or write to a table of 'filesystem'")
                .with_span(place(first.span)));
        }
        let schema = ddl.schema()?;
        let mut definition = TableDefinition {
            name: name.clone(),
            partitioned_by: ddl.partition_columns(&schema)?,
            schema,
            options: ddl.connector_options(),
            primary_key: ddl.stored_key(),
            metadata: metadata::columns(&ddl, connector.as_ref())?,
        };
        if ddl.columns.is_empty() {
            let inferred = connector.infer_schema(&definition).map_err(|e| places.locate(e))?;
            definition.schema = inferred.ok_or_else(|| {
                Error::invalid(
                    152,
                    format!("the table '{name}' has no columns, and '{}' cannot know them", connector.name()),
                )
                .with_hint(format!("declare them: CREATE TABLE {name} (a BIGINT, b STRING) WITH (...)"))
                .with_span(at)
            })?;
        }
        connector.check_options(&definition).map_err(|e| places.locate(e))?;
        let computed_time = ddl.watermark.as_ref().and_then(|w| ddl.computed(&w.column.value));
        let mut table = Table::new(definition, Arc::clone(connector), None, ddl.primary_key(), places);
        let scanned = Arc::clone(&table.schema);
        let Some(time) = computed_time else {
            table.watermark = watermark(&ddl, &scanned, time_options)?;
            if ddl.is_all_stored() {
                self.catalog.add_table(table);
                return Ok(());
            }
            return self.catalog.add_computed(table, |c| query::plan(&ddl.reading_query(|_| false), c));
        };
        let time = time.name.value.clone();
        // First over the columns of a scan, to know the event time; then with it as one more column of the source.
        let bare = Table::clone_without_source(&table);
        let mut column = None;
        self.catalog.add_computed(bare, |catalog| {
            let tokens = ddl.reading_query(|_| false);
            let plan = query::plan(&tokens, catalog)?;
            column = Some(computed_time_column(&plan, &time, &scanned, &tokens, catalog)?);
            Ok(plan)
        })?;
        let column = column.ok_or_else(|| Error::internal("the event time was not planned"))?;
        let fields = scanned.fields().iter().cloned().chain([Arc::clone(&column.field)]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let watermark = watermark(&ddl, &schema, time_options)?.ok_or_else(|| Error::internal("no watermark"))?;
        let table = table.with_computed_time(column, watermark);
        self.catalog.add_computed(table, |c| query::plan(&ddl.reading_query(|name| name == time), c))
    }

    /// Whether a name is taken already and the statement does not mind. Errors: it minds.
    fn declared(&self, name: &str, if_not_exists: bool, at: Span) -> Result<bool> {
        match (self.catalog.has(name), if_not_exists) {
            (true, false) => Err(Error::invalid(137, format!("'{name}' is declared already"))
                .with_hint("choose another name, or write IF NOT EXISTS")
                .with_span(at)),
            (taken, _) => Ok(taken),
        }
    }

    pub(super) fn create_view(&mut self, view: ViewDdl) -> Result<()> {
        let at = place(view.name.span);
        // Queries that read the older view hold its plan.
        let replaces = view.or_replace && self.catalog.is_view(&view.name.value);
        if !replaces && self.declared(&view.name.value, view.if_not_exists, at)? {
            return Ok(());
        }
        let name = &view.name.value;
        let mut plan = query::plan(&view.query, &self.catalog).map_err(|e| {
            match e.message() == self.catalog.unknown_table(name).message() {
                true => e.with_hint(format!("a view cannot read itself, and there is no other '{name}' before it")),
                false => e,
            }
        })?;
        if !view.columns.is_empty() {
            let columns = plan.schema().columns();
            if columns.len() != view.columns.len() {
                let what =
                    format!("the view names {} columns, but its query gives {}", view.columns.len(), columns.len());
                return Err(Error::invalid(143, what).with_hint("name each column of the query once").with_span(at));
            }
            let exprs = columns.into_iter().zip(&view.columns).map(|(c, name)| Expr::Column(c).alias(&name.value));
            let renamed = LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build);
            plan = renamed.map_err(|e| diagnose::planning(e, &view.query, &self.catalog))?;
        }
        self.catalog.add_view(&view.name.value, plan);
        self.catalog.hints_mut().name_view(&view.name.value, &view.query)?;
        Ok(())
    }
}

/// The options of a table with a watermark.
struct TimeOptions {
    idle_timeout: Option<ddl::OptionDdl>,
    max_jump: Option<ddl::OptionDdl>,
}

fn watermark(ddl: &TableDdl, schema: &SchemaRef, options: TimeOptions) -> Result<Option<WatermarkSpec>> {
    let idle_timeout_ms = options.idle_timeout.as_ref().map(ddl::idle_timeout_ms).transpose()?;
    let max_jump = options.max_jump.as_ref().map(ddl::max_jump).transpose()?.unwrap_or_default();
    let Some(watermark) = &ddl.watermark else {
        return match options.idle_timeout.or(options.max_jump) {
            None => Ok(None),
            Some(option) => Err(Error::invalid(139, format!("'{}' needs a WATERMARK", option.name))
                .with_hint("declare WATERMARK FOR the time column, or take the option away")
                .with_span(option.name_at)),
        };
    };
    let at = place(watermark.column.span);
    let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let found = match_name(&watermark.column.value, names.iter().copied());
    let Some(column) = found.and_then(|f| names.iter().position(|n| *n == f)) else {
        let list = format!("the columns are: {}", names.join(", "));
        return Err(Error::invalid(131, format!("there is no column '{}' for the watermark", watermark.column.value))
            .with_hint(did_you_mean(&watermark.column.value, names.iter().copied(), &list))
            .with_span(at));
    };
    let data_type = schema.field(column).data_type();
    if !matches!(data_type, DataType::Timestamp(_, _)) {
        let what =
            format!("the watermark's column '{}' is {}, not a TIMESTAMP", names[column], types::display(data_type));
        return Err(Error::invalid(139, what)
            .with_hint(format!("declare '{}' as TIMESTAMP(3)", names[column]))
            .with_span(at));
    }
    Ok(Some(WatermarkSpec { column, delay_ms: watermark.delay_ms, idle_timeout_ms, max_jump }))
}

/// The event time column of a plan that computes it, as an expression over the stored columns.
fn computed_time_column(
    plan: &LogicalPlan,
    name: &str,
    stored: &SchemaRef,
    tokens: &Tokens,
    catalog: &Catalog,
) -> Result<ComputedColumn> {
    let failed = |e| diagnose::planning(e, tokens, catalog);
    let plan = optimize::coerced(plan.clone(), catalog.config()).map_err(failed)?;
    let LogicalPlan::Projection(projection) = &plan else {
        return Err(Error::internal("computed columns are no projection"));
    };
    let at = projection.schema.index_of_column_by_name(None, name).ok_or_else(|| Error::internal("a lost column"))?;
    let data_type = match projection.schema.field(at).data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    };
    let expr = projection.expr[at].clone().unalias();
    let expr =
        lower::stored_expression(&expr, stored, projection.input.schema(), &data_type, catalog).map_err(failed)?;
    let nullable = projection.schema.field(at).is_nullable();
    Ok(ComputedColumn { field: Arc::new(Field::new(name, data_type, nullable)), expr })
}
