#!/usr/bin/env python3
"""Runs the official Nexmark texts through Rheos and compares the answers with DuckDB's over the same events.

    NEXMARK_QUERIES=/path/to/nexmark/queries python3 scripts/nexmark_official.py --binary target/release/rheos

The folder holds `ddl_gen.sql`, `ddl_views.sql` and `q0.sql`, `q1.sql`, ...: a checkout of nexmark/nexmark has it as
`nexmark-flink/src/main/resources/queries`. The DDL is taken as it is but for its variables. Each query runs twice: as it
stands (INSERT into its sink, all rows must arrive), and its SELECT alone, whose rows are compared; at parallelism 1, 2, 3.
q12 windows by the clock: compared are its sums per bidder and that its windows lie on multiples of 10 seconds.
"""

import argparse
import csv
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile

KINDS = ("person", "auction", "bid")
QUERIES = ("q0", "q1", "q2", "q5", "q8", "q10", "q11", "q12", "q14", "q21", "q22")

HOPS = """(SELECT b.auction, to_timestamp(w)::TIMESTAMP AS s, count(*) AS num
  FROM bid b, unnest(generate_series(floor(epoch(b.dateTime) / 2)::BIGINT * 2 - 8, floor(epoch(b.dateTime) / 2)::BIGINT * 2, 2)) t(w)
  GROUP BY 1, 2)"""

# The same questions in DuckDB's words.
ORACLE = {
    "q0": "SELECT auction, bidder, price, dateTime, extra FROM bid",
    "q1": "SELECT auction, bidder, CAST(0.908 * price AS DECIMAL(23, 3)), dateTime, extra FROM bid",
    "q2": "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    "q5": f"SELECT a.auction, a.num FROM {HOPS} a JOIN (SELECT s, max(num) AS m FROM {HOPS} GROUP BY s) m ON a.s = m.s AND a.num >= m.m",
    "q8": """SELECT p.id, p.name, p.s FROM
        (SELECT DISTINCT id, name, time_bucket(INTERVAL 10 SECOND, dateTime) AS s FROM person) p JOIN
        (SELECT DISTINCT seller, time_bucket(INTERVAL 10 SECOND, dateTime) AS s FROM auction) a ON p.id = a.seller AND p.s = a.s""",
    "q10": "SELECT auction, bidder, price, dateTime, extra, strftime(dateTime, '%Y-%m-%d'), strftime(dateTime, '%H:%M') FROM bid",
    "q11": """WITH marked AS (SELECT bidder, dateTime, CASE WHEN dateTime - lag(dateTime) OVER w <= INTERVAL 10 SECOND THEN 0 ELSE 1 END AS new
          FROM bid WINDOW w AS (PARTITION BY bidder ORDER BY dateTime)),
        numbered AS (SELECT bidder, dateTime, sum(new) OVER (PARTITION BY bidder ORDER BY dateTime) AS n FROM marked)
        SELECT bidder, count(*), min(dateTime), max(dateTime) + INTERVAL 10 SECOND FROM numbered GROUP BY bidder, n""",
    "q14": """SELECT auction, bidder, CAST(0.908 * price AS DECIMAL(23, 3)),
        CASE WHEN hour(dateTime) BETWEEN 8 AND 18 THEN 'dayTime' WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'nightTime' ELSE 'otherTime' END,
        dateTime, extra, length(extra) - length(replace(extra, 'c', '')) FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000""",
    "q21": """SELECT auction, bidder, price, channel, CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
          ELSE regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) END FROM bid
        WHERE regexp_matches(url, '(&|^)channel_id=([^&]*)') OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')""",
    "q22": "SELECT auction, bidder, price, channel, split_part(url, '/', 4), split_part(url, '/', 5), split_part(url, '/', 6) FROM bid",
}


def run(binary, program, parallelism, *options):
    command = [binary, "run", "-", "--parallelism", str(parallelism), *options]
    done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}\n{program}")
    return done


def cell(value):
    """A value in one spelling: DuckDB's and the csv's differ in trailing zeros."""
    text = "" if value is None else str(value)
    if re.fullmatch(r"-?\d+\.\d+", text) or re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", text):
        text = text.rstrip("0").rstrip(".")
    return text


def rows_of(text):
    return sorted(tuple(cell(c) for c in row) for row in list(csv.reader(io.StringIO(text)))[1:])


