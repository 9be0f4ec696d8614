//! Whatever the text is, the planner answers.

use proptest::prelude::*;

use crate::fakes::{TABLES, plan};

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "BY",
    "HAVING",
    "ORDER",
    "LIMIT",
    "TABLE",
    "TUMBLE",
    "HOP",
    "DESCRIPTOR",
    "(",
    ")",
    ",",
    ";",
    "*",
    "+",
    "-",
    "/",
    "||",
    "=",
    "<",
    ">",
    ".",
    "::",
    "[",
    "]",
    "{",
    "}",
    "'a'",
    "'1' HOUR",
    "INTERVAL",
    "1",
    "1.5",
    "0",
    "9223372036854775807",
    "flights",
    "bid",
    "out",
    "origin",
    "ts",
    "price",
    "Carrier",
    "window_start",
    "count",
    "sum",
    "avg",
    "AS",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "IS",
    "IN",
    "BETWEEN",
    "LIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "CAST",
    "BIGINT",
    "CREATE",
    "VIEW",
    "INSERT",
    "INTO",
    "VALUES",
    "WITH",
    "UNION",
    "ALL",
    "DISTINCT",
    "EXPLAIN",
    "SET",
    "${INPUT}",
    "$",
    "WATERMARK",
    "FOR",
    "FILTER",
    "EXTRACT",
    "array_agg",
    "first_value",
    "OVER",
    "PARTITION",
    "x",
    "y",
    "\"q\"",
    "`b`",
    "=>",
    "->",
    "date_trunc",
    "abs",
    "concat",
];

fn survives(text: &str) {
    match plan(text) {
        Ok(_) => {}
        Err(error) => {
            assert_ne!(error.code(), "R0900", "an internal error: {error}\n{text}");
            let shown = rheos_sql::render(&error, text, "soup.sql");
            assert!(shown.starts_with("error[R"), "{shown}");
        }
    }
}

proptest! {
    #![proptest_config(rheos_testkit::cases(400))]

    #[test]
    fn random_tokens(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        survives(&format!("{TABLES}SELECT {}", words.join(" ")));
        survives(&words.join(" "));
    }

    #[test]
    fn random_queries(
        select in prop::collection::vec(prop::sample::select(WORDS), 1..8),
        filter in prop::collection::vec(prop::sample::select(WORDS), 1..8),
        group in prop::collection::vec(prop::sample::select(WORDS), 1..5),
    ) {
        let (select, filter, group) = (select.join(" "), filter.join(" "), group.join(" "));
        survives(&format!("{TABLES}SELECT {select} FROM flights WHERE {filter}"));
        survives(&format!("{TABLES}SELECT {select} FROM TUMBLE(bid, ts, INTERVAL '1' HOUR) GROUP BY window_start, {group}"));
    }

    #[test]
    fn random_texts(text in ".{0,200}") {
        survives(&text);
        survives(&format!("{TABLES}SELECT {text} FROM flights"));
    }

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_case_that_is_nested_too_deeply_is_called_so() {
    for (open, close, levels) in [("CASE WHEN 1 = 1 THEN 1 ELSE ", " END", 47), ("(CASE 1 WHEN 1 THEN ", " END)", 23)] {
        let text = |n: usize| format!("SELECT {}0{}", open.repeat(n), close.repeat(n));
        assert!(plan(&text(levels)).is_ok(), "{open}");
        for n in [levels + 1, levels + 2, levels * 3] {
            assert_eq!(plan(&text(n)).err().map(|e| e.code()), Some("R0105".to_string()), "{n} of {open}");
        }
    }
}

#[test]
fn deep_and_long_programs_are_answered() {
    for n in [10, 100, 1000, 20_000] {
        survives(&format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)));
        survives(&format!("SELECT {}1", "-".repeat(n)));
        survives(&format!("SELECT {}1", "NOT ".repeat(n)));
        survives(&format!("SELECT {}", vec!["1"; n].join(" + ")));
        survives(&format!("SELECT 1 {}", "IS NULL ".repeat(n)));
        survives(&format!("{TABLES}SELECT * FROM flights WHERE {}", vec!["distance = 1"; n].join(" OR ")));
        survives(&vec!["SELECT 1"; n.min(1000)].join(" UNION ALL "));
        survives(&format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(n), " END".repeat(n)));
        survives(&format!("SELECT {}1{}", "abs(".repeat(n), ")".repeat(n)));
        survives(&format!("SELECT * FROM {}SELECT 1{}", "(".repeat(n), ")".repeat(n)));
        survives(&format!("SELECT 1{}", "::INT".repeat(n)));
        survives(&format!(
            "CREATE TABLE t (a {}INT{}) WITH ('connector' = 'memory')",
            "ARRAY<".repeat(n),
            ">".repeat(n)
        ));
    }
}

