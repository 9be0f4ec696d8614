-- Nexmark q10. An archive of the bids: csv files in one folder for each minute of event time. It prints nothing; the
-- rows are in examples/out/nexmark-archive.
--
--   rheos run examples/nexmark/q10.sql

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

CREATE TABLE archive (
    auction    BIGINT,
    bidder     BIGINT,
    price      BIGINT,
    `dateTime` TIMESTAMP(3),
    extra      STRING,
    `day`      STRING,
    `minute`   STRING
) PARTITIONED BY (`day`, `minute`) WITH (
    'connector'      = 'filesystem',
    'path'           = 'examples/out/nexmark-archive',
    'format'         = 'csv',
    'sink.if-exists' = 'replace'
);

INSERT INTO archive
SELECT
    auction,
    bidder,
    price,
    `dateTime`,
    extra,
    date_format(`dateTime`, 'yyyy-MM-dd'),
    date_format(`dateTime`, 'HH:mm')
FROM bid;
