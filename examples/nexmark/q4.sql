-- Nexmark q4. What does a category fetch? The mean of the prices at which its auctions stand: of each auction the highest
-- bid while it is open. A join, an aggregate over it, and an aggregate over that, whose input changes.
--
--   rheos run examples/nexmark/q4.sql

CREATE TABLE IF NOT EXISTS events (
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector'        = 'nexmark',
    'events.num'       = '5000',   -- 100 persons, 300 auctions, 4,600 bids
    'first-event.rate' = '100'     -- per second of event time, so they span 50 seconds
);

CREATE VIEW IF NOT EXISTS auction AS
SELECT
    auction.id       AS id,
    `dateTime`,
    auction.expires  AS expires,
    auction.category AS category
FROM events
WHERE event_type = 1;

CREATE VIEW IF NOT EXISTS bid AS
SELECT
    bid.auction AS auction,
    bid.price   AS price,
    `dateTime`
FROM events
WHERE event_type = 2;

CREATE VIEW best AS
SELECT a.id, a.category, max(b.price) AS price
FROM auction AS a
JOIN bid AS b ON b.auction = a.id AND b.`dateTime` BETWEEN a.`dateTime` AND a.expires
GROUP BY a.id, a.category;

SELECT category, avg(price) AS price
FROM best
GROUP BY category;
