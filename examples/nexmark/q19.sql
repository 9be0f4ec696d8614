-- Nexmark q19. What are the ten highest bids of an auction? With their place, so one bid can change ten rows. Of equal
-- bids the first one stands higher; the bidder and the texts decide between bids of the same moment.
--
--   rheos run examples/nexmark/q19.sql

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

CREATE VIEW ranked AS
SELECT
    *,
    ROW_NUMBER() OVER (
        PARTITION BY auction
        ORDER BY price DESC, `dateTime`, bidder, channel, url, extra
    ) AS place
FROM bid;

SELECT auction, bidder, price, channel, url, `dateTime`, extra, place
FROM ranked
WHERE place <= 10;
