//! Peak memory does not grow with the length of the input.
//!
//! One test, so that nothing else runs in this process while it measures. The kernel keeps the peak (`VmHWM`) and
//! forgets it on request (`clear_refs`).

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::fs;

/// What is measured is pages, not bytes in use: threads have arenas of the allocator, which round up and come back late.
/// Rows that were kept would be far more: 30 million of eight bytes are 230 MiB.
const ALLOCATOR_KIB: u64 = 4 * 1024;

/// Rows of a short run; a long one has ten times as many.
const ROWS: u64 = 3_000_000;

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
        "an exchange of all rows",
        "CREATE TABLE bid (channel STRING, price BIGINT, `dateTime` TIMESTAMP(3),
           WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND)
         WITH ('connector' = 'nexmark', 'table' = 'bid', 'events.num' = '${N}');
         CREATE TABLE gone (channel STRING, p95 DOUBLE) WITH ('connector' = 'blackhole');
         INSERT INTO gone SELECT channel, percentile_cont(0.95) WITHIN GROUP (ORDER BY price)
         FROM TUMBLE(bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND) GROUP BY channel, window_start, window_end",
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
        // Ten short runs against a long one: how full the credit gets depends on how threads happen to run, and so both
        // sides have as many occasions. The first run makes what is made once (thread stacks, the allocator's arenas).
        let peaks: Option<Vec<u64>> = (0..11).map(|_| peak_kib(program, ROWS)).collect();
        let Some(peaks) = peaks else {
            println!("skipped: this kernel does not tell the peak memory of a process");
            return;
        };
        let short = peaks[1..].iter().copied().max().unwrap();
        let long = peak_kib(program, 10 * ROWS).unwrap();
        println!("{name}: {short} KiB for 3 million rows, {long} KiB for 30 million");
        assert!(
            long <= short + short / 10 + ALLOCATOR_KIB,
            "{name}: {peaks:?} KiB, then {long} KiB for ten times the rows"
        );
    }
}
