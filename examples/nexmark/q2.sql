-- Nexmark q2. A sample of the auctions: the bids for one auction in 123, which is a filter that lets few rows pass.
--
--   rheos run examples/nexmark/q2.sql

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
    bid.price   AS price
FROM events
WHERE event_type = 2;

SELECT auction, price
FROM bid
WHERE auction % 123 = 0;
