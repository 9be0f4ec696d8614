-- Nexmark q14. Arithmetic on every row: bids of more than a million and less than fifty million euros, with the part of
-- the day in which they were made and the number of 'c' in their text. The price in euros is needed three times.
--
--   rheos run examples/nexmark/q14.sql

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
    bid.bidder  AS bidder,
    bid.price   AS price,
    `dateTime`,
    bid.extra   AS extra
FROM events
WHERE event_type = 2;

SELECT
    auction,
    bidder,
    price * 0.908 AS price,
    CASE
        WHEN hour(`dateTime`) BETWEEN 8 AND 18 THEN 'day'
        WHEN hour(`dateTime`) <= 6 OR hour(`dateTime`) >= 20 THEN 'night'
        ELSE 'twilight'
    END AS part_of_day,
    `dateTime`,
    extra,
    length(extra) - length(replace(extra, 'c', '')) AS c_count
FROM bid
WHERE price * 0.908 > 1000000 AND price * 0.908 < 50000000;