def variables(events, folder):
    given = {"TPS": "10000", "EVENTS_NUM": str(events), "PERSON_PROPORTION": "1", "AUCTION_PROPORTION": "3",
             "BID_PROPORTION": "46", "NEXMARK_TABLE": "datagen", "NEXMARK_DIR": str(folder), "SUBMIT_TIME": "now"}
    return [option for name, value in given.items() for option in ("--var", f"{name}={value}")]


TYPES = {"id": "BIGINT", "auction": "BIGINT", "bidder": "BIGINT", "price": "BIGINT", "initialBid": "BIGINT", "reserve": "BIGINT",
         "seller": "BIGINT", "category": "BIGINT", "dateTime": "TIMESTAMP(3)", "expires": "TIMESTAMP(3)"}


def write_events(binary, events, folder):
    """The same events as Parquet, one folder a kind."""
    for kind in KINDS:
        made = f"CREATE TABLE made WITH ('connector' = 'nexmark', 'table' = '{kind}', 'events.num' = '%s');\n"
        header = run(binary, made % 50 + "SELECT * FROM made LIMIT 1", 1, "--output", "csv").stdout.splitlines()[0]
        declared = ", ".join(f'"{name}" {TYPES.get(name, "STRING")}' for name in header.split(","))
        kept = f"CREATE TABLE kept ({declared}) WITH ('connector' = 'filesystem', 'path' = '{folder}/{kind}', 'format' = 'parquet');"
        run(binary, made % events + kept + "INSERT INTO kept SELECT * FROM made", 1)


def compare(name, got, expected):
    if got == expected:
        return True
    missing, extra = set(expected) - set(got), set(got) - set(expected)
    print(f"{name}: DIFFERS: {len(got)} rows instead of {len(expected)}; missing {sorted(missing)[:3]}, too many {sorted(extra)[:3]}")
    return False


def check_clock_windows(got, db):
    sums, aligned = {}, True
    for bidder, count, start, end in got:
        sums[bidder] = sums.get(bidder, 0) + int(count)
        aligned &= int(start[17:19]) % 10 == 0 and len(start) == 19 and len(end) == 19
    expected = {cell(b): n for b, n in db.execute("SELECT bidder, count(*) FROM bid GROUP BY 1").fetchall()}
    return aligned and sums == expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/rheos")
    parser.add_argument("--queries", default=os.environ.get("NEXMARK_QUERIES"))
    parser.add_argument("--events", type=int, default=100_000)
    args = parser.parse_args()
    if not args.queries:
        print("skipped: NEXMARK_QUERIES names no folder with the official query texts")
        return
    try:
        import duckdb
    except ImportError:
        print("skipped: the package duckdb is missing")
        return
    texts = pathlib.Path(args.queries)
    ddl = (texts / "ddl_gen.sql").read_text() + "\n" + (texts / "ddl_views.sql").read_text()
    good = True
    with tempfile.TemporaryDirectory() as folder:
        options = variables(args.events, folder)
        write_events(args.binary, args.events, folder)
        db = duckdb.connect()
        db.execute("SET TimeZone = 'UTC'")
        for kind in KINDS:
            db.execute(f"CREATE VIEW {kind} AS SELECT * FROM read_parquet('{folder}/{kind}/*.parquet')")
        for query in QUERIES:
            text = (texts / f"{query}.sql").read_text()
            before, _, select = re.sub(r"--.*", "", text).partition("INSERT INTO")
            select = select[select.index("SELECT"):]
            expected = None
            if query in ORACLE:
                expected = sorted(tuple(cell(c) for c in row) for row in db.execute(ORACLE[query]).fetchall())
            answers = []
            for parallelism in (1, 2, 3):
                whole = run(args.binary, ddl + text, parallelism, *options)
                got = rows_of(run(args.binary, ddl + before + select, parallelism, "--output", "csv", *options).stdout)
                written = re.search(r"([\d,]+) out", whole.stderr)
                arrived = written and int(written.group(1).replace(",", "")) == len(got)
                alike = check_clock_windows(got, db) if expected is None else compare(query, got, expected)
                answers.append(bool(arrived or query == "q12") and alike)
            good &= all(answers)
            rows = "by sums per bidder" if expected is None else f"{len(expected)} rows"
            print(f"{query}: {'like DuckDB' if all(answers) else 'NOT like DuckDB'} at parallelism 1, 2, 3 ({rows})", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
