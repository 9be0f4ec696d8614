//! Mistakes as data: what is said, what is proposed, and which part of the text is underlined.

use rheos_core::error::{Error, Span};

use crate::fakes::{TABLES, plan};

/// (program behind the tables, code, part of the message, part of the hint, underlined text)
pub(crate) type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

const CASES: &[Case] = &[
    // names
    ("SELECT * FROM flihgts", "R0130", "no table or view 'flihgts'", "did you mean 'flights'?", "flihgts"),
    ("SELECT * FROM nowhere", "R0130", "no table or view 'nowhere'", "are: bid, flights, out", "nowhere"),
    ("SELECT orign FROM flights", "R0131", "no column 'orign'", "did you mean 'origin'?", "orign"),
    ("SELECT f.orign FROM flights f", "R0131", "no column 'orign'", "did you mean 'origin'?", "f.orign"),
    ("SELECT g.origin FROM flights f", "R0131", "no table 'g' in this query", "f", "g.origin"),
    ("SELECT origin FROM flights WHERE dep_dely > 3", "R0131", "no column 'dep_dely'", "'dep_delay'", "dep_dely"),
    ("SELECT * FROM flights WHERE origin = \"JFK\"", "R0131", "no column 'JFK'", "single quotes: 'JFK'", "\"JFK\""),
    ("SELECT ronud(dep_delay) FROM flights", "R0133", "no function 'ronud'", "did you mean 'round'?", "ronud"),
    ("SELECT window_start FROM flights", "R0131", "no column 'window_start'", "FROM TUMBLE", "window_start"),
    ("INSERT INTO outt SELECT 1, 'a'", "R0130", "no table or view 'outt'", "did you mean 'out'?", "outt"),
    ("INSERT INTO out (a, c) SELECT 1, 'a'", "R0131", "'out' has no column 'c'", "'a'", "c"),
    // what would take too long
    (
        "SELECT COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(\
         COALESCE(COALESCE(COALESCE(COALESCE(COALESCE(distance,1),1),1),1),1),1),1),1),1),1),1),1),1),1),1),1) FROM flights",
        "R0105",
        "this expression is too deeply nested",
        "in a view",
        "",
    ),
    // clauses that nothing would hear
    ("SELECT 1 FROM flights a JOIN flights b", "R0101", "no condition", "CROSS JOIN", "flights b"),
    (
        "SELECT x FROM (VALUES (1)) AS t(x) TABLESAMPLE BERNOULLI (0)",
        "R0142",
        "TABLESAMPLE",
        "random()",
        "TABLESAMPLE BERNOULLI",
    ),
    ("SELECT abs(-1) FILTER (WHERE FALSE)", "R0134", "FILTER (WHERE ...) is for aggregates, and abs", "take it", "abs"),
    ("SELECT abs(DISTINCT -1)", "R0134", "DISTINCT is for aggregates", "take it away", "abs"),
    ("SELECT upper('a' ORDER BY 1)", "R0134", "ORDER BY is for aggregates", "take it away", "upper"),
    ("SELECT cuont(origin) FILTER (WHERE TRUE) FROM flights", "R0133", "no function 'cuont'", "'count'", "cuont"),
    // keys, views and types
    ("CREATE TABLE x (a INT, PRIMARY KEY (k) NOT ENFORCED)", "R0131", "PRIMARY KEY names no column 'k'", "a", "k"),
    ("CREATE TABLE x (a INT, PRIMARY KEY (a, A) NOT ENFORCED)", "R0141", "the column 'a' twice", "once", "A"),
    (
        "CREATE TABLE x (a INT PRIMARY KEY NOT ENFORCED, PRIMARY KEY (a) NOT ENFORCED)",
        "R0141",
        "one PRIMARY KEY",
        "keep one",
        "PRIMARY",
    ),
    ("CREATE TABLE x (a INT, PRIMARY KEY (a))", "R0142", "that is enforced", "NOT ENFORCED", "PRIMARY KEY (a)"),
    ("CREATE TABLE x (a INT PRIMARY KEY NOT NULL)", "R0142", "that is enforced", "NOT ENFORCED", "PRIMARY KEY"),
    (
        "CREATE TABLE x (a INT PRIMARY KEY ENFORCED)",
        "R0142",
        "that is enforced",
        "NOT ENFORCED",
        "PRIMARY KEY ENFORCED",
    ),
    ("CREATE OR REPLACE TABLE x (a INT)", "R0103", "anything but a view", "CREATE is enough", "REPLACE"),
    ("CREATE OR REPLACE VIEW bid AS SELECT 1", "R0137", "'bid' is declared already", "another name", "bid"),
    ("CREATE OR REPLACE VIEW IF NOT EXISTS v AS SELECT 1", "R0101", "contradict", "keep one", "EXISTS"),
    ("SELECT MAP['a', 1, 'b']", "R0101", "a value is missing", "MAP['a', 1, 'b', 2]", "MAP"),
    ("SELECT CAST(ROW(1) AS ROW<a INT, b INT>)", "R0151", "cannot be cast to ROW", "as many fields", ""),
    ("SELECT CAST(ROW(1) AS ROW<a INTT>)", "R0138", "no type 'INTT'", "did you mean 'INT'?", "INTT"),
    (
        "CREATE TABLE x (r ROW<t TIMESTAMP>, WATERMARK FOR r.t AS r.t)",
        "R0142",
        "WATERMARK FOR a field of a row",
        "declare a column",
        "r",
    ),
    (
        "SELECT count(*), min(window_start) FROM (SELECT window_start, window_time FROM \
         TUMBLE(TABLE flights, DESCRIPTOR(sched), INTERVAL '1' HOUR)) GROUP BY tumble(window_time, INTERVAL '1' DAY)",
        "R0147",
        "a column 'window_start' already",
        "another name",
        "tumble",
    ),
    (
        "SELECT TUMBLE_PROCTIME(ts, INTERVAL '1' HOUR) FROM bid GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)",
        "R0142",
        "TUMBLE_PROCTIME is not supported",
        "TUMBLE_END",
        "TUMBLE_PROCTIME",
    ),
    // columns of USING
    ("SELECT 1 FROM flights a JOIN bid b USING (orgin)", "R0131", "left side of the join", "'origin'", "orgin"),
    (
        "SELECT 1 FROM flights a JOIN flights b ON a.origin = b.origin JOIN flights c USING (origin)",
        "R0132",
        "several tables on the left side",
        "join ON",
        "origin",
    ),
    // declarations
    ("CREATE TABLE x (a INT) WITH ('connector' = 'memori')", "R0116", "no connector 'memori'", "'memory'", "'memori'"),
    ("CREATE TABLE x (a INT) WITH ('conector' = 'memory')", "R0140", "has no connector", "'connector'", "'conector'"),
    ("CREATE TABLE x (a INT)", "R0140", "'x' has no connector", "WITH ('connector'", "x"),
    ("CREATE TABLE x (a INTT) WITH ('connector' = 'memory')", "R0138", "no type 'INTT'", "did you mean 'INT'?", "INTT"),
    ("CREATE TABLE x (a INT b INT) WITH ('connector' = 'memory')", "R0101", "'b' is not expected", "','", "b"),
    ("CREATE TABLE x (a INT, a INT) WITH ('connector' = 'memory')", "R0141", "'a' is declared twice", "name", "a"),
    ("CREATE TABLE x (a) WITH ('connector' = 'memory')", "R0101", "'a' has no type", "a STRING", "a"),
    (
        "CREATE TABLE bid (a INT) WITH ('connector' = 'memory')",
        "R0137",
        "'bid' is declared already",
        "IF NOT EXISTS",
        "bid",
    ),
    ("CREATE TABLE x WITH ('connector' = 'memory')", "R0152", "has no columns", "declare them", "x"),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory', 'pth' = 'y'); SELECT * FROM x",
        "R0114",
        "no option 'pth'",
        "did you mean 'path'?",
        "'pth'",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory', 'format' = 'cvs'); SELECT * FROM x",
        "R0113",
        "option 'format' is 'cvs'",
        "did you mean 'csv'?",
        "'cvs'",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory', 'pth' = 'y'); SELECT 1",
        "R0114",
        "no option 'pth'",
        "did you mean 'path'?",
        "'pth'",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory' 'path' = 'y')",
        "R0101",
        "',' is missing",
        "put a ','",
        "'path'",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = \"memory\")",
        "R0101",
        "single quotes",
        "'connector' = 'memory'",
        "\"memory\"",
    ),
    (
        "CREATE TABLE x (a INT, WATERMARK FOR a AS a) WITH ('connector' = 'memory')",
        "R0139",
        "'a' is INT, not a TIMESTAMP",
        "TIMESTAMP(3)",
        "a",
    ),
    (
        "CREATE TABLE x (t TIMESTAMP, WATERMARK FOR s AS s) WITH ('connector' = 'memory')",
        "R0131",
        "no column 's'",
        "t",
        "s",
    ),
    (
        "CREATE TABLE x (t TIMESTAMP, WATERMARK FOR t AS t - INTERVAL '1' MONTH) WITH ('connector' = 'memory')",
        "R0147",
        "months and years",
        "HOUR",
        "t - INTERVAL '1' MONTH",
    ),
    (
        "CREATE TABLE x (t TIMESTAMP, WATERMARK FOR t AS now()) WITH ('connector' = 'memory')",
        "R0139",
        "a watermark is the column",
        "WATERMARK FOR t",
        "now()",
    ),
    ("CREATE FUNCTION f AS 'x'", "R0103", "'f' is not built in", "`rheos functions`", "f"),
    (
        "CREATE TABLE x (a INT, b INT) PARTITIONED BY (a) WITH ('connector' = 'memory')",
        "R0168",
        "tables of 'memory' have no partitions",
        "take PARTITIONED BY away",
        "a",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory'); CREATE VIEW v AS SELECT a FROM x; SELECT reason FROM v$errors",
        "R0662",
        "'v' is a view",
        "of the tables that it reads",
        "v$errors",
    ),
    (
        "CREATE TABLE x (a INT, t TIMESTAMP) WITH ('connector' = 'memory'); SELECT a FROM x; SELECT a FROM x$late",
        "R0663",
        "no window over event time reads 'x'",
        "TUMBLE(TABLE x,",
        "x$late",
    ),
    (
        // A CTE of the table's name is not the table.
        "CREATE TABLE x (a INT, t TIMESTAMP, WATERMARK FOR t AS t) WITH ('connector' = 'memory'); \
         WITH x AS (SELECT a + 1 AS a, t FROM x) SELECT count(*) FROM TABLE(TUMBLE(TABLE x, DESCRIPTOR(t), INTERVAL '1' DAY)) \
         GROUP BY window_start, window_end; SELECT a FROM x$late",
        "R0663",
        "no window over event time reads 'x'",
        "TUMBLE(TABLE x,",
        "x$late",
    ),
    (
        "CREATE TABLE x (window_end INT, t TIMESTAMP, WATERMARK FOR t AS t) WITH ('connector' = 'memory'); \
         SELECT window_end FROM x$late",
        "R0664",
        "'x' has one, too",
        "a view of 'x'",
        "x$late",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory'); CREATE TABLE y (a INT) WITH ('connector' = 'memory'); \
         INSERT INTO y SELECT a FROM x; SELECT reason FROM y$errors",
        "R0665",
        "'y' is only written here",
        "of the tables that are read",
        "y$errors",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory'); SELECT reason FROM y$errors",
        "R0130",
        "there is no table or view 'y$errors'",
        "",
        "y$errors",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory'); INSERT INTO x$errors SELECT 1",
        "R0130",
        "'x$errors' is written by the job itself",
        "insert into a table",
        "x$errors",
    ),
    (
        "CREATE TABLE x (a INT) WITH ('connector' = 'memory'); \
         SELECT count(*) FROM TUMBLE(x$errors, received_at, INTERVAL '1' HOUR) GROUP BY window_start, window_end",
        "R0148",
        "'x$errors' has no event time",
        "PROCTIME()",
        "received_at",
    ),
    (
        "CREATE TABLE x (a INT, o BIGINT METADATA FROM 'offset') WITH ('connector' = 'memory')",
        "R0169",
        "tables of 'memory' have no metadata",
        "take the column 'o' away",
        "'offset'",
    ),
    (
        "CREATE TABLE x (a INT, o BIGINT METADATA FROM 'ofset' VIRTUAL) WITH ('connector' = 'endless')",
        "R0169",
        "tables of 'endless' have no metadata 'ofset'",
        "did you mean 'offset'?",
        "'ofset'",
    ),
    (
        "CREATE TABLE x (a INT, place BIGINT METADATA) WITH ('connector' = 'endless')",
        "R0169",
        "no metadata 'place'",
        "the keys are: offset, timestamp",
        "place",
    ),
    (
        "CREATE TABLE x (a INT, o STRING NOT NULL METADATA FROM 'offset') WITH ('connector' = 'endless')",
        "R0169",
        "the metadata 'offset' is BIGINT, but the column 'o' is declared as STRING",
        "declare it as o BIGINT METADATA FROM 'offset'",
        "STRING",
    ),
    (
        "CREATE TABLE x (a INT, a BIGINT METADATA FROM 'offset') WITH ('connector' = 'endless')",
        "R0141",
        "'a' is declared twice",
        "name",
        "a",
    ),
    (
        "CREATE TABLE x (a INT, o BIGINT METADATA FROM 'offset') WITH ('connector' = 'endless'); \
         INSERT INTO x SELECT 1, 2",
        "R0143",
        "'x' takes 1 column, but the query gives 2",
        "select exactly: a",
        "",
    ),
    (
        "CREATE TABLE x (day INT, b INT) PARTITIONED BY (dya) WITH ('connector' = 'endless')",
        "R0131",
        "no column 'dya'",
        "did you mean 'day'?",
        "dya",
    ),
    (
        "CREATE TABLE x (day INT, b INT) PARTITIONED BY (Day, b, day) WITH ('connector' = 'endless')",
        "R0141",
        "the column 'day' twice",
        "once",
        "day",
    ),
    ("CREATE TABLE x (day INT, b INT) PARTITIONED (day) WITH ('connector' = 'endless')", "R0101", "BY", "", "("),
    ("SET 'paralelism' = '3'", "R0104", "no setting 'paralelism'", "did you mean 'parallelism'?", "'paralelism'"),
    ("SET 'checkpoint.interval' = '5'", "R0110", "the unit is missing", "'200 ms'", "'5'"),
    ("SET 'checkpoint.copies' = '3'", "R0104", "must be 1 or 2", "'checkpoint.copy-dir'", "'3'"),
    ("SET 'checkpoint.dir' = ''", "R0104", "cannot be empty", "leave", "''"),
    ("SET 'checkpoint.max-in-flight' = '0'", "R0104", "a whole number from 1 to 100", "'4'", "'0'"),
    ("SET 'restart.backoff' = '0 s'", "R0104", "more than zero", "'1 s'", "'0 s'"),
    ("SET 'restart.attempts-max' = '-1'", "R0104", "a whole number", "'0' for no restart", "'-1'"),
    ("SET 'parallelism' = 'many'", "R0104", "must be a whole number", "from 1", "'many'"),
    ("DROP TABLE bid", "R0103", "DROP is not supported", "nothing to drop", "DROP"),
    // syntax
    ("SELCT 1", "R0101", "cannot begin with 'SELCT'", "did you mean 'SELECT'?", "SELCT"),
    ("SELECT origin FRM flights", "R0101", "expected", "'FROM' instead of 'FRM'", "FRM"),
    ("SELECT origin dep_delay distance FROM flights", "R0101", "'distance'", "','", "distance"),
    ("SELECT (1 + 2 FROM flights", "R0101", "expected here, but this is 'FROM'", "", "FROM"),
    ("SELECT count(*", "R0101", "the statement ends", "')' is missing", ""),
    ("SELECT * FROM flights WHERE", "R0101", "the statement ends where an expression", "complete", ""),
    ("SELECT origin, FROM flights", "R0101", "expected here, but this is 'FROM'", "',' too much", "FROM"),
    ("SELECT origin, FROM (SELECT * FROM flights) x", "R0101", "this is 'FROM'", "',' too much", "FROM"),
    ("SELECT FROM flights", "R0101", "expected here, but this is 'FROM'", "columns", "FROM"),
    ("SELECT origin, UNION ALL SELECT 'x'", "R0101", "", "", ""),
    ("SELECT 'abc", "R0100", "cannot be read", "quote", "'"),
    ("SELECT ${NOPE}", "R0102", "'NOPE' has no value", "--var NOPE", "${NOPE}"),
    ("SELECT '${INPT}'", "R0102", "'INPT' has no value", "did you mean 'INPUT'?", "${INPT}"),
    // hints
    ("SELECT /*+ idd('a') */ 1", "R0107", "no hint 'idd'", "did you mean 'id'?", "/*+ idd('a') */"),
    ("SELECT /*+ parallelism(4) */ 1", "R0107", "not supported yet", "take the hint away", "/*+ parallelism(4) */"),
    ("SELECT /*+ STATE_TTL('t' = '1d') */ 1", "R0107", "no hint 'state_ttl'", "ttl('1 d')", ""),
    (
        "SELECT /*+ ttl('1') */ 1",
        "R0110",
        "the hint ttl: '1' is not a duration: the unit is missing",
        "",
        "/*+ ttl('1') */",
    ),
    ("SELECT /*+ ttl('0 s') */ 1", "R0685", "for some time", "'1 d'", "/*+ ttl('0 s') */"),
    ("SELECT /*+ id('a b') */ 1", "R0685", "'a b' is no id", "letters", "/*+ id('a b') */"),
    ("SELECT /*+ id(a) */ 1", "R0685", "one text in quotes", "id('name')", ""),
    ("SELECT 1 /*+ id('a') */", "R0685", "says nothing", "right behind SELECT", "/*+ id('a') */"),
    ("SELECT * FROM (SELECT /*+ id('a') */ * FROM bid) x", "R0685", "a part of a query", "a view", "/*+ id('a') */"),
    ("SELECT /*+ id('a') */ 1 UNION ALL SELECT 2", "R0685", "a part of a query", "UNION", "/*+ id('a') */"),
    ("SELECT /*+ id('a') */ 1 FROM bid /*+ id('a') */", "R0685", "'a' is given twice", "its own", ""),
    ("SELECT 1 FROM bid /*+ id('a') */, bid /*+ id('b') */ b", "R0685", "differ", "once", "/*+ id('b') */"),
    ("SELECT 1 FROM bids /*+ id('a') */", "R0130", "", "did you mean 'bid'?", "bids"),
    ("SET 'state.ttl' = '5'; SELECT 1", "R0110", "'state.ttl': '5' is not a duration", "", "'5'"),
    // types
    ("SELECT abs(origin) FROM flights", "R0134", "abs does not take", "rheos functions abs", "abs"),
    ("SELECT round() FROM flights", "R0134", "round", "rheos functions round", "round"),
    ("SELECT sched * 2 FROM flights", "R0135", "TIMESTAMP * BIGINT", "cast", "*"),
    ("SELECT 9223372036854775807 + 1", "R0149", "out of the range of BIGINT", "DECIMAL", "9223372036854775807 + 1"),
    ("SELECT -(-9223372036854775808)", "R0149", "-(-9223372036854775808) is out of the range", "DECIMAL", ""),
    ("SELECT CAST(127 AS TINYINT) + CAST(1 AS TINYINT)", "R0149", "127 + 1 is out of the range of TINYINT", "", ""),
    ("SELECT -CAST(-128 AS TINYINT)", "R0149", "-(-128) is out of the range of TINYINT", "", ""),
    ("SELECT -CAST(-32768 AS SMALLINT)", "R0149", "out of the range of SMALLINT", "", ""),
    ("SELECT CAST(2147483647 AS INT) * CAST(2 AS INT)", "R0149", "2147483647 * 2 is out of the range of INT", "", ""),
    ("SELECT sum(INTERVAL '1' DAY) FROM flights", "R0351", "sum of INTERVAL", "difference of two timestamps", "sum"),
    ("SELECT nth_value(dep_delay, 0) FROM flights", "R0351", "no place 0", "from 1", "nth_value"),
    ("SELECT nth_value(dep_delay, 1 - 1) FROM flights", "R0351", "no place 0", "from 1", "nth_value"),
    ("SELECT -1e400", "R0149", "the number 1e400 is out of the range of DOUBLE", "1.8e308", "1e400"),
    (
        "SELECT 1, nvl(9223372036854775807,0)*2",
        "R0149",
        "nvl(9223372036854775807, 0) * 2 is out of the range of BIGINT",
        "DECIMAL",
        "nvl(9223372036854775807,0)*2",
    ),
    (
        "SELECT coalesce(9223372036854775807, 0)+1",
        "R0149",
        "coalesce(9223372036854775807, 0) + 1 is out of the range of BIGINT",
        "DECIMAL",
        "coalesce(9223372036854775807, 0)+1",
    ),
    (
        "SELECT CAST(2147483647 AS INT) + date_part('year', now())",
        "R0149",
        "2147483647 + date_part('year', now()) is out of the range of INT",
        "DECIMAL",
        "",
    ),
    ("INSERT INTO out SELECT 1", "R0143", "'out' takes 2 columns, but the query gives 1", "a, b", "SELECT 1"),
    (
        "INSERT INTO out SELECT origin, origin FROM flights",
        "R0144",
        "'a' of 'out' is BIGINT",
        "CAST(origin AS BIGINT)",
        "origin",
    ),
    (
        "INSERT INTO out WITH w AS (SELECT 1 AS k) SELECT DISTINCT k * 1, 7 AS n, k FROM w",
        "R0143",
        "gives 3",
        "a, b",
        "WITH w AS (SELECT 1 AS k) SELECT DISTINCT k * 1, 7 AS n, k FROM w",
    ),
    (
        "INSERT INTO out (b, a) SELECT coalesce(origin, 'x'), left(origin, 2) AS n FROM flights",
        "R0144",
        "'a' of 'out' is BIGINT",
        "CAST(n AS BIGINT)",
        "left(origin, 2) AS n",
    ),
    ("SELECT 1 UNION ALL SELECT 2, 3", "R0143", "different numbers of columns", "same number", ""),
    // grouping
    (
        "SELECT origin, dep_delay, count(*) FROM flights GROUP BY origin",
        "R0136",
        "'dep_delay' must appear in GROUP BY",
        "max(dep_delay)",
        "dep_delay",
    ),
    (
        "SELECT origin FROM flights WHERE count(*) > 1 GROUP BY origin",
        "R0153",
        "aggregate cannot be in WHERE",
        "HAVING",
        "count",
    ),
    (
        "SELECT auction, count(*) FROM bid GROUP BY auction",
        "R0700",
        "GROUP BY without a window on an endless stream has a result that changes",
        "tumble(ts, INTERVAL",
        "GROUP",
    ),
    ("SELECT count(*) FROM bid", "R0700", "without a window", "group by a window", ""),
    ("SELECT count(*) FROM bid", "R0700", "without a window", "--output changelog", ""),
    (
        "INSERT INTO out SELECT count(*), 'a' FROM bid",
        "R0701",
        "the table 'out' only takes rows that stay",
        "takes changes",
        "",
    ),
    (
        "SELECT DISTINCT n FROM (SELECT auction, count(*) AS n FROM bid GROUP BY auction)",
        "R0700",
        "GROUP BY without",
        "tumble",
        "GROUP",
    ),
    (
        "SELECT random() + n FROM (SELECT auction, count(*) AS n FROM bid GROUP BY auction)",
        "R0702",
        "random() over rows that change",
        "before the GROUP BY",
        "",
    ),
    (
        "SELECT DISTINCT x.y FROM (SELECT auction, array_agg(price) AS a FROM bid GROUP BY auction) AS t, UNNEST(a) AS x(y)",
        "R0142",
        "UNNEST over rows that change",
        "below the GROUP BY",
        "",
    ),
    (
        "SET 'emit.mode' = 'final'; SELECT auction, count(*) FROM bid GROUP BY auction",
        "R0145",
        "no final result",
        "tumble",
        "GROUP",
    ),
    (
        "SELECT auction, count(*) FROM bid GROUP BY auction EMIT ON WINDOW CLOSE",
        "R0145",
        "no final result",
        "tumble",
        "GROUP",
    ),
    (
        "SET 'emit.interval' = '2 s'; SELECT 1",
        "R0104",
        "longer than 'checkpoint.interval'",
        "set 'checkpoint.interval' to as much",
        "",
    ),
    ("SET 'emit.mode' = 'later'; SELECT 1", "R0104", "'auto', 'changes' or 'final'", "", "'later'"),
    ("SELECT * FROM bid ORDER BY price", "R0146", "ORDER BY on an endless stream", "", "ORDER"),
    ("SELECT * FROM bid LIMIT 3", "R0146", "LIMIT on an endless stream", "bounded", "LIMIT"),
    // windows
    (
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(tz), INTERVAL '1' HOUR))",
        "R0131",
        "no column 'tz'",
        "did you mean 'ts'?",
        "tz",
    ),
    (
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(price), INTERVAL '1' HOUR))",
        "R0148",
        "'price' is of type BIGINT",
        "TIMESTAMP",
        "price",
    ),
    (
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(other), INTERVAL '1' HOUR))",
        "R0148",
        "event time of 'bid' is 'ts'",
        "DESCRIPTOR(ts)",
        "other",
    ),
    (
        "SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MONTH)",
        "R0147",
        "months and years",
        "HOUR",
        "INTERVAL '1' MONTH",
    ),
    ("SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(ts))", "R0147", "TUMBLE needs 3 arguments", "write TUMBLE", "TUMBLE"),
    (
        "SELECT * FROM HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '2' HOUR, INTERVAL '1' HOUR)",
        "R0121",
        "the slide",
        "slide, size",
        "HOP",
    ),
    (
        "SELECT * FROM TUMBL(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' HOUR)",
        "R0133",
        "no table function 'TUMBL'",
        "'tumble'",
        "TUMBL",
    ),
    (
        "SELECT TUMBLE_START(ts, INTERVAL '1' HOUR) FROM bid",
        "R0147",
        "needs its window in GROUP BY",
        "GROUP BY tumble",
        "TUMBLE_START",
    ),
    (
        "SELECT TUMBLE_START(ts, INTERVAL '2' HOUR), count(*) FROM bid GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)",
        "R0147",
        "other arguments",
        "INTERVAL '1' HOUR",
        "TUMBLE_START",
    ),
    (
        "CREATE TABLE e (ts TIMESTAMP) WITH ('connector' = 'endless'); SELECT count(*) FROM e GROUP BY tumble(ts, INTERVAL '1' HOUR)",
        "R0148",
        "has no watermark",
        "WATERMARK FOR ts",
        "ts",
    ),
    ("SELECT DATE_FORMAT(sched, 'QQQ') FROM flights", "R0134", "the pattern 'QQQ'", "yyyy MM dd", "DATE_FORMAT"),
    // lambdas
    ("SELECT array_filter([1, 2], 1)", "R0134", "array_filter needs a lambda", "x -> x > 1", "array_filter"),
    ("SELECT abs(x -> x + 1)", "R0134", "a lambda (x -> ...) cannot stand here", "array_filter", "x"),
    ("SELECT origin -> upper(origin) FROM flights", "R0134", "cannot stand here", "JSON", "origin"),
    ("SELECT array_filter([1, 2], x -> orign > 1) FROM flights", "R0131", "no column 'orign'", "'origin'", "orign"),
    (
        "SELECT array_transform([9223372036854775807], x -> 9223372036854775807 + 1)",
        "R0149",
        "out of the range",
        "",
        "",
    ),
    (
        "SELECT array_transform([1, 9223372036854775807], x -> x + 1)",
        "R0149",
        "a number in array_transform is out of range: 9223372036854775807 + 1",
        "DECIMAL",
        "array_transform",
    ),
    (
        "SELECT array_transform([1, 9223372036854775807], x -> coalesce(x, 0) + 1)",
        "R0149",
        "a number in array_transform is out of range: 9223372036854775807 + 1",
        "DECIMAL",
        "array_transform",
    ),
    (
        "SELECT array_transform([[9223372036854775807]], l -> array_transform(l, x -> CASE WHEN x IN (1) THEN 0 ELSE x + 1 END))",
        "R0149",
        "a number in array_transform is out of range: 9223372036854775807 + 1",
        "DECIMAL",
        "",
    ),
    // not yet
    (
        "SET 'emit.mode' = 'final'; SELECT * FROM bid JOIN flights ON true",
        "R0142",
        "JOIN of endless streams outside of windows",
        "window both sides",
        "JOIN",
    ),
    (
        "SET 'emit.mode' = 'final'; SELECT * FROM bid, flights",
        "R0142",
        "JOIN of endless streams outside of windows",
        "window both sides",
        "",
    ),
    (
        "SET 'emit.mode' = 'final'; SELECT * FROM flights WHERE origin IN (SELECT url FROM bid)",
        "R0142",
        "IN (SELECT ...) over endless streams outside of windows",
        "window both sides",
        "",
    ),
    ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "R0142", "WITH RECURSIVE", "", "WITH"),
    ("SELECT * FROM bid; SELECT 1", "R0109", "several queries are shown", "'print'", ""),
];

