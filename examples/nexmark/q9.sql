-- Nexmark q9. Who wins? Of each auction the highest bid while it is open, with all that is known of the auction. Of equal
-- bids the first one wins; the bidder and the text decide between bids of the same moment.
--
--   rheos run examples/nexmark/q9.sql

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
    `dateTime`,
    bid.extra   AS extra
FROM events
WHERE event_type = 2;

CREATE VIEW ranked AS
SELECT
    a.*,
    b.auction,
    b.bidder,
    b.price,
    b.`dateTime` AS bid_at,
    b.extra      AS bid_extra,
    ROW_NUMBER() OVER (
        PARTITION BY a.id
        ORDER BY b.price DESC, b.`dateTime`, b.bidder, b.extra
    ) AS place
FROM auction AS a
JOIN bid AS b ON b.auction = a.id AND b.`dateTime` BETWEEN a.`dateTime` AND a.expires;

SELECT
    id, `itemName`, description, `initialBid`, reserve, `dateTime`, expires, seller, category, extra,
    auction, bidder, price, bid_at, bid_extra
FROM ranked
WHERE place = 1;
