//! Joins whose results change: which they are, what their edges say, and what bounds their state.

use crate::fakes::explained;

/// The line of the first join, and the line after it, without what stands in front of the name.
fn join(query: &str) -> (String, String) {
    let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.contains("] join")).unwrap_or_else(|| panic!("{query}:\n{text}"));
    (lines[at].trim().to_string(), lines[at + 1].trim().to_string())
}

fn growth(query: &str) -> String {
    let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    text.split_once("state that grows for ever:\n").map_or(String::new(), |(_, rest)| rest.trim().to_string())
}

#[test]
fn the_edges_of_joins_say_what_comes_and_goes() {
    let auctions = "(SELECT auction, max(price) AS top FROM bid GROUP BY auction)";
    for (query, result, input) in [
        ("SELECT a.url FROM bid a JOIN bid b ON a.auction = b.price", "append", "append"),
        ("SELECT a.url FROM bid a LEFT JOIN bid b ON a.auction = b.price", "retract", "append"),
        ("SELECT url FROM bid WHERE auction IN (SELECT price FROM bid)", "append", "append"),
        ("SELECT url FROM bid b WHERE EXISTS (SELECT 1 FROM bid c WHERE c.price = b.auction)", "append", "append"),
        ("SELECT url FROM bid b WHERE NOT EXISTS (SELECT 1 FROM bid c WHERE c.price = b.auction)", "retract", "append"),
        ("SELECT b.url FROM bid b JOIN flights f ON b.url = f.origin", "append", "append"),
        (
            &format!("SELECT b.auction, a.top FROM {auctions} a JOIN bid b ON a.auction = b.auction"),
            "retract",
            "retract",
        ),
        (
            &format!(
                "SELECT a.auction, a.top, b.top AS t FROM {auctions} a JOIN {auctions} b ON a.auction = b.auction"
            ),
            "retract [key auction]",
            "retract [key auction]",
        ),
        ("SELECT url FROM bid WHERE price > (SELECT avg(price) FROM bid)", "retract", ""),
    ] {
        let (line, below) = join(query);
        assert!(line.contains(&format!(", {result}] join")), "{query}: {line}");
        assert!(below.contains(input), "{query}: {below}");
    }
}

#[test]
fn bounds_in_time_let_rows_go_and_nothing_grows() {
    let query =
        |times: &str| format!("SELECT a.url, b.price FROM bid a JOIN bid b ON a.auction = b.auction AND {times}");
    for (times, expected) in [
        ("a.ts BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts", "from -3600000 ms to 0 ms"),
        ("b.ts >= a.ts - INTERVAL '5' SECOND AND b.ts < a.ts + INTERVAL '1' MINUTE", "from -60000 ms to 5000 ms"),
        (
            "a.ts + INTERVAL '2' SECOND > b.ts AND a.ts < b.ts + INTERVAL '1' DAY AND a.price > b.price",
            "from -2000 ms to 86400000 ms",
        ),
    ] {
        let text = explained(&query(times)).unwrap();
        assert!(text.contains(&format!("ts - ts {expected}")), "{times}:\n{text}");
        assert_eq!(growth(&query(times)), "", "{times}");
    }
    // The end of a window that has closed is a time, too.
    let tops = "(SELECT max(price) AS top, window_end AS w FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) \
        GROUP BY window_start, window_end)";
    let q7 = format!(
        "SELECT b.url FROM bid b JOIN {tops} t ON b.price = t.top WHERE b.ts BETWEEN t.w - INTERVAL '10' SECOND AND t.w"
    );
    assert!(explained(&q7).unwrap().contains("from -10000 ms to 0 ms"), "{}", explained(&q7).unwrap());
    assert_eq!(growth(&q7), "");
    let left = "join: every row of the left input; set 'state.ttl', or use a window";
    assert_eq!(growth(&query("a.ts < b.ts")), left);
    let both = "join: every row of both inputs; set 'state.ttl', or use a window";
    for times in
        ["a.other BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts", "a.ts <= b.ts - INTERVAL '1' MONTH", "a.price > b.price"]
    {
        assert_eq!(growth(&query(times)), both, "{times}");
    }
    let hint = "SELECT /*+ ttl('1 d') */ a.url FROM bid a JOIN bid b ON a.auction = b.auction";
    assert_eq!(growth(hint), "");
}

