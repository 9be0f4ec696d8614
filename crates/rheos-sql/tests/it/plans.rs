//! The shape of graphs: which nodes, which exchanges, which columns are read.

use rheos_core::source::Boundedness;
use rheos_sql::Output;

use crate::fakes::{TABLES, explained, plan};

/// Node names and exchanges only. The exchange stands before the node whose rows it moves: in `a [single] b` all rows of
/// `b` go to one worker of `a`.
fn shape(query: &str) -> String {
    let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let line = |l: &str| l.trim().split("  ").next().unwrap_or_default().replace(", append", "");
    text.lines().map(line).collect::<Vec<_>>().join(" ")
}

#[test]
fn queries_become_these_nodes() {
    let cases = [
        ("SELECT * FROM flights", "sink:result [single] source:flights"),
        (
            "SELECT origin FROM flights WHERE distance > 5",
            "sink:result [single] project [forward] filter [forward] source:flights",
        ),
        (
            "SELECT origin, count(*) FROM flights GROUP BY origin",
            "sink:result [single] project [forward] aggregate [hash(origin)] partial-aggregate [forward] source:flights",
        ),
        (
            "SELECT count(*) AS n, avg(dep_delay) AS d FROM flights",
            "sink:result [single] project [forward] aggregate [single] partial-aggregate [forward] source:flights",
        ),
        (
            "SELECT DISTINCT origin FROM flights",
            "sink:result [single] aggregate [hash(origin)] partial-aggregate [forward] source:flights",
        ),
        ("SELECT * FROM flights ORDER BY distance DESC LIMIT 3", "sink:result [single] sort [single] source:flights"),
        ("SELECT * FROM flights LIMIT 3 OFFSET 1", "sink:result [single] limit [single] source:flights"),
        (
            "SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '3' HOUR))",
            "sink:result [single] hop [forward] source:bid",
        ),
        ("SELECT 1 AS a", "sink:result [single] project [forward] source:values"),
        ("VALUES (1, 'a'), (2, 'b')", "sink:result [single] source:values"),
    ];
    for (query, expected) in cases {
        assert_eq!(shape(query), expected, "{query}");
    }
}

/// How often a costly expression is in the plan, and the steps of it.
fn computed(query: &str) -> (usize, String) {
    let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    // In the name of a column the text is in quotes.
    (text.matches("split_part(origin, -, 1)").count(), shape(query))
}

#[test]
fn what_a_condition_has_computed_is_not_computed_again() {
    let once = "sink:result [single] filter [forward] project [forward] source:flights";
    let after = "sink:result [single] filter [forward] project [forward] filter [forward] source:flights";
    let f = "split_part(origin, '-', 1)";
    for (query, expected) in [
        (format!("SELECT distance, {f} AS f FROM flights WHERE {f} <> 'x'"), once),
        (
            format!("SELECT distance, f FROM (SELECT *, {f} AS f FROM flights) WHERE f <> 'x' AND f <> 'y'"),
            "sink:result [single] project [forward] filter [forward] project [forward] source:flights",
        ),
        (format!("SELECT b.distance, b.f FROM (SELECT a.distance, {f} AS f FROM flights a) b WHERE b.f <> 'x'"), once),
        (format!("SELECT distance, {f} AS f FROM flights WHERE distance > 5 AND {f} <> 'x'"), after),
        (format!("SELECT distance, {f} AS f FROM flights WHERE NOT ({f} = 'x' OR distance > 5)"), after),
        (
            format!("SELECT count(*) AS n FROM flights WHERE {f} <> 'x' GROUP BY {f}"),
            "sink:result [single] project [forward] aggregate [hash(split_part(flights.origin,'-',1))] partial-aggregate \
             [forward] filter [forward] project [forward] source:flights",
        ),
    ] {
        let (times, steps) = computed(&query);
        assert_eq!(times, 1, "{query}");
        assert_eq!(steps, expected, "{query}");
    }
}

