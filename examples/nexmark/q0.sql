-- Nexmark q0. What does it cost to pass a row on? Every bid as it is: a measure of reading and of what the engine adds
-- to it.
--
--   rheos run examples/nexmark/q0.sql

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

SELECT auction, bidder, price, `dateTime`, extra
FROM bid;
