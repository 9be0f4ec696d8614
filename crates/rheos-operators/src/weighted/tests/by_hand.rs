//! What DataFusion has no answer to, or another: by hand.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion_common::ScalarValue;
use datafusion_physical_expr::expressions::col;

use super::fixture::function;
use crate::weighted::Calls;
use crate::{AggregateCall, aggregate_call};

/// `name(x)`.
fn call(data_type: &DataType, name: &str, distinct: bool) -> AggregateCall {
    let schema = Arc::new(Schema::new(vec![Field::new("x", data_type.clone(), true)]));
    let x = col("x", &schema).unwrap();
    aggregate_call(&function(name), vec![x], distinct, None, vec![], &schema, false).unwrap()
}

/// Calls over one column, and one group.
struct One {
    calls: Calls,
    count: usize,
}

impl One {
    fn new(data_type: &DataType, names: &[(&str, bool)], retracts: bool) -> Self {
        let calls: Vec<_> = names.iter().map(|(name, distinct)| call(data_type, name, *distinct)).collect();
        Self { calls: Calls::try_new(&calls, retracts).unwrap(), count: names.len() }
    }

    fn add(&mut self, values: ArrayRef, weights: &[i64]) {
        let slots = vec![0; values.len()];
        let arguments = vec![vec![values]; self.count];
        self.calls.update(&arguments, &vec![None; self.count], &slots, Some(weights), 1).unwrap();
    }

    fn floats(&mut self, rows: &[(f64, i64)]) {
        let (values, weights): (Vec<f64>, Vec<i64>) = rows.iter().copied().unzip();
        self.add(Arc::new(Float64Array::from(values)), &weights);
    }

    fn integers(&mut self, rows: &[(i64, i64)]) {
        let (values, weights): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
        self.add(Arc::new(Int64Array::from(values)), &weights);
    }

    fn results(&mut self) -> Vec<ScalarValue> {
        let results = self.calls.evaluate(&[0]).unwrap();
        results.iter().map(|result| ScalarValue::try_from_array(result, 0).unwrap()).collect()
    }

    fn result(&mut self) -> Option<f64> {
        match self.results().swap_remove(0) {
            ScalarValue::Float64(value) => value,
            other => panic!("{other} is no float"),
        }
    }
}

#[test]
fn a_sum_of_floats_is_that_of_the_floats_that_are_there() {
    let mut sum = One::new(&DataType::Float64, &[("sum", false)], true);
    sum.floats(&[(1e300, 1), (0.1, 10), (1e-300, 1), (1e300, -1)]);
    assert_eq!(sum.result(), Some(1.0));
    sum.floats(&[(1e308, 2)]);
    assert_eq!(sum.result(), Some(f64::INFINITY));
    sum.floats(&[(1e308, -1)]);
    assert_eq!(sum.result(), Some(1e308));
    sum.floats(&[(f64::INFINITY, 1)]);
    assert_eq!(sum.result(), Some(f64::INFINITY));
    sum.floats(&[(f64::NEG_INFINITY, 2)]);
    assert!(sum.result().unwrap().is_nan());
    sum.floats(&[(f64::INFINITY, -1), (f64::NAN, 1)]);
    assert!(sum.result().unwrap().is_nan());
    let stored = sum.calls.state(&[0]).unwrap();
    let mut sum = One::new(&DataType::Float64, &[("sum", false)], true);
    sum.calls.restore(&stored, &[0], 1).unwrap();
    sum.floats(&[(f64::NAN, -1), (f64::NEG_INFINITY, -1)]);
    assert_eq!(sum.result(), Some(f64::NEG_INFINITY));
    sum.floats(&[(f64::NEG_INFINITY, -1), (1e308, -1)]);
    assert_eq!(sum.result(), Some(1.0));
    sum.floats(&[(0.1, -7), (0.1, -3)]);
    assert_eq!(sum.result(), Some(1e-300));
    sum.floats(&[(1e-300, -1)]);
    assert_eq!(sum.result(), None);
}

/// 2 * 10^308 is no float, but its half is.
#[test]
fn an_average_lies_between_its_values() {
    let mut average = One::new(&DataType::Float64, &[("avg", false)], true);
    average.floats(&[(1e308, 2)]);
    assert_eq!(average.result(), Some(1e308));
    average.floats(&[(1e308, -1), (4.0, 1), (1e308, -1)]);
    assert_eq!(average.result(), Some(4.0));
}

/// With 10^9 added the squares alone have more digits than a float, and with all values equal there is no variance at all.
#[test]
fn variances_are_exact() {
    let functions = [("var", false), ("var_pop", false), ("stddev", false), ("var", true)];
    let mut moments = One::new(&DataType::Float64, &functions, true);
    moments.floats(&[(1e9 + 4.0, 1), (1e9 + 7.0, 1), (1e9 + 13.0, 2), (1e9 + 16.0, 1), (1e200, 3), (1e9 + 13.0, -1)]);
    moments.floats(&[(1e200, -3)]);
    let floats = |values: [Option<f64>; 4]| values.map(ScalarValue::Float64);
    assert_eq!(moments.results(), floats([Some(30.0), Some(22.5), Some(30.0_f64.sqrt()), Some(30.0)]));
    moments.floats(&[(1e9 + 4.0, -1), (1e9 + 7.0, -1), (1e9 + 16.0, -1)]);
    assert_eq!(moments.results(), floats([None, Some(0.0), None, None]));
    moments.floats(&[(1e9 + 13.0, -1), (0.1, 3)]);
    assert_eq!(moments.results(), floats([Some(0.0), Some(0.0), Some(0.0), None]));
    moments.floats(&[(0.1, -3), (3e160, 1), (1e160, 1)]);
    // Its square has no float; the deviation has: the root of 2 * 10^320.
    let expected = 2.0_f64.sqrt() * 1e160;
    assert_eq!(moments.results()[0], ScalarValue::Float64(Some(f64::INFINITY)));
    let ScalarValue::Float64(Some(deviation)) = moments.results()[2] else { panic!("there is a deviation") };
    assert!((deviation / expected - 1.0).abs() < 1e-15, "{deviation}");
}

