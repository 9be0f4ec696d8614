-- Keeps the flights that left more than an hour late, in one folder for each day:
--
--   examples/out/delayed-by-day/day=2013-01-01/part-....parquet
--   examples/out/delayed-by-day/day=2013-01-01/_SUCCESS             nothing more will come for this day
--
--   rheos run examples/flights/delayed_by_day.sql

CREATE TABLE flights (
    sched_dep TIMESTAMP(3),   -- local time of the scheduled departure
    dep_delay INT,            -- minutes; NULL: the flight was cancelled
    carrier   STRING,
    flight    INT,
    tailnum   STRING,
    origin    STRING,
    dest      STRING,
    WATERMARK FOR sched_dep AS sched_dep - INTERVAL '5' MINUTE
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/flights_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

-- The column `day` is not in the files: it is the name of the folder. Whoever reads the table finds it there.
CREATE TABLE delayed (
    sched_dep TIMESTAMP(3),
    minutes   INT,
    flight    STRING,
    tailnum   STRING,
    route     STRING,
    `day`     STRING
) PARTITIONED BY (`day`) WITH (
    'connector'                                  = 'filesystem',
    'path'                                       = 'examples/out/delayed-by-day',
    'format'                                     = 'parquet',
    'sink.if-exists'                             = 'replace',
    -- A day is complete when event time has passed its end: midnight as the pattern says, and one day more.
    'partition.time-extractor.timestamp-pattern' = '$day 00:00:00',
    'sink.partition-commit.trigger'              = 'partition-time',
    'sink.partition-commit.delay'                = '1 d',
    'sink.partition-commit.policy.kind'          = 'success-file'
);

INSERT INTO delayed
SELECT
    sched_dep,
    dep_delay,
    carrier || CAST(flight AS STRING),
    tailnum,
    origin || '-' || dest,
    date_format(sched_dep, 'yyyy-MM-dd')
FROM flights
WHERE dep_delay > 60;
