//! Filter, project, window assigner.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{binary, cast, lit};
use proptest::prelude::*;
use rheos_core::ErrorKind;
use rheos_core::OperatorFactory;
use rheos_core::operator::Counter;
use rheos_core::window::WindowSpec;
use rheos_operators::{AssignWindowsFactory, FilterFactory, ProjectFactory};
use rheos_testkit::{OperatorHarness, Routing, batch};

use crate::cases::{column, greater};

fn run(factory: &dyn OperatorFactory, batch: RecordBatch) -> Vec<String> {
    let mut harness = OperatorHarness::new(factory, 1, Routing::Single);
    harness.batch(batch).unwrap();
    harness.take_rows()
}

#[test]
fn a_filter_keeps_what_is_true_and_drops_false_and_null() {
    let rows = batch! { "x": Int64[1, None, 3, 4], "s": Utf8["a", "b", "c", None] };
    for (limit, kept) in [(0, vec!["1|a", "3|c", "4|null"]), (2, vec!["3|c", "4|null"]), (9, vec![])] {
        let factory = FilterFactory::try_new(rows.schema(), greater(&rows.schema(), "x", limit)).unwrap();
        assert_eq!(run(&factory, rows.clone()), kept, "x > {limit}");
    }
    let error = FilterFactory::try_new(rows.schema(), column(&rows.schema(), "x")).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Invalid, "R0352"));
}

#[test]
fn a_row_that_cannot_be_evaluated_is_the_users_error() {
    let rows = batch! { "x": Int64[1, 0] };
    let quotient = binary(lit(10i64), Operator::Divide, column(&rows.schema(), "x"), &rows.schema()).unwrap();
    let factory = ProjectFactory::try_new(rows.schema(), vec![(quotient, "q".into())]).unwrap();
    let error = OperatorHarness::new(&factory, 1, Routing::Single).batch(rows).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.message().to_lowercase().contains("division by zero in 10 / x"), "{error}");
}

#[test]
fn a_projection_may_repeat_names_and_may_have_no_column() {
    let rows = batch! { "x": Int64[1, 2, 3] };
    let schema = rows.schema();
    let text = cast(column(&schema, "x"), &schema, DataType::Utf8).unwrap();
    let exprs = vec![(text, "a".into()), (lit(7i64), "a".into())];
    let factory = ProjectFactory::try_new(Arc::clone(&schema), exprs).unwrap();
    assert_eq!(run(&factory, rows.clone()), ["1|7", "2|7", "3|7"]);

    let nothing = ProjectFactory::try_new(schema, vec![]).unwrap();
    let mut harness = OperatorHarness::new(&nothing, 1, Routing::Single);
    harness.batch(rows).unwrap();
    assert_eq!(harness.take_output()[0].num_rows(), 3);
}

#[test]
fn windows_of_rows() {
    let rows = batch! { "ts": ts_ms[0, 1999, None, -1], "x": Int64[1, 2, 3, 4] };
    let tumble = WindowSpec::try_tumble(1000, 0).unwrap();
    let factory = AssignWindowsFactory::try_new(rows.schema(), 0, tumble).unwrap();
    let mut harness = OperatorHarness::new(&factory, 1, Routing::Single);
    harness.batch(rows.clone()).unwrap();
    assert_eq!(harness.take_rows(), ["0|1|0|1000|999", "1999|2|1000|2000|1999", "-1|4|-1000|0|-1"]);
    assert_eq!(harness.counter(Counter::NullEventTimes), 1);

    let hop = WindowSpec::try_hop(1000, 1500, 0).unwrap();
    let factory = AssignWindowsFactory::try_new(rows.schema(), 0, hop).unwrap();
    assert_eq!(run(&factory, rows.slice(0, 2)), ["0|1|-1000|500|499", "0|1|0|1500|1499", "1999|2|1000|2500|2499"]);
}

#[test]
fn window_columns_have_the_zone_of_the_time_column_and_are_never_null() {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![arrow::datatypes::Field::new("ts", zoned.clone(), true)]));
    let factory = AssignWindowsFactory::try_new(schema, 0, WindowSpec::try_tumble(5, 0).unwrap()).unwrap();
    for name in ["window_start", "window_end", "window_time"] {
        let schema = factory.schema();
        let field = schema.field_with_name(name).unwrap();
        assert_eq!((field.data_type(), field.is_nullable()), (&zoned, false));
    }
}

#[test]
fn a_timestamp_in_the_year_292277026596_is_an_error_not_an_overflow() {
    let rows = batch! { "ts": ts_ms[i64::MAX / 1000] };
    let factory = AssignWindowsFactory::try_new(rows.schema(), 0, WindowSpec::try_tumble(5, 0).unwrap()).unwrap();
    let error = OperatorHarness::new(&factory, 1, Routing::Single).batch(rows).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::User, "R0353"));
}

proptest! {
    #![proptest_config(rheos_testkit::cases(64))]

    /// Every row is in exactly the windows that contain it, however many chunks that takes.
    #[test]
    fn windows_of_rows_against_the_definition(
        times in prop::collection::vec(-10_000i64..10_000, 1..50),
        slide in 1i64..50,
        more in 0i64..40_000,
        offset in -100i64..100,
    ) {
        let size = slide + more;
        let ts: arrow::array::ArrayRef = Arc::new(
            times.iter().map(|ms| Some(ms * 1000)).collect::<arrow::array::TimestampMicrosecondArray>(),
        );
        let rows = rheos_testkit::batch_of(vec![("ts", ts)]);
        let window = WindowSpec::try_hop(slide, size, offset).unwrap();
        let factory = AssignWindowsFactory::try_new(rows.schema(), 0, window).unwrap();
        let mut expected = vec![];
        for t in &times {
            let mut start = (t - offset - size).div_euclid(slide) * slide + offset;
            while start <= *t {
                if *t < start + size {
                    expected.push(format!("{t}|{start}|{}|{}", start + size, start + size - 1));
                }
                start += slide;
            }
        }
        prop_assert_eq!(run(&factory, rows), expected);
    }
}
