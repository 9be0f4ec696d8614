//! `CASE x WHEN 'a' THEN '1' WHEN 'b' THEN '2' ELSE f(y) END` in one look at each row.
//!
//! DataFusion goes through the branches one by one and copies the rows that are left after each, with all columns that any
//! branch reads. Where all WHEN and THEN are constants the branch of each row is looked up at once:
//!
//! ```text
//!   x       a  c  b  c        branch  0  2  1  2
//!   f(y)       7     8        for the rows of branch 2 only
//!   result  1  7  2  8
//! ```

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast, filter_record_batch, interleave, take};
use arrow::datatypes::{DataType, Schema, UInt32Type};
use arrow::record_batch::RecordBatch;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result as DfResult, ScalarValue, internal_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{CaseExpr, Column, LambdaVariable, Literal, lit};
use datafusion_physical_expr::utils::collect_columns;

/// The expression with each CASE of constants looked up. Errors: a type of it cannot be told.
pub fn looked_up(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|e| match Choice::of(&e, schema)? {
        Some(choice) => Ok(Transformed::yes(Arc::new(choice) as Arc<dyn PhysicalExpr>)),
        None => Ok(Transformed::no(e)),
    })
    .data()
}

/// See the module.
#[derive(Debug)]
struct Choice {
    /// As it was written.
    case: Arc<dyn PhysicalExpr>,
    /// The branch of a row, a UINT; that of ELSE is the number of `results`.
    branch: Arc<dyn PhysicalExpr>,
    /// What stands behind THEN.
    results: ArrayRef,
    /// What stands behind ELSE, over the columns `reads` of the rows.
    otherwise: Arc<dyn PhysicalExpr>,
    reads: Vec<usize>,
}

impl Choice {
    /// `None`: the expression is no CASE of this kind.
    fn of(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> DfResult<Option<Self>> {
        let Some(case) = expr.downcast_ref::<CaseExpr>() else { return Ok(None) };
        let (Some(base), Some(otherwise)) = (case.expr(), case.else_expr()) else { return Ok(None) };
        let data_type = expr.data_type(schema)?;
        // An ELSE that is a constant, too, is looked up by DataFusion itself.
        let is_plain = otherwise.downcast_ref::<Literal>().is_none() && otherwise.data_type(schema)? == data_type;
        if !is_plain || reads_lambda(otherwise) {
            return Ok(None);
        }
        let (mut branches, mut results) = (vec![], vec![]);
        for (number, (when, then)) in (0u32..).zip(case.when_then_expr()) {
            let (true, Some(then)) = (when.downcast_ref::<Literal>().is_some(), then.downcast_ref::<Literal>()) else {
                return Ok(None);
            };
            if then.value().data_type() != data_type {
                return Ok(None);
            }
            branches.push((Arc::clone(when), lit(number)));
            results.push(then.value().clone());
        }
        let last = lit(ScalarValue::UInt32(u32::try_from(results.len()).ok()));
        let branch = CaseExpr::try_new(Some(Arc::clone(base)), branches, Some(last))?;
        let mut reads: Vec<usize> = collect_columns(otherwise).iter().map(Column::index).collect();
        reads.sort_unstable();
        reads.dedup();
        Ok(Some(Self {
            case: Arc::clone(expr),
            branch: Arc::new(branch),
            results: ScalarValue::iter_to_array(results)?,
            otherwise: over(Arc::clone(otherwise), &reads)?,
            reads,
        }))
    }
}

/// Whether an expression stands in the body of a lambda, whose arguments are numbered behind the columns.
fn reads_lambda(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.exists(|e| Ok(e.downcast_ref::<LambdaVariable>().is_some())).unwrap_or(true)
}

/// The expression over the columns `reads` alone.
fn over(expr: Arc<dyn PhysicalExpr>, reads: &[usize]) -> DfResult<Arc<dyn PhysicalExpr>> {
    expr.transform_down(|e| match e.downcast_ref::<Column>() {
        Some(column) => match reads.binary_search(&column.index()) {
            Ok(at) => Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Arc<dyn PhysicalExpr>)),
            Err(_) => internal_err!("the column {column} is lost"),
        },
        None => Ok(Transformed::no(e)),
    })
    .data()
}

impl PartialEq for Choice {
    fn eq(&self, other: &Self) -> bool {
        self.case.eq(&other.case)
    }
}

impl Eq for Choice {}

