#!/usr/bin/env python3
"""Runs the Nexmark queries through Rheos and compares the answers with DuckDB's over the same events.

    python3 scripts/nexmark_official.py --binary target/release/rheos                                    examples/nexmark
    NEXMARK_QUERIES=/path/to/nexmark/queries python3 scripts/nexmark_official.py --binary ...            and the official texts
    python3 scripts/nexmark_official.py --only q4,q9 --events 1000000 --set emit.mode=changes

The folder holds `ddl_gen.sql`, `ddl_views.sql` and `q0.sql`, `q1.sql`, ...: a checkout of nexmark/nexmark has it as
`nexmark-flink/src/main/resources/queries`. The DDL is taken as it is but for its variables. Each text runs twice: as it
stands (INSERT into its sink, all rows must arrive), and its SELECT alone, whose rows are compared; at parallelism 1, 2, 3.
Where a text leaves a choice between bids that tie (q9, q18, q19) the row has to be one of those; the programs of
examples/nexmark break ties and are compared exactly. They also read their events in another order, within the watermark.
q12 windows by the clock: compared are its sums per bidder and that its windows lie on multiples of 10 seconds.

With --restarts each run keeps state, is killed several times behind a checkpoint, at moments that --seed says, and goes on at
another parallelism: the official texts over the events as they are made, the examples over files in another order. Its rows are
compared as ever; where they change, also what their changes add up to.
"""

import argparse
import collections
import csv
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from nexmark_answers import OF_EXAMPLES, ORACLE, TIES, TRUNCATED
from nexmark_restarts import Killed, types_of

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = ("person", "auction", "bid")
QUERIES = [f"q{n}" for n in range(24) if n not in (6, 13)]
WATERMARK = 'WATERMARK FOR "dateTime" AS "dateTime" - INTERVAL \'4\' SECOND'

TYPES = {"id": "BIGINT", "auction": "BIGINT", "bidder": "BIGINT", "price": "BIGINT", "initialBid": "BIGINT", "reserve": "BIGINT",
         "seller": "BIGINT", "category": "BIGINT", "dateTime": "TIMESTAMP(3)", "expires": "TIMESTAMP(3)"}


class Engine:
    """The binary, and what every run of it is given."""

    def __init__(self, binary, settings):
        self.binary = str(pathlib.Path(binary).resolve())
        self.settings = [part for setting in settings for part in ("--set", setting)]

    def run(self, program, parallelism, *options):
        command = [self.binary, "run", "-", "--parallelism", str(parallelism), *options]
        done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=1800)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}\n{program}")
        return done

    def rows(self, program, parallelism, *options):
        printed = self.run(program, parallelism, "--output", "csv", *self.settings, *options).stdout
        return rows_of(printed)


def cell(value):
    """A value in one spelling: DuckDB's and the csv's differ in trailing zeros."""
    text = "" if value is None else str(value)
    if re.fullmatch(r"-?\d+\.\d+", text) or re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", text):
        text = text.rstrip("0").rstrip(".")
    return text


def rows_of(text):
    return sorted(tuple(cell(c) for c in row) for row in list(csv.reader(io.StringIO(text)))[1:])


class Truth:
    """DuckDB over the same events."""

    def __init__(self, folder):
        import duckdb

        self.folder, self.db = folder, duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        for kind in KINDS:
            self.db.execute(f"CREATE VIEW {kind} AS SELECT * FROM read_parquet('{folder}/{kind}/*.parquet')")

    def rows(self, query):
        return sorted(tuple(cell(c) for c in row) for row in self.db.execute(query).fetchall())

    def write_shuffled(self):
        """The events in another order: each up to 3.9 s of event time away from its place."""
        for kind in KINDS:
            folder = pathlib.Path(self.folder) / "shuffled" / kind
            folder.mkdir(parents=True)
            order = "epoch_ms(dateTime) + hash(dateTime, extra) % 3900"
            self.db.execute(f"COPY (SELECT * FROM {kind} ORDER BY {order}) TO '{folder}/part.parquet' (FORMAT parquet)")


def columns(engine, kind):
    made = f"CREATE TABLE made WITH ('connector' = 'nexmark', 'table' = '{kind}', 'events.num' = '50');\n"
    header = engine.run(made + "SELECT * FROM made LIMIT 1", 1, "--output", "csv").stdout.splitlines()[0]
    return ", ".join(f'"{name}" {TYPES.get(name, "STRING")}' for name in header.split(","))


