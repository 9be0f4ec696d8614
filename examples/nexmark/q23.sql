-- Nexmark q23. Which sellers bid? The bids of persons who have opened auctions, with each of those. A join of three
-- streams on one key.
--
--   rheos run examples/nexmark/q23.sql

CREATE TABLE IF NOT EXISTS events (
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector'        = 'nexmark',
    'events.num'       = '5000',   -- 100 persons, 300 auctions, 4,600 bids
    'first-event.rate' = '100'     -- per second of event time, so they span 50 seconds
);

CREATE VIEW IF NOT EXISTS person AS
SELECT
    person.id             AS id,
    person.name           AS name,
    person.`emailAddress` AS `emailAddress`,
    person.`creditCard`   AS `creditCard`,
    person.city           AS city,
    person.state          AS state,
    person.extra          AS extra
FROM events
WHERE event_type = 0;

CREATE VIEW IF NOT EXISTS auction AS
SELECT
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
    bid.bidder  AS bidder,
    bid.price   AS price,
    bid.channel AS channel,
    bid.url     AS url,
    bid.extra   AS extra
FROM events
WHERE event_type = 2;

SELECT
    b.bidder,
    b.price,
    b.channel,
    b.url,
    b.extra      AS bid_extra,
    p.id         AS person_id,
    p.name,
    p.`emailAddress`,
    p.`creditCard`,
    p.city,
    p.state,
    p.extra      AS person_extra,
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
JOIN person AS p ON p.id = b.bidder
JOIN auction AS a ON a.seller = b.bidder;
