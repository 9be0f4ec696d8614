"""Answers while the input grows: looked at in the middle, at the ends of some epochs, and not only when all is over.

A table is a followed file, of rows or of Debezium's changes. It grows in STEPS; after each the engine is waited for, and what its changes add up
to is compared with DuckDB's answer over what has been written by then. Nothing is known by waiting long enough: a checkpoint says how
many bytes of each file lie before it, and lists output until it is committed. So the answer is there when the newest checkpoint
covers every byte and lists no output. Now and then the job is killed while a step is on its way, and goes on with other workers.
"""

import collections
import decimal
import json
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import time

import engines
from engines import Engine, Failed, Refused, cell, there
from generate import FIELDS
from tree import NAMES, RHEOS

STEPS = 4
KILLED = 0.25
POLL_S, LIMIT_S = 0.003, 60
INTERVAL_MS = 15
# What holds of input without an end besides: some things have no answer before it, and the engine says so.
REFUSED = re.compile(r"error\[R0142\]|error\[R0146\]|error\[R0700\]|error\[R0710\]|is not supported")


def grown(table, step):
    """A table as it is after a step; the last has all."""
    return table.of(table.events[: len(table.events) * (step + 1) // STEPS])


class Truth:
    """DuckDB, after each step. The number of the step is the first cell of a row."""

    def __init__(self, tables):
        self.steps = [engines.Truth([grown(table, step) for table in tables]) for step in range(STEPS)]

    def rows(self, query):
        return [(str(step), *row) for step, truth in enumerate(self.steps) for row in truth.rows(query)]


class Follower(Engine):
    """The binary over files that grow."""

    def __init__(self, binary):
        super().__init__(binary, "epochs")

    def answers(self, tables, queries, parallelism, batch_rows):
        options = {"tables": tables, "parallelism": parallelism, "batch_rows": batch_rows}
        return self.of_some("", list(enumerate(queries)), options)

    def run(self, declared, queries, options):
        with tempfile.TemporaryDirectory(prefix="rheos-epochs-") as folder:
            job = Job(self.binary, pathlib.Path(folder), queries, **options)
            try:
                return job.rows()
            finally:
                job.end()


class Job:
    """A run over growing files, as far as it is; another one goes on where it is killed."""

    def __init__(self, binary, folder, queries, tables, parallelism, batch_rows):
        self.folder, self.tables, self.queries = folder, tables, queries
        self.rng = random.Random(f"{parallelism}-{batch_rows}-{len(queries)}-{[len(t.events) for t in tables]}")
        self.command = [binary, "run", folder / "job.sql", "--state-dir", folder / "state", "--batch-rows", str(batch_rows),
                        "--set", f"checkpoint.interval={INTERVAL_MS} ms"]
        self.parallelism, self.process = parallelism, None
        (folder / "job.sql").write_text(self.program(), encoding="utf-8")

    def program(self):
        # What fails is told at once.
        text = "SET 'emit.mode' = 'changes';\nSET 'restart.attempts-max' = '0';\n"
        for table in self.tables:
            columns = ", ".join(f"{name} {NAMES[kind]}" for name, kind in FIELDS)
            columns += ", PRIMARY KEY (id) NOT ENFORCED" if table.has_key and table.has_changes else ""
            path, form = self.folder / f"{table.name}.json", "debezium-json" if table.has_changes else "json"
            path.touch()
            text += (f"CREATE TABLE {table.name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = '{form}', "
                     f"'source.follow' = 'true', 'source.monitor-interval' = '5 ms');\n")
        for i, query in self.queries:
            outputs = query.outputs()
            columns = ", ".join(f"c{n} {NAMES[kind]}" for n, (_, kind) in enumerate(outputs))
            names = ", ".join(f"r.{name}" for name, _ in outputs)
            text += (f"CREATE TABLE q{i} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{self.folder}/q{i}', "
                     f"'format' = 'debezium-json', 'sink.commit-interval' = '0 ms');\n"
                     f"INSERT INTO q{i} SELECT {names} FROM ({query.sql(RHEOS)}) AS r;\n")
        return text

    def rows(self):
        """For each query its rows after each step."""
        found, written = {i: [] for i, _ in self.queries}, {table.name: 0 for table in self.tables}
        self.start()
        for step in range(STEPS):
            is_killed = self.rng.random() < KILLED
            for table in self.tables:
                lines = [line(table, event) for event in grown(table, step).events]
                with open(self.folder / f"{table.name}.json", "a", encoding="utf-8") as file:
                    file.writelines(lines[written[table.name]:])
                written[table.name] = len(lines)
            if is_killed:
                self.end()
                self.parallelism = self.parallelism % 3 + 1
                self.start()
            self.wait_until_told()
            for i, _ in self.queries:
                found[i] += [(str(step), *row) for row in self.folded(i)]
        return found

    def start(self):
        command = [*self.command, "--parallelism", str(self.parallelism)]
        with open(self.folder / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    def end(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def wait_until_told(self):
        """Until a checkpoint covers all that has been written, and all output before it is visible."""
        late = time.monotonic() + LIMIT_S
        while not self.is_told():
            has_ended = self.process.poll() is not None
            # Behind that: what it said last is there.
            said = (self.folder / "log").read_text(encoding="utf-8").strip()
            if has_ended:
                raise (Refused if REFUSED.search(said) else Failed)(said or f"ended with {self.process.returncode}")
            # Nothing is wrong with the disk.
            if "a checkpoint failed" in said:
                raise Failed(said)
            if time.monotonic() > late:
                raise Failed(f"after {LIMIT_S} s no checkpoint covers what was written")
            time.sleep(POLL_S)

    def is_told(self):
        manifest = newest(self.folder / "state" / "journal")
        if manifest is None or any(sink["releases"] or sink["held"] for sink in manifest["sinks"]):
            return False
        # A table that no query reads is not among the sources.
        return all(self.is_read(source) for source in manifest["sources"])

    def is_read(self, source):
        """Whether a source has read all of its file, if it is one of a table."""
        name = source["operator"].removeprefix("source:").split("-")[0]
        if name not in [table.name for table in self.tables]:
            return True
        read = 0
        for split in source["splits"]:
            progress = split["progress"]
            at = re.match(r"byte (\d+) of", progress["reading"]) if isinstance(progress, dict) else None
            read = int(at.group(1)) if at else 0
        return read == (self.folder / f"{name}.json").stat().st_size

    def folded(self, i):
        counts = collections.Counter()
        for part in sorted((self.folder / f"q{i}").glob("*.json")):
            for line in part.read_text(encoding="utf-8").splitlines():
                change = json.loads(line, parse_float=decimal.Decimal)
                for row, weight in ((change["before"], -1), (change["after"], 1)):
                    if row is not None:
                        counts[tuple(cell(value) for value in row.values())] += weight
        return there(counts)


def line(table, event):
    kind, old, new = event
    return json.dumps({"before": old, "after": new, "op": kind} if table.has_changes else new, ensure_ascii=False) + "\n"


def newest(journal):
    """The newest entry, if it is a manifest."""
    try:
        for path in sorted(journal.glob("*.json"), reverse=True)[:1]:
            head, _, body = path.read_text(encoding="utf-8").partition("\n")
            return json.loads(body) if json.loads(head)["rheos"] == "manifest" else None
    except FileNotFoundError:
        # Entries are deleted, and a job that is refused takes its empty folder with it.
        pass
    return None