#[test]
fn what_a_condition_may_not_have_computed_stays_where_it_is() {
    let f = "split_part(origin, '-', 1)";
    for query in [
        format!("SELECT {f} AS f FROM flights WHERE distance > 5 OR {f} <> 'x'"),
        format!("SELECT {f} AS f FROM flights WHERE CASE WHEN distance > 5 THEN {f} <> 'x' ELSE true END"),
        format!("SELECT {f} AS f FROM flights WHERE coalesce(origin, {f}) <> 'x'"),
        format!("SELECT {f} AS f FROM flights WHERE origin IN ('a', {f})"),
    ] {
        let (times, steps) = computed(&query);
        assert_eq!(times, 2, "{query}");
        assert!(steps.starts_with("sink:result [single] project [forward] filter"), "{query}: {steps}");
    }
}

#[test]
fn of_rows_only_the_fields_that_are_used_are_read() {
    let events =
        "CREATE TABLE events (kind INT, bid ROW<auction BIGINT, price BIGINT, at ROW<x INT, ts TIMESTAMP(3)>>, \
                  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND, ts AS bid.at.ts) WITH ('connector' = 'endless');
                  CREATE TABLE plain (kind INT, bid ROW<auction BIGINT, price BIGINT, at ROW<x INT, y INT>>) \
                  WITH ('connector' = 'memory');
                  CREATE VIEW v AS SELECT bid AS b, kind AS k FROM plain WHERE bid.price > 1;";
    let read = |query: &str| {
        let program = plan(&format!("{events}EXPLAIN {query}")).unwrap_or_else(|e| panic!("{query}: {e}"));
        let Some(Output::Explain { text }) = program.outputs.into_iter().next() else { panic!("{query}") };
        let at = text.find("columns: ").unwrap_or_else(|| panic!("{text}"));
        text[at + "columns: ".len()..].split(['\n', ';']).next().unwrap_or_default().to_string()
    };
    for (query, expected) in [
        ("SELECT bid.price FROM plain", "bid(price)"),
        ("SELECT bid FROM plain", "bid(auction, price, at(x, y))"),
        ("SELECT bid.at.y, bid.price + 1 FROM plain WHERE kind = 2", "kind, bid(price, at(y))"),
        ("SELECT bid.at FROM plain WHERE bid.at.x = 1", "bid(at(x, y))"),
        ("SELECT b.auction FROM v WHERE k = 2", "kind, bid(auction, price)"),
        ("SELECT count(*) FROM plain WHERE bid IS NULL", "bid(auction, price, at(x, y))"),
        ("SELECT bid.price AS p, count(*) FROM plain GROUP BY bid.price HAVING max(bid.at.x) > 1", "bid(price, at(x))"),
        ("SELECT a.bid.price FROM plain a JOIN plain b ON a.kind = b.bid.auction", "kind, bid(auction, price)"),
        ("SELECT bid.price, ts FROM events", "bid(price, at(ts)), ts"),
        (
            "SELECT bid.auction, count(*) FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' HOUR) \
          GROUP BY window_start, window_end, bid.auction",
            "bid(auction, at(ts)), ts",
        ),
    ] {
        assert_eq!(read(query), expected, "{query}");
    }
}

const HOURLY: &str =
    "sink:result [single] project [forward] tumble [hash(origin)] partial-tumble [forward] source:flights";

#[test]
fn all_forms_of_a_window_give_the_same_plan() {
    let forms = [
        "SELECT window_start, origin, avg(dep_delay) AS d FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched), INTERVAL '1' HOUR)) GROUP BY window_start, window_end, origin",
        "SELECT window_start, origin, avg(dep_delay) AS d FROM TUMBLE(flights, sched, INTERVAL '1' HOUR) GROUP BY origin, window_start",
        "SELECT w.window_start, w.origin, avg(w.dep_delay) AS d FROM TUMBLE(DATA => TABLE flights, TIMECOL => DESCRIPTOR(sched), SIZE => INTERVAL '60' MINUTE) AS w GROUP BY w.window_start, w.window_end, w.origin",
        "SELECT TUMBLE_START(sched, INTERVAL '1' HOUR), origin, avg(dep_delay) AS d FROM flights GROUP BY TUMBLE(sched, INTERVAL '1' HOUR), origin",
        "SELECT tumble(sched, INTERVAL '1' HOUR) AS t, f.origin, avg(f.dep_delay) AS d FROM flights f GROUP BY tumble(sched, INTERVAL '1' HOUR), f.origin",
        "WITH w AS (SELECT window_start, window_end, dep_delay, origin FROM TUMBLE(TABLE flights, DESCRIPTOR(sched), INTERVAL '1' HOUR)) SELECT window_start, origin, avg(dep_delay) AS d FROM w GROUP BY window_start, window_end, origin",
        "SELECT window_start, origin, avg(dep_delay) AS d FROM TUMBLE(TABLE (SELECT sched, origin, dep_delay FROM flights), DESCRIPTOR(sched), INTERVAL '1' HOUR) GROUP BY window_start, window_end, origin",
    ];
    for form in forms {
        assert_eq!(shape(form), HOURLY, "{form}");
    }
    let text = explained(forms[0]).unwrap();
    assert!(text.contains("columns: origin, dep_delay, sched\n"), "unused columns are not read:\n{text}");
    assert!(text.contains("tumble 3600000 ms"), "{text}");
}

