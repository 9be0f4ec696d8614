-- Nexmark q7. What is the highest bid? The bids with the highest price of each 10 seconds. A stream is joined with the
-- maximum of its own windows: nothing has to be kept for longer than a window is open.
--
--   rheos run examples/nexmark/q7.sql

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
    `dateTime`,
    bid.extra   AS extra
FROM events
WHERE event_type = 2;

CREATE VIEW highest AS
SELECT window_start, window_end, max(price) AS price
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
GROUP BY window_start, window_end;

SELECT b.auction, b.bidder, b.price, b.`dateTime`, b.extra
FROM bid AS b
JOIN highest AS h
  ON b.price = h.price AND b.`dateTime` >= h.window_start AND b.`dateTime` < h.window_end;
