"""Nexmark queries whose runs are killed: each goes on from its state at another parallelism, again and again, until its end.

The rows go into a folder that is written exactly-once: as csv, or, where results change and `emit.mode` is `changes`, as the changes
of Debezium, which are added up here. What is there at the end is compared like the answer of a run that nobody kills.
"""

import collections
import json
import pathlib
import random
import signal
import subprocess
import tempfile
import time

from nexmark_answers import ORACLE

# Of one query; the run behind the last one comes to its end.
KILLS = 3
STARTS_MAX = 50
# A kill falls so long behind the first checkpoint of its run, at most, in seconds.
LATER_S = (0.02, 0.3, 1.5)
CHECKPOINT_MS, COMMIT_MS = (30, 100, 300), (0, 100, 700)
# A job that is over before a kill has hit is tried again, with all this so many times faster.
HURRIES = (1, 8, 60)
POLL_S = 0.005
LIMIT_S = 1800

# What DuckDB calls types, and what a column is called that takes its values.
COLUMN = {"VARCHAR": "STRING", "TIMESTAMP": "TIMESTAMP(3)", "HUGEINT": "BIGINT", "INTEGER": "BIGINT"}
OF_CLOCK = ["BIGINT", "BIGINT", "TIMESTAMP(3)", "TIMESTAMP(3)"]


class Killed:
    """Runs that are killed. `settings`: what every run is given besides; `form`: csv or debezium-json."""

    def __init__(self, binary, seed, form):
        self.binary, self.seed, self.form, self.kills = str(binary), seed, form, 0

    def rows(self, name, before, select, types, *options):
        """The rows of a query, whose columns have these types, after some kills. `name`: with the seed it says when they fall."""
        rng = random.Random(f"{name}-{self.form}-{self.seed}")
        if self.form == "debezium-json":
            options = [*options, "--set", "emit.mode=changes"]
        for hurry in HURRIES:
            with tempfile.TemporaryDirectory(prefix="nexmark-restarts-") as made:
                work = pathlib.Path(made)
                text = self.program(work, before, select, types, rng.choice(COMMIT_MS))
                (work / "job.sql").write_text(text, encoding="utf-8")
                kills = self.play(name, work, rng, hurry, options)
                if kills or hurry == HURRIES[-1]:
                    self.kills += kills
                    return read(work / "rows", self.form, types)

    def program(self, work, before, select, types, commit_ms):
        columns = ", ".join(f"c{n} {kind}" for n, kind in enumerate(types))
        return (f"{before}\nCREATE TABLE kept ({columns}) WITH ('connector' = 'filesystem', 'path' = '{work}/rows', "
                f"'format' = '{self.form}', 'sink.commit-interval' = '{commit_ms} ms');\nINSERT INTO kept\n{select}")

    def changes(self, before, select, types, *options):
        """Whether the rows of a query are told and taken back."""
        command = [self.binary, "explain", "-", *options, "--set", "emit.mode=changes"]
        program = self.program("unused", before, select, types, 0)
        shown = subprocess.run(command, input=program, capture_output=True, text=True, check=True).stdout
        edges = [line for line in shown.splitlines() if line.lstrip().startswith("[")]
        return "append" not in edges[0].split("]")[0]

    def play(self, name, work, rng, hurry, options):
        """Runs a job to its end. How often it was killed."""
        killed, parallelism = 0, None
        for _ in range(STARTS_MAX):
            parallelism = rng.choice([n for n in (1, 2, 3) if n != parallelism])
            command = [self.binary, "run", str(work / "job.sql"), "--state-dir", str(work / "state"), "--parallelism", str(parallelism),
                       "--set", f"checkpoint.interval={max(5, rng.choice(CHECKPOINT_MS) // hurry)} ms", *options]
            later_s = rng.choice(LATER_S) * rng.random() / hurry
            code, log = self.start(work, command, None if killed == KILLS else later_s)
            if code == 0:
                return killed
            if code != -signal.SIGKILL:
                raise RuntimeError(f"{name}: after {killed} kills {' '.join(command)} ended with {code}:\n{log[-3000:]}")
            killed += 1
        raise RuntimeError(f"{name} has not come to its end after {STARTS_MAX} starts")

    def start(self, work, command, later_s):
        """Exit code and log of a run, which is killed so long behind its first checkpoint, if it is."""
        first = newest_entry(work / "state") + 2  # behind its claim
        with open(work / "log", "w+", encoding="utf-8") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                if later_s is not None:
                    while process.poll() is None and newest_entry(work / "state") < first:
                        time.sleep(POLL_S)
                    wait(process, later_s)
                    process.send_signal(signal.SIGKILL)
                code = process.wait(LIMIT_S)
            finally:
                process.kill()
            log.seek(0)
            return code, log.read()


def wait(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def newest_entry(state):
    """The number of the newest claim or checkpoint."""
    return max((int(path.stem) for path in (state / "journal").glob("*.json")), default=0)


def types_of(truth, query, name):
    """The types of columns that take what DuckDB answers."""
    if name == "q12":
        return OF_CLOCK
    found = truth.db.execute(f"DESCRIBE {query or ORACLE[name]}").fetchall()
    return [COLUMN.get(kind, kind) for _, kind, *_ in found]


def read(folder, form, types):
    """The rows of all parts; of changes those that are there in the end."""
    from nexmark_official import cell, rows_of

    parts = sorted(path for path in folder.glob("*") if not path.name.startswith((".", "_")))
    if form == "csv":
        return sorted(row for part in parts for row in rows_of(part.read_text(encoding="utf-8")))
    counts = collections.Counter()
    for part in parts:
        with open(part, encoding="utf-8") as lines:
            for line in lines:
                change = json.loads(line, parse_float=str)
                for side, weight in (("before", -1), ("after", 1)):
                    if change[side] is not None:
                        counts[tuple(cell(value) for value in change[side].values())] += weight
    gone = {row: n for row, n in counts.items() if n < 0}
    if gone:
        raise RuntimeError(f"rows go that were not there: {sorted(gone.items())[:3]}")
    return sorted(counts.elements())