#[test]
fn windows_follow_a_join_that_is_bounded_in_time() {
    let counts = |times: &str| {
        format!(
            "WITH j AS (SELECT a.ts, a.url FROM bid a JOIN bid b ON a.auction = b.auction AND {times}) \
             SELECT window_start, count(*) FROM TABLE(TUMBLE(TABLE j, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) \
             GROUP BY window_start, window_end"
        )
    };
    let bounded = explained(&counts("a.ts BETWEEN b.ts - INTERVAL '1' HOUR AND b.ts")).unwrap();
    assert!(bounded.contains("tumble"), "{bounded}");
    let error = explained(&counts("a.price > b.price")).unwrap_err();
    assert_eq!(error.code(), "R0142");
    assert!(error.message().contains("without a bound in time"), "{error}");
}

/// The steps of a query that are joins: what each is by.
fn joins(query: &str) -> Vec<String> {
    let text = explained(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let lines = text.lines().filter(|line| line.contains("] join ") && !line.contains("(the one above)"));
    lines.map(|line| line.split("on: ").nth(1).unwrap_or("-").to_string()).collect()
}

#[test]
fn inner_joins_by_one_key_are_one_step() {
    let tops = "(SELECT auction AS k, max(price) AS top FROM bid GROUP BY auction)";
    let one = "(SELECT a.auction AS k, b.url AS v FROM bid a JOIN bid b ON a.auction = b.auction)";
    for (query, expected) in [
        // Left-deep, as q23 is.
        (
            "SELECT a.url, b.price, c.ts FROM bid a JOIN bid b ON b.price = a.auction JOIN bid c ON c.auction = a.auction",
            "auction = price = auction",
        ),
        // Bushy, with names and columns left out in between, of rows that change.
        (
            &format!("SELECT x.v, y.v AS w FROM {one} x JOIN {one} y ON x.k = y.k"),
            "auction = auction = auction = auction",
        ),
        (
            &format!("SELECT x.top, y.v FROM {tops} x JOIN (SELECT v, k AS j FROM {one} z) y ON x.k = y.j"),
            "auction = auction = auction",
        ),
        // Said twice over.
        (
            "SELECT a.url, b.price, c.ts FROM bid a, bid b, bid c WHERE a.auction = b.auction AND b.auction = c.auction AND a.auction = c.auction",
            "auction = auction = auction",
        ),
        (
            "SELECT a.url, c.ts FROM bid a JOIN bid b ON a.auction = b.auction AND a.url = b.url JOIN bid c ON c.url = b.url AND a.auction = c.auction",
            "url = url = url, auction = auction = auction",
        ),
        // One of the inputs ends.
        (
            "SELECT a.price FROM bid a JOIN bid b ON a.url = b.url JOIN flights f ON f.origin = b.url",
            "url = url = origin",
        ),
        // By what is computed.
        (
            "SELECT a.url, c.ts FROM bid a JOIN bid b ON a.auction % 5 = b.price % 5 JOIN bid c ON c.auction = a.auction % 5",
            "key_0 = key_0 = auction",
        ),
    ] {
        assert_eq!(joins(query), [expected], "{query}");
    }
    let nulls = "SELECT a.url, b.price, c.ts FROM bid a JOIN bid b ON a.url IS NOT DISTINCT FROM b.url JOIN bid c ON b.url IS NOT DISTINCT FROM c.url";
    assert_eq!(joins(nulls), ["url is not distinct from url is not distinct from url"]);
}

#[test]
fn other_joins_are_of_two_inputs() {
    let windows = |n: &str| {
        format!(
            "(SELECT window_start AS s, window_end AS e, auction, count(*) AS {n} FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, auction)"
        )
    };
    for (query, expected) in [
        // Two keys: the joins by the first are one.
        (
            "SELECT a.url, d.ts FROM bid a JOIN bid b ON a.auction = b.auction JOIN bid c ON c.auction = a.auction JOIN bid d ON d.price = c.price",
            vec!["price = price", "auction = auction = auction"],
        ),
        (
            "SELECT a.url, c.ts FROM bid a JOIN bid b ON a.auction = b.auction AND a.url = b.url JOIN bid c ON c.url = b.url",
            vec!["url_1 = url", "auction = auction, url = url"],
        ),
        (
            "SELECT a.url, c.ts FROM bid a LEFT JOIN bid b ON a.auction = b.auction JOIN bid c ON c.auction = a.auction",
            vec!["auction = auction", "auction = auction"],
        ),
        (
            "SELECT a.url, c.ts FROM bid a JOIN bid b ON a.auction = b.auction LEFT JOIN bid c ON c.auction = a.auction",
            vec!["auction = auction", "auction = auction"],
        ),
        // Nulls meet in one of them.
        (
            "SELECT a.url, c.ts FROM bid a JOIN bid b ON a.url = b.url JOIN bid c ON c.url IS NOT DISTINCT FROM b.url",
            vec!["url is not distinct from url", "url = url"],
        ),
        (
            "SELECT a.url, c.ts FROM bid a JOIN bid b ON a.url IS NOT DISTINCT FROM b.url JOIN bid c ON c.url = b.url",
            vec!["url = url", "url is not distinct from url"],
        ),
        // A bound in time.
        (
            "SELECT a.url, c.ts FROM bid a JOIN bid b ON a.auction = b.auction JOIN bid c ON c.auction = a.auction AND c.ts BETWEEN a.ts AND a.ts + INTERVAL '1' HOUR",
            vec!["auction = auction; filter: ", "auction = auction"],
        ),
        // Inputs that end are joined when they have.
        (
            "SELECT a.auction FROM bid a JOIN (SELECT f.origin AS o FROM flights f JOIN flights g ON f.origin = g.origin) h ON h.o = a.url",
            vec!["url = origin", "origin = origin"],
        ),
        (
            "SELECT f.origin FROM flights f JOIN flights g ON f.origin = g.origin JOIN flights h ON h.origin = g.origin",
            vec!["origin = origin", "origin = origin"],
        ),
    ] {
        let found = joins(query);
        assert_eq!(found.len(), expected.len(), "{query}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{query}: {found}");
        }
    }
    let windowed = format!(
        "SELECT a.x, b.y, c.z FROM {} a JOIN {} b ON a.s = b.s AND a.e = b.e AND a.auction = b.auction \
         JOIN {} c ON c.s = b.s AND c.e = b.e AND c.auction = b.auction",
        windows("x"),
        windows("y"),
        windows("z")
    );
    let text = explained(&windowed).unwrap();
    assert_eq!((text.matches("window-join").count(), joins(&windowed).len()), (2, 0), "{text}");
}

#[test]
fn a_join_of_three_says_what_comes_and_what_grows() {
    let text = "FROM bid a JOIN bid b ON a.auction = b.auction JOIN bid c ON c.auction = a.auction AND c.price > a.price + b.price";
    let query = format!("SELECT a.url {text}");
    assert_eq!(growth(&query), "join: every row of its 3 inputs; set 'state.ttl', or use a window");
    assert_eq!(growth(&format!("SELECT /*+ ttl('1 d') */ a.url {text}")), "");
    let (line, below) = join(&query);
    assert!(line.contains(", append] join") && below.contains("hash(auction)"), "{line}\n{below}");
    let explained = explained(&query).unwrap();
    assert!(explained.contains("filter  where: "), "{explained}");
    let groups = "(SELECT auction, max(price) AS top FROM bid GROUP BY auction)";
    let query = format!(
        "SELECT a.auction, a.top, b.top AS t, c.top AS u FROM {groups} a JOIN {groups} b ON a.auction = b.auction JOIN {groups} c ON b.auction = c.auction"
    );
    let (line, _) = join(&query);
    assert!(line.contains("retract [key auction]] join"), "{line}");
}
