#!/usr/bin/env python3
"""Random queries over random tables, answered by the binary and by DuckDB.

    tests/random/queries.py --binary target/release/rheos                       300 queries, seeds from 0
    tests/random/queries.py --binary ... --count 20000 --seed 5000 --results runs.jsonl --found found/
    tests/random/queries.py --binary ... --mode updates                         tables that change; see below
    tests/random/queries.py --binary ... --replay tests/random/found            what has been found before
    tests/random/queries.py --self-test                                         does it find, and shrink, what is put in?

A seed makes two or three tables and QUERIES_EACH queries over them, which one process answers. A query that is answered in
another way than by DuckDB, or with an error that does not say that something is not supported, is shrunk, queries and tables
alike, and kept as a file that `--replay` runs again. What DuckDB does not answer either is left out and counted.

Modes: `final` (tables of inserts, the answer comes at the end), `changes` (the same with `emit.mode=changes`: the answer is
what the changes add up to), `updates` (tables with updates and deletes besides, read as Debezium's JSON, with and without a
primary key), `epochs` (the same in followed files that grow in steps, and the answer after each of them: epochs.py).

With --results each run adds a line of JSON to a file, and the sums of all lines are printed, seeds counted once.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import random
import sys

import epochs
import shrink
from engines import Engine, Failed, Refused, Truth, same
from generate import Generator, Table
from tree import DUCKDB, RHEOS

QUERIES_EACH = 20
# Where nothing works, the first few say enough.
SHRINKS_MAX = 20
MODES = ("final", "changes", "updates", "epochs")
PARALLELISM, BATCH_ROWS = (1, 2, 3), (1, 3, 8192)


class Case:
    """The tables and queries of one seed."""

    def __init__(self, mode, seed):
        # A seed means the same queries in every mode but for what the tables hold, and that `epochs` has no windows.
        rng = random.Random(f"queries-{seed}")
        self.seed, self.mode = seed, mode
        self.tables = [Table.random(rng, f"t{n}", self.has_changes(n)) for n in range(1, rng.choice((2, 2, 3)) + 1)]
        generator = Generator(rng, self.tables, has_windows=mode != "epochs")
        self.queries = [generator.query(rng.choice((0, 1, 1, 2))) for _ in range(QUERIES_EACH)]
        self.parallelism, self.batch_rows = rng.choice(PARALLELISM), rng.choice(BATCH_ROWS)
        for table in self.tables:
            table.has_key = rng.random() < 0.6

    def has_changes(self, n):
        """Whether rows of a table may go: in `epochs` of most."""
        return self.mode == "updates" or self.mode == "epochs" and random.Random(f"changes-{self.seed}-{n}").random() < 0.7


class Tally:
    """What has come of the queries."""

    def __init__(self):
        self.counts, self.refusals, self.wrong = collections.Counter(), collections.Counter(), []

    def judge(self, expected, got):
        """Counts an answer; whether it is wrong."""
        if isinstance(expected, Refused):
            self.counts["not answered by DuckDB"] += 1
        elif isinstance(got, Refused):
            self.counts["refused"] += 1
            self.refusals[str(got).splitlines()[0]] += 1
        elif isinstance(got, Failed) or not same(expected, got):
            self.counts["wrong"] += 1
            return True
        else:
            self.counts["right"] += 1
            self.counts["rows"] += len(got)
        return False


def engine_of(binary, mode):
    return epochs.Follower(binary) if mode == "epochs" else Engine(binary, mode)


def truth_of(mode, tables):
    return epochs.Truth(tables) if mode == "epochs" else Truth(tables)


def expectations(truth, queries):
    found = []
    for query in queries:
        try:
            found.append(truth.rows(query))
        except Refused as error:
            found.append(error)
    return found


def play(engine, case, tally, keep):
    """One seed. `keep` gets each wrong answer, shrunk."""
    expected = expectations(truth_of(case.mode, case.tables), case.queries)
    asked = [i for i, e in enumerate(expected) if not isinstance(e, Refused)]
    answers = dict(zip(asked, engine.answers(case.tables, [case.queries[i] for i in asked], case.parallelism, case.batch_rows)))
    for i, query in enumerate(case.queries):
        if tally.judge(expected[i], answers.get(i)):
            keep(engine, case, i, query)


def is_wrong(engine, tables, query, parallelism, batch_rows):
    """Whether the engine's answer differs, or it has none. `None`: DuckDB has none, or the query is refused."""
    try:
        expected = truth_of(engine.mode, tables).rows(query)
    except Refused:
        return None
    got = engine.answers(tables, [query], parallelism, batch_rows)[0]
    if isinstance(got, Refused):
        return None
    return (expected, got) if isinstance(got, Failed) or not same(expected, got) else None


