"""batch.py PEER SOURCE DIR QUERY [ANSWER]: one query in a process of its own, in DuckDB or Polars, over the whole input.

Without ANSWER the result is drained batch by batch and dropped; with it, it is written to that Parquet file. Prints one
line of JSON. The processor time is that of the query: the start of Python and the imports are left out.
"""

import json
import pathlib
import resource
import sys
import time

import duckdb_queries

THREADS = 2


def duckdb_runner(source, folder, query, answer):
    import duckdb

    con = duckdb.connect()
    con.execute(f"SET threads = {THREADS}; SET preserve_insertion_order = false; SET memory_limit = '12GB'")
    for view, text in duckdb_views(source, folder).items():
        con.execute(f"CREATE VIEW {view} AS {text}")
    text = duckdb_queries.QUERIES[query]
    if answer:
        return lambda: con.execute(f"COPY ({text}) TO '{answer}' (FORMAT parquet)").fetchone()[0]

    # A relation hands its rows over as Arrow without the copy that a cursor's result makes.
    return lambda: sum(batch.num_rows for batch in con.sql(text).to_arrow_reader(100_000))


PERSON = """STRUCT(id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR,
  dateTime TIMESTAMP, extra VARCHAR)"""
AUCTION = """STRUCT(id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT, dateTime TIMESTAMP,
  expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR)"""
BID = """STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, dateTime TIMESTAMP,
  extra VARCHAR)"""


def duckdb_views(source, folder):
    kinds = {"person": (0, PERSON), "auction": (1, AUCTION), "bid": (2, BID)}
    if source == "parquet":
        return {kind: f"FROM read_parquet('{folder}/{kind}/*.parquet')" for kind in kinds}

    def read(kind, number, columns):
        if source == "nested":
            fields = [line.split()[0] for line in columns[len("STRUCT(") : -1].split(",")]
            return f"SELECT {', '.join(f'{kind}.{f}' for f in fields)} FROM read_parquet('{folder}/events/*.parquet') WHERE event_type = {number}"
        # Only what a view needs is declared, so that only that is decoded.
        return f"""SELECT unnest({kind}) FROM read_json('{folder}/json/*.json', format = 'newline_delimited',
            columns = {{event_type: 'INT', {kind}: '{columns}'}}, maximum_object_size = 65536) WHERE event_type = {number}"""

    return {kind: read(kind, number, columns) for kind, (number, columns) in kinds.items()}


def polars_query(folder, query):
    """The lazy frame of a query."""
    import polars as pl

    c = pl.col
    table = lambda kind: pl.scan_parquet(f"{folder}/{kind}/*.parquet")  # noqa: E731
    bid, euros = table("bid"), (c("price") * 0.908).alias("price")
    millis = c("dateTime").dt.epoch("ms")
    hour = c("dateTime").dt.hour()
    if query == "q0":
        return bid.select("auction", "bidder", "price", "dateTime", "extra")
    if query == "q1":
        return bid.select("auction", "bidder", euros, "dateTime", "extra")
    if query == "q2":
        return bid.filter(c("auction") % 123 == 0).select("auction", "price")
    if query == "q5":
        pane = bid.group_by("auction", (millis // 2000).alias("p")).agg(pl.len().alias("c"))
        pane = pane.collect(engine="streaming").lazy()
        counts = pl.concat([pane.with_columns(first=c("p") - k) for k in range(5)])
        counts = counts.group_by("auction", "first").agg(c("c").sum().alias("num"))
        return counts.filter(c("num") == c("num").max().over("first")).select("auction", "num")
    if query == "q8":
        window = (millis // 10_000).alias("w")
        new = table("person").select("id", "name", window).unique()
        sellers = table("auction").select("seller", window).unique()
        both = new.join(sellers, left_on=["id", "w"], right_on=["seller", "w"])
        return both.select("id", "name", pl.from_epoch(c("w") * 10_000, time_unit="ms"))
    if query == "q11":
        ordered = bid.select("bidder", "dateTime").sort("bidder", "dateTime")
        fresh = (c("dateTime").diff() > pl.duration(seconds=10)) | (c("bidder") != c("bidder").shift(1))
        sessions = ordered.with_columns(session=fresh.fill_null(True).cast(pl.Int64).cum_sum())
        sessions = sessions.group_by("session").agg(
            c("bidder").first(), pl.len().alias("n"), c("dateTime").min().alias("s"), c("dateTime").max().alias("e")
        )
        return sessions.select("bidder", "n", "s", c("e") + pl.duration(seconds=10))
    if query == "q14":
        day = pl.when(hour.is_between(8, 18)).then(pl.lit("day"))
        day = day.when((hour <= 6) | (hour >= 20)).then(pl.lit("night")).otherwise(pl.lit("twilight"))
        letters = c("extra").str.count_matches("c", literal=True).alias("c_count")
        wanted = bid.filter((c("price") * 0.908 > 1_000_000) & (c("price") * 0.908 < 50_000_000))
        return wanted.select("auction", "bidder", euros, day.alias("day"), "dateTime", "extra", letters)
    if query == "q21":
        number = c("url").str.extract(r"(?:&|^)channel_id=([^&]*)", 1)
        for name, value in (("apple", "0"), ("google", "1"), ("facebook", "2"), ("baidu", "3")):
            number = pl.when(c("channel").str.to_lowercase() == name).then(pl.lit(value)).otherwise(number)
        found = bid.with_columns(channel_id=number).filter(c("channel_id").is_not_null())
        return found.select("auction", "bidder", "price", "channel", "channel_id")
    parts = c("url").str.split("/")
    folders = [parts.list.get(k, null_on_oob=True).fill_null("").alias(f"dir{k}") for k in (3, 4, 5)]
    return bid.select("auction", "bidder", "price", "channel", *folders)


def polars_runner(folder, query, answer):
    def go():
        frame = polars_query(folder, query)
        if answer:
            result = frame.collect(engine="streaming")
            result.write_parquet(answer)
            return result.height
        rows = 0

        def count(batch):
            nonlocal rows
            rows += batch.height

        # Handed over in batches where the query lets rows pass one by one, so that they need not fit into memory.
        if query in ("q0", "q1", "q2", "q14", "q21", "q22"):
            frame.sink_batches(count, engine="streaming")
            return rows
        return frame.collect(engine="streaming").height

    return go


def main():
    peer, source, folder, query = sys.argv[1:5]
    answer = sys.argv[5] if len(sys.argv) > 5 else None
    if peer == "duckdb":
        import duckdb

        version, go = duckdb.__version__, duckdb_runner(source, folder, query, answer)
    else:
        import polars

        version, go = polars.__version__, polars_runner(pathlib.Path(folder), query, answer)
    before, started = cpu_s(), time.monotonic()
    rows = go()
    wall_s, used_s = time.monotonic() - started, cpu_s() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"version": version, "rows": rows, "wall_s": wall_s, "cpu_s": used_s, "peak_memory_bytes": peak}))


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
