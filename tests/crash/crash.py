#!/usr/bin/env python3
"""Kills jobs that keep state, again and again, and checks that their output is as if nothing had happened.

    tests/crash/crash.py --binary target/release/rheos [--kills 25] [--jobs filter,tumble] [--faults power,disk] [--seed N] [--results FILE]

Each round takes a job and a seed, makes its input, starts the real binary with `--state-dir`, kills it with SIGKILL at a random
moment, starts it again with another number of workers, and so on until it has come to its end. Then the output is compared with
what this script computes from the input, which shares no code with the engine: nothing may be lost, nothing may be there twice.
Some lines of the input are no rows; each has to be among the dead letters once.
With --faults each round also has one of these (faults.py): the power fails, the disk fails, is full, or damages files.

Rounds go on until as many kills as asked for have hit a running job. With --results each round adds a line of JSON to a file; a run
that was stopped is taken up again there, and the sums of all lines are printed.
"""

import argparse
import base64
import collections
import csv
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import faults

SECOND_MS = 1000
WORKERS = (1, 2, 3)
# Starts of one round; a job that has not ended by then never will.
STARTS_MAX = 400

TABLE = """CREATE TABLE t (id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{delay}' SECOND)
WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'csv', 'csv.multiline' = 'false');
"""
SINK = """CREATE TABLE o ({columns})
WITH ('connector' = 'filesystem', 'path' = '{output}', 'format' = '{format}', 'sink.commit-interval' = '{interval} ms');
"""


def stamp(ms):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}"


def text(ms):
    """A timestamp as Rheos prints it."""
    whole, rest = divmod(ms, 1000)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(whole)) + (f".{rest:03d}".rstrip("0") if rest else "")


class Job:
    """columns: of the sink; query: over t; expected: rows as lists of texts, from (id, k, v, ms). delay: of the watermark, in s."""

    def __init__(self, columns, query, expected, delay=5):
        self.columns, self.query, self.expected, self.delay = columns, query, expected, delay


def filtered(rows):
    return [[i, v * 2] for i, k, v, _ in rows if k % 5 != 3]


def windows(ms, size, slide):
    first = ms - ms % slide
    return [start for start in range(first, ms - size, -slide)]


def counted(size, slide):
    def expected(rows):
        sums = collections.defaultdict(lambda: [0, 0])
        for _, k, v, ms in rows:
            for start in windows(ms, size, slide):
                entry = sums[start, k]
                entry[0] += 1
                entry[1] += v
        return [[text(start), k, n, total] for (start, k), (n, total) in sums.items()]

    return expected


def distinct(rows):
    values = collections.defaultdict(set)
    for _, k, v, ms in rows:
        values[ms - ms % (10 * SECOND_MS), k].add(v % 50)
    return [[text(start), k, len(found)] for (start, k), found in values.items()]


def sessions(rows):
    gap = 2 * SECOND_MS
    by_key = collections.defaultdict(list)
    for _, k, v, ms in rows:
        by_key[k].append((ms, v))
    result = []
    for k, entries in by_key.items():
        entries.sort()
        start = last = entries[0][0]
        n = total = 0
        for ms, v in entries:
            if ms - last > gap:
                result.append([text(start), text(last + gap), k, n, total])
                start, n, total = ms, 0, 0
            last, n, total = ms, n + 1, total + v
        result.append([text(start), text(last + gap), k, n, total])
    return result


def highest(rows):
    by_window = collections.defaultdict(list)
    for i, _, v, ms in rows:
        by_window[ms - ms % (10 * SECOND_MS)].append((-v, i))
    return [[text(start), i, -v] for start, entries in by_window.items() for v, i in sorted(entries)[:3]]


def joined(rows):
    size = SECOND_MS
    small, large = collections.defaultdict(list), collections.defaultdict(list)
    for i, k, v, ms in rows:
        side = small if v < 40 else large if v > 960 else None
        if side is not None:
            side[ms - ms % size, k].append(i)
    return [[text(at[0]), a, b] for at, ids in small.items() for a in ids for b in large.get(at, ())]


