//! Batches written in a test, and batches as text.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A [`RecordBatch`] of named columns.
///
/// ```
/// use rheos_testkit::batch;
/// let batch = batch! { "ts": ts_ms[0, 1500], "key": Utf8["a", "b"], "value": Int64[Some(1), None] };
/// assert_eq!(batch.num_rows(), 2);
/// ```
/// `ts_ms` is a column of microsecond timestamps written in ms. `Boolean`, `Int32`, `Int64`, `Float64` and `Utf8` take
/// values or options of them.
#[macro_export]
macro_rules! batch {
    ($($name:literal : $kind:ident [$($value:expr),* $(,)?]),* $(,)?) => {
        $crate::batch_of(vec![$(($name, $crate::column!($kind, $($value),*))),*])
    };
}

/// One column of [`batch!`].
#[macro_export]
#[doc(hidden)]
macro_rules! column {
    (ts_ms, $($value:expr),*) => {
        std::sync::Arc::new(
            [$(Option::<i64>::from($value)),*]
                .into_iter()
                .map(|ms| ms.map(|ms| ms * 1000))
                .collect::<$crate::arrow::array::TimestampMicrosecondArray>(),
        ) as $crate::arrow::array::ArrayRef
    };
    (Int64, $($value:expr),*) => { $crate::column!(@ Int64Array, i64, $($value),*) };
    (Int32, $($value:expr),*) => { $crate::column!(@ Int32Array, i32, $($value),*) };
    (Float64, $($value:expr),*) => { $crate::column!(@ Float64Array, f64, $($value),*) };
    (Boolean, $($value:expr),*) => { $crate::column!(@ BooleanArray, bool, $($value),*) };
    (Utf8, $($value:expr),*) => { $crate::column!(@ StringArray, &str, $($value),*) };
    (@ $array:ident, $native:ty, $($value:expr),*) => {
        std::sync::Arc::new([$(Option::<$native>::from($value)),*].into_iter().collect::<$crate::arrow::array::$array>())
            as $crate::arrow::array::ArrayRef
    };
}

/// A batch of nullable columns of one length.
pub fn batch_of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect())
        .expect("the columns of a test batch have one length")
}

/// Each row as text: values joined by `|`, timestamps as their number of ms, null as `null`.
pub fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = vec![];
    for batch in batches {
        let columns: Vec<ArrayRef> = batch.columns().iter().map(plain).collect();
        let formatters: Vec<_> = columns
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).expect("every type can be shown"))
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<_> = formatters.iter().map(|f| f.value(row).to_string()).collect();
            rows.push(values.join("|"));
        }
    }
    rows
}

/// [`rows`] in the order of their text: for comparing multisets.
pub fn sorted_rows(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = rows(batches);
    rows.sort();
    rows
}

/// The items of a list column, row by row, as sorted text: for lists whose order means nothing.
pub fn lists(column: &ArrayRef) -> Vec<Vec<String>> {
    let of_list = |list: Option<ArrayRef>| {
        let Some(items) = list else { return vec!["null".to_string()] };
        sorted_rows(&[batch_of(vec![("item", items)])])
    };
    column.as_list::<i32>().iter().map(of_list).collect()
}

fn plain(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Timestamp(_, _) => {
            let ms = cast(column, &DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None));
            ms.and_then(|ms| cast(&ms, &DataType::Int64)).expect("timestamps are numbers")
        }
        _ => Arc::clone(column),
    }
}