#[test]
fn columns_of_a_source_are_named_once() {
    let text = explained("SELECT origin FROM flights").unwrap();
    assert_eq!(text.matches("columns:").count(), 1, "{text}");
}

#[test]
fn the_time_of_a_query_has_microseconds() {
    let text = explained("SELECT now() AS a, current_time() AS b, arrow_typeof(now()) AS c FROM flights").unwrap();
    assert!(!text.contains("(ns"), "{text}");
    assert!(text.contains("1356998400000000"), "{text}");
}

#[test]
fn now_is_the_clock_of_the_operators_where_the_input_has_no_end() {
    let text = explained("SELECT now() AS a, current_date AS b FROM bid").unwrap();
    assert!(text.contains("now()") && text.contains("current_date()"), "{text}");
    assert!(!text.contains("13569984"), "{text}");
}

#[test]
fn a_union_may_be_null_where_a_part_may() {
    let text = format!("{TABLES}SELECT 1 AS a UNION ALL SELECT distance FROM flights");
    let graph = plan(&text).unwrap().graph.unwrap();
    let union = graph.nodes().iter().find(|n| n.name == "union").unwrap();
    assert!(union.schema.field(0).is_nullable());
}

#[test]
fn filters_on_keys_and_windows_stay_around_the_aggregate() {
    let query = "SELECT window_start, origin, n FROM (SELECT window_start, origin, count(*) AS n \
        FROM TUMBLE(TABLE flights, DESCRIPTOR(sched), INTERVAL '1' HOUR) GROUP BY window_start, window_end, origin) x \
        WHERE origin = 'JFK' AND window_start > TIMESTAMP '2013-01-01 00:00:00'";
    let expected = "sink:result [single] project [forward] filter [forward] tumble [hash(origin)] partial-tumble [forward] \
        filter [forward] source:flights";
    assert_eq!(shape(query), expected.split_whitespace().collect::<Vec<_>>().join(" "));
}

#[test]
fn order_sensitive_aggregates_are_not_split() {
    let query = "SELECT origin, array_agg(distance ORDER BY sched) AS d FROM flights GROUP BY origin";
    assert_eq!(shape(query), "sink:result [single] project [forward] aggregate [hash(origin)] source:flights");
}

#[test]
fn a_window_over_a_window_takes_the_columns_of_the_first() {
    let query = "SELECT window_start, max(n) AS m FROM (SELECT window_start, window_end, auction, count(*) AS n \
        FROM TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, auction) \
        GROUP BY window_start, window_end";
    let got = shape(query);
    assert!(got.contains("window-aggregate [single] partial-window-aggregate"), "{got}");
    let cascade = "SELECT count(*) AS n FROM TUMBLE(TABLE (SELECT window_time AS t, count(*) AS c FROM \
        TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, window_time), \
        DESCRIPTOR(t), INTERVAL '1' MINUTE) GROUP BY window_start, window_end";
    assert_eq!(shape(cascade).matches("tumble").count(), 4, "{cascade}");
}

