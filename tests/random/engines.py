"""The two that answer: the binary, many queries a process, and DuckDB."""

import collections
import decimal
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile

from generate import FIELDS
from tree import DUCKDB, NAMES, RHEOS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))
import oracle  # noqa: E402  (it lies there)

# What the engine may say of a query instead of answering it: not supported yet.
REFUSED = re.compile(r"error\[R0142\]|is not supported")
TOLERANCE = 1e-9


class Refused(Exception):
    """The query is not supported, and the engine says so."""


class Failed(Exception):
    """No answer: an error of the engine, or none in time."""


class Truth:
    """DuckDB, over the rows that the tables have at the end."""

    def __init__(self, tables):
        import duckdb

        self.error, self.db = duckdb.Error, duckdb.connect()
        self.db.execute("SET threads = 1; SET TimeZone = 'UTC'; SET default_null_order = 'nulls_last';")
        for table in tables:
            columns = ", ".join(f"{name} {NAMES[kind]}" for name, kind in FIELDS)
            self.db.execute(f"CREATE TABLE {table.name} ({columns})")
            rows = [[row[name] for name, _ in FIELDS] for row in table.rows()]
            if rows:
                self.db.executemany(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(FIELDS))})", rows)

    def rows(self, query):
        """Rows as lists of cells. Errors: `Refused` if DuckDB does not answer either."""
        try:
            found = self.db.execute(query.sql(DUCKDB)).fetchall()
        except (self.error, RecursionError) as error:
            raise Refused(str(error)) from error
        return [tuple(cell(value) for value in row) for row in found]


class Engine:
    """The binary. `mode`: final, changes (`emit.mode=changes`) or updates (tables that change, too)."""

    def __init__(self, binary, mode):
        self.binary, self.mode = str(pathlib.Path(binary).resolve()), mode

    def declarations(self, tables, folder):
        """The statements that declare the tables, whose files are written into a folder."""
        text = ""
        for table in tables:
            columns = ", ".join(f"{name} {NAMES[kind]}" for name, kind in FIELDS)
            form = "json"
            if self.mode == "updates":
                columns += ", PRIMARY KEY (id) NOT ENFORCED" if table.has_key else ""
                form = "debezium-json"
            columns += ", WATERMARK FOR ts AS ts - INTERVAL '1' DAY"
            path = pathlib.Path(folder) / f"{table.name}.jsonl"
            path.write_text("".join(self.line(event) + "\n" for event in table.events), encoding="utf-8")
            text += f"CREATE TABLE {table.name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = '{form}');\n"
        return text

    def line(self, event):
        kind, old, new = event
        return json.dumps({"before": old, "after": new, "op": kind} if self.mode == "updates" else new, ensure_ascii=False)

    def answers(self, tables, queries, parallelism, batch_rows):
        """For each query its rows, or the error that it is answered with."""
        with tempfile.TemporaryDirectory() as folder:
            declared = self.declarations(tables, folder)
            return self.of_some(declared, list(enumerate(queries)), ["-p", str(parallelism), "--batch-rows", str(batch_rows)])

    def of_some(self, declared, queries, options):
        """One process for all; if it fails, one for each half."""
        try:
            found = self.run(declared, queries, options)
            return [found[i] for i, _ in queries]
        except (Refused, Failed) as error:
            if len(queries) == 1:
                return [error]
            half = len(queries) // 2
            return self.of_some(declared, queries[:half], options) + self.of_some(declared, queries[half:], options)

    def run(self, declared, queries, options):
        program = declared
        widths = {}
        for i, query in queries:
            names = [name for name, _ in query.outputs()]
            widths[i] = len(names)
            # The names of the columns say which query a row belongs to.
            columns = ", ".join(f"r.{name} AS q{i}_{n}" for n, name in enumerate(names))
            program += f"SELECT {columns} FROM ({query.sql(RHEOS)}) AS r;\n"
        command = [self.binary, "run", "-", "-o", "jsonl", *options]
        if self.mode != "final":
            # Every change is told, and folded here.
            command = [self.binary, "run", "-", "-o", "changelog", "--set", "emit.mode=changes", *options]
        try:
            done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired as late:
            raise Failed("no end after 60 s") from late
        if done.returncode != 0:
            kind = Refused if REFUSED.search(done.stderr) else Failed
            raise kind(done.stderr.strip() or f"ended with {done.returncode}")
        return folded(done.stdout, widths)


def folded(printed, widths):
    """The rows of each query from lines of JSON: as they are, or those that are there after all changes (`op`)."""
    counts = {i: collections.Counter() for i in widths}
    for line in printed.splitlines():
        values = json.loads(line, parse_float=decimal.Decimal)
        op = values.pop("op", "+I")
        i = int(next(iter(values))[1:].split("_")[0])
        counts[i][tuple(cell(values[f"q{i}_{n}"]) for n in range(widths[i]))] += 1 if op[0] == "+" else -1
    return {i: there(rows) for i, rows in counts.items()}


def there(counts):
    """The rows that are there after changes. Errors: `Failed` if one is there less than not at all."""
    if min(counts.values(), default=0) < 0:
        raise Failed(f"a row goes that was not there: {min(counts, key=counts.get)}")
    return list(counts.elements())


def cell(value):
    """A value in the spelling that both engines are compared in."""
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return oracle.cell(value)


def same(expected, got):
    """The same rows, as often, in any order; numbers within a tolerance."""
    if len(expected) != len(got):
        return False
    return all(len(a) == len(b) and all(map(alike, a, b)) for a, b in zip(sorted(expected, key=sort_key), sorted(got, key=sort_key)))


def sort_key(row):
    return [f"{float(value):.9e}" if is_float(value) else value for value in row]


def is_float(text):
    return re.fullmatch(r"-?\d+\.\d+(e[+-]?\d+)?", text) is not None


def alike(a, b):
    return a == b or is_float(a) and is_float(b) and math.isclose(float(a), float(b), rel_tol=TOLERANCE, abs_tol=1e-12)
