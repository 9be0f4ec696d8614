#!/usr/bin/env python3
"""What joins that keep state take: tables of docs/benchmarks.md.

    benches/joins.py state [--rows 10000000] [--rounds 3]
    benches/joins.py delta [--rows 1000000] [--rates 1000,10000,100000] [--seconds 10]
    benches/joins.py hot   [--rows 20000] [--rounds 5]
    each: [--binary target/release/rheos] [--work DIR] [--workers 2]

state: two tables with so many rows each, a number and a text of 20 letters, joined row by row, and each result told at once: what
is kept, and the peak memory of the process.
delta: the same join keeps its state, and is full; then rows with numbers that are there come to both sides at a rate. What each
checkpoint of a second has written by itself is to follow the rate, not the state.
hot: joins of so many rows a side, three tenths of which have one key on both sides, the others a key of their own. Beside it one
whose rows have other keys and as many pairs: what the key's one worker has to do, all workers share there.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import re
import statistics
import subprocess
import tempfile
import time

import checkpoints
from checkpoints import MIB, spread, table

TABLE = """CREATE TABLE {name} (id BIGINT, note STRING) WITH ('connector' = 'datagen', 'fields.note.length' = '20', 'seed' = '{seed}', {more});
"""
SEQUENCE = "'fields.id.kind' = 'sequence', 'number-of-rows' = '{rows}'"
GONE = "CREATE TABLE gone (id BIGINT, a STRING, b STRING) WITH ('connector' = 'blackhole');\n"
JOIN = "INSERT INTO gone SELECT l.id, l.note, r.note FROM l JOIN r ON l.id = r.id;\n"
# A number that tells of progress: how many rows have come to the join's left side.
TICKS = "SELECT id FROM full_l WHERE id % 1000 = 0;\n"
HOT_SHARE = 0.3


def tables(rows):
    return "".join(TABLE.format(name=name, seed=seed, more=SEQUENCE.format(rows=rows)) for seed, name in enumerate("lr"))


def measure(options, program):
    """One run: CPU seconds, seconds, peak memory, state, rows."""
    command = [options.binary, "bench", "measure", "--quiet", "--parallelism", str(options.workers)]
    done = subprocess.run(command, input=program, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def state(options):
    program = tables(options.rows) + "SET 'emit.mode' = 'changes';\n" + GONE + JOIN
    runs = [measure(options, program) for _ in range(options.rounds)]
    assert all(run["rows"] == options.rows and run["state_rows"] == 2 * options.rows for run in runs), runs
    of = lambda name, by=1.0, form="{:.0f}": spread([run[name] / by for run in runs], form)
    per_row = spread([run["state_bytes"] / run["state_rows"] for run in runs])
    table(["rows a side", "state bytes/row", "state MiB", "peak MiB", "CPU s/M rows"],
          [[f"{options.rows:,}", per_row, of("state_bytes", MIB), of("peak_memory_bytes", MIB), of("cpu_s", 2 * options.rows / 1e6, "{:.2f}")]])


def delta(options):
    rows = []
    for rate in options.rates:
        with tempfile.TemporaryDirectory(prefix="rheos-bench-", dir=options.work) as folder:
            rows.append(written(options, rate, pathlib.Path(folder).resolve()))
    table(["rows in state, a side", "rows/s, a side", "changed rows a checkpoint", "KiB a checkpoint", "bytes a changed row"], rows)


def written(options, rate, folder):
    """A row of the table: what checkpoints have written of a join that is full, at a rate of new rows."""
    paced = f"'rows-per-second' = '{rate}/s', 'fields.id.min' = '0', 'fields.id.max' = '{options.rows - 1}'"
    program = GONE
    for seed, side in enumerate("lr"):
        program += TABLE.format(name=f"full_{side}", seed=seed, more=SEQUENCE.format(rows=options.rows))
        program += TABLE.format(name=f"new_{side}", seed=seed + 2, more=paced)
        program += f"CREATE VIEW {side} AS SELECT * FROM full_{side} UNION ALL SELECT * FROM new_{side};\n"
    with checkpoints.Run(options, folder, program + JOIN + TICKS, True, 1000) as run:
        last = (options.rows - 1) // 1000 * 1000
        run.wait_until_stored(lambda: any(number == last for number, _ in run.ticks[-2000:]))
        sizes, until = {}, time.monotonic() + options.seconds
        known = set(os.listdir(folder / "state/objects"))
        while time.monotonic() < until:
            for file in (folder / "state/objects").iterdir():
                # Of an epoch itself; those with another ending are merges.
                if file.name not in known and (name := re.fullmatch(r"g\d+-w\d+-e(\d+)", file.name)):
                    try:
                        sizes[file.name] = (int(name[1]), file.stat().st_size)
                    except FileNotFoundError:
                        # Merged and deleted just now.
                        pass
            run.wait(lambda: False, 0.1)
    epochs = {}
    for epoch, size in sizes.values():
        epochs[epoch] = epochs.get(epoch, 0) + size
    # The first and the last may be there in part.
    whole = [size for _, size in sorted(epochs.items())[1:-1]]
    if not whole:
        raise SystemExit(f"no whole checkpoint within {options.seconds} s")
    size = statistics.median(whole)
    return [f"{options.rows:,}", f"{rate:,}", f"{2 * rate:,}", spread([s / 1024 for s in whole]), f"{size / (2 * rate):.0f}"]


def hot(options):
    n = options.rows
    per_key = round(n * HOT_SHARE)
    # As many pairs, by keys with 20 rows a side each.
    pairs, each = per_key * per_key, 20
    keys = math.ceil(pairs / each**2)
    programs = {
        "one key has 30 %": (n, f"CASE WHEN id < {per_key} THEN -1 ELSE id END"),
        f"keys with {each} rows": (keys * each, f"id % {keys}"),
    }
    runs = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, (rows, key) in programs.items():
            program = tables(rows) + "SET 'emit.mode' = 'changes';\n" + GONE
            for side in "lr":
                program += f"CREATE VIEW keyed_{side} AS SELECT {key} AS k, id, note FROM {side};\n"
            program += "INSERT INTO gone SELECT l.id, l.note, r.note FROM keyed_l AS l JOIN keyed_r AS r ON l.k = r.k;\n"
            runs[name].append(measure(options, program))
    rows = []
    for name, found in runs.items():
        of = lambda what, form: spread([run[what] for run in found], form)
        rows.append([name, f"{programs[name][0]:,}", of("rows", "{:,.0f}"), of("wall_s", "{:.2f}"), of("cpu_s", "{:.2f}")])
    table(["join", "rows a side", "pairs", "s", "CPU s"], rows)


def about(options):
    version = subprocess.run([options.binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    print(f"{version}, {datetime.date.today():%d %B %Y}; {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, "
          f"{options.workers} workers, load before {os.getloadavg()[0]:.2f}\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["state", "delta", "hot"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rates", type=lambda text: [int(rate) for rate in text.split(",")], default=[1000, 10_000, 100_000])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--binary", type=pathlib.Path, default=pathlib.Path("target/release/rheos"))
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    do, rows, rounds = {"state": (state, 10_000_000, 3), "delta": (delta, 1_000_000, 1), "hot": (hot, 20_000, 5)}[options.what]
    options.rows, options.rounds = options.rows or rows, options.rounds or rounds
    about(options)
    do(options)


if __name__ == "__main__":
    main()
