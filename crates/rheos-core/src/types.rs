//! Arrow types as users of SQL know them.

use arrow::datatypes::{DataType, TimeUnit};

/// A timestamp without a zone.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// A timestamp in UTC.
pub fn timestamp_ltz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A type as users write it.
pub fn display(data_type: &DataType) -> String {
    use DataType::*;
    match data_type {
        Null => "NULL".into(),
        Boolean => "BOOLEAN".into(),
        Int8 => "TINYINT".into(),
        Int16 => "SMALLINT".into(),
        Int32 => "INT".into(),
        Int64 => "BIGINT".into(),
        UInt8 => "UTINYINT".into(),
        UInt16 => "USMALLINT".into(),
        UInt32 => "UINTEGER".into(),
        UInt64 => "UBIGINT".into(),
        Float16 | Float32 => "FLOAT".into(),
        Float64 => "DOUBLE".into(),
        Utf8 | LargeUtf8 | Utf8View => "STRING".into(),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => "BYTES".into(),
        Date32 | Date64 => "DATE".into(),
        Time32(_) | Time64(_) => "TIME".into(),
        Timestamp(_, None) => "TIMESTAMP".into(),
        Timestamp(_, Some(_)) => "TIMESTAMP_LTZ".into(),
        Interval(_) | Duration(_) => "INTERVAL".into(),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => format!("DECIMAL({p}, {s})"),
        List(f) | LargeList(f) | FixedSizeList(f, _) => format!("ARRAY<{}>", display(f.data_type())),
        Struct(fields) => {
            let fields: Vec<_> = fields.iter().map(|f| format!("{} {}", f.name(), display(f.data_type()))).collect();
            format!("ROW<{}>", fields.join(", "))
        }
        Dictionary(_, value) => display(value),
        Map(..) => "MAP".into(),
        other => other.to_string(),
    }
}

/// Arrow's names of types in a text, replaced by SQL's.
pub fn in_sql(text: &str) -> String {
    let names = [
        ("Timestamp(ns, \"UTC\")", "TIMESTAMP_LTZ"),
        ("Timestamp(µs, \"UTC\")", "TIMESTAMP_LTZ"),
        ("Timestamp(ns)", "TIMESTAMP"),
        ("Timestamp(µs)", "TIMESTAMP"),
        ("Timestamp(ms)", "TIMESTAMP"),
        ("Timestamp(s)", "TIMESTAMP"),
        ("Timestamp(Nanosecond, None)", "TIMESTAMP"),
        ("Timestamp(Microsecond, None)", "TIMESTAMP"),
        ("Timestamp(Nanosecond, Some(\"+00\"))", "TIMESTAMP_LTZ"),
        ("Timestamp(Microsecond, Some(\"+00\"))", "TIMESTAMP_LTZ"),
        ("Timestamp(ns, \"+00\")", "TIMESTAMP_LTZ"),
        ("Timestamp(µs, \"+00\")", "TIMESTAMP_LTZ"),
        ("Interval(MonthDayNano)", "INTERVAL"),
        ("LargeUtf8", "STRING"),
        ("Utf8View", "STRING"),
        ("Utf8", "STRING"),
        ("UInt64", "UBIGINT"),
        ("UInt32", "UINTEGER"),
        ("UInt16", "USMALLINT"),
        ("UInt8", "UTINYINT"),
        ("Int64", "BIGINT"),
        ("Int32", "INT"),
        ("Int16", "SMALLINT"),
        ("Int8", "TINYINT"),
        ("Float64", "DOUBLE"),
        ("Float32", "FLOAT"),
        ("Boolean", "BOOLEAN"),
        ("Date32", "DATE"),
        ("Decimal128", "DECIMAL"),
        ("Decimal256", "DECIMAL"),
        ("Null", "NULL"),
        ("Time64(ns)", "TIME"),
        ("Time64(µs)", "TIME"),
        ("BinaryView", "BYTES"),
        ("Binary", "BYTES"),
    ];
    rows_in_sql(&names.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to)))
}

/// `Struct("a": INT, "b": STRING)` as `ROW<a INT, b STRING>`, one inside of another too.
fn rows_in_sql(text: &str) -> String {
    const ROW: &str = "Struct(";
    let mut out = String::with_capacity(text.len());
    let mut open: Vec<char> = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix(ROW) {
            open.push('>');
            out.push_str("ROW<");
            rest = inside;
            continue;
        }
        if open.last() == Some(&'>')
            && let Some((name, behind)) = rest.strip_prefix('"').and_then(|r| r.split_once("\": "))
        {
            out.push_str(name);
            out.push(' ');
            rest = behind;
            continue;
        }
        match first {
            '(' => {
                open.push(')');
                out.push('(');
            }
            ')' => out.push(open.pop().unwrap_or(')')),
            other => out.push(other),
        }
        rest = &rest[first.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_words_of_sql() {
        let cases = [
            (r#"Struct("c0": Int64, "c1": Utf8)"#, "ROW<c0 BIGINT, c1 STRING>"),
            (
                r#"(Struct("a": Struct("b": Decimal128(3, 1)), "c": Int32) = 1) "x": y"#,
                r#"(ROW<a ROW<b DECIMAL(3, 1)>, c INT> = 1) "x": y"#,
            ),
            ("decode(BinaryView, Utf8)", "decode(BYTES, STRING)"),
        ];
        for (text, expected) in cases {
            assert_eq!(in_sql(text), expected);
        }
    }
}