class Keeper:
    """Shrinks wrong answers and writes them down."""

    def __init__(self, folder):
        self.folder, self.files = folder, []

    def __call__(self, engine, case, i, query):
        check = lambda tables, query: is_wrong(engine, tables, query, case.parallelism, case.batch_rows)
        found = check(case.tables, query)
        if found is None:
            print(f"seed {case.seed}, query {i}: wrong among others, right by itself")
            tables, expected, got = case.tables, "?", "?"
        elif len(self.files) >= SHRINKS_MAX:
            tables, (expected, got) = case.tables, found
        else:
            tables, query = shrink.smallest(case.tables, query, check)
            expected, got = check(tables, query) or found
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{engine.mode}-{case.seed}-{i}.json"
        path.write_text(json.dumps(record(engine, case, tables, query, expected, got), indent=1, ensure_ascii=False) + "\n")
        self.files.append(path)
        print(f"{path}: {query.sql(RHEOS)}\n  DuckDB: {sorted(expected)[:6]}\n  Rheos:  {got if isinstance(got, Failed) else sorted(got)[:6]}", flush=True)


def record(engine, case, tables, query, expected, got):
    return {
        "mode": engine.mode, "parallelism": case.parallelism, "batch_rows": case.batch_rows,
        "tables": {table.name: table.events for table in tables}, "keys": [table.name for table in tables if table.has_key],
        "changes": [table.name for table in tables if table.has_changes],
        "columns": query.outputs(), "rheos": query.sql(RHEOS), "duckdb": query.sql(DUCKDB),
        "expected": expected, "got": str(got),
    }


@dataclasses.dataclass(frozen=True)
class Written:
    """A query as it was kept."""

    columns: tuple
    texts: dict

    def outputs(self):
        return self.columns

    def sql(self, dialect):
        return self.texts[dialect]


