-- Who is on top of the sky? The three airlines with the most flights in any three hours, looked at every hour.
--
--   rheos run examples/flights/busiest_carriers.sql

CREATE TABLE flights (
    sched_dep TIMESTAMP(3),   -- local time of the scheduled departure
    carrier   STRING,
    WATERMARK FOR sched_dep AS sched_dep - INTERVAL '5' MINUTE
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/flights_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

-- Windows of three hours, one beginning every hour: a flight counts in three of them.
CREATE VIEW per_carrier AS
SELECT window_start, window_end, carrier, count(*) AS flights
FROM TABLE(HOP(TABLE flights, DESCRIPTOR(sched_dep), INTERVAL '1' HOUR, INTERVAL '3' HOUR))
GROUP BY window_start, window_end, carrier;

-- ROW_NUMBER within each window, and then only the first three: Rheos keeps no more of a window than that. Airlines with
-- equally many flights come in order of their code, so that the answer does not depend on chance.
SELECT window_start, window_end, place, carrier, flights
FROM (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY flights DESC, carrier) AS place
    FROM per_carrier
)
WHERE place <= 3;
