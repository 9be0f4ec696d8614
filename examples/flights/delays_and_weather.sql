-- Does rain make flights late? Each hour's mean delay at each airport, next to the weather of that hour: the hours in
-- which rain or snow fell.
--
--   rheos run examples/flights/delays_and_weather.sql

CREATE TABLE flights (
    time_hour TIMESTAMP(3),   -- the hour of the scheduled departure, in UTC: New York's winter time is five hours behind
    dep_delay DOUBLE,         -- minutes; NULL: the flight was cancelled
    origin    STRING,
    WATERMARK FOR time_hour AS time_hour - INTERVAL '1' HOUR
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/flights_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

CREATE TABLE weather (
    time_hour  TIMESTAMP(3),  -- the hour of the observation, in UTC
    origin     STRING,        -- the airport
    temp       DOUBLE,        -- degrees Fahrenheit
    wind_speed DOUBLE,        -- miles an hour
    precip     DOUBLE,        -- inches of rain
    visib      DOUBLE,        -- miles
    WATERMARK FOR time_hour AS time_hour - INTERVAL '1' HOUR
) WITH (
    'connector'        = 'filesystem',
    'path'             = 'examples/flights/data/sample/weather_sorted.csv',
    'format'           = 'csv',
    'csv.null-literal' = 'NA',
    'csv.multiline'    = 'false'
);

CREATE VIEW hourly AS
SELECT window_start, window_end, origin, count(*) AS flights, avg(dep_delay) AS mean_delay
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(time_hour), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, origin;

-- Both sides have windows of the same kind and size. Because the join compares start and end, Rheos can forget an hour
-- as soon as its windows are closed: that is what lets a join run on input without an end.
SELECT
    h.window_start AS hour,
    h.origin,
    h.flights,
    w.precip,
    w.visib,
    w.wind_speed,
    w.temp,
    h.mean_delay
FROM hourly AS h
JOIN (
    SELECT * FROM TABLE(TUMBLE(TABLE weather, DESCRIPTOR(time_hour), INTERVAL '1' HOUR))
) AS w
    ON h.window_start = w.window_start AND h.window_end = w.window_end AND h.origin = w.origin
WHERE w.precip > 0;
