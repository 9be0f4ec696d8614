//! `UNNEST`: the items of lists and maps become rows, the fields of structs become columns.
//!
//! ```text
//!   id | tags          UNNEST(tags)     id | tag
//!   1  | [a, b]             ─►          1  | a
//!   2  | []                             1  | b
//! ```
//! Several lists in one step are zipped: the row has as many results as the longest one has items, and the others are
//! filled up with nulls. A list of depth 2 is a list of lists whose items are all unnested; lists of less depth are
//! unnested again for each of its inner lists (as in DataFusion and DuckDB).
//!
//! One row can become millions, so results leave in chunks and the place in the lists is kept (`expansion`).

mod expansion;
mod nested;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion_common::NullHandling;
use rheos_core::operator::OperatorInit;
use rheos_core::{Error, Operator, OperatorContext, OperatorFactory, Port, Progress, Result};

use crate::chunk_queue::chunk_rows;
use crate::evaluation::{coerce, new_batch};
use expansion::Expansion;
use nested::{Nested, item_fields};

/// One or more neighbouring columns of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnnestOutput {
    /// A column of the input, repeated for each result of its row.
    Column(usize),
    /// The items of a list.
    List {
        /// Index of the list in the input.
        column: usize,
        /// 1 for the items, 2 for the items of the items, and so on.
        depth: usize,
        /// The name of the items.
        name: String,
    },
    /// The keys and the values of a map, as two columns.
    Map {
        /// Index of the map in the input.
        column: usize,
        /// The name of the keys.
        key: String,
        /// The name of the values.
        value: String,
    },
    /// The fields of a struct, as columns.
    Struct {
        /// Index of the struct in the input.
        column: usize,
        /// The names of the fields, one each.
        names: Vec<String>,
    },
}

/// What is unnested.
#[derive(Debug, Clone)]
pub struct UnnestSpec {
    /// The columns of the rows.
    pub input: SchemaRef,
    /// The columns of the results, in order.
    pub outputs: Vec<UnnestOutput>,
    /// What becomes of a row whose lists are all null or empty: `Drop` (`CROSS JOIN UNNEST`, PostgreSQL's `unnest`),
    /// `Preserve` (a null list gives one row, as in DataFusion's plans), `PreserveAndExpandEmpty` (an empty one does so
    /// too: `LEFT JOIN UNNEST`).
    pub null_handling: NullHandling,
    /// The name of a last column that counts the results of each row from 1 (`WITH ORDINALITY`). It is null in a row that
    /// stands for no item.
    pub ordinality: Option<String>,
}

/// Makes unnests.
///
/// Shape: the columns of [`UnnestSpec::outputs`], all items nullable, then the ordinality as BIGINT. Rows keep their
/// order. Time: untouched. State: none. It emits many chunks for one batch, so as a node with credit of its own
/// (`NodeKind::Stateful`) its output stays bounded; fused into a chain it does not wait between chunks.
#[derive(Debug, Clone)]
pub struct UnnestFactory {
    spec: UnnestSpec,
    schema: SchemaRef,
}

impl UnnestFactory {
    /// Errors: `Invalid` for a column that is no list, map or struct; `Internal` for one that does not exist.
    pub fn try_new(spec: UnnestSpec) -> Result<Self> {
        let mut fields = vec![];
        for output in &spec.outputs {
            fields.extend(output_fields(output, &spec.input)?);
        }
        fields.extend(spec.ordinality.iter().map(|name| Arc::new(Field::new(name, DataType::Int64, true))));
        Ok(Self { schema: Arc::new(Schema::new(fields)), spec })
    }
}

fn output_fields(output: &UnnestOutput, input: &Schema) -> Result<Vec<FieldRef>> {
    let (UnnestOutput::Column(column)
    | UnnestOutput::List { column, .. }
    | UnnestOutput::Map { column, .. }
    | UnnestOutput::Struct { column, .. }) = output;
    let Some(field) = input.fields().get(*column) else {
        return Err(Error::internal(format!("an UNNEST of column {column} of {}", input.fields().len())));
    };
    let nullable = |field: &FieldRef, name: &str| Arc::new(Field::clone(field).with_name(name).with_nullable(true));
    let refused = |what: &str| {
        Error::invalid(134, format!("UNNEST of column '{}': its type {} is no {what}", field.name(), field.data_type()))
            .with_hint("UNNEST takes arrays, maps and rows")
    };
    match output {
        UnnestOutput::Column(_) => Ok(vec![Arc::clone(&input.fields()[*column])]),
        UnnestOutput::List { depth, name, .. } => {
            let mut item = Arc::clone(&input.fields()[*column]);
            for _ in 0..(*depth).max(1) {
                let fields = item_fields(item.data_type()).filter(|fields| fields.len() == 1);
                item = fields.and_then(|fields| fields.into_iter().next()).ok_or_else(|| refused("list"))?;
            }
            Ok(vec![nullable(&item, name)])
        }
        UnnestOutput::Map { key, value, .. } => match item_fields(field.data_type()).as_deref() {
            Some([k, v]) => Ok(vec![nullable(k, key), nullable(v, value)]),
            _ => Err(refused("map")),
        },
        UnnestOutput::Struct { names, .. } => match field.data_type() {
            DataType::Struct(inner) if inner.len() == names.len() => {
                Ok(inner.iter().zip(names).map(|(f, name)| nullable(f, name)).collect())
            }
            DataType::Struct(_) => {
                Err(Error::internal("an UNNEST of a struct has another number of names than fields"))
            }
            _ => Err(refused("struct")),
        },
    }
}

