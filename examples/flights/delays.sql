-- How late do flights leave New York? For each airport and hour of the schedule: the flights, how many were cancelled,
-- the mean delay, and the delay that 95 of 100 flights stay below.
--
--   rheos run examples/flights/delays.sql

CREATE TABLE flights (
    sched_dep TIMESTAMP(3),   -- local time of the scheduled departure
    dep_delay DOUBLE,         -- minutes; NULL: the flight was cancelled
    origin    STRING,
    WATERMARK FOR sched_dep AS sched_dep - INTERVAL '5' MINUTE
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/flights_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

SELECT
    window_start,
    origin,
    count(*)                                                 AS flights,
    count(*) FILTER (WHERE dep_delay IS NULL)                AS cancelled,
    avg(dep_delay)                                           AS mean_delay,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY dep_delay)  AS p95_delay
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, origin;
