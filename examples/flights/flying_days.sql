-- Which planes work hardest? A plane's flying day is a session of its departures: it begins with the first one, and it
-- ends when the plane has not left New York for six hours. The days with four departures and more, the fullest first.
--
--   rheos run examples/flights/flying_days.sql

CREATE TABLE flights (
    sched_dep TIMESTAMP(3),   -- local time of the scheduled departure
    dep_delay INT,            -- minutes; NULL: the flight was cancelled
    tailnum   STRING,         -- the plane
    distance  INT,            -- miles
    WATERMARK FOR sched_dep AS sched_dep - INTERVAL '5' MINUTE
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/flights_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

-- A cancelled flight must not keep a day together, so it has to go before the sessions are made: a WHERE behind
-- SESSION(...) would come too late.
CREATE VIEW flown AS
SELECT sched_dep, tailnum, distance
FROM flights
WHERE dep_delay IS NOT NULL AND tailnum IS NOT NULL;

-- PARTITION BY: every plane has sessions of its own.
SELECT
    tailnum,
    window_start   AS first_departure,
    max(sched_dep) AS last_departure,   -- window_end is six hours behind it
    count(*)       AS departures,
    sum(distance)  AS miles
FROM TABLE(SESSION(TABLE flown PARTITION BY tailnum, DESCRIPTOR(sched_dep), INTERVAL '6' HOUR))
GROUP BY tailnum, window_start, window_end
HAVING count(*) >= 4
ORDER BY departures DESC, first_departure, tailnum;
