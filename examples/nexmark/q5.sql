-- Nexmark q5. Which auction is the hottest? Every 2 seconds, the auctions with the most bids of the last 10 seconds
-- (several where they have equally many). Two aggregations over sliding windows, and a join of the windows.
--
--   rheos run examples/nexmark/q5.sql

CREATE TABLE IF NOT EXISTS events (
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector'        = 'nexmark',
    'events.num'       = '5000',   -- 100 persons, 300 auctions, 4,600 bids
    'first-event.rate' = '100'     -- per second of event time, so they span 50 seconds
);

CREATE VIEW IF NOT EXISTS bid AS
SELECT
    bid.auction AS auction,
    `dateTime`
FROM events
WHERE event_type = 2;

CREATE VIEW counts AS
SELECT window_start, window_end, auction, count(*) AS bids
FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY window_start, window_end, auction;

CREATE VIEW highest AS
SELECT window_start, window_end, max(bids) AS bids
FROM counts
GROUP BY window_start, window_end;

SELECT c.auction, c.bids
FROM counts AS c
JOIN highest AS h
  ON c.window_start = h.window_start AND c.window_end = h.window_end AND c.bids = h.bids;
