-- Nexmark q22. The folders in the address of a bid's page: the fourth to sixth part of a text that is cut at its
-- slashes.
--
--   rheos run examples/nexmark/q22.sql

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

SELECT
    auction,
    bidder,
    price,
    channel,
    split_part(url, '/', 4) AS folder_1,
    split_part(url, '/', 5) AS folder_2,
    split_part(url, '/', 6) AS folder_3
FROM bid;