#[test]
fn grouping_sets_leave_no_step_that_nobody_reads_and_none_twice() {
    let tumbled = "TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' HOUR)";
    let sessions = "SESSION(TABLE flown PARTITION BY o, DESCRIPTOR(ts), INTERVAL '1' HOUR)";
    let flown = "CREATE TABLE flown (o STRING, c STRING, d INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'memory');";
    for (query, sources) in [
        ("SELECT a, sum(b) FROM (VALUES (1, 2), (3, 4)) AS t(a, b) GROUP BY ROLLUP (a)".to_string(), 1),
        ("SELECT sum(b) FROM (VALUES (1, 2)) AS t(a, b) GROUP BY GROUPING SETS ((), ())".to_string(), 1),
        ("SELECT origin, sum(distance) FROM flights WHERE distance > 3 GROUP BY CUBE (origin, carrier)".to_string(), 1),
        ("SELECT origin, sum(distance) FROM flights GROUP BY GROUPING SETS ((origin), (), ())".to_string(), 1),
        ("SELECT origin FROM flights WHERE distance > 3 GROUP BY ROLLUP (origin)".to_string(), 1),
        (format!("SELECT window_start, auction, sum(price) FROM {tumbled} GROUP BY window_start, window_end, ROLLUP (auction)"), 1),
        (format!("SELECT o, window_start, sum(d) FROM {sessions} GROUP BY GROUPING SETS ((o, window_start, window_end), ())"), 1),
        (format!("SELECT o, window_start, sum(d) FROM {sessions} GROUP BY GROUPING SETS ((o), (window_start, window_end), ())"), 1),
        (
            format!(
                "SELECT o, sum(d) FROM (SELECT o, d, row_number() OVER (PARTITION BY window_start, window_end, o ORDER BY d) AS n FROM {sessions}) \
                 WHERE n < 3 GROUP BY ROLLUP (o)"
            ),
            1,
        ),
        (
            "SELECT a, sum(b) FROM (SELECT origin AS a, distance AS b FROM flights UNION ALL SELECT 'x', 1) GROUP BY ROLLUP (a)".to_string(),
            2,
        ),
    ] {
        let graph = plan(&format!("{TABLES}{flown}{query}")).unwrap_or_else(|e| panic!("{query}: {e}")).graph.unwrap();
        let unread = graph.ids().filter(|n| graph.readers(*n).is_empty());
        let unread: Vec<_> = unread.map(|n| graph.node(n).name.as_str()).collect();
        assert_eq!(unread, ["sink:result"], "{query}");
        let of_kind = |kind: &str| graph.nodes().iter().filter(|n| n.name.starts_with(kind)).count();
        assert_eq!(of_kind("source:"), sources, "{query}");
        for kind in ["filter", "assign", "late", "rank", "top"] {
            assert!(of_kind(kind) <= 1, "{kind} in {query}");
        }
    }
    // So each late row is told once.
    let late = format!(
        "{TABLES}{flown}SELECT o, sum(d) FROM TUMBLE(TABLE flown, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY ROLLUP (o);
         SELECT * FROM flown$late"
    );
    let graph = plan(&late).unwrap().graph.unwrap();
    let side = graph.nodes().iter().find(|n| n.name == "late:flown").unwrap();
    assert_eq!(side.inputs.len(), 1);
}

#[test]
fn inserts_share_sources_and_sinks() {
    let text = format!(
        "{TABLES}INSERT INTO out SELECT auction, url FROM bid WHERE price > 3;
         INSERT INTO out SELECT price, url FROM bid;
         CREATE TABLE o2 (a BIGINT) WITH ('connector' = 'memory');
         CREATE VIEW v AS SELECT auction AS k FROM bid;
         INSERT INTO o2 SELECT k FROM v;"
    );
    let program = plan(&text).unwrap();
    let graph = program.graph.unwrap();
    let names: Vec<_> = graph.nodes().iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names.iter().filter(|n| **n == "source:bid").count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|n| n.starts_with("sink:")).count(), 2, "{names:?}");
    let source = graph.nodes().iter().find(|n| n.name == "source:bid").unwrap();
    let columns: Vec<_> = source.schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(columns, ["auction", "price", "url", "ts"], "the time column is read for the watermark");
    assert_eq!(program.boundedness, Boundedness::Unbounded);
}

