"""The queries of the benchmark in the words of each peer.

Rheos runs the programs of examples/nexmark. The texts for Flink are those of the project nexmark/nexmark (Apache-2.0),
changed where they need a Java function (q14 counts a letter by REPLACE) or names of their own; DuckDB and Polars answer the
same questions over the whole input at once. A query's columns are the same everywhere, in the same order.
"""

ALL = ("q0", "q1", "q2", "q5", "q8", "q11", "q14", "q21", "q22")

# What DuckDB, the truth, calls the types of a query's columns; every other answer is cast to them before it is compared.
BID = ["BIGINT", "BIGINT", "BIGINT", "TIMESTAMP", "VARCHAR"]
TYPES = {
    "q0": BID,
    "q1": ["BIGINT", "BIGINT", "DECIMAL(23,3)", "TIMESTAMP", "VARCHAR"],
    "q2": ["BIGINT", "BIGINT"],
    "q5": ["BIGINT", "BIGINT"],
    "q8": ["BIGINT", "VARCHAR", "TIMESTAMP"],
    "q11": ["BIGINT", "BIGINT", "TIMESTAMP", "TIMESTAMP"],
    "q14": ["BIGINT", "BIGINT", "DECIMAL(23,3)", "VARCHAR", "TIMESTAMP", "VARCHAR", "BIGINT"],
    "q21": ["BIGINT", "BIGINT", "BIGINT", "VARCHAR", "VARCHAR"],
    "q22": ["BIGINT", "BIGINT", "BIGINT", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR"],
}

PART_OF_DAY = """CASE WHEN {hour} BETWEEN 8 AND 18 THEN 'day' WHEN {hour} <= 6 OR {hour} >= 20 THEN 'night'
    ELSE 'twilight' END"""
CHANNELS = "WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'"

# ---------------------------------------------------------------------------------------------------------- DuckDB

DUCKDB = {
    "q0": "SELECT auction, bidder, price, dateTime, extra FROM bid",
    "q1": "SELECT auction, bidder, 0.908 * price AS price, dateTime, extra FROM bid",
    "q2": "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    # Counts of 2 seconds, five of which make a window.
    "q5": """WITH pane AS (SELECT auction, epoch_ms(dateTime) // 2000 AS p, count(*) AS c FROM bid GROUP BY ALL),
        counts AS (SELECT auction, p - k AS first, sum(c)::BIGINT AS num FROM pane, range(5) t(k) GROUP BY ALL)
        SELECT auction, num FROM counts QUALIFY num = max(num) OVER (PARTITION BY first)""",
    "q8": """SELECT P.id, P.name, make_timestamp(P.w * 10000000) FROM
          (SELECT DISTINCT id, name, epoch_ms(dateTime) // 10000 AS w FROM person) P
          JOIN (SELECT DISTINCT seller, epoch_ms(dateTime) // 10000 AS w FROM auction) A ON P.id = A.seller AND P.w = A.w""",
    # The running sum is over a RANGE, the default: bids of the same millisecond have the same sum, whatever their order.
    "q11": """SELECT bidder, count(*), min(dateTime), max(dateTime) + INTERVAL 10 SECOND FROM (
          SELECT bidder, dateTime, sum(fresh) OVER (PARTITION BY bidder ORDER BY dateTime) AS session FROM (
            SELECT bidder, dateTime, CASE WHEN dateTime - lag(dateTime) OVER (PARTITION BY bidder ORDER BY dateTime)
              <= INTERVAL 10 SECOND THEN 0 ELSE 1 END AS fresh FROM bid))
        GROUP BY bidder, session""",
    "q14": f"""SELECT auction, bidder, 0.908 * price AS price, {PART_OF_DAY.format(hour="hour(dateTime)")}, dateTime, extra,
          length(extra) - length(replace(extra, 'c', ''))
        FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    "q21": f"""SELECT auction, bidder, price, channel, channel_id FROM (SELECT *, CASE lower(channel) {CHANNELS}
          ELSE nullif(regexp_extract(url, '(?:&|^)channel_id=([^&]*)', 1), '') END AS channel_id FROM bid)
        WHERE channel_id IS NOT NULL""",
    "q22": """SELECT auction, bidder, price, channel,
          split_part(url, '/', 4), split_part(url, '/', 5), split_part(url, '/', 6) FROM bid""",
}

# ----------------------------------------------------------------------------------------------------------- Flink

HOP = "TABLE(HOP(TABLE {bid}, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))"
TUMBLE = "TABLE(TUMBLE(TABLE {%s}, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))"
CHANNEL_ID = "REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2)"

# {bid}, {auction}, {person}: the views of the input that is measured.
FLINK = {
    "q0": "SELECT auction, bidder, price, `dateTime`, extra FROM {bid}",
    "q1": "SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM {bid}",
    "q2": "SELECT auction, price FROM {bid} WHERE MOD(auction, 123) = 0",
    "q5": f"""SELECT AuctionBids.auction, AuctionBids.num FROM (
          SELECT auction, count(*) AS num, window_start AS starttime, window_end AS endtime
          FROM {HOP} GROUP BY auction, window_start, window_end) AS AuctionBids
        JOIN (SELECT max(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime FROM (
            SELECT count(*) AS num, window_start AS starttime, window_end AS endtime
            FROM {HOP} GROUP BY auction, window_start, window_end) AS CountBids
          GROUP BY CountBids.starttime, CountBids.endtime) AS MaxBids
        ON AuctionBids.starttime = MaxBids.starttime AND AuctionBids.endtime = MaxBids.endtime
          AND AuctionBids.num >= MaxBids.maxn""",
    "q8": f"""SELECT P.id, P.name, P.starttime FROM (
          SELECT id, name, window_start AS starttime, window_end AS endtime
          FROM {TUMBLE % "person"} GROUP BY id, name, window_start, window_end) P
        JOIN (SELECT seller, window_start AS starttime, window_end AS endtime
          FROM {TUMBLE % "auction"} GROUP BY seller, window_start, window_end) A
        ON P.id = A.seller AND P.starttime = A.starttime AND P.endtime = A.endtime""",
    "q11": """SELECT bidder, count(*) AS bid_count, SESSION_START(`dateTime`, INTERVAL '10' SECOND) AS starttime,
          SESSION_END(`dateTime`, INTERVAL '10' SECOND) AS endtime
        FROM {bid} GROUP BY bidder, SESSION(`dateTime`, INTERVAL '10' SECOND)""",
    "q14": f"""SELECT auction, bidder, 0.908 * price AS price, {PART_OF_DAY.format(hour="HOUR(`dateTime`)")} AS bid_time,
          `dateTime`, extra, CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS c_counts
        FROM {{bid}} WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    "q21": f"""SELECT auction, bidder, price, channel, CASE LOWER(channel) {CHANNELS} ELSE {CHANNEL_ID} END AS channel_id
        FROM {{bid}} WHERE {CHANNEL_ID} IS NOT NULL OR LOWER(channel) IN ('apple', 'google', 'facebook', 'baidu')""",
    "q22": """SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1, SPLIT_INDEX(url, '/', 4) AS dir2,
          SPLIT_INDEX(url, '/', 5) AS dir3 FROM {bid}""",
}

FLINK_JSON = """CREATE TEMPORARY TABLE events_json (
  event_type INT,
  person ROW<id BIGINT, name VARCHAR, `emailAddress` VARCHAR, `creditCard` VARCHAR, city VARCHAR, state VARCHAR,
    `dateTime` TIMESTAMP(3), extra VARCHAR>,
  auction ROW<id BIGINT, `itemName` VARCHAR, description VARCHAR, `initialBid` BIGINT, reserve BIGINT,
    `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3), extra VARCHAR>,
  `dateTime` TIMESTAMP(3),
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '%s', 'format' = 'json')"""

FLINK_JSON_VIEWS = (
    """CREATE TEMPORARY VIEW person_json AS SELECT person.id, person.name, `dateTime` FROM events_json
       WHERE event_type = 0""",
    """CREATE TEMPORARY VIEW auction_json AS SELECT auction.id, auction.seller, `dateTime` FROM events_json
       WHERE event_type = 1""",
    """CREATE TEMPORARY VIEW bid_json AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`,
       bid.extra FROM events_json WHERE event_type = 2""",
)

# Flink's ceiling: a sequence of numbers, from which everything is computed by generated code. The mix of 1:3:46 and the
# hot keys are those of the benchmark; texts are constant and of the usual length. It reads nothing.
FLINK_GENERATOR = (
    """CREATE TEMPORARY TABLE numbers (
         n BIGINT, mixed AS MOD(n * 48271, 2147483647), slot AS MOD(n, 50), lap AS n / 50,
         `dateTime` AS TO_TIMESTAMP_LTZ(1735689600000 + n / 100, 3),
         WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
       ) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', 'fields.n.kind' = 'sequence',
         'fields.n.start' = '0', 'fields.n.end' = '%d')""",
    """CREATE TEMPORARY VIEW person_generator AS SELECT lap + 1000 AS id, 'Peter Shultz' AS name, `dateTime`
       FROM numbers WHERE slot = 0""",
    """CREATE TEMPORARY VIEW auction_generator AS SELECT lap * 3 + slot - 1 + 1000 AS id,
         1000 + CASE WHEN MOD(mixed, 4) > 0 THEN lap / 100 * 100 ELSE lap - MOD(mixed, 1000) END AS seller, `dateTime`
       FROM numbers WHERE slot BETWEEN 1 AND 3""",
    f"""CREATE TEMPORARY VIEW bid_generator AS SELECT
         1000 + CASE WHEN MOD(mixed, 2) > 0 THEN (lap * 3 + 2) / 100 * 100 ELSE lap * 3 + 12 - MOD(mixed, 110) END AS auction,
         1000 + CASE WHEN MOD(mixed, 4) > 0 THEN lap / 100 * 100 + 1 ELSE lap + 10 - MOD(mixed, 1010) END AS bidder,
         100 + MOD(mixed, 1000003) * MOD(mixed, 101) AS price,
         CASE WHEN MOD(mixed, 2) > 0 THEN 'Google' ELSE 'channel-' || CAST(MOD(mixed, 10000) AS VARCHAR) END AS channel,
         'https://www.nexmark.com/abc/def/ghi/item.htm?query=1&channel_id=1' AS url, `dateTime`, '{"x" * 68}' AS extra
       FROM numbers WHERE slot > 3""",
)
