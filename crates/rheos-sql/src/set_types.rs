//! The columns of `UNION`, `INTERSECT` and `EXCEPT` must be of one kind: numbers, texts, times. DataFusion would make texts of
//! both sides, or dates of numbers, or fail on a row; Flink and PostgreSQL refuse it.
//!
//! Within a kind the types may differ, as in `INT` and `DOUBLE`. NULL fits everywhere.

use arrow::datatypes::DataType;
use datafusion_common::tree_node::TreeNodeRecursion;
use datafusion_common::{DFSchema, JoinType, NullEquality, Result as DfResult};
use datafusion_expr::LogicalPlan;
use rheos_core::error::Error;

use crate::diagnose::external;
use crate::types::display;

/// Looks through a plan as it is written. Errors: two parts whose columns are of different kinds; without a place.
pub(crate) fn check(plan: &LogicalPlan) -> DfResult<()> {
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Union(union) => {
                for pair in union.inputs.windows(2) {
                    fit("UNION", pair[0].schema(), pair[1].schema())?;
                }
            }
            // In a query no other join takes NULL for equal to NULL.
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => match join.join_type {
                JoinType::LeftSemi => fit("INTERSECT", join.left.schema(), join.right.schema())?,
                JoinType::LeftAnti => fit("EXCEPT", join.left.schema(), join.right.schema())?,
                _ => {}
            },
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map(drop)
}

fn fit(operator: &str, left: &DFSchema, right: &DFSchema) -> DfResult<()> {
    for (i, (a, b)) in left.fields().iter().zip(right.fields()).enumerate() {
        let (a, b) = (a.data_type(), b.data_type());
        if !alike(a, b) {
            let what =
                format!("the parts of the {operator} differ in column {}: {} and {}", i + 1, display(a), display(b));
            let hint = "cast one of the two, as in CAST(x AS STRING)";
            return Err(external(Error::invalid(135, what).with_hint(hint)));
        }
    }
    Ok(())
}

#[derive(PartialEq)]
enum Kind {
    Truth,
    Number,
    Text,
    Bytes,
    Moment,
    TimeOfDay,
    Interval,
    List,
    Row,
    Map,
}

fn alike(a: &DataType, b: &DataType) -> bool {
    if let (DataType::List(a), DataType::List(b)) = (a, b) {
        return alike(a.data_type(), b.data_type());
    }
    match (kind(a), kind(b)) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

/// `None`: it goes with everything, or is unknown here.
fn kind(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        DataType::Boolean => Kind::Truth,
        t if t.is_numeric() => Kind::Number,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Kind::Bytes,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Kind::Moment,
        DataType::Time32(_) | DataType::Time64(_) => Kind::TimeOfDay,
        DataType::Interval(_) | DataType::Duration(_) => Kind::Interval,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Kind::List,
        DataType::Struct(_) => Kind::Row,
        DataType::Map(..) => Kind::Map,
        _ => return None,
    })
}
