//! Windows of processing time: which window a row gets is up to the clock, but no row is lost and none counts twice.

use proptest::prelude::*;

use crate::engine::{Way, run, ways};
use crate::input::{Clock, Files, Row, files, rows};

fn cases() -> impl Strategy<Value = (Vec<Row>, Files, [Way; 2], i64, i64, bool)> {
    let clock = Clock { base_ms: 0, unit: 1, micros: false };
    (rows(clock, 150, 60_000), files(), ways(), 1i64..40, 1i64..5, any::<bool>())
}

proptest! {
    #![proptest_config(rheos_testkit::cases(25))]

    #[test]
    fn windows_of_processing_time_lose_no_row((rows, files, ways, ms, times, has_key) in cases()) {
        let folder = tempfile::tempdir().unwrap();
        let table = files.table(folder.path(), "t", &rows, 0);
        let view = "CREATE VIEW p AS SELECT k, v, PROCTIME() AS at FROM t;\n";
        let length = |ms: i64| format!("INTERVAL '0.{ms:03}' SECOND");
        let key = if has_key { ", k" } else { "" };
        let count = rows.len() as i64;
        let sum: i64 = rows.iter().filter_map(|r| r.v).sum();
        for (function, copies) in [
            (format!("TUMBLE(at, {})", length(ms)), 1),
            (format!("HOP(at, {}, {})", length(ms), length(ms * times)), times),
            (format!("SESSION(at, {})", length(ms)), 1),
        ] {
            let query = format!(
                "{table}{view}SELECT coalesce(sum(n), 0), coalesce(sum(s), 0)
                 FROM (SELECT count(*) AS n, sum(v) AS s FROM p GROUP BY {function}{key})"
            );
            for way in ways {
                let got = run(&query, way).map_err(|e| TestCaseError::fail(format!("{e}\n{query}")))?;
                prop_assert_eq!(got, vec![format!("{}|{}", count * copies, sum * copies)], "{:?}: {}", way, query);
            }
        }
        // The last window of a bucket has all of its rows.
        let steps = format!("{}, {}", length(ms), length(ms * times));
        let query = format!(
            "{table}{view}SELECT coalesce(sum(n), 0) FROM (
                 SELECT s, max(n) AS n FROM (
                     SELECT CUMULATE_START(at, {steps}) AS s, count(*) AS n FROM p GROUP BY CUMULATE(at, {steps})
                 ) GROUP BY s
             )"
        );
        for way in ways {
            let got = run(&query, way).map_err(|e| TestCaseError::fail(format!("{e}\n{query}")))?;
            prop_assert_eq!(got, vec![count.to_string()], "{:?}: {}", way, query);
        }
    }
}
