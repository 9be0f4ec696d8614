-- Nexmark q18. What did a bidder bid last? Of each bidder and auction the last bid: a stream without its duplicates. Of
-- bids of the same moment the highest one stays, and the texts decide between equal ones.
--
--   rheos run examples/nexmark/q18.sql

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
    bid.channel AS channel,
    bid.url     AS url,
    `dateTime`,
    bid.extra   AS extra
FROM events
WHERE event_type = 2;

CREATE VIEW numbered AS
SELECT
    *,
    ROW_NUMBER() OVER (
        PARTITION BY bidder, auction
        ORDER BY `dateTime` DESC, price DESC, channel, url, extra
    ) AS place
FROM bid;

SELECT auction, bidder, price, channel, url, `dateTime`, extra
FROM numbered
WHERE place = 1;