#[test]
fn a_program_shows_its_parts_in_order() {
    let program = plan(&format!("{TABLES}SELECT 1 AS a; EXPLAIN SELECT 2 AS b; SELECT origin FROM flights")).unwrap();
    let kinds: Vec<_> = program
        .outputs
        .iter()
        .map(|o| match o {
            Output::Rows { index, .. } => format!("rows {index}"),
            Output::Explain { .. } => "explain".to_string(),
        })
        .collect();
    assert_eq!(kinds, ["rows 0", "explain", "rows 1"]);
    assert_eq!(program.boundedness, Boundedness::Bounded);
    assert_eq!(program.graph.unwrap().nodes().iter().filter(|n| n.name.starts_with("sink:result")).count(), 2);
}

#[test]
fn the_same_program_has_the_same_fingerprint() {
    let text = format!(
        "{TABLES}SELECT window_start, count(*), sum(price + 1) FROM TUMBLE(bid, ts, INTERVAL '1' HOUR) GROUP BY window_start, url"
    );
    let print = || plan(&text).unwrap().graph.unwrap().fingerprint();
    assert_eq!(print(), print());
}

#[test]
fn many_kinds_of_queries_are_planned() {
    for query in [
        "SELECT CASE WHEN distance > 5 THEN 'far' ELSE 'near' END AS c, count(DISTINCT origin), count(*) FILTER (WHERE dep_delay > 0) FROM flights GROUP BY CASE WHEN distance > 5 THEN 'far' ELSE 'near' END",
        "SELECT origin, count(*) FROM flights GROUP BY 1 HAVING count(*) > 3 ORDER BY 2 DESC, origin LIMIT 5",
        "SELECT origin FROM flights UNION ALL SELECT url FROM bid",
        "SELECT origin FROM flights UNION SELECT Carrier FROM flights",
        "SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY dep_delay), approx_distinct(origin), stddev(dep_delay) FROM flights",
        "SELECT upper(origin), length(origin), regexp_replace(origin, 'a', 'b'), date_trunc('hour', sched), sched + INTERVAL '1' DAY FROM flights",
        "SELECT window_end - window_start AS len, count(*) FROM HOP(bid, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND) GROUP BY window_start, window_end",
        "SELECT window_start, max(window_end) AS e FROM TUMBLE(bid, ts, INTERVAL '1' HOUR, INTERVAL '10' MINUTE) GROUP BY window_start",
        "SELECT DISTINCT window_start, auction FROM TUMBLE(bid, ts, INTERVAL '1' HOUR)",
        "SELECT window_start, max(n) FROM (SELECT window_start, window_end, auction, count(*) AS n FROM TUMBLE(bid, ts, INTERVAL '1' HOUR) GROUP BY window_start, window_end, auction) AS x GROUP BY window_start",
        "SELECT e, sum(n) FROM (SELECT window_end AS e, count(*) AS n FROM HOP(bid, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND) GROUP BY window_start, window_end, auction UNION ALL SELECT window_end, price + 1 FROM HOP(bid, ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND)) AS x GROUP BY e",
        "SELECT HOP_END(ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND) AS e, auction, count(*) AS n FROM bid WHERE price > 3 GROUP BY HOP(ts, INTERVAL '2' SECOND, INTERVAL '10' SECOND), auction HAVING count(*) > 2",
        "SELECT * FROM (SELECT origin AS o, distance FROM flights WHERE distance BETWEEN 1 AND 5) x WHERE o LIKE 'J%' AND o IN ('JFK', 'JFX')",
        "SELECT now(), current_date, current_timestamp, pi()",
        "SELECT count(*) FROM (SELECT DISTINCT origin FROM flights) x",
        "SELECT first_value(origin ORDER BY sched), last_value(origin ORDER BY sched), string_agg(origin, ',' ORDER BY origin) FROM flights",
        "SELECT origin AS a, origin AS b, distance FROM flights ORDER BY lower(Carrier), a",
        "SELECT a.origin, a.origin FROM flights a",
        "SELECT * FROM flights WHERE 1 = 0",
        "SELECT count(*) FROM flights WHERE 1 = 0",
        "SELECT make_array(1, 2)[1], named_struct('a', 1)['a'], array_length(make_array(origin)) FROM flights",
        "SELECT sum(distance), sum(dep_delay), min(sched), max(sched), bool_and(distance > 1), count(*) FROM flights",
        "SELECT date_bin(INTERVAL '15' MINUTE, sched) AS t, count(*) FROM flights GROUP BY date_bin(INTERVAL '15' MINUTE, sched)",
        "SELECT window_start, origin, n FROM (SELECT window_start, origin, count(*) AS n FROM TUMBLE(flights, sched, INTERVAL '1' HOUR) GROUP BY window_start, window_end, origin) ORDER BY n DESC LIMIT 3",
    ] {
        explained(query).unwrap_or_else(|e| panic!("{query}\n{e}"));
    }
}