def write_events(engine, events, folder):
    """The same events as Parquet, one folder a kind."""
    for kind in KINDS:
        made = f"CREATE TABLE made WITH ('connector' = 'nexmark', 'table' = '{kind}', 'events.num' = '{events}');\n"
        kept = f"CREATE TABLE kept ({columns(engine, kind)}) WITH ('connector' = 'filesystem', 'path' = '{folder}/{kind}', 'format' = 'parquet');"
        engine.run(made + kept + "INSERT INTO kept SELECT * FROM made", 1)


def compare(name, got, expected):
    if got == expected:
        return True
    missing, extra = collections.Counter(expected) - collections.Counter(got), collections.Counter(got) - collections.Counter(expected)
    print(f"{name}: DIFFERS: {len(got)} rows instead of {len(expected)}; missing {sorted(missing)[:3]}, too many {sorted(extra)[:3]}")
    return False


def compare_tied(name, got, expected, truth):
    """What the text decides is as expected, and each row is one of those it may choose from."""
    decided, query = TIES[name]
    candidates = collections.Counter(truth.rows(query))
    width = len(next(iter(candidates)))
    invented = collections.Counter(row[:width] for row in got) - candidates
    if invented:
        print(f"{name}: rows that there are not: {sorted(invented)[:3]}")
        return False
    of = lambda rows: sorted(tuple(row[i] for i in decided) for row in rows)
    return compare(name, of(got), of(expected))


def check_clock_windows(got, truth):
    sums, aligned = {}, True
    for bidder, count, start, end in got:
        sums[bidder] = sums.get(bidder, 0) + int(count)
        aligned &= int(start[17:19]) % 10 == 0 and len(start) == 19 and len(end) == 19
    return aligned and {(b, str(n)) for b, n in sums.items()} == set(truth.rows("SELECT bidder, count(*) FROM bid GROUP BY 1"))


def official(truth, texts, query, events):
    """One official text: what stands before its INSERT, the text, its SELECT, and options for all of them."""
    given = {"TPS": "10000", "EVENTS_NUM": str(events), "PERSON_PROPORTION": "1", "AUCTION_PROPORTION": "3", "BID_PROPORTION": "46",
             "NEXMARK_TABLE": "datagen", "NEXMARK_DIR": truth.folder, "SUBMIT_TIME": "now"}
    options = [option for name, value in given.items() for option in ("--var", f"{name}={value}")]
    ddl = (texts / "ddl_gen.sql").read_text() + "\n" + (texts / "ddl_views.sql").read_text()
    text = (texts / f"{query}.sql").read_text()
    before, _, select = re.sub(r"--.*", "", text).partition("INSERT INTO")
    return ddl + before, ddl + text, select[select.index("SELECT"):], options


def is_official_answer(query, got, expected, truth):
    if expected is None:
        return check_clock_windows(got, truth)
    if query in TIES:
        return compare_tied(query, got, expected, truth)
    return compare(query, got, expected)


def check_official(engine, truth, texts, query, events):
    """One official text, as it stands and its SELECT alone."""
    before, text, select, options = official(truth, texts, query, events)
    expected = truth.rows(ORACLE[query]) if query in ORACLE else None
    good = True
    for parallelism in (1, 2, 3):
        got = engine.rows(before + select, parallelism, *options)
        good &= is_official_answer(query, got, expected, truth)
        # A sink takes changes only if it says so, and the sink of the texts forgets its rows: what is final must arrive.
        written = re.search(r"([\d,]+) out", engine.run(text, parallelism, *options).stderr)
        if query != "q12" and not (written and int(written.group(1).replace(",", "")) == len(got)):
            print(f"{query}: {written and written.group(1)} rows arrived of {len(got)}")
            good = False
    return good & check_truncated(engine, truth, query, text, options), expected


def check_truncated(engine, truth, query, program, options):
    """Means in a sink with BIGINT columns: the text with a sink that keeps its rows."""
    if query not in TRUNCATED:
        return True
    folder = f"{truth.folder}/kept-{query}"
    program = program.replace("'connector' = 'blackhole'", f"'connector' = 'filesystem', 'path' = '{folder}', 'format' = 'csv'")
    engine.run(program, 2, *options)
    kept = [row for file in sorted(pathlib.Path(folder).glob("*.csv")) for row in rows_of(file.read_text())]
    return compare(f"{query} into its sink", sorted(kept), truth.rows(TRUNCATED[query]))