#[test]
fn only_the_sum_that_is_asked_for_must_fit() {
    let mut sum = One::new(&DataType::Int64, &[("sum", false)], true);
    sum.integers(&[(i64::MAX, 1), (1, 2)]);
    let error = sum.calls.evaluate(&[0]).unwrap_err();
    assert!(error.message().contains("does not fit into BIGINT"), "{error}");
    sum.integers(&[(1, -2)]);
    assert_eq!(sum.results(), [ScalarValue::Int64(Some(i64::MAX))]);
    sum.integers(&[(i64::MAX, -1), (-3, 5)]);
    assert_eq!(sum.results(), [ScalarValue::Int64(Some(-15))]);
}

/// All NaN are one, and larger than the others; the zeros are one, too.
#[test]
fn floats_that_are_equal_are_one_value() {
    for retracts in [false, true] {
        let mut calls = One::new(&DataType::Float64, &[("min", false), ("max", false), ("count", true)], retracts);
        calls.floats(&[(f64::NAN, 1), (1.0, 1), (-f64::NAN, 1), (-0.0, 1), (0.0, 1)]);
        let [min, max, count] = calls.results().try_into().unwrap();
        assert_eq!((min, count), (ScalarValue::Float64(Some(0.0)), ScalarValue::Int64(Some(3))));
        assert!(matches!(max, ScalarValue::Float64(Some(v)) if v.is_nan()), "{max}");
    }
    let mut calls = One::new(&DataType::Float64, &[("max", false), ("count", true)], true);
    calls.floats(&[(f64::NAN, 1), (-0.0, 1)]);
    calls.floats(&[(-f64::NAN, -1), (0.0, -1), (-1.0, 1)]);
    assert_eq!(calls.results(), [ScalarValue::Float64(Some(-1.0)), ScalarValue::Int64(Some(1))]);
}

/// A value and a weight each; 0 says that it is gone.
#[test]
fn a_table_of_values_is_told_what_changed_and_no_more() {
    let mut calls = One::new(&DataType::Int64, &[("max", false), ("count", true), ("sum", true)], true);
    assert_eq!(calls.calls.value_tables().len(), 1, "calls over the same values share them");
    let changes = |calls: &mut One| -> Vec<(i64, i64)> {
        let Some(changes) = calls.calls.take_changes().unwrap().swap_remove(0) else { return vec![] };
        let column = |at: usize| changes.columns[at].as_primitive::<Int64Type>().values().to_vec();
        let mut rows: Vec<_> = column(0).into_iter().zip(column(1)).collect();
        rows.sort_unstable();
        rows
    };
    let many: Vec<(i64, i64)> = (0..1000).map(|value| (value, 2)).collect();
    calls.integers(&many);
    assert_eq!(changes(&mut calls), many);
    // 5000 comes and goes within the epoch, 7 stays as it was.
    calls.integers(&[(3, -1), (1000, 1), (999, -2), (5000, 1), (7, 1), (5000, -1), (7, -1)]);
    assert_eq!(calls.results()[..2], [ScalarValue::Int64(Some(1000)), ScalarValue::Int64(Some(1000))]);
    assert_eq!(changes(&mut calls), [(3, 1), (7, 2), (999, 0), (1000, 1)]);
    assert_eq!(changes(&mut calls), []);
    calls.integers(&[(1000, -1), (1001, 1)]);
    calls.calls.begin_epoch();
    assert_eq!(changes(&mut calls), [], "what nobody has taken when the next epoch begins is forgotten");
    calls.calls.clear(&[0]);
    assert_eq!(changes(&mut calls).len(), 999, "of those that are stored 1000 was forgotten");
    assert_eq!(calls.results()[..2], [ScalarValue::Int64(None), ScalarValue::Int64(Some(0))]);
}

#[test]
fn values_that_are_gone_are_not_kept() {
    let mut calls = One::new(&DataType::Int64, &[("count", true)], true);
    calls.integers(&[(1, 1), (2, 1), (3, 1), (3, -1)]);
    calls.calls.take_changes().unwrap();
    calls.integers(&[(2, -1)]);
    calls.calls.begin_epoch();
    assert_eq!(calls.calls.sets[0].values.len(), 1);
    let stored = |rows: &[i64]| Arc::new(Int64Array::from(rows.to_vec())) as ArrayRef;
    let mut calls = One::new(&DataType::Int64, &[("count", true)], true);
    calls.calls.restore_values(0, &[stored(&[1, 2, 7]), stored(&[1, 1, 0])], &[0, 0, 0], 1).unwrap();
    calls.calls.restore_values(0, &[stored(&[2]), stored(&[0])], &[0], 1).unwrap();
    assert_eq!((calls.calls.sets[0].values.len(), calls.results()), (1, vec![ScalarValue::Int64(Some(1))]));
}

#[test]
fn what_goes_by_arrival_is_refused_where_rows_go() {
    for name in ["first_value", "last_value"] {
        let first = call(&DataType::Int64, name, false);
        Calls::try_new(std::slice::from_ref(&first), false).unwrap();
        let error = Calls::try_new(&[first], true).unwrap_err();
        assert_eq!(error.code(), "R0710");
        assert!(error.message().starts_with(name), "{error}");
    }
}
