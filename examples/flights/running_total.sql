-- How does a day add up? For each airport, after every hour: the flights of the day so far, and how many of them left
-- more than a quarter of an hour late.
--
--   rheos run examples/flights/running_total.sql

CREATE TABLE flights (
    sched_dep TIMESTAMP(3),   -- local time of the scheduled departure
    dep_delay INT,            -- minutes; NULL: the flight was cancelled
    origin    STRING,
    WATERMARK FOR sched_dep AS sched_dep - INTERVAL '5' MINUTE
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/flights_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

-- CUMULATE: windows that begin together, at midnight, and are an hour longer each, until the day is full.
-- First the step, then the size.
SELECT
    window_start                           AS day,
    window_end                             AS until,
    origin,
    count(*)                               AS flights,
    count(*) FILTER (WHERE dep_delay > 15) AS delayed
FROM TABLE(CUMULATE(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR, INTERVAL '1' DAY))
GROUP BY window_start, window_end, origin;
