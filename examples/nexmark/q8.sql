-- Nexmark q8. Who sells at once? The persons who have come and opened an auction within the same 10 seconds. A join of
-- two streams, window by window.
--
--   rheos run examples/nexmark/q8.sql

CREATE TABLE IF NOT EXISTS events (
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector'        = 'nexmark',
    'events.num'       = '5000',   -- 100 persons, 300 auctions, 4,600 bids
    'first-event.rate' = '100'     -- per second of event time, so they span 50 seconds
);

CREATE VIEW IF NOT EXISTS person AS
SELECT
    person.id   AS id,
    person.name AS name,
    `dateTime`
FROM events
WHERE event_type = 0;

CREATE VIEW IF NOT EXISTS auction AS
SELECT
    auction.seller AS seller,
    `dateTime`
FROM events
WHERE event_type = 1;

CREATE VIEW newcomers AS
SELECT window_start, window_end, id, name
FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, id, name;

CREATE VIEW sellers AS
SELECT window_start, window_end, seller
FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, seller;

SELECT n.id, n.name, n.window_start
FROM newcomers AS n
JOIN sellers AS s
  ON n.window_start = s.window_start AND n.window_end = s.window_end AND n.id = s.seller;
