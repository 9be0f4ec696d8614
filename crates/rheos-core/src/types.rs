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
        ("Binary", "BYTES"),
    ];
    names.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}