TUMBLE = "TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))"
JOBS = {
    "filter": Job("id BIGINT, v BIGINT", "SELECT id, v * 2 FROM t WHERE k % 5 <> 3", filtered),
    "tumble": Job(
        "s TIMESTAMP(3), k BIGINT, n BIGINT, total BIGINT",
        f"SELECT window_start, k, count(*), sum(v) FROM {TUMBLE} GROUP BY window_start, window_end, k",
        counted(10 * SECOND_MS, 10 * SECOND_MS),
    ),
    "hop": Job(
        "s TIMESTAMP(3), k BIGINT, n BIGINT, total BIGINT",
        """SELECT window_start, k, count(*), sum(v)
           FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '6' SECOND)) GROUP BY window_start, window_end, k""",
        counted(6 * SECOND_MS, 2 * SECOND_MS),
    ),
    "session": Job(
        "s TIMESTAMP(3), e TIMESTAMP(3), k BIGINT, n BIGINT, total BIGINT",
        """SELECT window_start, window_end, k, count(*), sum(v)
           FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND)) GROUP BY window_start, window_end, k""",
        sessions,
    ),
    "distinct": Job(
        "s TIMESTAMP(3), k BIGINT, n BIGINT",
        f"SELECT window_start, k, count(DISTINCT v % 50) FROM {TUMBLE} GROUP BY window_start, window_end, k",
        distinct,
    ),
    "top": Job(
        "s TIMESTAMP(3), id BIGINT, v BIGINT",
        f"""SELECT window_start, id, v FROM (
             SELECT window_start, id, v, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v DESC, id) AS n FROM {TUMBLE})
           WHERE n <= 3""",
        highest,
    ),
    "join": Job(
        "s TIMESTAMP(3), a BIGINT, b BIGINT",
        """SELECT a.window_start, a.id, b.id
           FROM (SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND)) WHERE v < 40) a
           JOIN (SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND)) WHERE v > 960) b
           ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.k = b.k""",
        joined,
    ),
    # Which rows are late depends on how fast files are read; each is late or in a window, once.
    "late": Job(
        "id BIGINT",
        """SELECT id FROM (
             SELECT id, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY id) AS n
             FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND)));
           INSERT INTO o SELECT id FROM t$late""",
        lambda rows: [[i] for i, _, _, _ in rows],
        delay=0,
    ),
}


