//! Intervals of two units, and with a precision, as Flink and the standard write them; and with a time of day in the text, as
//! PostgreSQL writes them and Rheos prints them.
//!
//! ```text
//!   INTERVAL '1:30' HOUR TO MINUTE       INTERVAL '1 hours 30 minutes'
//!   INTERVAL '-2 10:00:00.5' DAY TO SECOND
//!   INTERVAL '100' DAY(3)                INTERVAL '100' DAY
//!   INTERVAL '3 days -04:05:06.5'        INTERVAL '3 days -04 hours -05 minutes -06.5 seconds'
//! ```

use rheos_core::error::{Error, Result};
use sqlparser::ast::{DateTimeField, Expr, Interval};

use crate::ddl::expr_place;
use crate::dialect::{literal, text};

/// The units, from large to small; the first two and the rest do not mix.
const UNITS: [&str; 6] = ["years", "months", "days", "hours", "minutes", "seconds"];

/// The interval of one unit, or of units in its text. `None`: it is one. Errors: the text does not fit the units.
pub(crate) fn plain(interval: &Interval) -> Result<Option<Interval>> {
    let mut plain = interval.clone();
    plain.leading_precision = None;
    plain.fractional_seconds_precision = None;
    if plain.leading_field.is_none()
        && let Some(units) = literal(&plain.value).and_then(with_clock)
    {
        plain.value = Box::new(text(&units));
    }
    let Some(last) = plain.last_field.take() else {
        return Ok((plain != *interval).then_some(plain));
    };
    let written = literal(&interval.value).unwrap_or_default();
    let first = plain.leading_field.take();
    let parts = first.as_ref().and_then(unit).zip(unit(&last)).and_then(|(first, last)| parts(written, first, last));
    let Some(parts) = parts else {
        let first = first.map(|f| f.to_string()).unwrap_or_default();
        let error = Error::invalid(149, format!("'{written}' is not an interval from {first} to {last}")).with_hint(
            "write it as INTERVAL '1:30' HOUR TO MINUTE, INTERVAL '2 10:00:00' DAY TO SECOND, or with one unit",
        );
        return Err(match expr_place(&interval.value) {
            Some(place) => error.with_span(place),
            None => error,
        });
    };
    plain.value = Box::new(text(&parts));
    Ok(Some(plain))
}

/// As [`plain`], for an expression.
pub(crate) fn rewritten(interval: &Interval) -> Result<Option<Expr>> {
    Ok(plain(interval)?.map(Expr::Interval))
}

/// `3 days 04 hours 05 minutes 06.5 seconds` of `3 days 04:05:06.5`. `None`: the text does not end in hours and minutes.
fn with_clock(written: &str) -> Option<String> {
    let written = written.trim();
    let (before, clock) = written.rsplit_once(char::is_whitespace).unwrap_or(("", written));
    let last = match clock.matches(':').count() {
        1 => 4,
        2 => 5,
        _ => return None,
    };
    let time = parts(clock, 3, last)?;
    // A sign that says nothing stands behind a negative part.
    let before =
        before.split_whitespace().map(|word| word.strip_prefix('+').unwrap_or(word)).collect::<Vec<_>>().join(" ");
    let is_days = before.rsplit(' ').next().is_some_and(|last| last.parse::<i64>().is_ok());
    Some(match before.as_str() {
        "" => time,
        days if is_days => format!("{days} days {time}"),
        units => format!("{units} {time}"),
    })
}

/// Which of the units it is.
fn unit(field: &DateTimeField) -> Option<usize> {
    let name = field.to_string().to_lowercase();
    UNITS.iter().position(|unit| unit.trim_end_matches('s') == name.trim_end_matches('s'))
}

/// `1 hours 30 minutes` of `1:30`.
fn parts(written: &str, first: usize, last: usize) -> Option<String> {
    let written = written.trim();
    let (sign, digits) = match written.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", written.strip_prefix('+').unwrap_or(written)),
    };
    let numbers: Vec<&str> = match (first, last) {
        (0, 1) => digits.split('-').collect(),
        (2, 3..) => {
            let (days, time) = digits.split_once(' ')?;
            std::iter::once(days).chain(time.split(':')).collect()
        }
        (3.., _) if first < last => digits.split(':').collect(),
        _ => return None,
    };
    if numbers.len() != last - first + 1 {
        return None;
    }
    let part = |(at, number): (usize, &&str)| {
        let whole = match number.split_once('.') {
            Some((whole, rest)) if first + at == 5 && rest.chars().all(|c| c.is_ascii_digit()) => whole,
            Some(_) => return None,
            None => number,
        };
        let is_number = !whole.is_empty() && whole.chars().all(|c| c.is_ascii_digit());
        is_number.then(|| format!("{sign}{number} {}", UNITS[first + at]))
    };
    Some(numbers.iter().enumerate().map(part).collect::<Option<Vec<_>>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        let cases = [
            ("04:05:06", Some("04 hours 05 minutes 06 seconds")),
            ("-04:05", Some("-04 hours -05 minutes")),
            ("3 days 04:05:06.5", Some("3 days 04 hours 05 minutes 06.5 seconds")),
            ("-1 years +2 mons -00:00:01", Some("-1 years 2 mons -00 hours -00 minutes -01 seconds")),
            ("1 02:03:04", Some("1 days 02 hours 03 minutes 04 seconds")),
            ("3 days", None),
            ("1:2:3:4", None),
            ("x:y", None),
        ];
        for (written, expected) in cases {
            assert_eq!(with_clock(written).as_deref(), expected, "{written}");
        }
    }

    #[test]
    fn texts_become_units() {
        let cases = [
            ("1:30", 3, 4, Some("1 hours 30 minutes")),
            ("-1:30", 3, 4, Some("-1 hours -30 minutes")),
            ("2 10:00:00.5", 2, 5, Some("2 days 10 hours 00 minutes 00.5 seconds")),
            ("1-2", 0, 1, Some("1 years 2 months")),
            ("10:11.12", 4, 5, Some("10 minutes 11.12 seconds")),
            ("1 2", 2, 3, Some("1 days 2 hours")),
            ("1:30:00", 3, 4, None),
            ("1:x", 3, 4, None),
            ("1.5:30", 3, 4, None),
            ("1 2", 1, 2, None),
            ("1:2", 4, 3, None),
            ("", 3, 4, None),
        ];
        for (written, first, last, expected) in cases {
            assert_eq!(parts(written, first, last).as_deref(), expected, "{written}");
        }
    }
}
