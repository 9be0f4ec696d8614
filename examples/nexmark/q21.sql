-- Nexmark q21. Which channel does a bid come from? Four names have numbers; of the others the number is looked for in
-- the address of the page, and bids without one are left out. Text, cases and a regular expression.
--
--   rheos run examples/nexmark/q21.sql

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
    bid.url     AS url
FROM events
WHERE event_type = 2;

CREATE VIEW channels AS
SELECT
    *,
    CASE lower(channel)
        WHEN 'apple'    THEN '0'
        WHEN 'google'   THEN '1'
        WHEN 'facebook' THEN '2'
        WHEN 'baidu'    THEN '3'
        ELSE regexp_match(url, '(?:&|^)channel_id=([^&]*)')[1]
    END AS channel_id
FROM bid;

SELECT auction, bidder, price, channel, channel_id
FROM channels
WHERE channel_id IS NOT NULL;