def make_input(folder, rng, rows):
    """Files whose rows are out of order by at most what the watermark allows, and some lines that are no rows.

    Gives (id, k, v, ms), and those lines.
    """
    folder.mkdir()
    made, bad, start = [], [], 1_704_067_200_000
    files = rng.randint(1, 4)
    per_ms = rng.choice((1, 5, 20))
    for n in range(rows):
        k = rng.randint(0, 99) if rng.random() < 0.7 else 7
        ms = start + n // per_ms + rng.randint(-2000, 2000)
        made.append((n, k, rng.randint(0, 999), ms))
    for f in range(files):
        part = made[f * rows // files : (f + 1) * rows // files]
        with open(folder / f"part-{f}.csv", "w", newline="") as out:
            out.write("id,k,v,ts\n")
            for i, k, v, ms in part:
                if rng.random() < 0.001:
                    bad.append(f"{i},{k},{v},never")
                    out.write(bad[-1] + "\n")
                out.write(f"{i},{k},{v},{stamp(ms)}\n")
    return made, bad


def read_output(folder, form, columns):
    rows = []
    for file in sorted(f for f in folder.glob("*." + form) if not f.name.startswith(".")):
        with open(file, newline="") as source:
            if form == "csv":
                found = list(csv.reader(source))
                rows += found[1:]
            else:
                rows += [[str(value) for value in json.loads(line).values()] for line in source]
    return collections.Counter(tuple(row) for row in rows)


def read_letters(folder):
    """The lines that could not be read, as the job has kept them."""
    files = [f for f in folder.glob("*.json") if not f.name.startswith(".")]
    return collections.Counter(base64.b64decode(json.loads(line)["raw"]).decode() for f in files for line in open(f))


class Round:
    """One job, with its input and its fault, until it has come to its end."""

    def __init__(self, args, job_name, seed, work):
        self.rng = random.Random(f"{job_name}-{seed}")
        self.args, self.work, self.job = args, work, JOBS[job_name]
        self.name, self.kills, self.starts = f"{job_name}, seed {seed}", 0, 0
        self.rows, self.bad = make_input(work / "in", self.rng, args.rows)
        self.form = self.rng.choice(("csv", "json"))
        self.fault = faults.CLASSES[args.faults[seed % len(args.faults)]](self.rng, work)
        sink = SINK.format(
            columns=self.job.columns, output=self.fault.output, format=self.form, interval=self.rng.choice((0, 150, 1000))
        )
        (work / "job.sql").write_text(TABLE.format(input=work / "in", delay=self.job.delay) + sink + "INSERT INTO o " + self.job.query + ";\n")

    def play(self, kills_wanted, usual_s):
        """Starts and kills. `usual_s`: how long a start takes that is not killed, as far as it is known; kills fall into that."""
        for self.starts in range(1, STARTS_MAX + 1):
            # Now and then in the first moments: while it restores, claims, commits again.
            kill_s = self.rng.choice((0.06, usual_s, usual_s)) * self.rng.random() + 0.003
            code, log, took_s = self.start(kill_s if self.kills < kills_wanted else None)
            if code is None:
                self.kills += 1
                self.fault.after_kill()
            elif code == 0:
                self.fault.after_end()
                self.compare(is_whole=True)
                self.check_counts(log)
                return took_s
            elif self.fault.may_end(code, log):
                self.compare(is_whole=False)
            else:
                raise RuntimeError(f"start {self.starts} ended with {code}: {log[-2000:]}")
        raise RuntimeError(f"not at its end after {STARTS_MAX} starts")

    def start(self, kill_s):
        """Exit code, what it said, and how long it took. The code is None if it was killed after `kill_s`."""
        workers, interval = self.rng.choice(WORKERS), self.rng.choice((20, 60, 200))
        command = [self.args.binary, "run", self.work / "job.sql", "--state-dir", self.fault.state, "--parallelism", str(workers)]
        command += ["--set", f"checkpoint.interval={interval} ms"]
        environment = self.fault.environment()
        with open(self.work / "log", "w+") as log, self.fault.while_running():
            began = time.monotonic()
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
            try:
                code = process.wait(self.args.limit if kill_s is None else kill_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                code = None
                process.wait()
                if kill_s is None:
                    raise RuntimeError(f"start {self.starts} has not ended after {self.args.limit} s") from None
            log.seek(0)
            return code, log.read(), time.monotonic() - began

    def compare(self, is_whole):
        """What is visible, with what is right; before the end rows may be missing."""
        rows = collections.Counter(tuple(str(value) for value in row) for row in self.job.expected(self.rows))
        letters = read_letters(self.fault.state / "errors" / "t")
        for name, expected, found in (
            ("rows", rows, read_output(self.fault.output, self.form, self.job.columns)),
            ("dead letters", collections.Counter(self.bad), letters),
        ):
            lost, twice = expected - found if is_whole else {}, found - expected
            if lost or twice:
                what = f"{name}: {sum(lost.values())} lost, {sum(twice.values())} twice or wrong"
                raise RuntimeError(f"{what}; lost {list(lost)[:3]}, more {list(twice)[:3]}")

    def check_counts(self, log):
        """What the last start tells of the whole job: each line has been counted once."""
        rows, bad = len(self.rows), len(self.bad)
        counts = f"t: {rows + bad:,} read = {rows:,} decoded + {bad:,} dead-lettered + 0 skipped\n"
        if bad and counts not in log and "had come to its end before" not in log:
            raise RuntimeError(f"wrong counts, not {counts.strip()}: {log[-500:]}")


def play(args, job_name, seed, kills_wanted, usual_s):
    """One round. Gives its line of the results; raises on a wrong result. `usual_s`: by job and fault."""
    with tempfile.TemporaryDirectory(prefix="rheos-crash-", dir=args.work) as made:
        one = Round(args, job_name, seed, pathlib.Path(made).resolve())
        kind = one.fault.kind
        try:
            usual_s[job_name, kind] = one.play(kills_wanted, usual_s.get((job_name, kind), 0.3))
        except RuntimeError as failure:
            raise RuntimeError(keep(one.work, f"{one.name}, faults: {kind}: {failure}")) from None
        finally:
            one.fault.close()
        done = {"job": job_name, "seed": seed, "kills": one.kills, "starts": one.starts, "rows": len(one.rows)}
        return {**done, "faults": kind, "seen": one.fault.seen}


def keep(work, message):
    """What a failed round leaves to look at."""
    kept = work.with_name(work.name + "-failed")
    shutil.copytree(work, kept, dirs_exist_ok=True)
    return f"{message}\n  kept: {kept}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="that of Rheos")
    kills = max(1, round(25 * float(os.environ.get("RHEOS_TEST_SCALE", "1"))))
    parser.add_argument("--kills", type=int, default=kills, metavar="N", help="in all; 25, times RHEOS_TEST_SCALE, unless given")
    parser.add_argument("--kills-per-round", type=int, default=5, metavar="N", help="at most; 5 unless given")
    parser.add_argument("--jobs", default=",".join(JOBS), metavar="NAMES", help="such as filter,tumble; all unless given")
    parser.add_argument("--faults", default="none", metavar="NAMES", help=f"of {', '.join(faults.KINDS)}, or all; none unless given")
    parser.add_argument("--rows", type=int, default=300_000, metavar="N", help="of each input; 300,000 unless given")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first round; each round takes the next")
    parser.add_argument("--limit", type=int, default=120, metavar="SECONDS", help="of a start that is not killed")
    parser.add_argument("--work", type=pathlib.Path, default=None, metavar="DIR", help="where the rounds have their folders")
    parser.add_argument("--results", type=pathlib.Path, default=None, metavar="FILE", help="lines of JSON, one a round; added to")
    args = parser.parse_args()
    args.binary = args.binary.absolute()
    args.jobs = args.jobs.split(",")
    unknown = [name for name in args.jobs if name not in JOBS]
    if unknown:
        parser.error(f"there is no job '{unknown[0]}'; choose from {', '.join(JOBS)}")
    args.faults = faults.KINDS if args.faults == "all" else args.faults.split(",")
    unknown = [name for name in args.faults if name not in faults.KINDS]
    if unknown:
        parser.error(f"there is no fault '{unknown[0]}'; choose from {', '.join(faults.KINDS)}")
    return args


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="rheos-faults-") as folder:
        args.faults = faults.usable(args.faults, pathlib.Path(folder))
        return run(args) if args.faults else 0


def run(args):
    done = []
    if args.results and args.results.exists():
        done = [json.loads(line) for line in args.results.read_text().splitlines()]
    seed = max((r["seed"] for r in done), default=args.seed - 1) + 1
    kills, usual_s = sum(r["kills"] for r in done), {}
    while kills < args.kills:
        # So that each job meets each fault.
        name = args.jobs[(seed // len(args.faults)) % len(args.jobs)]
        try:
            line = play(args, name, seed, min(args.kills_per_round, args.kills - kills), usual_s)
        except RuntimeError as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            return 1
        kills += line["kills"]
        done.append(line)
        seen = "".join(f", {count} {what}" for what, count in sorted(line["seen"].items()))
        counts = f"{line['kills']} kills, {line['starts']} starts, {line['rows']:,} rows{seen}"
        print(f"{name}, seed {seed}, faults: {line['faults']}: {counts}: right", flush=True)
        if args.results:
            with open(args.results, "a") as out:
                out.write(json.dumps(line) + "\n")
        seed += 1
    print(summary(done))
    return 0


def summary(done):
    total, seen = {key: sum(r[key] for r in done) for key in ("kills", "starts", "rows")}, collections.Counter()
    for line in done:
        seen.update(line.get("seen", {}))
    faults_seen = "".join(f"; {what}: {count}" for what, count in sorted(seen.items()))
    text = f"{total['kills']} kills, {total['starts']} starts, {len(done)} rounds, {total['rows']:,} input rows{faults_seen}"
    return text + ": 0 lost, 0 duplicated"


if __name__ == "__main__":
    sys.exit(main())
