"""The Nexmark queries in DuckDB's words: what the official texts and the programs of examples/nexmark are compared with.

They read the views `person`, `auction` and `bid`.
"""

HOPS = """(SELECT b.auction, to_timestamp(w)::TIMESTAMP AS s, count(*) AS num
  FROM bid b, unnest(generate_series(floor(epoch(b.dateTime) / 2)::BIGINT * 2 - 8, floor(epoch(b.dateTime) / 2)::BIGINT * 2, 2)) t(w)
  GROUP BY 1, 2)"""

# The bids for an auction while it is open, with a place in the order of q9; ties are broken as the example does.
OPEN = "auction A JOIN bid B ON A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires"
OFFERS = f"""SELECT A.*, B.auction, B.bidder, B.price, B.dateTime AS bid_at, B.extra AS bid_extra,
  row_number() OVER (PARTITION BY A.id ORDER BY B.price DESC, B.dateTime, B.bidder, B.extra) AS place FROM {OPEN}"""

LEVELS = ("price < 10000", "price >= 10000 AND price < 1000000", "price >= 1000000")


def by_level(call):
    """An aggregate in all and for each level of price."""
    return ", ".join([call] + [f"{call} FILTER (WHERE {level})" for level in LEVELS])


STATISTICS = ", ".join(by_level(call) for call in ("count(*)", "count(DISTINCT bidder)", "count(DISTINCT auction)"))
DAY = "strftime(dateTime, '%Y-%m-%d')"
BID = "auction, bidder, price, channel, url, dateTime, extra"

ORACLE = {
    "q0": "SELECT auction, bidder, price, dateTime, extra FROM bid",
    "q1": "SELECT auction, bidder, CAST(0.908 * price AS DECIMAL(23, 3)), dateTime, extra FROM bid",
    "q2": "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    "q3": "SELECT P.name, P.city, P.state, A.id FROM auction A JOIN person P ON A.seller = P.id WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')",
    "q4": f"SELECT category, avg(final) FROM (SELECT max(B.price) AS final, A.category FROM {OPEN} GROUP BY A.id, A.category) GROUP BY category",
    "q5": f"SELECT a.auction, a.num FROM {HOPS} a JOIN (SELECT s, max(num) AS m FROM {HOPS} GROUP BY s) m ON a.s = m.s AND a.num >= m.m",
    # The official text lists the price before the bidder, and has both ends of the 10 seconds in them.
    "q7": """SELECT B.auction, B.price, B.bidder, B.dateTime, B.extra FROM bid B
        JOIN (SELECT max(price) AS top, time_bucket(INTERVAL 10 SECOND, dateTime) + INTERVAL 10 SECOND AS e FROM bid GROUP BY e) W
        ON B.price = W.top AND B.dateTime BETWEEN W.e - INTERVAL 10 SECOND AND W.e""",
    "q8": """SELECT p.id, p.name, p.s FROM
        (SELECT DISTINCT id, name, time_bucket(INTERVAL 10 SECOND, dateTime) AS s FROM person) p JOIN
        (SELECT DISTINCT seller, time_bucket(INTERVAL 10 SECOND, dateTime) AS s FROM auction) a ON p.id = a.seller AND p.s = a.s""",
    "q9": f"SELECT * EXCLUDE (place) FROM ({OFFERS}) WHERE place = 1",
    "q10": "SELECT auction, bidder, price, dateTime, extra, strftime(dateTime, '%Y-%m-%d'), strftime(dateTime, '%H:%M') FROM bid",
    "q11": """WITH marked AS (SELECT bidder, dateTime, CASE WHEN dateTime - lag(dateTime) OVER w <= INTERVAL 10 SECOND THEN 0 ELSE 1 END AS new
          FROM bid WINDOW w AS (PARTITION BY bidder ORDER BY dateTime)),
        numbered AS (SELECT bidder, dateTime, sum(new) OVER (PARTITION BY bidder ORDER BY dateTime) AS n FROM marked)
        SELECT bidder, count(*), min(dateTime), max(dateTime) + INTERVAL 10 SECOND FROM numbered GROUP BY bidder, n""",
    "q14": """SELECT auction, bidder, CAST(0.908 * price AS DECIMAL(23, 3)),
        CASE WHEN hour(dateTime) BETWEEN 8 AND 18 THEN 'dayTime' WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'nightTime' ELSE 'otherTime' END,
        dateTime, extra, length(extra) - length(replace(extra, 'c', '')) FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    "q15": f"SELECT {DAY}, {STATISTICS} FROM bid GROUP BY ALL",
    "q16": f"SELECT channel, {DAY}, max(strftime(dateTime, '%H:%M')), {STATISTICS} FROM bid GROUP BY ALL",
    "q17": f"SELECT auction, {DAY}, {by_level('count(*)')}, min(price), max(price), avg(price), sum(price) FROM bid GROUP BY ALL",
    "q18": f"""SELECT {BID} FROM (SELECT *, row_number() OVER (PARTITION BY bidder, auction
        ORDER BY dateTime DESC, price DESC, channel, url, extra) AS place FROM bid) WHERE place = 1""",
    "q19": f"""SELECT {BID}, place FROM (SELECT *, row_number() OVER (PARTITION BY auction
        ORDER BY price DESC, dateTime, bidder, channel, url, extra) AS place FROM bid) WHERE place <= 10""",
    "q20": """SELECT B.auction, B.bidder, B.price, B.channel, B.url, B.dateTime, B.extra, A.itemName, A.description, A.initialBid, A.reserve,
        A.dateTime, A.expires, A.seller, A.category, A.extra FROM bid B JOIN auction A ON B.auction = A.id WHERE A.category = 10""",
    "q21": """SELECT auction, bidder, price, channel, CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
          ELSE regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) END FROM bid
        WHERE regexp_matches(url, '(&|^)channel_id=([^&]*)') OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')""",
    "q22": "SELECT auction, bidder, price, channel, split_part(url, '/', 4), split_part(url, '/', 5), split_part(url, '/', 6) FROM bid",
    "q23": """SELECT B.bidder, B.price, B.channel, B.url, B.extra, P.id, P.name, P.emailAddress, P.creditCard, P.city, P.state, P.extra,
        A.itemName, A.description, A.initialBid, A.reserve, A.dateTime, A.expires, A.seller, A.category, A.extra
        FROM bid B JOIN person P ON P.id = B.bidder JOIN auction A ON A.seller = B.bidder""",
}

