"""The queries in the words of DuckDB, over the whole input at once. Where a program of examples/nexmark says which of equal rows
counts, these say it too."""

PART_OF_DAY = """CASE WHEN {hour} BETWEEN 8 AND 18 THEN 'day' WHEN {hour} <= 6 OR {hour} >= 20 THEN 'night'
    ELSE 'twilight' END"""
CHANNELS = "WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'"
# A date is grouped by, and written as text once a group.
DAY = "strftime(dateTime::DATE, '%Y-%m-%d')"
LEVELS = ("price < 10000", "price >= 10000 AND price < 1000000", "price >= 1000000")
COUNTS = "count(*), " + ", ".join(f"count(*) FILTER (WHERE {level})" for level in LEVELS)
DISTINCT = ", ".join(
    f"count(DISTINCT {column}){filter}"
    for column in ("bidder", "auction")
    for filter in ("", *(f" FILTER (WHERE {level})" for level in LEVELS))
)

QUERIES = {
    "q0": "SELECT auction, bidder, price, dateTime, extra FROM bid",
    "q1": "SELECT auction, bidder, 0.908 * price AS price, dateTime, extra FROM bid",
    "q2": "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    "q3": """SELECT P.name, P.city, P.state, A.id FROM auction A JOIN person P ON A.seller = P.id
        WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')""",
    "q4": """SELECT category, avg(final) FROM (
          SELECT max(B.price) AS final, A.id, A.category FROM auction A JOIN bid B ON A.id = B.auction
          WHERE B.dateTime BETWEEN A.dateTime AND A.expires GROUP BY A.id, A.category)
        GROUP BY category""",
    # Counts of 2 seconds, five of which make a window.
    "q5": """WITH pane AS (SELECT auction, epoch_ms(dateTime) // 2000 AS p, count(*) AS c FROM bid GROUP BY ALL),
        counts AS (SELECT auction, p - k AS first, sum(c)::BIGINT AS num FROM pane, range(5) t(k) GROUP BY ALL)
        SELECT auction, num FROM counts QUALIFY num = max(num) OVER (PARTITION BY first)""",
    "q7": """WITH highest AS (SELECT epoch_ms(dateTime) // 10000 AS w, max(price) AS price FROM bid GROUP BY w)
        SELECT B.auction, B.bidder, B.price, B.dateTime, B.extra FROM bid B
        JOIN highest H ON B.price = H.price AND epoch_ms(B.dateTime) // 10000 = H.w""",
    "q8": """SELECT P.id, P.name, make_timestamp(P.w * 10000000) FROM
          (SELECT DISTINCT id, name, epoch_ms(dateTime) // 10000 AS w FROM person) P
          JOIN (SELECT DISTINCT seller, epoch_ms(dateTime) // 10000 AS w FROM auction) A ON P.id = A.seller AND P.w = A.w""",
    "q9": """SELECT A.id, A.itemName, A.description, A.initialBid, A.reserve, A.dateTime, A.expires, A.seller, A.category, A.extra,
          B.auction, B.bidder, B.price, B.dateTime, B.extra
        FROM auction A JOIN bid B ON A.id = B.auction WHERE B.dateTime BETWEEN A.dateTime AND A.expires
        QUALIFY row_number() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.dateTime, B.bidder, B.extra) = 1""",
    "q10": """SELECT auction, bidder, price, dateTime, extra, strftime(dateTime, '%Y-%m-%d'), strftime(dateTime, '%H:%M')
        FROM bid""",
    # The running sum is over a RANGE, the default: bids of the same millisecond have the same sum, whatever their order.
    "q11": """SELECT bidder, count(*), min(dateTime), max(dateTime) + INTERVAL 10 SECOND FROM (
          SELECT bidder, dateTime, sum(fresh) OVER (PARTITION BY bidder ORDER BY dateTime) AS session FROM (
            SELECT bidder, dateTime, CASE WHEN dateTime - lag(dateTime) OVER (PARTITION BY bidder ORDER BY dateTime)
              <= INTERVAL 10 SECOND THEN 0 ELSE 1 END AS fresh FROM bid))
        GROUP BY bidder, session""",
    "q14": f"""SELECT auction, bidder, 0.908 * price AS price, {PART_OF_DAY.format(hour="hour(dateTime)")}, dateTime, extra,
          length(extra) - length(replace(extra, 'c', ''))
        FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    "q15": f"SELECT {DAY}, {COUNTS}, {DISTINCT} FROM bid GROUP BY dateTime::DATE",
    "q16": f"""SELECT channel, {DAY}, strftime(max(dateTime), '%H:%M'), {COUNTS}, {DISTINCT}
        FROM bid GROUP BY channel, dateTime::DATE""",
    "q17": f"""SELECT auction, {DAY}, {COUNTS}, min(price), max(price), avg(price), sum(price)::BIGINT
        FROM bid GROUP BY auction, dateTime::DATE""",
    "q18": """SELECT auction, bidder, price, channel, url, dateTime, extra FROM bid QUALIFY row_number() OVER (
          PARTITION BY bidder, auction ORDER BY dateTime DESC, price DESC, channel, url, extra) = 1""",
    "q19": """SELECT auction, bidder, price, channel, url, dateTime, extra, row_number() OVER (
          PARTITION BY auction ORDER BY price DESC, dateTime, bidder, channel, url, extra) AS place
        FROM bid QUALIFY place <= 10""",
    "q20": """SELECT B.auction, B.bidder, B.price, B.channel, B.url, B.dateTime, B.extra, A.itemName, A.description, A.initialBid,
          A.reserve, A.dateTime, A.expires, A.seller, A.category, A.extra
        FROM bid B JOIN auction A ON B.auction = A.id WHERE A.category = 10""",
    "q21": f"""SELECT auction, bidder, price, channel, channel_id FROM (SELECT *, CASE lower(channel) {CHANNELS}
          ELSE nullif(regexp_extract(url, '(?:&|^)channel_id=([^&]*)', 1), '') END AS channel_id FROM bid)
        WHERE channel_id IS NOT NULL""",
    "q22": """SELECT auction, bidder, price, channel,
          split_part(url, '/', 4), split_part(url, '/', 5), split_part(url, '/', 6) FROM bid""",
    "q23": """SELECT B.bidder, B.price, B.channel, B.url, B.extra, P.id, P.name, P.emailAddress, P.creditCard, P.city, P.state,
          P.extra, A.itemName, A.description, A.initialBid, A.reserve, A.dateTime, A.expires, A.seller, A.category, A.extra
        FROM bid B JOIN person P ON P.id = B.bidder JOIN auction A ON A.seller = B.bidder""",
}
