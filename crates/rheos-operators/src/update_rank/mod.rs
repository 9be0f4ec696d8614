//! `ROW_NUMBER()`, `RANK()` and `DENSE_RANK()` of rows that come (and go) for ever: the answer so far, and what changes of it.
//!
//! ```text
//!   rows ─► hash exchange by PARTITION BY ─► the rows of each partition in order ─► at an epoch's end: who leaves, who enters
//! ```
//! Two ways: `best` keeps the first rows by `ROW_NUMBER` of input that only grows, and can also tell them at its end alone; everything else
//! is done by the parts `partitions` (which rows are kept), `ordered` (those of one partition), `numbers` and `listing` (what of the answer has
//! changed), `state` (checkpoints), `operator`. Ties are broken by the remaining columns, so that the answer is a function of the
//! multiset of rows.

mod best;
mod listing;
mod numbers;
mod operator;
mod ordered;
mod partitions;
mod state;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalSortExpr;
use datafusion_physical_expr::expressions::Column;
use rheos_core::change;
use rheos_core::operator::{FirstBy, OperatorInit};
use rheos_core::{Error, Exchange, Operator, OperatorFactory, Result};

use crate::keyed::row_codec::RowCodec;
use crate::window_rank::{RankFunction, check_key};
use best::operator::BestRank;
use numbers::Numbering;
use operator::UpdateRank;

/// What is ranked by what.
#[derive(Debug, Clone)]
pub struct UpdateRankSpec {
    /// The columns of the rows, with or without weights.
    pub input: SchemaRef,
    /// PARTITION BY: columns of the input.
    pub partition_by: Vec<usize>,
    /// ORDER BY. Empty: the order is that of the columns (`RowNumber`), or all rows are ties.
    pub order_by: Vec<PhysicalSortExpr>,
    /// How rows are numbered.
    pub function: RankFunction,
    /// Only rows with a number up to this go out.
    pub limit: Option<u64>,
    /// The name of the column with the numbers; `None`: rows go out without them, and those whose number alone has changed not at all.
    pub name: Option<String>,
    /// When rows go out.
    pub tells: Tells,
    /// How often changes are told, in ms of processing time; at the ends of epochs anyway.
    pub emit_interval_ms: Option<i64>,
    /// How long a partition is kept behind the last row that came for it, in ms of event time.
    pub state_ttl_ms: Option<i64>,
}

/// What readers of ranks are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// Rows that enter and leave, with weights.
    Changes,
    /// The rows that are there when the input has ended.
    TheLast,
}

/// Makes ranks of rows that change.
///
/// Shape: the input's columns, then the number as BIGINT, not null, if it is wanted, then the weight. Of a partition only those rows go
/// out that enter or leave the answer, or whose number changes; a row that leaves stands before the one that takes its number. Time:
/// changes are told at the end of an epoch, or as often as the spec says. State: of input that only grows the rows that are within the limit,
/// else all rows.
#[derive(Debug, Clone)]
pub struct UpdateRankFactory {
    spec: UpdateRankSpec,
    schema: SchemaRef,
}

impl UpdateRankFactory {
    /// Errors: `Invalid` for expressions that do not fit the input, and for columns that cannot be compared; `Internal` for columns that
    /// the input does not have.
    pub fn try_new(spec: UpdateRankSpec) -> Result<Self> {
        let rows = change::without_weights(&spec.input);
        for at in &spec.partition_by {
            let Some(field) = rows.fields().get(*at) else {
                return Err(Error::internal("PARTITION BY a column that is not there"));
            };
            let column = Column::new(field.name(), *at);
            check_key(&(Arc::new(column) as _), &rows, 150, "PARTITION BY")?;
        }
        for key in &spec.order_by {
            check_key(&key.expr, &rows, 355, "ORDER BY")?;
        }
        RowCodec::try_new(&rows, &spec.partition_by, &spec.order_by)?;
        let mut fields: Vec<_> = rows.fields().iter().cloned().collect();
        fields.extend(spec.name.iter().map(|name| Arc::new(Field::new(name, DataType::Int64, false))));
        let schema = Arc::new(Schema::new(fields));
        let schema = match spec.tells {
            Tells::Changes => change::with_weights(&schema),
            Tells::TheLast if spec.can_tell_the_last() => schema,
            Tells::TheLast => return Err(Error::internal("these ranks cannot be told at the end")),
        };
        Ok(Self { spec, schema })
    }

