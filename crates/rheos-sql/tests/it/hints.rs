//! Hints: which steps keep their ids when a program changes.

use rheos_core::graph::{JobGraph, NodeKind};
use rheos_sql::{PlanOptions, ResultRows};

use crate::fakes::{TABLES, options, plan, registry};

fn graph(program: &str) -> JobGraph {
    let program = plan(&format!("{TABLES}{program}")).unwrap_or_else(|e| panic!("{program}: {e}"));
    program.graph.expect("the program has a query")
}

/// The ids of the steps that keep state.
fn stateful(program: &str) -> Vec<String> {
    let graph = graph(program);
    let nodes = graph.nodes().iter().filter(|n| matches!(n.kind, NodeKind::Stateful(_)));
    nodes.map(|n| n.operator_id.clone()).collect()
}

fn source(program: &str) -> String {
    let graph = graph(program);
    let source = graph.nodes().iter().find(|n| matches!(n.kind, NodeKind::Source { .. }));
    source.expect("the program reads a table").operator_id.clone()
}

fn windows(hint: &str, minutes: u32, condition: &str) -> String {
    format!(
        "SELECT {hint} auction, count(*) AS n, window_start FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), \
         INTERVAL '{minutes}' MINUTE)) WHERE {condition} GROUP BY auction, window_start, window_end"
    )
}

#[test]
fn a_named_query_keeps_its_state_when_what_it_reads_changes_and_not_when_it_means_something_else() {
    let named = |minutes, condition| stateful(&windows("/*+ id('hourly') */", minutes, condition));
    let first = named(60, "price > 1");
    assert!(!first.is_empty() && first.iter().all(|id| id.starts_with("hourly-")), "{first:?}");
    assert_eq!(named(60, "price > 2"), first, "other rows come");
    let other = named(30, "price > 1");
    assert!(other.iter().all(|id| !first.contains(id)), "its slices are of other lengths: {other:?}");
    let unnamed = |condition| stateful(&windows("", 60, condition));
    assert_ne!(unnamed("price > 1"), unnamed("price > 2"));
}

#[test]
fn a_named_table_keeps_its_positions_whatever_is_read_of_it() {
    for columns in ["auction", "auction, price"] {
        assert_eq!(source(&format!("SELECT {columns} FROM bid /*+ id('bids') */ WHERE price > 1")), "bids");
        let windowed = format!(
            "SELECT {columns}, window_end FROM TABLE(TUMBLE(TABLE Bid /*+ id('bids') */, DESCRIPTOR(ts), INTERVAL '1' DAY))"
        );
        assert_eq!(source(&windowed), "bids");
    }
    // The name of a query is none of its source.
    assert_ne!(source(&windows("/*+ id('a') */", 60, "true")), "a");
}

#[test]
fn a_view_carries_its_name_into_all_queries() {
    let view = |hint: &str| format!("CREATE VIEW hourly AS {};", windows(hint, 60, "price > 1"));
    let behind_select = format!("{} SELECT auction, n FROM hourly AS h WHERE n > 5", view("/*+ id('h') */"));
    let where_read = format!("{} SELECT auction, n FROM hourly /*+ id('h') */ WHERE n > 5", view(""));
    let ids = stateful(&behind_select);
    assert!(!ids.is_empty() && ids.iter().all(|id| id.starts_with("h-")), "{ids:?}");
    assert_eq!(stateful(&where_read), ids);
    // The query around it has a name of its own.
    let around = format!(
        "{} SELECT /*+ id('all') */ max(n), count(DISTINCT auction) FROM hourly GROUP BY window_start",
        view("/*+ id('h') */")
    );
    let ids = stateful(&around);
    assert!(ids.iter().any(|id| id.starts_with("h-")) && ids.iter().any(|id| id.starts_with("all-")), "{ids:?}");
}

#[test]
fn a_time_to_live_goes_with_the_steps_that_keep_state() {
    let lives = |program: &str| -> Vec<Option<i64>> {
        let graph = graph(program);
        let nodes = graph.nodes().iter().filter(|n| matches!(n.kind, NodeKind::Stateful(_)));
        nodes.map(|n| n.state_ttl_ms).collect()
    };
    let all = |program: &str, expected: Option<i64>| {
        let found = lives(program);
        assert!(!found.is_empty() && found.iter().all(|ms| *ms == expected), "{program}: {found:?}");
    };
    all(&windows("", 60, "true"), None);
    all(&windows("/*+ ttl('2 h') */", 60, "true"), Some(7_200_000));
    let set = |query: &str| format!("SET 'state.ttl' = '1 d'; {query}");
    all(&set(&windows("", 60, "true")), Some(86_400_000));
    all(&set(&windows("/*+ ttl('2 h'), id('x') */", 60, "true")), Some(7_200_000));
    all(&format!("SET 'state.ttl' = '0 s'; {}", windows("", 60, "true")), None);
    all(&format!("SET 'table.exec.state.ttl' = '1 d'; {}", windows("", 60, "true")), Some(86_400_000));
}

