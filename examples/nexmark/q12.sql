-- Nexmark q12. How many bids of a bidder arrive in 10 seconds of the clock on the wall? Windows of processing time:
-- another run gives other rows, but the bids of a bidder always add up to the same number.
--
--   rheos run examples/nexmark/q12.sql

CREATE TABLE IF NOT EXISTS events (
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector'        = 'nexmark',
    'events.num'       = '5000',   -- 100 persons, 300 auctions, 4,600 bids
    'first-event.rate' = '100'     -- per second of event time, so they span 50 seconds
);

CREATE VIEW IF NOT EXISTS bid AS
SELECT
    bid.bidder AS bidder
FROM events
WHERE event_type = 2;

CREATE VIEW arrived AS
SELECT bidder, PROCTIME() AS arrived_at
FROM bid;

SELECT bidder, count(*) AS bids, window_start, window_end
FROM TABLE(TUMBLE(TABLE arrived, DESCRIPTOR(arrived_at), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
