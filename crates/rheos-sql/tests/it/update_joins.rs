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