impl OperatorFactory for UnnestFactory {
    fn create(&self, _init: &OperatorInit) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Unnest { spec: self.spec.clone(), schema: Arc::clone(&self.schema), pending: None }))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let name = |i: usize| self.spec.input.field(i).name();
        let unnested = self.spec.outputs.iter().filter_map(|output| match output {
            UnnestOutput::Column(_) => None,
            UnnestOutput::List { column, depth: 1, name: to } => Some(format!("{} AS {to}", name(*column))),
            UnnestOutput::List { column, depth, name: to } => Some(format!("{} depth {depth} AS {to}", name(*column))),
            UnnestOutput::Map { column, key, value } => Some(format!("{} AS ({key}, {value})", name(*column))),
            UnnestOutput::Struct { column, names } => Some(format!("{} AS ({})", name(*column), names.join(", "))),
        });
        let columns = self.spec.outputs.iter().filter_map(|output| match output {
            UnnestOutput::Column(column) => Some(name(*column).clone()),
            _ => None,
        });
        let mut facts = vec![
            ("unnest".to_string(), unnested.collect::<Vec<_>>().join(", ")),
            ("with".to_string(), columns.collect::<Vec<_>>().join(", ")),
        ];
        match self.spec.null_handling {
            NullHandling::Drop => {}
            NullHandling::Preserve => facts.push(("keep".into(), "null".into())),
            NullHandling::PreserveAndExpandEmpty => facts.push(("keep".into(), "null and empty".into())),
        }
        facts.extend(self.spec.ordinality.iter().map(|name| ("ordinality".to_string(), name.clone())));
        facts
    }
}

struct Unnest {
    spec: UnnestSpec,
    schema: SchemaRef,
    pending: Option<Pending>,
}

/// A batch on its way out.
struct Pending {
    batch: RecordBatch,
    expansion: Expansion,
    chunk_rows: usize,
}

impl Operator for Unnest {
    fn on_batch(&mut self, _input: usize, batch: RecordBatch, ctx: &mut OperatorContext) -> Result<Progress> {
        if batch.num_rows() == 0 {
            return Ok(Progress::Done);
        }
        let nested = self.spec.outputs.iter().filter_map(|output| match output {
            UnnestOutput::List { column, depth, .. } => Some(Nested::try_new(batch.column(*column), (*depth).max(1))),
            UnnestOutput::Map { column, .. } => Some(Nested::try_new(batch.column(*column), 1)),
            UnnestOutput::Column(_) | UnnestOutput::Struct { .. } => None,
        });
        let nested = nested.collect::<Result<Vec<_>>>()?;
        let repeated = self.spec.outputs.iter().filter_map(|output| match output {
            UnnestOutput::Column(column) | UnnestOutput::Struct { column, .. } => Some(*column),
            UnnestOutput::List { .. } | UnnestOutput::Map { .. } => None,
        });
        let chunk_rows = chunk_rows(&batch.project(&repeated.collect::<Vec<_>>())?);
        let expansion = Expansion::new(nested, batch.num_rows(), self.spec.null_handling);
        self.pending = Some(Pending { batch, expansion, chunk_rows });
        self.resume(ctx)
    }

    fn resume(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let Some(pending) = &mut self.pending else { return Ok(Progress::Done) };
        pending.expansion.advance(pending.chunk_rows);
        let rows = pending.expansion.rows().len();
        if rows > 0 {
            let columns = columns(&self.spec, pending)?;
            let columns = columns.into_iter().zip(self.schema.fields());
            let columns = columns.map(|(column, field)| coerce(column, field.data_type())).collect::<Result<_>>()?;
            ctx.emit(Port::MAIN, new_batch(&self.schema, columns, rows)?);
        }
        if pending.expansion.is_done() {
            self.pending = None;
            return Ok(Progress::Done);
        }
        Ok(Progress::More)
    }
}

/// The columns of the rows that the last step of the expansion made.
fn columns(spec: &UnnestSpec, pending: &Pending) -> Result<Vec<ArrayRef>> {
    let rows = pending.expansion.rows();
    let places = UInt64Array::from_iter_values(rows.iter().map(|row| *row as u64));
    let mut nested = pending.expansion.items();
    let mut columns = vec![];
    for output in &spec.outputs {
        match output {
            UnnestOutput::Column(column) => columns.push(take(pending.batch.column(*column), &places, None)?),
            UnnestOutput::Struct { column, .. } => {
                let parent = pending.batch.column(*column).as_struct();
                // What lies under a null struct is no value of it.
                let places = rows.iter().map(|row| parent.is_valid(*row).then_some(*row as u64));
                let places = UInt64Array::from_iter(places);
                for field in parent.columns() {
                    columns.push(take(field, &places, None)?);
                }
            }
            UnnestOutput::List { .. } | UnnestOutput::Map { .. } => {
                let Some((items, places)) = nested.next() else { return Err(Error::internal("an UNNEST lost a list")) };
                for items in items {
                    columns.push(take(items, &places, None)?);
                }
            }
        }
    }
    if spec.ordinality.is_some() {
        columns.push(Arc::new(Int64Array::from(pending.expansion.ordinals().to_vec())));
    }
    Ok(columns)
}
