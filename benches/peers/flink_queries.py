"""The queries in the words of Flink: the texts of nexmark/nexmark (Apache-2.0), changed where they need a Java function (q14 counts
a letter by REPLACE), give whole numbers for means (q4, q17), let a bid at a window's end count twice (q7), or need names of their own."""

from duckdb_queries import CHANNELS, COUNTS, DISTINCT, PART_OF_DAY

DAY = "DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')"
HOP = "TABLE(HOP(TABLE {bid}, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))"
TUMBLE = "TABLE(TUMBLE(TABLE {%s}, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))"
CHANNEL_ID = "REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2)"

# {bid}, {auction}, {person}: the views of the input that is measured.
QUERIES = {
    "q0": "SELECT auction, bidder, price, `dateTime`, extra FROM {bid}",
    "q1": "SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM {bid}",
    "q2": "SELECT auction, price FROM {bid} WHERE MOD(auction, 123) = 0",
    "q3": """SELECT P.name, P.city, P.state, A.id FROM {auction} AS A INNER JOIN {person} AS P ON A.seller = P.id
        WHERE A.category = 10 AND (P.state = 'OR' OR P.state = 'ID' OR P.state = 'CA')""",
    "q4": """SELECT Q.category, AVG(CAST(Q.final AS DOUBLE)) FROM (
          SELECT MAX(B.price) AS final, A.category FROM {auction} A, {bid} B
          WHERE A.id = B.auction AND B.`dateTime` BETWEEN A.`dateTime` AND A.expires GROUP BY A.id, A.category) Q
        GROUP BY Q.category""",
    "q5": f"""SELECT AuctionBids.auction, AuctionBids.num FROM (
          SELECT auction, count(*) AS num, window_start AS starttime, window_end AS endtime
          FROM {HOP} GROUP BY auction, window_start, window_end) AS AuctionBids
        JOIN (SELECT max(CountBids.num) AS maxn, CountBids.starttime, CountBids.endtime FROM (
            SELECT count(*) AS num, window_start AS starttime, window_end AS endtime
            FROM {HOP} GROUP BY auction, window_start, window_end) AS CountBids
          GROUP BY CountBids.starttime, CountBids.endtime) AS MaxBids
        ON AuctionBids.starttime = MaxBids.starttime AND AuctionBids.endtime = MaxBids.endtime
          AND AuctionBids.num >= MaxBids.maxn""",
    "q7": f"""SELECT B.auction, B.bidder, B.price, B.`dateTime`, B.extra FROM {{bid}} B JOIN (
          SELECT MAX(price) AS maxprice, window_start, window_end
          FROM {TUMBLE % "bid"} GROUP BY window_start, window_end) H
        ON B.price = H.maxprice WHERE B.`dateTime` >= H.window_start AND B.`dateTime` < H.window_end""",
    "q8": f"""SELECT P.id, P.name, P.starttime FROM (
          SELECT id, name, window_start AS starttime, window_end AS endtime
          FROM {TUMBLE % "person"} GROUP BY id, name, window_start, window_end) P
        JOIN (SELECT seller, window_start AS starttime, window_end AS endtime
          FROM {TUMBLE % "auction"} GROUP BY seller, window_start, window_end) A
        ON P.id = A.seller AND P.starttime = A.starttime AND P.endtime = A.endtime""",
    "q9": """SELECT id, `itemName`, description, `initialBid`, reserve, `dateTime`, expires, seller, category, extra, auction, bidder,
          price, bid_at, bid_extra FROM (
            SELECT A.*, B.auction, B.bidder, B.price, B.`dateTime` AS bid_at, B.extra AS bid_extra,
              ROW_NUMBER() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.`dateTime` ASC) AS place
            FROM {auction} A, {bid} B WHERE A.id = B.auction AND B.`dateTime` BETWEEN A.`dateTime` AND A.expires)
        WHERE place <= 1""",
    "q10": """SELECT auction, bidder, price, `dateTime`, extra, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS dt,
          DATE_FORMAT(`dateTime`, 'HH:mm') AS hm FROM {bid}""",
    "q11": """SELECT bidder, count(*) AS bid_count, SESSION_START(`dateTime`, INTERVAL '10' SECOND) AS starttime,
          SESSION_END(`dateTime`, INTERVAL '10' SECOND) AS endtime
        FROM {bid} GROUP BY bidder, SESSION(`dateTime`, INTERVAL '10' SECOND)""",
    "q12": """SELECT bidder, count(*) AS bids, window_start, window_end
        FROM TABLE(TUMBLE(TABLE arrived_{source}, DESCRIPTOR(arrived_at), INTERVAL '10' SECOND))
        GROUP BY bidder, window_start, window_end""",
    "q14": f"""SELECT auction, bidder, 0.908 * price AS price, {PART_OF_DAY.format(hour="HOUR(`dateTime`)")} AS bid_time,
          `dateTime`, extra, CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS c_counts
        FROM {{bid}} WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    "q15": f"SELECT {DAY} AS `day`, {COUNTS}, {DISTINCT} FROM {{bid}} GROUP BY {DAY}",
    "q16": f"""SELECT channel, {DAY} AS `day`, max(DATE_FORMAT(`dateTime`, 'HH:mm')) AS last_minute, {COUNTS}, {DISTINCT}
        FROM {{bid}} GROUP BY channel, {DAY}""",
    "q17": f"""SELECT auction, {DAY} AS `day`, {COUNTS}, min(price) AS lowest, max(price) AS highest,
          avg(CAST(price AS DOUBLE)) AS mean, sum(price) AS total FROM {{bid}} GROUP BY auction, {DAY}""",
    "q18": """SELECT auction, bidder, price, channel, url, `dateTime`, extra FROM (
          SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY `dateTime` DESC) AS place FROM {bid})
        WHERE place <= 1""",
    "q19": """SELECT auction, bidder, price, channel, url, `dateTime`, extra, place FROM (
          SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM {bid})
        WHERE place <= 10""",
    "q20": """SELECT B.auction, B.bidder, B.price, B.channel, B.url, B.`dateTime`, B.extra, A.`itemName`, A.description, A.`initialBid`,
          A.reserve, A.`dateTime` AS opened_at, A.expires, A.seller, A.category, A.extra AS auction_extra
        FROM {bid} AS B INNER JOIN {auction} AS A ON B.auction = A.id WHERE A.category = 10""",
    "q21": f"""SELECT auction, bidder, price, channel, CASE LOWER(channel) {CHANNELS} ELSE {CHANNEL_ID} END AS channel_id
        FROM {{bid}} WHERE {CHANNEL_ID} IS NOT NULL OR LOWER(channel) IN ('apple', 'google', 'facebook', 'baidu')""",
    "q22": """SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1, SPLIT_INDEX(url, '/', 4) AS dir2,
          SPLIT_INDEX(url, '/', 5) AS dir3 FROM {bid}""",
    "q23": """SELECT B.bidder, B.price, B.channel, B.url, B.extra AS bid_extra, P.id AS person_id, P.name, P.`emailAddress`,
          P.`creditCard`, P.city, P.state, P.extra AS person_extra, A.`itemName`, A.description, A.`initialBid`, A.reserve,
          A.`dateTime` AS opened_at, A.expires, A.seller, A.category, A.extra AS auction_extra
        FROM {bid} B JOIN {person} P ON P.id = B.bidder JOIN {auction} A ON A.seller = B.bidder""",
}

JSON = """CREATE TEMPORARY TABLE events_json (
  event_type INT,
  person ROW<id BIGINT, name VARCHAR, `emailAddress` VARCHAR, `creditCard` VARCHAR, city VARCHAR, state VARCHAR,
    `dateTime` TIMESTAMP(3), extra VARCHAR>,
  auction ROW<id BIGINT, `itemName` VARCHAR, description VARCHAR, `initialBid` BIGINT, reserve BIGINT,
    `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3), extra VARCHAR>,
  `dateTime` TIMESTAMP(3),
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '%s', 'format' = 'json')"""

JSON_VIEWS = (
    """CREATE TEMPORARY VIEW person_json AS SELECT person.id, person.name, person.`emailAddress`, person.`creditCard`,
       person.city, person.state, `dateTime`, person.extra FROM events_json WHERE event_type = 0""",
    """CREATE TEMPORARY VIEW auction_json AS SELECT auction.id, auction.`itemName`, auction.description,
       auction.`initialBid`, auction.reserve, `dateTime`, auction.expires, auction.seller, auction.category, auction.extra
       FROM events_json WHERE event_type = 1""",
    """CREATE TEMPORARY VIEW bid_json AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`,
       bid.extra FROM events_json WHERE event_type = 2""",
    "CREATE TEMPORARY VIEW arrived_json AS SELECT bidder, PROCTIME() AS arrived_at FROM bid_json",
)

# Flink's ceiling: a sequence of numbers, from which everything is computed by generated code. The mix of 1:3:46 and the
# hot keys are those of the benchmark; texts are constant and of the usual length. It reads nothing.
GENERATOR = (
    """CREATE TEMPORARY TABLE numbers (
         n BIGINT, mixed AS MOD(n * 48271, 2147483647), slot AS MOD(n, 50), lap AS n / 50,
         `dateTime` AS TO_TIMESTAMP_LTZ(1735689600000 + n / 100, 3),
         WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
       ) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', 'fields.n.kind' = 'sequence',
         'fields.n.start' = '0', 'fields.n.end' = '%d')""",
    f"""CREATE TEMPORARY VIEW person_generator AS SELECT lap + 1000 AS id, 'Peter Shultz' AS name,
         'abcdef@ghijkl.com' AS `emailAddress`, '1234 1234 1234 1234' AS `creditCard`, 'Phoenix' AS city,
         CASE MOD(mixed, 6) WHEN 0 THEN 'AZ' WHEN 1 THEN 'CA' WHEN 2 THEN 'ID' WHEN 3 THEN 'OR' WHEN 4 THEN 'WA'
           ELSE 'WY' END AS state, `dateTime`, '{"x" * 130}' AS extra
       FROM numbers WHERE slot = 0""",
    f"""CREATE TEMPORARY VIEW auction_generator AS SELECT lap * 3 + slot - 1 + 1000 AS id, 'item item' AS `itemName`,
         '{"d" * 50}' AS description, MOD(mixed, 10000000) AS `initialBid`, MOD(mixed, 20000000) AS reserve, `dateTime`,
         TO_TIMESTAMP_LTZ(1735689600001 + n / 100 + MOD(mixed, 32), 3) AS expires,
         1000 + CASE WHEN MOD(mixed, 4) > 0 THEN lap / 100 * 100 ELSE lap - MOD(mixed, 1000) END AS seller,
         10 + MOD(mixed, 5) AS category, '{"x" * 400}' AS extra
       FROM numbers WHERE slot BETWEEN 1 AND 3""",
    f"""CREATE TEMPORARY VIEW bid_generator AS SELECT
         1000 + CASE WHEN MOD(mixed, 2) > 0 THEN (lap * 3 + 2) / 100 * 100 ELSE lap * 3 + 12 - MOD(mixed, 110) END AS auction,
         1000 + CASE WHEN MOD(mixed, 4) > 0 THEN lap / 100 * 100 + 1 ELSE lap + 10 - MOD(mixed, 1010) END AS bidder,
         100 + MOD(mixed, 1000003) * MOD(mixed, 101) AS price,
         CASE WHEN MOD(mixed, 2) > 0 THEN 'Google' ELSE 'channel-' || CAST(MOD(mixed, 10000) AS VARCHAR) END AS channel,
         'https://www.nexmark.com/abc/def/ghi/item.htm?query=1&channel_id=1' AS url, `dateTime`, '{"x" * 68}' AS extra
       FROM numbers WHERE slot > 3""",
    "CREATE TEMPORARY VIEW arrived_generator AS SELECT bidder, PROCTIME() AS arrived_at FROM bid_generator",
)