    /// How the rows must reach the workers: by the hash of the partition, or all to one worker.
    pub fn exchange(&self) -> Exchange {
        match self.spec.partition_by.is_empty() {
            true => Exchange::Single,
            false => Exchange::Hash(self.spec.partition_by.clone()),
        }
    }

    fn numbering(&self) -> Numbering {
        Numbering {
            function: self.spec.function,
            limit: self.spec.limit.unwrap_or(u64::MAX),
            emits_number: self.spec.name.is_some(),
        }
    }
}

impl UpdateRankSpec {
    /// Whether [`Tells::TheLast`] is possible: for `ROW_NUMBER` up to a limit, by plain columns, of rows that only grow.
    pub fn can_tell_the_last(&self) -> bool {
        best::is_possible(self)
    }
}

impl OperatorFactory for UpdateRankFactory {
    fn create(&self, init: &OperatorInit) -> Result<Box<dyn Operator>> {
        if best::is_possible(&self.spec) {
            return Ok(Box::new(BestRank::try_new(&self.spec, &self.schema, init)?));
        }
        Ok(Box::new(UpdateRank::try_new(&self.spec, self.numbering(), &self.schema, init)?))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let spec = &self.spec;
        let name = spec.name.iter().map(|name| format!(" AS {name}")).collect::<String>();
        let mut facts = vec![("function".to_string(), format!("{}{name}", spec.function))];
        if !spec.partition_by.is_empty() {
            let columns = spec.partition_by.iter().map(|at| format!("{}@{at}", spec.input.field(*at).name()));
            facts.push(("partition by".into(), columns.collect::<Vec<_>>().join(", ")));
        }
        if !spec.order_by.is_empty() {
            let order = spec.order_by.iter().map(ToString::to_string).collect::<Vec<_>>();
            facts.push(("order by".into(), order.join(", ")));
        }
        facts.extend(spec.limit.map(|limit| ("limit".into(), limit.to_string())));
        facts
    }

    fn wants_first(&self) -> Option<FirstBy> {
        let spec = &self.spec;
        // Where rows are let go by time, one that stood behind another may become the first.
        let is_settled = spec.limit == Some(1) && spec.state_ttl_ms.is_none() && !change::has_weights(&spec.input);
        let order = spec.order_by.first().filter(|_| is_settled)?;
        let column = order.expr.downcast_ref::<Column>()?.index();
        Some(FirstBy { partition_by: spec.partition_by.clone(), column, options: order.options })
    }

    fn has_time_to_live(&self) -> bool {
        self.spec.tells == Tells::Changes
    }

    fn growth(&self) -> Option<String> {
        let spec = &self.spec;
        if spec.state_ttl_ms.is_some() || spec.tells == Tells::TheLast {
            return None;
        }
        let of = match spec.partition_by.is_empty() {
            true => String::new(),
            false => {
                let columns = spec.partition_by.iter().map(|at| spec.input.field(*at).name().clone());
                format!(" for each {}", columns.collect::<Vec<_>>().join(", "))
            }
        };
        match spec.limit.filter(|_| !change::has_weights(&spec.input)) {
            Some(_) if spec.partition_by.is_empty() => None,
            Some(1) => Some(format!("a row{of}")),
            Some(limit) => Some(format!("{limit} rows{of}")),
            None => Some(format!("all rows{of}")),
        }
    }
}