# Where the wording of examples/nexmark asks for something else.
OF_EXAMPLES = {
    "q7": """SELECT B.auction, B.bidder, B.price, B.dateTime, B.extra FROM bid B
        JOIN (SELECT max(price) AS top, time_bucket(INTERVAL 10 SECOND, dateTime) AS s FROM bid GROUP BY s) W
        ON B.price = W.top AND time_bucket(INTERVAL 10 SECOND, B.dateTime) = W.s""",
    "q14": """SELECT auction, bidder, CAST(0.908 * price AS DECIMAL(23, 3)),
        CASE WHEN hour(dateTime) BETWEEN 8 AND 18 THEN 'day' WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'night' ELSE 'twilight' END,
        dateTime, extra, length(extra) - length(replace(extra, 'c', '')) FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
}

# The official texts leave a choice between bids that tie: the columns that they decide nevertheless, and the rows that they
# choose from, which are the first columns.
TIES = {
    "q9": ((0, 12, 13), f"SELECT * EXCLUDE (place) FROM ({OFFERS})"),
    "q18": ((0, 1, 5), f"SELECT {BID} FROM bid"),
    "q19": ((0, 2, 7), f"SELECT {BID} FROM bid"),
}

# What a sink with BIGINT columns gets of means.
TRUNCATED = {
    "q4": f"SELECT category, CAST(trunc(mean) AS BIGINT) FROM ({ORACLE['q4']}) t(category, mean)",
    "q17": f"""SELECT auction, {DAY}, {by_level('count(*)')}, min(price), max(price), CAST(trunc(avg(price)) AS BIGINT), sum(price)
        FROM bid GROUP BY ALL""",
}
