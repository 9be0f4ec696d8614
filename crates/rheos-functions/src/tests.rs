//! What DuckDB lacks, by hand from Flink's documentation, and the layouts of texts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, StringArray, StringViewArray};
use arrow::datatypes::Field;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs};

use super::functions;
use super::json_path::{Path, is_json};

/// Calls a function by its name, as the engine does.
fn call(name: &str, args: Vec<ColumnarValue>, number_rows: usize) -> DfResult<ColumnarValue> {
    let function = functions().into_iter().find(|f| f.name() == name).unwrap();
    let arg_fields: Vec<_> = args.iter().map(|a| Arc::new(Field::new("a", a.data_type(), true))).collect();
    let scalar_arguments: Vec<_> = args
        .iter()
        .map(|a| match a {
            ColumnarValue::Scalar(value) => Some(value),
            ColumnarValue::Array(_) => None,
        })
        .collect();
    let returns = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalar_arguments };
    let return_field = function.return_field_from_args(returns)?;
    let config_options = Arc::new(ConfigOptions::default());
    function.invoke_with_args(ScalarFunctionArgs { args, arg_fields, number_rows, return_field, config_options })
}

/// The text that a function of constants gives.
fn text(name: &str, args: &[&str]) -> Option<String> {
    let args = args.iter().map(|a| ColumnarValue::Scalar(ScalarValue::from(*a))).collect();
    match call(name, args, 1).unwrap() {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map(str::to_string),
        ColumnarValue::Array(_) => panic!("{name} of constants is a constant"),
    }
}

#[test]
fn all_layouts_of_texts_give_the_same() {
    let rows = [Some("a-b"), None, Some(""), Some("x-é-z")];
    let layouts: [ArrayRef; 3] = [
        Arc::new(StringArray::from(rows.to_vec())),
        Arc::new(LargeStringArray::from(rows.to_vec())),
        Arc::new(StringViewArray::from(rows.to_vec())),
    ];
    for layout in layouts {
        let args = vec![
            ColumnarValue::Array(Arc::clone(&layout)),
            ColumnarValue::Scalar(ScalarValue::from("-")),
            ColumnarValue::Scalar(ScalarValue::Int64(Some(1))),
        ];
        let found = call("split_index", args, 4).unwrap().to_array(4).unwrap();
        let found: Vec<_> = found.as_string::<i32>().iter().collect();
        assert_eq!(found, [Some("b"), None, None, Some("é")], "{:?}", layout.data_type());
    }
}

#[test]
fn no_rows_give_no_rows() {
    let empty = ColumnarValue::Array(Arc::new(StringArray::from(Vec::<Option<&str>>::new())));
    for f in functions().iter().filter(|f| ["count_char", "json_value", "json_exists", "parse_url"].contains(&f.name()))
    {
        let args = vec![empty.clone(), ColumnarValue::Scalar(ScalarValue::from("$"))];
        assert_eq!(call(f.name(), args, 0).unwrap().to_array(0).unwrap().len(), 0, "{}", f.name());
    }
}

#[test]
fn parts_of_urls_are_javas() {
    let url = "http://userinfo@flink.apache.org:8080/docs/a.html?query=1&k=a%20b#ref";
    let cases = [
        ("PROTOCOL", Some("http")),
        ("AUTHORITY", Some("userinfo@flink.apache.org:8080")),
        ("USERINFO", Some("userinfo")),
        ("HOST", Some("flink.apache.org")),
        ("PATH", Some("/docs/a.html")),
        ("FILE", Some("/docs/a.html?query=1&k=a%20b")),
        ("QUERY", Some("query=1&k=a%20b")),
        ("REF", Some("ref")),
    ];
    for (part, expected) in cases {
        assert_eq!(text("parse_url", &[url, part]).as_deref(), expected, "{part}");
    }
    assert_eq!(text("parse_url", &[url, "QUERY", "k"]).as_deref(), Some("a%20b"));
    assert_eq!(text("parse_url", &[url, "QUERY", "uery"]), None);
    assert_eq!(text("parse_url", &[url, "HOST", "k"]), None);
    assert_eq!(text("parse_url", &["http://[::1]:80/", "HOST"]).as_deref(), Some("[::1]"));
    assert_eq!(text("parse_url", &["http://h?x=1", "PATH"]).as_deref(), Some(""));
    for bad in ["", "no url", "://h", "1x://h", "/a/b"] {
        assert_eq!(text("parse_url", &[bad, "HOST"]), None, "{bad}");
    }
}

#[test]
fn broken_escapes_in_urls_give_null() {
    assert_eq!(text("url_decode", &["a%2Bb+c"]).as_deref(), Some("a+b c"));
    for bad in ["%", "%4", "%zz", "a%%"] {
        assert_eq!(text("url_decode", &[bad]), None, "{bad}");
    }
}