#[test]
fn equal_parts_are_computed_once() {
    let twice = |part: &str| format!("WITH h AS ({part}) SELECT a.origin FROM h AS a JOIN h AS b ON a.n = b.n");
    let cases = [
        (twice("SELECT origin, count(*) AS n FROM flights GROUP BY origin"), 1),
        (twice("SELECT origin, max(random()) AS n FROM flights GROUP BY origin"), 2),
        (
            "SELECT a.n FROM (SELECT origin, count(*) AS n FROM flights GROUP BY origin) AS a \
             JOIN (SELECT carrier, count(*) AS n FROM flights GROUP BY carrier) AS b ON a.n = b.n"
                .into(),
            2,
        ),
        (
            "SELECT a.n FROM (SELECT origin, count(*) AS n FROM flights WHERE distance > 1 GROUP BY origin) AS a \
             JOIN (SELECT origin, count(*) AS n FROM flights WHERE distance > 2 GROUP BY origin) AS b ON a.n = b.n"
                .into(),
            2,
        ),
    ];
    for (query, aggregates) in cases {
        assert_eq!(shape(&query).matches("partial-aggregate").count(), aggregates, "{query}");
    }
}

#[test]
fn few_rows_go_to_every_worker() {
    let hours = "(SELECT window_start, window_end, max(distance) AS most FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched), INTERVAL '1' HOUR)) \
        GROUP BY window_start, window_end)";
    let most = "(SELECT max(distance) AS most FROM flights)";
    let within = "f.sched >= h.window_start AND f.sched < h.window_end";
    let join = |query: &str| {
        let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
        let line = text.lines().find(|line| line.contains("] join  ")).unwrap_or_else(|| panic!("{query}:\n{text}"));
        (text.matches("[broadcast, append]").count(), line.trim().to_string())
    };
    for (query, facts) in [
        (format!("SELECT f.origin FROM flights f JOIN {most} m ON f.distance = m.most"), "few: right"),
        (format!("SELECT f.origin FROM {most} m JOIN flights f ON f.distance = m.most"), "few: left"),
        ("SELECT origin FROM flights WHERE distance >= (SELECT max(distance) FROM flights)".to_string(), "few: right"),
        (
            format!("SELECT f.origin FROM flights f JOIN {hours} h ON f.distance = h.most AND {within}"),
            "few: right; joined: sched + 3600000 ms",
        ),
        (
            format!(
                "SELECT f.origin FROM flights f LEFT JOIN {hours} h ON f.distance = h.most AND f.sched = h.window_end"
            ),
            "few: right; joined: sched + 0 ms",
        ),
        (
            format!("SELECT f.origin FROM flights f JOIN {hours} h ON f.sched BETWEEN h.window_end AND h.window_end"),
            "few: right; joined: sched + 0 ms",
        ),
    ] {
        let (broadcasts, line) = join(&query);
        assert_eq!(broadcasts, 1, "{query}");
        assert!(line.ends_with(facts), "{query}: {line}");
    }
    for query in [
        // Rows of the few that go out by themselves would do so on every worker.
        format!("SELECT m.most FROM flights f RIGHT JOIN {most} m ON f.distance = m.most"),
        // Nobody knows how many there are.
        "SELECT f.origin FROM flights f JOIN (SELECT max(distance) AS most FROM flights GROUP BY dep_delay) m ON f.distance = m.most".to_string(),
        // Every worker would tell of a row that fails.
        format!("SELECT f.origin FROM flights f JOIN {most} m ON f.distance + m.most > 3"),
    ] {
        assert_eq!(join(&query).0, 0, "{query}");
    }
}