def example(query):
    return (ROOT / "examples" / "nexmark" / f"{query}.sql").read_text()


def shuffled(engine, truth):
    """The tables of the events in another order."""
    return "".join(f"CREATE TABLE {kind} ({columns(engine, kind)}, {WATERMARK}) WITH ('connector' = 'filesystem', "
                   f"'path' = '{truth.folder}/shuffled/{kind}', 'format' = 'parquet');\n" for kind in KINDS)


def check_example(engine, truth, query, events):
    """One program of examples/nexmark: over the events as they are made, and in another order from files."""
    text = example(query)
    expected = truth.rows(OF_EXAMPLES.get(query) or ORACLE[query])
    made = f"CREATE TABLE events ({WATERMARK}) WITH ('connector' = 'nexmark', 'events.num' = '{events}');\n"
    good = True
    for parallelism in (1, 2, 3):
        good &= compare(f"{query} of the examples", engine.rows(made + text, parallelism), expected)
    good &= compare(f"{query} of the examples, in another order", engine.rows(shuffled(engine, truth) + text, 2), expected)
    return good, expected


def check_restarts(engine, truth, texts, query, args):
    """One query, killed: the official text if there are `texts`, and the example. How often, what was compared, whether it was right."""
    cases = []
    if texts:
        before, _, select, options = official(truth, texts, query, args.events)
        expected = truth.rows(ORACLE[query]) if query in ORACLE else None
        right = lambda got: is_official_answer(query, got, expected, truth)
        cases.append(("official text", before, select, options, types_of(truth, None, query), right))
    # As without restarts: q10 writes files of its own, and q12 has windows of the clock.
    if query not in ("q10", "q12"):
        text, oracle = example(query), OF_EXAMPLES.get(query) or ORACLE[query]
        start = text.rindex("\nSELECT") + 1
        right = lambda got, rows=truth.rows(oracle): compare(f"{query} of the examples", got, rows)
        cases.append(("example", shuffled(engine, truth) + text[:start], text[start:], [], types_of(truth, oracle, query), right))
    for what, before, select, options, types, right in cases:
        for form in ("csv", "debezium-json"):
            killed = Killed(engine.binary, args.seed, form)
            if form == "csv" or killed.changes(before, select, types, *options):
                rows = killed.rows(f"{query}-{what}", before, select, types, *options)
                how = "by changes" if form != "csv" else "final"
                yield killed.kills, f"{what}, {how}, {killed.kills} kills, {len(rows)} rows", right(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/rheos")
    parser.add_argument("--queries", default=os.environ.get("NEXMARK_QUERIES"), help="the folder of the official texts")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--only", default=",".join(QUERIES), help="names of queries")
    parser.add_argument("--restarts", action="store_true", help="keep state, kill, and go on")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of each run that prints rows")
    args = parser.parse_args()
    try:
        import duckdb  # noqa: F401
    except ImportError:
        print("skipped: the package duckdb is missing")
        return
    if not args.queries:
        print("skipped: NEXMARK_QUERIES names no folder with the official query texts")
    engine, good, kills = Engine(args.binary, args.set), True, 0
    with tempfile.TemporaryDirectory() as folder:
        write_events(engine, args.events, folder)
        truth = Truth(folder)
        truth.write_shuffled()
        for query in args.only.split(","):
            texts = pathlib.Path(args.queries) if args.queries else None
            if args.restarts:
                for hit, what, alike in check_restarts(engine, truth, texts, query, args):
                    good, kills = good & alike, kills + hit
                    print(f"{query}: {what}: {'like DuckDB' if alike else 'NOT like DuckDB'}", flush=True)
                continue
            checks = []
            if args.queries:
                checks.append(("official text", check_official(engine, truth, texts, query, args.events)))
            # q10 writes files, and q12 has windows of the clock: the tests of the command line look at both.
            if query not in ("q10", "q12"):
                checks.append(("example", check_example(engine, truth, query, args.events)))
            for what, (alike, expected) in checks:
                good &= alike
                rows = "by sums per bidder" if expected is None else f"{len(expected)} rows"
                print(f"{query}: {what} {'like DuckDB' if alike else 'NOT like DuckDB'} at parallelism 1, 2, 3 ({rows})", flush=True)
    if args.restarts:
        print(f"{kills} kills in all")
    # Where none has hit, nothing has been shown.
    sys.exit(0 if good and (kills or not args.restarts) else 1)


if __name__ == "__main__":
    main()