#[test]
fn a_time_to_live_says_that_it_changes_nothing() {
    let warnings = |program: &str| -> Vec<String> {
        let program = plan(&format!("{TABLES}{program}")).unwrap_or_else(|e| panic!("{program}: {e}"));
        program
            .warnings
            .iter()
            .map(|w| format!("{} {}", w.code(), w.message().split(" changes").next().unwrap()))
            .collect()
    };
    let lines = TABLES.lines().count() as u64 + u64::from(TABLES.ends_with('\n'));
    assert_eq!(warnings(&windows("/*+ id('x') */", 60, "true")), Vec::<String>::new());
    assert_eq!(warnings(&windows("/*+ ttl('2 h') */", 60, "true")), [format!("R0686 the hint ttl in line {lines}")]);
    let both = format!("SET 'state.ttl' = '1 d';\n{}", windows("/*+ ttl('2 h'), id('x') */", 60, "true"));
    let expected = ["R0686 setting 'state.ttl'".to_string(), format!("R0686 the hint ttl in line {}", lines + 1)];
    assert_eq!(warnings(&both), expected);
    assert_eq!(warnings(&format!("SET 'state.ttl' = '0 s';{}", windows("", 60, "true"))), Vec::<String>::new());
    // Joins heed it.
    let heeded = |query: &str| {
        let options = PlanOptions { results: ResultRows::Changes, ..options() };
        let program = rheos_sql::plan(&format!("{TABLES}{query}"), &options, &registry()).unwrap();
        program.warnings.is_empty()
    };
    let two = "SELECT /*+ ttl('2 h') */ a.url FROM bid a JOIN bid b ON a.auction = b.auction";
    let three = "SELECT /*+ ttl('2 h') */ a.url FROM bid a JOIN bid b ON a.auction = b.auction JOIN bid c ON a.auction = c.auction";
    assert_eq!([two, three].map(heeded), [true, true]);
}

#[test]
fn queries_that_come_and_go_leave_the_state_of_the_others() {
    let table =
        |name: &str| format!("CREATE TABLE {name} (n BIGINT) WITH ('connector' = 'memory', 'path' = '{name}');");
    let hop = "FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))";
    let queries = [
        format!("INSERT INTO o1 SELECT count(*) {hop} WHERE price > 1 GROUP BY window_start, window_end;"),
        format!("INSERT INTO o2 SELECT count(DISTINCT url) {hop} GROUP BY auction, window_start, window_end;"),
        format!(
            "INSERT INTO o3 SELECT a.price FROM (SELECT * {hop}) a JOIN (SELECT * {hop} WHERE price > 1) b \
             ON a.auction = b.auction AND a.window_start = b.window_start AND a.window_end = b.window_end;"
        ),
        format!(
            "INSERT INTO o4 SELECT price FROM (SELECT *, row_number() OVER (PARTITION BY window_start, window_end, url \
             ORDER BY price) AS place {hop}) WHERE place < 3;"
        ),
        "INSERT INTO o5 SELECT distance FROM flights ORDER BY dep_delay, distance LIMIT 5;".to_string(),
        "INSERT INTO o6 SELECT count(origin) FROM flights;".to_string(),
    ];
    let tables: String = ["o1", "o2", "o3", "o4", "o5", "o6"].map(table).concat();
    let kept = |queries: &[String]| -> Vec<String> {
        let graph = graph(&format!("{tables}{}", queries.concat()));
        let keeps = |kind: &NodeKind| matches!(kind, NodeKind::Stateful(_) | NodeKind::Source { .. });
        graph.nodes().iter().filter(|n| keeps(&n.kind)).map(|n| n.operator_id.clone()).collect()
    };
    let all = kept(&queries);
    let reversed = kept(&queries.iter().rev().cloned().collect::<Vec<_>>());
    for query in &queries {
        let alone = kept(std::slice::from_ref(query));
        let is_there = |ids: &[String]| alone.iter().all(|id| ids.contains(id));
        assert!(is_there(&all) && is_there(&reversed), "{query}\n{alone:#?}\n{all:#?}");
    }
}

