//! Names, types, variables and settings.

use std::collections::BTreeMap;

use rheos_sql::RestartSettings;

use crate::fakes::{TABLES, columns, explained, options, plan, registry};

#[test]
fn a_name_fits_without_case_where_only_one_does() {
    let cases = [
        ("SELECT ORIGIN, carrier, CARRIER FROM Flights LIMIT 1", "origin Utf8, Carrier Utf8, Carrier_1 Utf8"),
        ("SELECT F.Origin FROM FLIGHTS AS f", "origin Utf8"),
        ("SELECT flights.Carrier FROM Flights", "Carrier Utf8"),
        ("WITH Late AS (SELECT origin AS O FROM flights) SELECT o FROM late", "O Utf8"),
        ("SELECT \"carrier\" FROM flights", "Carrier Utf8"),
        ("SELECT Max(Distance) AS m FROM flights GROUP BY ORIGIN HAVING COUNT(*) > 1 ORDER BY M", "m Int32"),
        ("SELECT *, Origin, 1, 1 FROM (SELECT origin FROM flights)", "origin Utf8, origin_1 Utf8, 1 Int64, 1_1 Int64"),
        (
            "SELECT COUNT(*), max(distance + 1) FROM flights ORDER BY COUNT(*)",
            "COUNT(*) Int64, max(distance + 1) Int64",
        ),
        ("SELECT a.x FROM (SELECT origin AS X FROM flights) AS A", "X Utf8"),
    ];
    for (query, expected) in cases {
        let got = columns(query).unwrap_or_else(|e| panic!("{query}: {e}"));
        let got: Vec<_> = got.iter().map(|c| c.replace("LargeUtf8", "Utf8")).collect();
        assert_eq!(got.join(", "), expected, "{query}");
    }
    // Two columns that differ in case only: exact or not at all.
    let two = "CREATE TABLE t (a INT, A STRING, b INT) WITH ('connector' = 'memory');";
    assert!(plan(&format!("{two} SELECT a, A, B FROM t")).is_ok());
    let three = "CREATE TABLE t (ab INT, AB STRING) WITH ('connector' = 'memory');";
    assert!(plan(&format!("{three} SELECT Ab FROM t")).is_err());
}

#[test]
fn expressions_have_the_promised_types() {
    let cases = [
        ("SELECT 1.5 AS x", "x Decimal128(2, 1)"),
        ("SELECT avg(distance) AS x FROM flights", "x Float64"),
        ("SELECT now() AS x", "x Timestamp(µs, \"UTC\")"),
        ("SELECT arrow_typeof(now()) = 'Timestamp(µs, \"UTC\")' AS x", "x Boolean"),
        ("SELECT array_transform([1, 2], x -> x * 1.5) AS x", "x List(Decimal128(23, 1))"),
        ("SELECT coalesce(dep_delay, 0.5) AS x FROM flights", "x Float64"),
        ("SELECT dep_delay AS x FROM flights UNION ALL SELECT 0.5", "x Float64"),
        ("SELECT TIMESTAMP '2013-01-01 00:00:00' AS x", "x Timestamp(µs)"),
        ("SELECT CAST('2013-01-01' AS TIMESTAMP_LTZ) AS x", "x Timestamp(µs, \"UTC\")"),
        ("SELECT CAST(1 AS STRING) AS x", "x Utf8"),
        ("SELECT MOD(7, 2) AS x", "x Int64"),
        ("SELECT HOUR(sched) AS x FROM flights", "x Int32"),
        ("SELECT DATE_FORMAT(sched, 'yyyy-MM-dd') AS x FROM flights", "x Utf8"),
        ("SELECT EXTRACT(HOUR FROM sched) AS x FROM flights", "x Int32"),
        ("SELECT SUBSTRING(origin FROM 1 FOR 2) AS x FROM flights", "x Utf8"),
        ("SELECT origin || '-' || Carrier AS x FROM flights", "x Utf8"),
        ("SELECT POSITION('a' IN origin) AS x FROM flights", "x Int32"),
        ("SELECT CAST(x'01' AS BYTES) AS x", "x Binary"),
        ("SELECT sum(distance) AS x FROM flights", "x Int64"),
        ("SELECT window_start AS x FROM TUMBLE(bid, ts, INTERVAL '1' HOUR)", "x Timestamp(µs)"),
    ];
    for (query, expected) in cases {
        assert_eq!(columns(query).unwrap_or_else(|e| panic!("{query}: {e}")).join(", "), expected, "{query}");
    }
}

#[test]
fn declared_types_are_read() {
    let types = "a TINYINT, b SMALLINT, c INT NOT NULL, d BIGINT, e FLOAT, f DOUBLE PRECISION, g DECIMAL(10, 2), \
        h VARCHAR(20), i BYTES, j BOOLEAN, k DATE, l TIMESTAMP(3), m TIMESTAMP_LTZ(3), n TIMESTAMP WITH TIME ZONE, \
        o ROW<x INT, y ARRAY<STRING>>, p MAP<STRING, ROW<z BIGINT>>, q UBIGINT, r TIMESTAMP(9), s NUMERIC, t INT[], \
        u TIMESTAMP(3) WITH LOCAL TIME ZONE, v TIMESTAMP WITH LOCAL TIME ZONE NOT NULL, w INT ARRAY, x ROW<y DOUBLE ARRAY ARRAY>";
    let program = plan(&format!("CREATE TABLE t ({types}) WITH ('connector' = 'memory'); SELECT * FROM t")).unwrap();
    let graph = program.graph.unwrap();
    let schema = &graph.nodes()[0].schema;
    let got: Vec<_> = schema.fields().iter().map(|f| f.data_type().to_string()).collect();
    let scalar = [
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "Float32",
        "Float64",
        "Decimal128(10, 2)",
        "Utf8",
        "Binary",
        "Boolean",
        "Date32",
        "Timestamp(µs)",
        "Timestamp(µs, \"UTC\")",
        "Timestamp(µs, \"UTC\")",
    ];
    assert_eq!(got[..14], scalar);
    assert_eq!([&got[16], &got[17], &got[18]], ["UInt64", "Timestamp(µs)", "Decimal128(10, 0)"]);
    assert_eq!([&got[20], &got[21]], ["Timestamp(µs, \"UTC\")"; 2]);
    assert_eq!([&got[19], &got[22], &got[23]], ["List(Int32)", "List(Int32)", "Struct(\"y\": List(List(Float64)))"]);
    assert!(!schema.field(21).is_nullable());
    assert!(!schema.field(2).is_nullable() && schema.field(3).is_nullable());
}

