//! What the libraries write of an expression, as SQL has it: `count(Int64(1))` is `count(*)`, `price@2` is `price`.

use rheos_core::temporal::write_interval;
use rheos_core::types::in_sql;

/// How constants begin in the libraries' words.
const CONSTANTS: [&str; 21] = [
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float32",
    "Float64",
    "Boolean",
    "Utf8",
    "LargeUtf8",
    "Utf8View",
    "Decimal128",
    "Decimal256",
    "Date32",
    "Time64Microsecond",
    "TimestampMicrosecond",
    "IntervalMonthDayNano",
    "DurationMicrosecond",
];

/// The text of an expression, or one that has some in it, for a reader.
pub(super) fn readable(text: &str) -> String {
    in_sql(&without_types(&with_intervals(&without_indexes(text)))).replace("count(1)", "count(*)")
}

/// `origin@2` becomes `origin`: the index says nothing to a reader.
fn without_indexes(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let digits = chars[i + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
        let behind = chars.get(i + 1 + digits);
        let is_index = chars[i] == '@'
            && digits > 0
            && i > 0
            && !chars[i - 1].is_whitespace()
            && !behind.is_some_and(|c| c.is_alphanumeric() || *c == '_' || *c == '.');
        if is_index {
            i += 1 + digits;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out
}

/// `IntervalMonthDayNano { months: 0, days: 2, nanoseconds: 0 }` becomes `INTERVAL '2 days'`.
fn with_intervals(text: &str) -> String {
    const BEGIN: &str = "IntervalMonthDayNano { ";
    let mut parts = text.split(BEGIN);
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |out, part| match interval(part) {
        // A constant that says its type has it around this.
        Some((value, rest)) => match out.strip_suffix("IntervalMonthDayNano(\"") {
            Some(out) => format!("{out}{value}{}", rest.strip_prefix("\")").unwrap_or(rest)),
            None => out + &value + rest,
        },
        None => out + BEGIN + part,
    })
}

/// The interval whose parts a text begins with, and what is behind it.
fn interval(text: &str) -> Option<(String, &str)> {
    let (parts, rest) = text.split_once(" }")?;
    let mut numbers = parts.split(", ").zip(["months: ", "days: ", "nanoseconds: "]).map(|(part, name)| {
        let number = part.strip_prefix(name)?;
        number.parse::<i64>().ok()
    });
    let mut next = || numbers.next().flatten();
    let (months, days, nanoseconds) = (i32::try_from(next()?).ok()?, next()?, next()?);
    let mut spelled = vec![];
    write_interval(months, days, nanoseconds, &mut spelled);
    Some((format!("INTERVAL '{}'", String::from_utf8_lossy(&spelled)), rest))
}

/// `Int64(1)` becomes `1`, and `Utf8("a")` becomes `'a'`.
pub(crate) fn without_types(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('(') {
        let (before, behind) = (&rest[..open], &rest[open + 1..]);
        let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        match constant(behind).filter(|_| CONSTANTS.contains(&&before[start..])) {
            Some((value, behind)) => {
                out.push_str(&before[..start]);
                out.push_str(&value);
                rest = behind;
            }
            None => {
                out.push_str(&rest[..=open]);
                rest = behind;
            }
        }
    }
    out + rest
}

/// The value at the beginning of a text, and what is behind its parenthesis.
fn constant(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once("\")")?;
        return Some((format!("'{value}'"), rest));
    }
    let (value, rest) = text.split_once(')')?;
    // A decimal is told with its digits, a time with its zone.
    Some((value.split(',').next().unwrap_or(value).to_string(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_shown_as_they_are_written() {
        let cases = [
            ("count(Int64(1)) > Int64(-3)", "count(*) > -3"),
            ("p(bid.price@12,Decimal128(0.5,1,1)) AS m", "p(bid.price,0.5) AS m"),
            ("s = Utf8(\"a(b\") OR s = Utf8(NULL)", "s = 'a(b' OR s = NULL"),
            ("CAST(price@0 AS Float64)", "CAST(price AS DOUBLE)"),
            ("(Int64(1)), (Boolean(true))", "(1), (true)"),
            ("myInt64(1), f(x), open (", "myBIGINT(1), f(x), open ("),
            ("ts - 0 ms", "ts - 0 ms"),
            (
                "multiple(IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }, n)",
                "multiple(INTERVAL '01:00:00', n)",
            ),
            (
                "ts + IntervalMonthDayNano(\"IntervalMonthDayNano { months: 14, days: 0, nanoseconds: 0 }\") AS t",
                "ts + INTERVAL '1 year 2 mons' AS t",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(readable(text), expected);
        }
    }
}
