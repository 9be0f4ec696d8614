-- Which airlines fill the sky? Flights per carrier in any three hours, looked at every hour: those with 40 and more,
-- the most first.
--
--   rheos run examples/flights/busiest.sql

CREATE TABLE flights (
    sched_dep TIMESTAMP(3),   -- local time of the scheduled departure
    carrier   STRING,
    distance  INT,            -- miles
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
    window_end,
    carrier,
    count(*)      AS flights,
    sum(distance) AS miles
FROM TABLE(HOP(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR, INTERVAL '3' HOUR))
GROUP BY window_start, window_end, carrier
HAVING count(*) >= 40
ORDER BY flights DESC, window_start, carrier;
