//! Peak memory does not grow with the length of the input.
//!
//! One test, so that nothing else runs in this process while it measures. The kernel keeps the peak (`VmHWM`) and
//! forgets it on request (`clear_refs`).

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::fs;

/// Two workers may each have 16 MiB of rows on their way before an exchange and as much behind an operator that emits;
/// how full that is depends on how the threads happen to run. Rows that were kept would be ten times as much.
const SLACK_KIB: u64 = 64 * 1024;

const CASES: &[(&str, &str)] = &[
    (
        "a tumbling window",
        "CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3),
           WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND)
         WITH ('connector' = 'nexmark', 'table' = 'bid', 'events.num' = '${N}');
         CREATE TABLE gone (auction BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO gone SELECT auction, count(*)
         FROM TUMBLE(bid, DESCRIPTOR(`dateTime`), INTERVAL '5' SECOND) GROUP BY auction, window_start, window_end",
    ),
    (
        "a sliding window of many slices",
        "CREATE TABLE bid (auction BIGINT, price BIGINT, `dateTime` TIMESTAMP(3),
           WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND)
         WITH ('connector' = 'nexmark', 'table' = 'bid', 'events.num' = '${N}');
         CREATE TABLE gone (auction BIGINT, top BIGINT) WITH ('connector' = 'blackhole');
         INSERT INTO gone SELECT auction, max(price)
         FROM HOP(bid, DESCRIPTOR(`dateTime`), INTERVAL '1' SECOND, INTERVAL '7' SECOND)
         GROUP BY auction, window_start, window_end",
    ),
    (
        "rows without a watermark",
        "CREATE TABLE n (id BIGINT, word STRING)
         WITH ('connector' = 'datagen', 'number-of-rows' = '${N}', 'fields.id.kind' = 'sequence');
         CREATE TABLE gone (id BIGINT, word STRING) WITH ('connector' = 'blackhole');
         INSERT INTO gone SELECT id, upper(word) FROM n WHERE id % 3 <> 0",
    ),
    (
        "one group",
        "CREATE TABLE n (id BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '${N}');
         CREATE TABLE gone (rows_read BIGINT, s DOUBLE) WITH ('connector' = 'blackhole');
         INSERT INTO gone SELECT count(*), avg(id) FROM n",
    ),
];

/// Runs a program and gives the peak of this process's memory while it ran, in KiB.
fn peak_kib(program: &str, rows: u64) -> Option<u64> {
    fs::write("/proc/self/clear_refs", "5").ok()?;
    rheos::sql(program).variable("N", rows.to_string()).parallelism(2).run().unwrap();
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn ten_times_the_input_needs_no_more_memory() {
    for (name, program) in CASES {
        // The first run warms up what is made once (thread stacks, the allocator's arenas).
        let Some(_) = peak_kib(program, 3_000_000) else {
            println!("skipped: this kernel does not tell the peak memory of a process");
            return;
        };
        let small = peak_kib(program, 3_000_000).unwrap();
        let large = peak_kib(program, 30_000_000).unwrap();
        println!("{name}: {} MiB for 3 million rows, {} MiB for 30 million", small / 1024, large / 1024);
        assert!(
            large <= small + small / 10 + SLACK_KIB,
            "{name}: {small} KiB, then {large} KiB for ten times the rows"
        );
    }
}