fn underlined(text: &str, span: Span) -> String {
    let line = text.lines().nth(span.line as usize - 1).unwrap_or_default();
    let end = if span.end_line == span.line { span.end_column as usize - 1 } else { usize::MAX };
    line.chars().take(end).skip(span.column as usize - 1).collect()
}

fn check(case: &Case) -> Result<(), String> {
    let (query, code, message, hint, place) = *case;
    let text = format!("{TABLES}{query}");
    let error: Error = match plan(&text) {
        Ok(_) => return Err("it was accepted".into()),
        Err(error) => error,
    };
    let shown = rheos_sql::render(&error, &text, "x.sql");
    let fail = |what: &str| Err(format!("{what}:\n{shown}"));
    if error.code() != code {
        return fail(&format!("the code is not {code}"));
    }
    if !error.message().contains(message) {
        return fail(&format!("the message lacks {message:?}"));
    }
    if !error.hint().is_some_and(|h| h.contains(hint)) {
        return fail(&format!("the hint lacks {hint:?}"));
    }
    let Some(span) = error.span() else { return fail("there is no place") };
    if !place.is_empty() && underlined(&text, span) != place {
        return fail(&format!("{:?} is underlined, not {place:?}", underlined(&text, span)));
    }
    for raw in ["Error during planning", "Schema error", "Utf8", "Int64", "DataFusion", "sql parser error", "at Line"] {
        if shown.lines().filter(|l| l.starts_with("error") || l.starts_with("try")).any(|l| l.contains(raw)) {
            return fail(&format!("{raw:?} reaches the user"));
        }
    }
    Ok(())
}

/// Fails with all cases that are not told as they should be.
pub(crate) fn check_all(cases: &[Case]) {
    let failures: Vec<_> = cases.iter().filter_map(|c| Some(format!("{}\n{}", c.0, check(c).err()?))).collect();
    assert!(failures.is_empty(), "{} of {} cases:\n\n{}", failures.len(), cases.len(), failures.join("\n\n"));
}

#[test]
fn every_mistake_is_explained_at_its_place() {
    check_all(CASES);
}
