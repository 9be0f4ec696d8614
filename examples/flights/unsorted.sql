-- What late records look like. The package's own file stands in the order of the month's *name*: 1, 10, 11, 12, 2, 3 ...
-- So February comes after December, far behind the watermark: its flights are late, they are in no window, and the
-- count at the end says how many there are and how wide the watermark would have to be.
--
--   python3 examples/flights/fetch.py             (this program reads all flights, not the sample)
--   rheos run examples/flights/unsorted.sql

CREATE TABLE flights (
    time_hour TIMESTAMP(3),   -- the hour of the scheduled departure, in UTC
    origin    STRING,
    WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/full/flights.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

SELECT
    window_start AS day,
    origin,
    count(*)     AS flights
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(time_hour), INTERVAL '1' DAY))
GROUP BY window_start, window_end, origin;
