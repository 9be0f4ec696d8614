//! Results that change: which steps they take, what the edges say, and who is given final rows.

use rheos_core::change::WEIGHT;
use rheos_sql::{Output, ResultRows};

use crate::fakes::{TABLES, explained, options, registry};

/// Names of steps, with what travels between them.
fn shape(query: &str) -> String {
    let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let steps = text.lines().take_while(|line| !line.starts_with("state that"));
    let line = |l: &str| l.trim().split("  ").next().unwrap_or_default().to_string();
    steps.map(line).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_changes_takes_other_steps_than_what_is_final() {
    for (query, expected) in [
        (
            "SELECT auction, count(*) AS n FROM bid GROUP BY auction",
            "sink:result [single, retract [key auction]] project [forward, retract [key auction]] group [hash(auction), append] project [forward, append] source:bid",
        ),
        (
            "SELECT count(*) AS n FROM bid",
            "sink:result [single, retract [one row]] project [forward, retract [one row]] group [single, append] source:bid",
        ),
        (
            "SELECT n, count(*) AS auctions FROM (SELECT auction, count(*) AS n FROM bid GROUP BY auction) GROUP BY n HAVING count(*) > 1",
            "sink:result [single, retract [key n]] project [forward, retract [key n]] filter [forward, retract [key n]] \
             group [hash(n), retract] project [forward, retract [key auction]] group [hash(auction), append] \
             project [forward, append] source:bid",
        ),
        (
            "SELECT DISTINCT auction FROM bid",
            "sink:result [single, append] distinct [hash(auction), append] project [forward, append] source:bid",
        ),
        (
            "SELECT auction FROM bid UNION ALL SELECT count(*) FROM bid",
            "sink:result [single, retract] union [forward, retract] project [forward, append] \
             project [forward, append] source:bid [forward, retract [one row]] project [forward, retract [one row]] \
             group [single, append] project [forward, append] source:bid (the one above)",
        ),
    ] {
        let got = shape(query);
        let (got, expected) =
            (got.split(' ').collect::<Vec<_>>(), expected.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>());
        assert_eq!(got.join(" "), expected.join(" "), "{query}");
    }
}

#[test]
fn what_grows_for_ever_is_named_and_bounded_input_is_not() {
    let growing = |query: &str| {
        let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
        text.split_once("state that grows for ever:\n").map_or(String::new(), |(_, rest)| rest.trim().to_string())
    };
    let query = "SELECT auction, count(*) FROM bid GROUP BY auction";
    assert_eq!(growing(query), "group: a group for each auction; set 'state.ttl', or use a window");
    assert_eq!(growing("SELECT count(*) FROM bid"), "");
    assert_eq!(growing("SELECT origin, count(*) FROM flights GROUP BY origin"), "");
    let hint = "SELECT /*+ ttl('1 d') */ auction, count(*) FROM bid GROUP BY auction";
    assert_eq!(growing(hint), "");
}

/// The columns and the key of a result, and the steps before it.
fn result(program: &str, results: ResultRows) -> (Vec<String>, Option<Vec<usize>>, Vec<String>) {
    let options = rheos_sql::PlanOptions { results, ..options() };
    let program = rheos_sql::plan(&format!("{TABLES}{program}"), &options, &registry())
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let Some(Output::Rows { schema, key, .. }) = program.outputs.into_iter().next() else { panic!("no rows") };
    let columns = schema.fields().iter().map(|f| f.name().clone()).collect();
    let graph = program.graph.expect("the program runs something");
    (columns, key, graph.nodes().iter().map(|n| n.name.clone()).collect())
}

#[test]
fn who_takes_no_changes_gets_the_rows_at_the_end() {
    let bounded = "SELECT origin, count(*) AS n FROM flights GROUP BY origin";
    let endless = "SELECT auction, count(*) AS n FROM bid GROUP BY auction";
    let set = "SET 'emit.mode' = 'changes';";
    let has = |steps: &[String], step: &str| steps.iter().any(|s| s == step);

    let (columns, _, steps) = result(bounded, ResultRows::Final);
    assert_eq!(columns, ["origin", "n"]);
    assert!(has(&steps, "aggregate") && !has(&steps, "group"), "{steps:?}");

    for (text, results) in
        [(format!("{set}{bounded}"), ResultRows::Final), (format!("{set}{bounded}"), ResultRows::ChangesOfEndless)]
    {
        let (columns, _, steps) = result(&text, results);
        assert_eq!(columns, ["origin", "n"]);
        assert!(has(&steps, "group") && has(&steps, "rows-at-end"), "{steps:?}");
    }
    for (text, results) in
        [(bounded, ResultRows::Changes), (endless, ResultRows::Changes), (endless, ResultRows::ChangesOfEndless)]
    {
        let (columns, key, steps) = result(text, results);
        assert_eq!(columns[1..], ["n", WEIGHT]);
        assert_eq!(key, Some(vec![0]));
        assert!(has(&steps, "group") && !has(&steps, "rows-at-end"), "{steps:?}");
    }
    // What needs final rows gets them within a query, too.
    for query in ["SELECT * FROM ({}) ORDER BY n", "SELECT * FROM ({}) LIMIT 3"] {
        let (columns, _, steps) = result(&format!("{set}{}", query.replace("{}", bounded)), ResultRows::Changes);
        assert!(!columns.contains(&WEIGHT.to_string()), "{query}");
        assert!(has(&steps, "rows-at-end"), "{query}: {steps:?}");
    }
}

#[test]
fn queries_of_two_modes_share_nothing_that_differs() {
    let text = format!(
        "{TABLES}CREATE TABLE other (a BIGINT, b STRING) WITH ('connector' = 'memory');
         INSERT INTO out SELECT count(*), origin FROM flights GROUP BY origin;
         SET 'emit.mode' = 'changes';
         INSERT INTO other SELECT count(*), origin FROM flights GROUP BY origin;"
    );
    let program = rheos_sql::plan(&text, &options(), &registry()).unwrap();
    let graph = program.graph.unwrap();
    let count = |name: &str| graph.nodes().iter().filter(|n| n.name == name).count();
    assert_eq!((count("aggregate"), count("group"), count("source:flights")), (1, 1, 1));
}

#[test]
fn a_query_may_say_itself_what_it_gives() {
    let bounded = "SELECT origin, count(*) AS n FROM flights GROUP BY origin";
    let steps = |query: &str, results| result(query, results).2.join(" ");
    let changing = steps(&format!("{bounded} EMIT CHANGES"), ResultRows::Final);
    assert!(changing.contains("group") && changing.contains("rows-at-end"), "{changing}");
    assert!(!steps(&format!("{bounded} EMIT FINAL"), ResultRows::Changes).contains("group"));
    let set = format!("SET 'emit.mode' = 'changes'; {bounded} EMIT FINAL");
    assert!(!steps(&set, ResultRows::Changes).contains("group"));
}