/// Each of these would take some 2^30 steps in the parser or in the planner.
#[test]
fn what_doubles_with_each_level_ends() {
    let nests = [
        ("SELECT ", "CASE distance WHEN 1 THEN abs(", ") END"),
        ("SELECT ", "coalesce(", ", distance)"),
        ("SELECT ", "ifnull(", ", distance)"),
        ("SELECT ", "ROW(", ")"),
        ("SELECT ", "MAP['a', ", "]"),
        ("SELECT ", "MAP['a', ", "]['a']"),
        ("SELECT ", "array_transform(ARRAY[1], z -> ", ")"),
        ("SELECT ", "IF(distance = 1, abs(", "), 3)"),
        ("SELECT ", "CASE WHEN ", " BETWEEN 1 AND 3 THEN 1 END"),
        ("SELECT ", "(SELECT ", ")"),
        ("SELECT ", "CEIL(", " TO DAY)"),
        ("SELECT ", "NOT (", ")"),
        ("SELECT ", "CAST(", " AS INT)"),
        ("SELECT ", "TRY_CAST(", " AS INT)"),
        ("SELECT ", "SUBSTRING(", " FROM 1)"),
        ("SELECT ", "POSITION(", " IN 'a')"),
        ("SELECT ", "OVERLAY(", ")"),
        ("SELECT ", "FLOOR(", ")"),
        ("SELECT ", "ARRAY[", "]"),
        ("SELECT ", "CONVERT(", ", INT)"),
        ("SELECT 1 FROM flights WHERE ", "distance = 1 AND EXISTS (SELECT 1 FROM flights WHERE ", ")"),
        ("SELECT 1 FROM flights WHERE ", "distance IN (SELECT distance FROM flights WHERE ", ")"),
        ("SELECT 1 FROM flights WHERE ", "CASE WHEN ", " THEN 'a' END LIKE 'a'"),
        ("SELECT 1 FROM ", "(", ")"),
        ("", "(SELECT 1 FROM flights UNION ALL ", ")"),
    ];
    for (head, open, close) in nests {
        for levels in [30, 44, 100] {
            let nested = |core: &str| format!("{TABLES}{head}{}{core}{}", open.repeat(levels), close.repeat(levels));
            for core in
                ["distance", "distance FROM flights", "distance distance distance", "SELECT * FROM flights x x", ""]
            {
                survives(&nested(core));
            }
            survives(&format!("{TABLES}{head}{} FROM flights", open.repeat(levels)));
        }
    }
}

#[test]
fn tables_that_are_read_twice_by_what_is_read_twice_are_counted() {
    let twice = |i: usize| format!("SELECT x FROM q{i} UNION ALL SELECT x FROM q{i}");
    let tables = |n: usize| (0..n).map(|i| format!(", q{} AS ({})", i + 1, twice(i))).collect::<String>();
    let query = |n: usize| format!("WITH q0 AS (SELECT * FROM (VALUES (1)) AS t(x)){} SELECT * FROM q{n}", tables(n));
    let views = |n: usize| {
        let views: String = (0..n).map(|i| format!("CREATE VIEW q{} AS {};", i + 1, twice(i))).collect();
        format!("CREATE VIEW q0 AS SELECT * FROM (VALUES (1)) AS t(x);{views} SELECT * FROM q{n}")
    };
    for text in [query(6), views(6)] {
        assert!(plan(&text).is_ok(), "{:?}", plan(&text).err());
    }
    for text in [query(30), views(30)] {
        let error = plan(&text).err();
        assert_eq!(error.as_ref().map(|e| e.code()), Some("R0105".to_string()));
        assert!(error.is_some_and(|e| e.message().contains("4000 is the most")));
    }
}
