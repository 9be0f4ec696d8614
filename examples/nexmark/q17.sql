-- Nexmark q17. How does an auction go? The number of its bids of each day, in all and for three levels of price, and
-- their prices. Cheap aggregates over a key space that grows with the input.
--
--   rheos run examples/nexmark/q17.sql

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
    bid.price   AS price,
    `dateTime`
FROM events
WHERE event_type = 2;

SELECT
    auction,
    date_format(`dateTime`, 'yyyy-MM-dd') AS `day`,
    count(*) AS bids,
    count(*) FILTER (WHERE price < 10000) AS low_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS middle_bids,
    count(*) FILTER (WHERE price >= 1000000) AS high_bids,
    min(price) AS lowest,
    max(price) AS highest,
    avg(price) AS mean,
    sum(price) AS total
FROM bid
GROUP BY auction, date_format(`dateTime`, 'yyyy-MM-dd');
