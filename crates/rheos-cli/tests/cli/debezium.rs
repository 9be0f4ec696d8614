//! Changes of a database table in files, as Debezium writes them: read, queried while they change, and written.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::process::Sandbox;

/// What happens to three orders: one is paid, one is paid more and is gone, one stays; the first line stands in an envelope.
const ORDERS: &str = r#"{"schema":{"type":"struct"},"payload":{"before":null,"after":{"id":1,"city":"Bonn","paid":10},"op":"r"}}
{"before":null,"after":{"id":2,"city":"Bonn","paid":20},"op":"c","source":{"table":"orders"},"ts_ms":5}
{"before":{"id":1,"city":"Bonn","paid":10},"after":{"id":1,"city":"Kiel","paid":15},"op":"u"}
{"before":null,"after":{"id":3,"city":"Kiel","paid":30},"op":"c"}

{"before":{"id":2,"city":"Bonn","paid":20},"after":{"id":2,"city":"Bonn","paid":25},"op":"u"}
{"before":{"id":2,"city":"Bonn","paid":25},"after":null,"op":"d"}
null
"#;

/// The same from a database that writes the key alone before a change.
const KEYS_ONLY: &str = r#"{"before":null,"after":{"id":1,"city":"Bonn","paid":10},"op":"c"}
{"before":null,"after":{"id":2,"city":"Bonn","paid":20},"op":"c"}
{"before":null,"after":{"id":2,"city":"Bonn","paid":20},"op":"r"}
{"before":null,"after":{"id":1,"city":"Kiel","paid":15},"op":"u"}
{"before":null,"after":{"id":3,"city":"Kiel","paid":30},"op":"c"}
{"before":{"id":2,"city":null,"paid":null},"after":null,"op":"d"}
"#;

fn table(key: &str) -> String {
    format!(
        "CREATE TABLE orders (id BIGINT, city STRING, paid BIGINT{key}) \
         WITH ('connector' = 'filesystem', 'path' = 'orders.json', 'format' = 'debezium-json');\n"
    )
}

const KEY: &str = ", PRIMARY KEY (id) NOT ENFORCED";

fn lines(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(Value::to_string);
    lines
}

#[test]
fn queries_see_the_table_as_it_is_after_the_changes() {
    for (input, key) in [(ORDERS, ""), (ORDERS, KEY), (KEYS_ONLY, KEY)] {
        let sandbox = Sandbox::with(&[("orders.json", input.as_bytes())]);
        let cases = [
            (
                "SELECT * FROM orders",
                vec![json!({"id":1,"city":"Kiel","paid":15}), json!({"id":3,"city":"Kiel","paid":30})],
            ),
            ("SELECT count(*) AS n, sum(paid) AS paid FROM orders", vec![json!({"n":2,"paid":45})]),
            (
                "SELECT city, count(*) AS n, max(paid) AS most FROM orders GROUP BY city",
                vec![json!({"city":"Kiel","n":2,"most":30})],
            ),
            ("SELECT count(*) AS n FROM orders WHERE city = 'Bonn'", vec![json!({"n":0})]),
            ("SELECT DISTINCT city FROM orders", vec![json!({"city":"Kiel"})]),
        ];
        for (query, want) in cases {
            for workers in ["1", "3"] {
                let program = format!("{}{query}", table(key));
                let outcome = sandbox.run(&["run", "-p", workers, "--batch-rows", "2", "-o", "jsonl", "-c", &program]);
                let got = lines(&outcome.expect_code(0).stdout);
                assert_eq!(got, want, "{query} at {workers} workers, key '{key}'");
            }
        }
    }
}

/// What is there after all changes of a changelog.
fn folded(changes: &[Value]) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    for change in changes {
        for (row, n) in [("before", -1), ("after", 1)] {
            if !change[row].is_null() {
                *rows.entry(change[row].to_string()).or_default() += n;
            }
        }
    }
    rows.retain(|_, n| *n != 0);
    rows
}

#[test]
fn what_changes_is_written_and_read_again() {
    let sandbox = Sandbox::with(&[("orders.json", ORDERS.as_bytes())]);
    let sums = "CREATE TABLE sums (city STRING, n BIGINT, paid BIGINT) \
        WITH ('connector' = 'filesystem', 'path' = 'sums', 'format' = 'debezium-json');\n";
    let write = "INSERT INTO sums SELECT city, count(*), sum(paid) FROM orders GROUP BY city";
    sandbox.run(&["run", "-p", "2", "-c", &format!("{}{sums}{write}", table(KEY))]).expect_code(0);
    let mut changes = vec![];
    for file in std::fs::read_dir(sandbox.path("sums")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            changes.extend(lines(&std::fs::read_to_string(path).unwrap()));
        }
    }
    assert!(changes.iter().all(|change| change.get("before").is_some() && change["op"].is_string()), "{changes:?}");
    let want = json!({"city": "Kiel", "n": 2, "paid": 45});
    assert_eq!(folded(&changes), BTreeMap::from([(want.to_string(), 1)]));
    let read = sandbox.run(&["run", "-o", "jsonl", "-c", &format!("{sums}SELECT * FROM sums")]);
    assert_eq!(lines(&read.expect_code(0).stdout), [want]);
}

#[test]
fn what_cannot_be_used_is_told_by_its_name() {
    let update = r#"{"before":null,"after":{"id":1,"city":"a","paid":1},"op":"u"}"#;
    let truncate = r#"{"before":null,"after":null,"op":"t"}"#;
    let cases = [
        (update.to_string(), table(""), "line 1: it has no row 'before' the change, and the table has no primary key"),
        (
            format!("{update}\n{truncate}"),
            table(KEY),
            "line 2: that all rows are gone (op 't', TRUNCATE) is not supported",
        ),
        (r#"{"id":1}"#.into(), table(""), "error[R0307]"),
        (update.into(), table(KEY).replacen("BIGINT,", "BIGINT, f STRING METADATA FROM 'file.name',", 1), "METADATA"),
        (update.into(), table("").replace(") WITH", ") PARTITIONED BY (city) WITH"), "PARTITIONED BY"),
    ];
    for (input, table, talk) in cases {
        let sandbox = Sandbox::with(&[("orders.json", input.as_bytes())]);
        let outcome = sandbox.run(&["run", "-c", &format!("{table}SELECT count(*) FROM orders")]);
        assert_eq!(outcome.code, 65, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(talk), "'{talk}' is missing: {}", outcome.stderr);
    }
    let sandbox = Sandbox::with(&[("orders/a.json", b""), ("orders/b.json", b"")]);
    let two = table(KEY).replace("'orders.json'", "'orders'");
    let outcome = sandbox.run(&["run", "-c", &format!("{two}SELECT count(*) FROM orders")]);
    outcome.expect_code(65).expect_talk("more than one file");
}