def replay(binary, paths):
    """The kept files that are answered wrongly still."""
    files = [f for path in paths for f in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    wrong = 0
    for file in files:
        kept = json.loads(file.read_text(encoding="utf-8"))
        keys, changes = kept.get("keys", []), kept.get("changes", [])
        tables = [Table(name, [tuple(e) for e in events], name in keys, name in changes) for name, events in kept["tables"].items()]
        query = Written([tuple(c) for c in kept["columns"]], {RHEOS: kept["rheos"], DUCKDB: kept["duckdb"]})
        for parallelism in PARALLELISM:
            found = is_wrong(engine_of(binary, kept["mode"]), tables, query, parallelism, kept["batch_rows"])
            if found is not None:
                print(f"{file}: at parallelism {parallelism}\n  {kept['rheos']}\n  DuckDB: {found[0][:6]}\n  Rheos:  {found[1]}")
                wrong += 1
                break
    print(f"{len(files)} kept queries, {wrong} wrong")
    return wrong


class Mistaken:
    """An engine for the self-test: DuckDB, but one operator in a hundred queries means something else."""

    mode = "final"

    def __init__(self, wrong, right):
        self.wrong, self.right = wrong, right

    def answers(self, tables, queries, parallelism, batch_rows):
        truth, right, wrong = Truth(tables), self.right, self.wrong

        class Text:
            def __init__(self, query):
                self.text = query.sql(DUCKDB).replace(right, wrong)

            def sql(self, dialect):
                return self.text

        return expectations(truth, [Text(query) for query in queries])


def self_test():
    """Each mistake has to be found and shrunk to few nodes and rows; none may be found where there is none."""
    mistakes = (("LEFT JOIN", " JOIN", 25), ("UNION ALL", "UNION", 30), ("count(DISTINCT ", "count(", 25), ("<= 1", "<= 2", 25), ("nothing", "nothing", 0))
    good = True
    for right, wrong, nodes_max in mistakes:
        engine, found = Mistaken(wrong, right), []

        def keep(engine, case, i, query):
            if not found:
                check = lambda tables, query: is_wrong(engine, tables, query, 1, 1)
                found.append(shrink.smallest(case.tables, query, check))

        for seed in range(40 if nodes_max else 5):
            if not found:
                play(engine, Case("final", seed), Tally(), keep)
        if not nodes_max:
            good &= not found
            print(f"without a mistake: {'found one all the same' if found else 'nothing found'}")
            continue
        if not found:
            good = False
            print(f"'{wrong}' for '{right}': not found")
            continue
        tables, query = found[0]
        nodes, rows = shrink.nodes(query), sum(len(t.events) for t in tables)
        good &= nodes <= nodes_max and rows <= 6
        print(f"'{wrong}' for '{right}': found, {nodes} nodes and {rows} rows: {query.sql(DUCKDB)}")
    return good


def add_up(path, line):
    """Adds a line to the results and prints the sums of all of the same mode, each seed once."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    sums, seen = collections.defaultdict(collections.Counter), set()
    for text in path.read_text(encoding="utf-8").splitlines():
        kept = json.loads(text)
        key = [(kept["mode"], seed) for seed in range(kept["seed"], kept["seed"] + kept["seeds"])]
        if seen.isdisjoint(key):
            seen.update(key)
            sums[kept["mode"]].update(kept["counts"])
            sums[kept["mode"]]["seeds"] += kept["seeds"]
    for mode, counts in sums.items():
        print(f"all runs, {mode}: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/rheos")
    parser.add_argument("--count", type=int, default=300, help="queries")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--mode", choices=MODES, default="final")
    parser.add_argument("--found", type=pathlib.Path, default=pathlib.Path("target/random-queries"), help="where wrong answers are kept")
    parser.add_argument("--results", type=pathlib.Path, help="a file of JSON lines that runs add up in")
    parser.add_argument("--replay", type=pathlib.Path, nargs="+", help="kept files, or folders of them")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        sys.exit(0 if self_test() else 1)
    if args.replay:
        sys.exit(1 if replay(args.binary, args.replay) else 0)
    engine, tally, keeper = engine_of(args.binary, args.mode), Tally(), Keeper(args.found)
    seeds = -(-args.count // QUERIES_EACH)
    for seed in range(args.seed, args.seed + seeds):
        play(engine, Case(args.mode, seed), tally, keeper)
    for message, n in tally.refusals.most_common():
        print(f"refused {n} times: {message}")
    print(f"{args.mode}, seeds {args.seed} to {args.seed + seeds - 1}: " + ", ".join(f"{n} {what}" for what, n in sorted(tally.counts.items())))
    if args.results:
        add_up(args.results, {"mode": args.mode, "seed": args.seed, "seeds": seeds, "counts": tally.counts, "refused": tally.refusals})
    # A test in which nothing is answered would find nothing.
    answered = tally.counts["right"] * 2 >= seeds * QUERIES_EACH
    if not answered:
        print("less than half of the queries are answered")
    sys.exit(0 if answered and not tally.counts["wrong"] else 1)


if __name__ == "__main__":
    main()
