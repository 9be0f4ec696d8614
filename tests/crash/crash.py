#!/usr/bin/env python3
"""Kills jobs that keep state, again and again, and checks that their output is as if nothing had happened.

    tests/crash/crash.py --binary target/release/rheos [--kills 25] [--jobs filter,tumble] [--seed N] [--results FILE]

Each round takes a job and a seed, makes its input, starts the real binary with `--state-dir`, kills it with SIGKILL at a random
moment, starts it again with another number of workers, and so on until it has come to its end. Then the output is compared with
what this script computes from the input, which shares no code with the engine: nothing may be lost, nothing may be there twice.
Some lines of the input are no rows; each has to be among the dead letters once.

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

SECOND_MS = 1000
WORKERS = (1, 2, 3)
# Starts of one round; a job that has not ended by then never will.
STARTS_MAX = 400

TABLE = """CREATE TABLE t (id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
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
    """columns: of the sink; query: over t; expected: rows as lists of texts, from (id, k, v, ms)."""

    def __init__(self, columns, query, expected):
        self.columns, self.query, self.expected = columns, query, expected


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


def play(args, job_name, seed, kills_wanted, usual_s):
    """One round. Gives (kills, starts, rows); raises on a wrong result.

    `usual_s`: by job, how long a start takes that is not killed, as far as it is known; kills fall into that time.
    """
    rng = random.Random(f"{job_name}-{seed}")
    job = JOBS[job_name]
    with tempfile.TemporaryDirectory(prefix="rheos-crash-", dir=args.work) as made:
        work = pathlib.Path(made)
        rows, bad = make_input(work / "in", rng, args.rows)
        form = rng.choice(("csv", "json"))
        program = TABLE.format(input=work / "in") + SINK.format(
            columns=job.columns, output=work / "out", format=form, interval=rng.choice((0, 150, 1000))
        )
        (work / "job.sql").write_text(program + "INSERT INTO o " + job.query + ";\n")
        kills = 0
        for start in range(STARTS_MAX):
            command = [args.binary, "run", work / "job.sql", "--state-dir", work / "state", "--parallelism", str(rng.choice(WORKERS))]
            command += ["--set", f"checkpoint.interval={rng.choice((20, 60, 200))} ms"]
            with open(work / "log", "w+") as log:
                process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
                began = time.monotonic()
                if kills < kills_wanted:
                    try:
                        process.wait(0.005 + rng.random() * usual_s.get(job_name, 0.3))
                    except subprocess.TimeoutExpired:
                        process.send_signal(signal.SIGKILL)
                        kills += 1
                        process.wait()
                        continue
                try:
                    code = process.wait(args.limit)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise RuntimeError(keep(work, f"{job_name} seed {seed}: start {start} has not ended after {args.limit} s")) from None
                usual_s[job_name] = time.monotonic() - began
                if code != 0:
                    log.seek(0)
                    raise RuntimeError(keep(work, f"{job_name} seed {seed}: start {start} ended with {code}: {log.read()[-2000:]}"))
                break
        else:
            raise RuntimeError(keep(work, f"{job_name} seed {seed}: not at its end after {STARTS_MAX} starts"))
        expected = collections.Counter(tuple(str(value) for value in row) for row in job.expected(rows))
        found = read_output(work / "out", form, job.columns)
        if expected != found:
            lost, twice = expected - found, found - expected
            what = f"{job_name} seed {seed}: {sum(lost.values())} lost, {sum(twice.values())} twice or wrong"
            raise RuntimeError(keep(work, f"{what}; lost {list(lost)[:3]}, more {list(twice)[:3]}"))
        letters = read_letters(work / "state" / "errors" / "t")
        if letters != collections.Counter(bad):
            lost, twice = collections.Counter(bad) - letters, letters - collections.Counter(bad)
            what = f"{job_name} seed {seed}: of the dead letters {sum(lost.values())} lost, {sum(twice.values())} twice or wrong"
            raise RuntimeError(keep(work, f"{what}; lost {list(lost)[:3]}, more {list(twice)[:3]}"))
        told = (work / "log").read_text()
        counts = f"t: {len(rows) + len(bad):,} read = {len(rows):,} decoded + {len(bad):,} dead-lettered + 0 skipped\n"
        if bad and counts not in told and "had come to its end before" not in told:
            raise RuntimeError(keep(work, f"{job_name} seed {seed}: wrong counts, not {counts.strip()}: {told[-500:]}"))
        return kills, start + 1, len(rows)


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
    return args


def main():
    args = arguments()
    done = []
    if args.results and args.results.exists():
        done = [json.loads(line) for line in args.results.read_text().splitlines()]
    seed = max((r["seed"] for r in done), default=args.seed - 1) + 1
    kills, usual_s = sum(r["kills"] for r in done), {}
    while kills < args.kills:
        name = args.jobs[seed % len(args.jobs)]
        try:
            killed, starts, rows = play(args, name, seed, min(args.kills_per_round, args.kills - kills), usual_s)
        except RuntimeError as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            return 1
        kills += killed
        done.append({"job": name, "seed": seed, "kills": killed, "starts": starts, "rows": rows})
        print(f"{name}, seed {seed}: {killed} kills, {starts} starts, {rows:,} rows: right", flush=True)
        if args.results:
            with open(args.results, "a") as out:
                out.write(json.dumps(done[-1]) + "\n")
        seed += 1
    total = {key: sum(r[key] for r in done) for key in ("kills", "starts", "rows")}
    print(f"{total['kills']} kills, {total['starts']} starts, {len(done)} rounds, {total['rows']:,} input rows: 0 lost, 0 duplicated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
