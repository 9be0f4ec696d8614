-- Keeps the flights that left more than an hour late, as Parquet files in examples/out/delayed/.
--
--   rheos run examples/flights/delayed.sql

CREATE TABLE flights (
    sched_dep TIMESTAMP(3),   -- local time of the scheduled departure
    dep_delay INT,            -- minutes; NULL: the flight was cancelled
    carrier   STRING,
    flight    INT,
    tailnum   STRING,
    origin    STRING,
    dest      STRING,
    distance  INT             -- miles
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/flights_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

CREATE TABLE delayed (
    sched_dep TIMESTAMP(3),
    minutes   INT,
    flight    STRING,
    tailnum   STRING,
    route     STRING,
    distance  INT
) WITH (
    'connector'      = 'filesystem',
    'path'           = 'examples/out/delayed',
    'format'         = 'parquet',
    'sink.if-exists' = 'replace'
);

INSERT INTO delayed
SELECT
    sched_dep,
    dep_delay,
    carrier || CAST(flight AS STRING),
    tailnum,
    origin || '-' || dest,
    distance
FROM flights
WHERE dep_delay > 60;
