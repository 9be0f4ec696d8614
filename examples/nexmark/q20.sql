-- Nexmark q20. What is being bid for? The bids for auctions of one category, with all that is known of the auction. A join
-- whose left side is large and whose rows are wide.
--
--   rheos run examples/nexmark/q20.sql

CREATE TABLE IF NOT EXISTS events (
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector'        = 'nexmark',
    'events.num'       = '5000',   -- 100 persons, 300 auctions, 4,600 bids
    'first-event.rate' = '100'     -- per second of event time, so they span 50 seconds
);

CREATE VIEW IF NOT EXISTS auction AS
SELECT
    auction.id           AS id,
    auction.`itemName`   AS `itemName`,
    auction.description  AS description,
    auction.`initialBid` AS `initialBid`,
    auction.reserve      AS reserve,
    `dateTime`,
    auction.expires      AS expires,
    auction.seller       AS seller,
    auction.category     AS category,
    auction.extra        AS extra
FROM events
WHERE event_type = 1;

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

SELECT
    b.auction,
    b.bidder,
    b.price,
    b.channel,
    b.url,
    b.`dateTime` AS bid_at,
    b.extra      AS bid_extra,
    a.`itemName`,
    a.description,
    a.`initialBid`,
    a.reserve,
    a.`dateTime` AS opened_at,
    a.expires,
    a.seller,
    a.category,
    a.extra      AS auction_extra
FROM bid AS b
JOIN auction AS a ON a.id = b.auction
WHERE a.category = 10;
