//! What the libraries write of an expression, as SQL has it: `count(Int64(1))` is `count(*)`, `price@2` is `price`.

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
    in_sql(&without_types(&without_indexes(text))).replace("count(1)", "count(*)")
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

/// `Int64(1)` becomes `1`, and `Utf8("a")` becomes `'a'`.
fn without_types(text: &str) -> String {
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
        ];
        for (text, expected) in cases {
            assert_eq!(readable(text), expected);
        }
    }
}
