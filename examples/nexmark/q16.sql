-- Nexmark q16. How lively is a channel? As q15, for each channel by itself, with the minute of its last bid: the same
-- distinct counts in many groups.
--
--   rheos run examples/nexmark/q16.sql

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
    `dateTime`
FROM events
WHERE event_type = 2;

SELECT
    channel,
    date_format(`dateTime`, 'yyyy-MM-dd') AS `day`,
    max(date_format(`dateTime`, 'HH:mm')) AS last_minute,
    count(*) AS bids,
    count(*) FILTER (WHERE price < 10000) AS low_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS middle_bids,
    count(*) FILTER (WHERE price >= 1000000) AS high_bids,
    count(DISTINCT bidder) AS bidders,
    count(DISTINCT bidder) FILTER (WHERE price < 10000) AS low_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS middle_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS high_bidders,
    count(DISTINCT auction) AS auctions,
    count(DISTINCT auction) FILTER (WHERE price < 10000) AS low_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS middle_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS high_auctions
FROM bid
GROUP BY channel, date_format(`dateTime`, 'yyyy-MM-dd');