impl Hash for Choice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.case.hash(state);
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt(f)
    }
}

impl PhysicalExpr for Choice {
    fn data_type(&self, schema: &Schema) -> DfResult<DataType> {
        self.case.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> DfResult<bool> {
        self.case.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let branches = self.branch.evaluate(batch)?.into_array(batch.num_rows())?;
        let Some(branches) = branches.as_primitive_opt::<UInt32Type>() else {
            return internal_err!("the branches of {} have no numbers", self.case);
        };
        let is_open = |branch: u32| branch as usize == self.results.len();
        let open = BooleanArray::from_unary(branches, is_open);
        let open_rows = open.true_count();
        if open_rows == 0 {
            return Ok(ColumnarValue::Array(take(&self.results, branches, None)?));
        }
        let rows = batch.project(&self.reads)?;
        if open_rows == batch.num_rows() {
            return self.otherwise.evaluate(&rows);
        }
        let rows = filter_record_batch(&rows, &open)?;
        let mut others = self.otherwise.evaluate(&rows)?.into_array(open_rows)?;
        if others.data_type() != self.results.data_type() {
            others = cast(&others, self.results.data_type())?;
        }
        let mut nth_open = 0..open_rows;
        let places = branches.values().iter().map(|branch| match is_open(*branch) {
            true => (1, nth_open.next().unwrap_or_default()),
            false => (0, *branch as usize),
        });
        let places: Vec<_> = places.collect();
        Ok(ColumnarValue::Array(interleave(&[self.results.as_ref(), others.as_ref()], &places)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.case.children()
    }

    /// A CASE with other parts is one for DataFusion.
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        Arc::clone(&self.case).with_new_children(children)
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.case.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Field;
    use datafusion_expr::Operator;
    use datafusion_physical_expr::expressions::{BinaryExpr, col};

    /// `CASE x WHEN 'a' THEN 1 WHEN NULL THEN 2 WHEN 'b' THEN NULL WHEN 'a' THEN 3 ELSE 12 / n END` over rows of x and n.
    fn chosen(rows: &[(Option<&str>, i64)]) -> DfResult<Vec<Option<i64>>> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("unused", DataType::Int64, true),
            Field::new("x", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ]));
        let text = |t: Option<&str>| lit(ScalarValue::Utf8(t.map(str::to_string)));
        let number = |n: Option<i64>| lit(ScalarValue::Int64(n));
        let quotient = BinaryExpr::new(number(Some(12)), Operator::Divide, col("n", &schema)?);
        let branches = vec![
            (text(Some("a")), number(Some(1))),
            (text(None), number(Some(2))),
            (text(Some("b")), number(None)),
            (text(Some("a")), number(Some(3))),
        ];
        let case = CaseExpr::try_new(Some(col("x", &schema)?), branches, Some(Arc::new(quotient)))?;
        let choice = looked_up(Arc::new(case), &schema)?;
        assert!(choice.downcast_ref::<Choice>().is_some());
        let (texts, numbers): (Vec<Option<&str>>, Vec<i64>) = rows.iter().copied().unzip();
        let unused: ArrayRef = Arc::new(Int64Array::from(vec![0; rows.len()]));
        let columns = vec![unused, Arc::new(StringArray::from(texts)), Arc::new(Int64Array::from(numbers))];
        let batch = RecordBatch::try_new(schema, columns)?;
        let values = choice.evaluate(&batch)?.into_array(rows.len())?;
        Ok(values.as_primitive::<arrow::datatypes::Int64Type>().iter().collect())
    }

    #[test]
    fn each_row_gets_its_branch() {
        let rows = [(Some("a"), 0), (Some("c"), 3), (Some("b"), 0), (None, 6), (Some(""), 12), (Some("a"), 1)];
        // By hand; NULL is no WHEN, and ELSE is not computed where n is 0.
        assert_eq!(chosen(&rows).unwrap(), [Some(1), Some(4), None, Some(2), Some(1), Some(1)]);
        assert_eq!(chosen(&rows[..1]).unwrap(), [Some(1)]);
        assert_eq!(chosen(&rows[3..5]).unwrap(), [Some(2), Some(1)]);
        assert_eq!(chosen(&[]).unwrap(), [] as [Option<i64>; 0]);
        assert!(chosen(&[(Some("a"), 1), (Some("c"), 0)]).is_err(), "a row of ELSE divides by zero");
    }
}