#[test]
fn examples_of_flink_for_json() {
    // From the page of Flink's built-in functions; blanks between parts are not kept here.
    let query = |doc, path| text("json_query", &[doc, path]);
    assert_eq!(query(r#"{ "a": { "b": 1 } }"#, "$.a").as_deref(), Some(r#"{"b":1}"#));
    assert_eq!(query("[1, 2]", "$").as_deref(), Some("[1,2]"));
    assert_eq!(query(r#"{"a":[{"c":"c1"},{"c":"c2"}]}"#, "lax $.a[*].c").as_deref(), Some(r#"["c1","c2"]"#));
    assert_eq!(query("1", "$"), None);
    let wrapped = |doc, path, kind| text("json_query", &[doc, path, kind]);
    assert_eq!(wrapped("{}", "$", "conditional").as_deref(), Some("[{}]"));
    assert_eq!(wrapped("[1, 2]", "$", "conditional").as_deref(), Some("[1,2]"));
    assert_eq!(wrapped("[1, 2]", "$", "unconditional").as_deref(), Some("[[1,2]]"));
    assert_eq!(wrapped("1", "$", "conditional").as_deref(), Some("[1]"));
    let value = |doc, path| text("json_value", &[doc, path]);
    assert_eq!(value(r#"{"a": true}"#, "$.a").as_deref(), Some("true"));
    assert_eq!(value(r#"{"a.b": [0.998,0.996]}"#, r#"$.["a.b"][0]"#).as_deref(), Some("0.998"));
    assert_eq!(value(r#"{"contains blank": "right"}"#, "strict $.['contains blank']").as_deref(), Some("right"));
}

#[test]
fn json_values_come_out_as_they_were_written() {
    let value = |doc, path| text("json_value", &[doc, path]);
    let doc =
        r#" {"z": 1.10, "a": "q\"\u00e9\n", "n": null, "big": 12345678901234567890123, "a b": [[], {"x": "]"}]} "#;
    assert_eq!(value(doc, "$.z").as_deref(), Some("1.10"));
    assert_eq!(value(doc, "$.a").as_deref(), Some("q\"é\n"));
    assert_eq!(value(doc, "$.n"), None);
    assert_eq!(value(doc, "$.big").as_deref(), Some("12345678901234567890123"));
    assert_eq!(value(doc, "$['a b'][1].x").as_deref(), Some("]"));
    assert_eq!(value(doc, "$['a b'][2]"), None);
    assert_eq!(value(doc, "$['a b']"), None);
    // The last one of two members of the same name, also where one is written with an escape.
    assert_eq!(value(r#"{"a": 1, "\u0061": 2}"#, "$.a").as_deref(), Some("2"));
    let whole = r#"{"z":1.10,"a":"q\"\u00e9\n","n":null,"big":12345678901234567890123,"a b":[[],{"x":"]"}]}"#;
    assert_eq!(text("json_query", &[doc, "$"]).as_deref(), Some(whole));
    assert_eq!(text("json_query", &[doc, "$['a b'][*]"]).as_deref(), Some(r#"[[],{"x":"]"}]"#));
}

#[test]
fn malformed_json_gives_null() {
    for bad in ["", "{", "{a: 1}", "[1,]", "{\"a\": 1} x", "nul", "\"open", "{\"a\": 01}"] {
        assert!(!is_json(bad), "{bad}");
        for name in ["json_value", "json_query"] {
            assert_eq!(text(name, &[bad, "$.a"]), None, "{name} of {bad}");
        }
        assert_eq!(text("json_extract_string", &[bad, "a"]), None, "{bad}");
    }
    // An escape that is half a character is only found where it is asked for.
    assert_eq!(text("json_value", &[r#"{"a": "\ud800", "b": 1}"#, "$.a"]), None);
    assert_eq!(text("json_value", &[r#"{"a": "\ud800", "b": 1}"#, "$.b"]).as_deref(), Some("1"));
}

#[test]
fn deep_json_takes_no_stack() {
    let depth = 100_000;
    let doc = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(text("json_query", &[&doc, "$[0][0]"]).map(|t| t.len()), Some(2 * (depth - 2) + 1));
}

#[test]
fn paths_are_read_or_refused() {
    for good in ["$", "lax $.a", "STRICT $.a", " $.a ", "$.a-b._c", "$[0][*].*", "$[ 'it\\'s' ]", "$[\"a\"]"] {
        assert!(Path::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "$a",
        "$.",
        "$..a",
        "$[",
        "$[-1]",
        "$[a]",
        "$['a]",
        "$[0",
        "$[1:2]",
        "$[?(@.a)]",
        "loose $.a",
        "$.a b",
    ] {
        assert!(Path::parse(bad).is_err(), "{bad}");
    }
    assert!(Path::parse(&format!("${}", ".a".repeat(65))).is_err());
}

#[test]
fn numbers_out_of_range_give_null() {
    let number = |n: i64| ColumnarValue::Scalar(ScalarValue::Int64(Some(n)));
    let is_null = |name: &str, args| match call(name, args, 1).unwrap() {
        ColumnarValue::Scalar(value) => value.is_null(),
        ColumnarValue::Array(_) => false,
    };
    assert!(is_null("to_timestamp_ltz", vec![number(i64::MAX), number(0)]));
    let start = || ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(Some(0), None));
    for unit in ["SECOND", "YEAR", "MONTH"] {
        let unit = || ColumnarValue::Scalar(ScalarValue::from(unit));
        assert!(is_null("timestampadd", vec![unit(), number(i64::MAX), start()]));
        assert!(is_null("timestampadd", vec![unit(), number(i64::MIN), start()]));
    }
}