#[test]
fn columns_of_one_name_and_other_columns_are_other_meanings() {
    let side = "FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
    let joined = |column: &str| {
        stateful(&format!(
            "SELECT {column}, count(*) FROM (SELECT * {side}) a JOIN (SELECT * {side}) b ON a.auction = b.auction AND \
             a.window_start = b.window_start AND a.window_end = b.window_end GROUP BY {column}, a.window_start, a.window_end"
        ))
    };
    assert_ne!(joined("a.price").last(), joined("b.price").last());
    assert_ne!(windows_by("auction"), windows_by("price"));
    assert_ne!(source("SELECT a FROM out"), source("SELECT auction FROM bid"));
}

fn windows_by(key: &str) -> Vec<String> {
    stateful(&format!(
        "SELECT count(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY {key}, window_start, window_end"
    ))
}

fn sink(program: &str) -> String {
    let graph = graph(program);
    let sink = graph.nodes().iter().find(|n| n.name == "sink:o");
    sink.expect("the program writes a table").operator_id.clone()
}

#[test]
fn a_table_that_is_written_is_the_same_whatever_is_written_into_it() {
    let table = "CREATE TABLE o (a BIGINT) WITH ('connector' = 'memory'); INSERT INTO o";
    let first = sink(&format!("{table} SELECT auction FROM bid WHERE price > 1"));
    assert_eq!(sink(&format!("{table} SELECT auction FROM bid WHERE price > 2")), first);
    assert_eq!(
        sink(&format!("{table} SELECT /*+ id('x') */ price FROM bid; INSERT INTO o SELECT auction FROM bid")),
        first
    );
}

#[test]
fn windows_are_the_same_whether_their_late_rows_are_read_or_not() {
    for kind in [
        "TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' HOUR)",
        "HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' HOUR, INTERVAL '2' HOUR)",
    ] {
        for aggregate in ["count(*)", "array_agg(auction ORDER BY price)"] {
            // All columns are read without them, too; or not; or the table has a name, and so has the query.
            let all = "INSERT INTO o SELECT * FROM bid;";
            for (hints, others) in [(["", ""], all), (["", ""], ""), (["/*+ id('w') */", "/*+ id('bids') */"], "")] {
                let program = |late: &str| {
                    format!(
                        "CREATE TABLE o (a BIGINT, p BIGINT, u STRING, t TIMESTAMP(3), x TIMESTAMP(3)) WITH ('connector' = 'memory'); \
                         CREATE TABLE l (a BIGINT) WITH ('connector' = 'memory'); {others} {late} \
                         SELECT {} {aggregate}, auction FROM {} GROUP BY auction, window_start, window_end",
                        hints[0],
                        kind.replace("bid", &format!("bid {}", hints[1])),
                    )
                };
                let without = stateful(&program(""));
                let mut with = stateful(&program("INSERT INTO l SELECT auction FROM bid$late;"));
                with.retain(|id| !id.contains("late-"));
                assert!(!without.is_empty());
                assert_eq!(with, without, "{kind} {aggregate} {hints:?}");
            }
        }
    }
}

#[test]
fn variables_are_filled_in_before_hints_are_read() {
    let program = "SELECT auction FROM ${T} /*+ id('${ID}') */";
    let variables = [("T", "bid"), ("ID", "b-1")].map(|(name, value)| (name.to_string(), value.to_string())).into();
    let options = rheos_sql::PlanOptions { variables, ..options() };
    let planned = rheos_sql::plan(&format!("{TABLES}{program}"), &options, &registry()).unwrap();
    assert!(planned.graph.unwrap().nodes().iter().any(|n| n.operator_id == "b-1"));
}

#[test]
fn a_view_that_is_replaced_takes_its_hint_with_it() {
    let view = |hint: &str| format!("CREATE OR REPLACE VIEW hourly AS {};", windows(hint, 60, "price > 1"));
    let ids = stateful(&format!("{}{} SELECT auction FROM hourly", view("/*+ id('h') */"), view("")));
    assert!(!ids.is_empty() && ids.iter().all(|id| !id.starts_with("h-")), "{ids:?}");
}

#[test]
fn an_alias_that_is_called_as_a_view_is_none() {
    let view = format!("CREATE VIEW hourly AS {};", windows("/*+ id('h') */", 60, "price > 1"));
    let other = "SELECT hourly.auction FROM (SELECT auction, count(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), \
                 INTERVAL '1' HOUR)) GROUP BY auction, window_start, window_end) AS hourly";
    let ids = stateful(&format!("{view} {other}"));
    assert!(!ids.is_empty() && ids.iter().all(|id| !id.starts_with("h-")), "{ids:?}");
}