#[test]
fn inserts_go_by_position_and_cast() {
    for ok in [
        "INSERT INTO out SELECT dep_delay, distance FROM flights",
        "INSERT INTO out (b, a) SELECT origin, distance FROM flights",
        "INSERT INTO out (a) VALUES (1), (2.5)",
        "INSERT INTO out VALUES (1, 'x'), (NULL, NULL)",
        "INSERT INTO OUT SELECT a, b FROM out",
    ] {
        plan(&format!("{TABLES}{ok}")).unwrap_or_else(|e| panic!("{ok}: {e}"));
    }
    let text = explained("INSERT INTO out SELECT dep_delay, origin FROM flights").unwrap();
    assert!(text.contains("CAST(dep_delay AS BIGINT)"), "{text}");
}

#[test]
fn tables_without_columns_ask_their_connector() {
    let program = plan("CREATE TABLE t WITH ('connector' = 'known', 'path' = '${INPUT}'); SELECT b FROM t").unwrap();
    assert_eq!(program.graph.unwrap().nodes()[0].schema.fields().len(), 1);
}

#[test]
fn settings_have_flinks_names_too() {
    let text = "SET 'parallelism.default' = '3'; SET 'execution.checkpointing.interval' = '10s';
        SET 'execution.checkpointing.max-concurrent-checkpoints' = '2';
        SET 'restart-strategy.exponential-delay.initial-backoff' = '1 s';
        SET 'restart-strategy.exponential-delay.max-backoff' = '1 h';
        SET 'restart-strategy.failure-rate.max-failures-per-interval' = '3';
        SET 'restart-strategy.failure-rate.failure-rate-interval' = '1 d';
        SET 'table.local-time-zone' = 'Europe/Berlin'; SELECT 1 AS a";
    let settings = rheos_sql::plan(text, &options(), &registry()).unwrap().settings;
    assert_eq!((settings.parallelism, settings.checkpoint_interval_ms), (Some(3), 10_000));
    assert_eq!((settings.checkpoint_max_in_flight, settings.timezone.as_str()), (2, "Europe/Berlin"));
    let restart =
        RestartSettings { attempts_max: 3, backoff_ms: 1000, backoff_ms_max: 3_600_000, window_ms: 86_400_000 };
    assert_eq!(settings.restart, restart);
}

#[test]
fn settings_from_outside_win() {
    let mut options = options();
    let text = "SET 'parallelism' = '3'; SET checkpoint.interval = '5 s'; SELECT 1";
    let program = rheos_sql::plan(text, &options, &registry()).unwrap();
    assert_eq!((program.settings.parallelism, program.settings.checkpoint_interval_ms), (Some(3), 5000));
    options.settings.insert("parallelism".into(), "2".into());
    assert_eq!(rheos_sql::plan(text, &options, &registry()).unwrap().settings.parallelism, Some(2));
    options.settings.insert("paralelism".into(), "2".into());
    assert!(rheos_sql::plan(text, &options, &registry()).is_err());
}

#[test]
fn where_state_lies_is_known_before_the_program_is_planned() {
    let text = "SET 'checkpoint.dir' = '${PLACE}/state'; SELECT nothing FROM nowhere; SET 'checkpoint.copies' = '2';
        SET 'execution.checkpointing.dir' = '${PLACE}/later'; SET 'parallelism' = 'wrong, and not looked at'";
    let variables = BTreeMap::from([("PLACE".to_string(), "s3://b".to_string())]);
    let mut outside = BTreeMap::from([("timezone".to_string(), "nowhere".to_string())]);
    let settings = rheos_sql::state_settings(text, &variables, &outside).unwrap();
    assert_eq!((settings.dir.as_deref(), settings.copies), (Some("s3://b/later"), Some(2)));
    outside.insert("checkpoint.dir".into(), "here".into());
    outside.insert("checkpoint.copy-dir".into(), "there".into());
    let settings = rheos_sql::state_settings(text, &variables, &outside).unwrap();
    assert_eq!((settings.dir.as_deref(), settings.copy_dir.as_deref()), (Some("here"), Some("there")));
    let error = rheos_sql::state_settings("SET 'checkpoint.dri' = 'x'", &variables, &BTreeMap::new()).unwrap_err();
    assert!(error.code() == "R0104" && error.span().is_some() && error.hint().unwrap().contains("checkpoint.dir"));
}

#[test]
fn every_function_is_listed_once_with_its_call() {
    let all = rheos_sql::functions();
    assert!(all.len() > 200, "{}", all.len());
    for name in ["tumble", "hop", "avg", "approx_percentile_cont", "date_trunc", "array_length"] {
        let f = all.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name}"));
        assert!(!f.description.is_empty() && f.syntax.to_lowercase().contains('('), "{name}");
    }
}
