//! A column's rule for a reader of plans: `price 0 to 9.99 at random`.

use arrow::datatypes::{DataType, Decimal128Type, DecimalType, Field};
use rheos_core::temporal::{write_date, write_interval, write_timestamp};

use super::spec::Rule;

/// The column and how its values are found.
pub(super) fn told(field: &Field, rule: &Rule) -> String {
    let value = |v: i128| value(v, field.data_type());
    let distance = |v: i128| distance(v, field.data_type());
    let rule = match *rule {
        Rule::Sequence { start, step } => format!("from {} in steps of {}", value(start), distance(step)),
        Rule::FloatSequence { start, step } => format!("from {start} in steps of {step}"),
        Rule::Whole { min, max } => format!("{} to {} at random", value(min), value(max)),
        Rule::Float { min, max } => format!("{min} to {max} at random"),
        Rule::Bool => "TRUE or FALSE at random".to_string(),
        Rule::Text { length } => match field.data_type() {
            DataType::Binary | DataType::BinaryView | DataType::LargeBinary => format!("{length} random bytes"),
            _ => format!("{length} random letters"),
        },
        Rule::Past { start, step, max_past: 0 } => format!("from {} in steps of {}", value(start), distance(step)),
        Rule::Past { start, step, max_past } => {
            let (start, step, past) = (value(start), distance(step), distance(max_past));
            format!("from {start} in steps of {step}, less up to {past}")
        }
    };
    format!("{} {rule}", field.name())
}

/// A value as the column holds it: microseconds of timestamps, days of dates, a decimal without its point.
fn value(value: i128, data_type: &DataType) -> String {
    let mut out = vec![];
    match (data_type, i64::try_from(value)) {
        (DataType::Timestamp(..), Ok(us)) => write_timestamp(us, &mut out),
        (DataType::Date32, Ok(days)) => write_date(days, &mut out),
        _ => return number(value, data_type),
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What lies between two values.
fn distance(value: i128, data_type: &DataType) -> String {
    let mut out = vec![];
    match (data_type, i64::try_from(value).ok().and_then(|v| v.checked_mul(1000))) {
        (DataType::Timestamp(..), Some(ns)) => write_interval(0, 0, ns, &mut out),
        (DataType::Date32, _) if value == 1 => return "1 day".to_string(),
        (DataType::Date32, _) => return format!("{value} days"),
        _ => return number(value, data_type),
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn number(value: i128, data_type: &DataType) -> String {
    match data_type {
        DataType::Decimal128(precision, scale) => Decimal128Type::format_decimal(value, *precision, *scale),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn rules_are_told_in_the_units_of_their_columns() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let cases = [
            (DataType::Int32, Rule::Whole { min: 1, max: 9 }, "c 1 to 9 at random"),
            (DataType::Decimal128(5, 2), Rule::Whole { min: -5, max: 1234 }, "c -0.05 to 12.34 at random"),
            (DataType::Date32, Rule::Whole { min: 0, max: 31 }, "c 1970-01-01 to 1970-02-01 at random"),
            (DataType::Date32, Rule::Sequence { start: 0, step: 7 }, "c from 1970-01-01 in steps of 7 days"),
            (
                time.clone(),
                Rule::Past { start: 0, step: 1_500_000, max_past: 60_000_000 },
                "c from 1970-01-01 00:00:00 in steps of 00:00:01.5, less up to 00:01:00",
            ),
            (time, Rule::Sequence { start: 0, step: 1_000 }, "c from 1970-01-01 00:00:00 in steps of 00:00:00.001"),
            (DataType::Float64, Rule::Float { min: 0.0, max: 0.5 }, "c 0 to 0.5 at random"),
            (DataType::Utf8, Rule::Text { length: 3 }, "c 3 random letters"),
            (DataType::Binary, Rule::Text { length: 3 }, "c 3 random bytes"),
            (DataType::Boolean, Rule::Bool, "c TRUE or FALSE at random"),
        ];
        for (data_type, rule, expected) in cases {
            assert_eq!(told(&Field::new("c", data_type, true), &rule), expected);
        }
    }
}
