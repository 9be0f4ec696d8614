//! What Flink or PostgreSQL have and Rheos has not, as data: refused by its name, with what to write.

use crate::mistakes::{Case, check_all};

const CASES: &[Case] = &[
    // lengths in casts
    ("SELECT CAST('a' AS CHAR(0))", "R0138", "length of CHAR(0) is out of range", "1 to 4096", "'a'"),
    ("SELECT CAST('a' AS VARBINARY(3))", "R0142", "a length of BYTES in CAST", "substr", "'a'"),
    ("SELECT CAST(ROW('a') AS ROW<a VARCHAR(2)>)", "R0142", "inside of a nested type", "STRING", "VARCHAR(2"),
    (
        "SELECT JSON_VALUE('{}', '$.a' RETURNING VARCHAR(2))",
        "R0142",
        "JSON_VALUE with RETURNING VARCHAR(2)",
        "CAST(JSON_VALUE",
        "'{}'",
    ),
    // parts of set operations
    (
        "SELECT 1 UNION ALL SELECT 'a'",
        "R0135",
        "the UNION differ in column 1: BIGINT and STRING",
        "CAST(x AS STRING)",
        "SELECT",
    ),
    (
        "SELECT origin, sched FROM flights EXCEPT SELECT origin, 7 FROM flights",
        "R0135",
        "the EXCEPT differ in column 2: TIMESTAMP and BIGINT",
        "cast",
        "SELECT",
    ),
    ("SELECT ARRAY[1] INTERSECT SELECT ARRAY['a']", "R0135", "the INTERSECT differ in column 1", "cast", "SELECT"),
    ("SELECT true UNION SELECT 1", "R0135", "BOOLEAN and BIGINT", "cast", "SELECT"),
    (
        "SELECT price FROM bid EXCEPT SELECT price FROM bid",
        "R0700",
        "EXCEPT on an endless stream",
        "changelog",
        "EXCEPT",
    ),
    // several columns, and all of them
    (
        "SELECT 1 FROM flights WHERE (origin, carrier) IN (SELECT origin, carrier FROM flights)",
        "R0142",
        "IN of several columns",
        "EXISTS (SELECT 1",
        "",
    ),
    (
        "SELECT r.* FROM (SELECT ROW(1, 2) AS r) AS t",
        "R0131",
        "there is no table 'r' in this query for r.*",
        "r.a, r.b",
        "r.*",
    ),
    ("WITH x AS (SELECT 1, 'a') INSERT INTO out SELECT * FROM x", "R0142", "WITH before INSERT", "WITH x AS", ""),
    ("SELECT 1 LIMIT -1", "R0135", "LIMIT takes a number of rows, and -1", "LIMIT 10", ""),
    ("SELECT 1 OFFSET -1", "R0135", "OFFSET takes a number of rows, and -1", "OFFSET 10", ""),
    ("SELECT grouping(1) FROM flights GROUP BY origin", "R0136", "and 1 is none", "grouping(a)", "grouping"),
    (
        "SELECT grouping(dep_delay + 1) FROM flights GROUP BY origin",
        "R0136",
        "dep_delay + 1) needs",
        "to the columns that are grouped",
        "",
    ),
    ("SELECT sum('a')", "R0134", "sum does not take (STRING)", "sum(DECIMAL)", "sum"),
    // functions that others have
    (
        "SELECT decode(X'41', 'UTF-8')",
        "R0134",
        "decode does not know the format 'UTF-8'",
        "CAST(x AS STRING)",
        "'UTF-8'",
    ),
    ("SELECT encode('a', 'HEX')", "R0134", "encode does not know the format 'HEX'", "'hex'", "'HEX'"),
    (
        "SELECT dayofweek(sched) FROM flights",
        "R0133",
        "no function 'dayofweek'",
        "extract(dow FROM ts) + 1",
        "dayofweek",
    ),
    (
        "SELECT json_string(origin) FROM flights",
        "R0133",
        "no function 'json_string'",
        "CAST(x AS STRING)",
        "json_string",
    ),
    (
        "SELECT 1 /*+ lateness('1 h') */",
        "R0107",
        "allowed lateness",
        "WATERMARK FOR ts AS ts",
        "/*+ lateness('1 h') */",
    ),
    // windows
    (
        "SET 'timezone' = 'Europe/Berlin'; CREATE TABLE z (ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts) \
         WITH ('connector' = 'endless'); SELECT count(*) FROM z GROUP BY TUMBLE(ts, INTERVAL '1' DAY)",
        "R0142",
        "a window of days of 'Europe/Berlin'",
        "CAST(ts AS TIMESTAMP(3))",
        "TUMBLE",
    ),
    (
        "SET 'timezone' = '+05:30'; SELECT count(*) FROM (SELECT PROCTIME() AS p FROM flights) \
         GROUP BY CUMULATE(p, INTERVAL '1' HOUR, INTERVAL '2' DAY)",
        "R0142",
        "a window of days of '+05:30'",
        "SET 'timezone' = 'UTC'",
        "CUMULATE",
    ),
    (
        "SELECT TUMBLE_START(sched, INTERVAL '1' HOUR) FROM flights GROUP BY TUMBLE(sched, INTERVAL '1' MONTH)",
        "R0147",
        "months and years have no fixed length",
        "HOUR",
        "INTERVAL '1' MONTH",
    ),
    (
        "SELECT count(*) FROM flights GROUP BY CUBE (TUMBLE(sched, INTERVAL '1' DAY), origin)",
        "R0142",
        "a window inside of CUBE",
        "as a table",
        "TUMBLE",
    ),
    (
        "SELECT count(*) FROM flights GROUP BY GROUPING SETS ((SESSION(sched, INTERVAL '1' DAY), origin))",
        "R0142",
        "SESSION beside GROUPING SETS",
        "as a table",
        "SESSION",
    ),
    (
        "SELECT count(*) FROM flights GROUP BY GROUPING SETS ((TUMBLE(sched, INTERVAL '1' DAY)), (TUMBLE(sched, INTERVAL '2' DAY)))",
        "R0147",
        "grouped by one window",
        "keep one",
        "",
    ),
];

#[test]
fn what_is_absent_is_refused_by_its_name() {
    check_all(CASES);
}
