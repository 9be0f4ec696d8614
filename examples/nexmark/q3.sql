-- Nexmark q3. Who sells in three states, and what? The sellers of Oregon, Idaho and California with their auctions of
-- one category. A join of two streams without windows: each side waits for the other for ever.
--
--   rheos run examples/nexmark/q3.sql

CREATE TABLE IF NOT EXISTS events (
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH (
    'connector'        = 'nexmark',
    'events.num'       = '5000',   -- 100 persons, 300 auctions, 4,600 bids
    'first-event.rate' = '100'     -- per second of event time, so they span 50 seconds
);

CREATE VIEW IF NOT EXISTS person AS
SELECT
    person.id    AS id,
    person.name  AS name,
    person.city  AS city,
    person.state AS state
FROM events
WHERE event_type = 0;

CREATE VIEW IF NOT EXISTS auction AS
SELECT
    auction.id       AS id,
    auction.seller   AS seller,
    auction.category AS category
FROM events
WHERE event_type = 1;

SELECT p.name, p.city, p.state, a.id
FROM auction AS a
JOIN person AS p ON p.id = a.seller
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
