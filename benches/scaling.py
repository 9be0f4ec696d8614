#!/usr/bin/env python3
"""What a second worker costs, and what a hot key does: two tables of docs/benchmarks.md.

    benches/scaling.py --data DIR [--binary target/release/rheos] [--pairs 5] [--events 10M]

Workers: one worker on one core (taskset) against two workers on two cores, in turn, over the same Parquet. The control is
the same job with one worker twice at the same time, a core each: what the machine itself makes dearer when both cores work.
Hot key: counts of sliding windows by key, once with the bidders as keys and once with nine of ten rows under one key.
CPU seconds are user and system time of the whole process. Figures are medians; of ratios, the medians over the pairs.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

WINDOWS = """
CREATE TABLE bid (bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3),
  WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND)
WITH ('connector' = 'filesystem', 'path' = '{bids}', 'format' = 'parquet');
CREATE VIEW keyed AS SELECT CASE WHEN MOD(price, 10) < 9 THEN {hot} ELSE bidder END AS k, `dateTime` FROM bid;
CREATE TABLE nowhere (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO nowhere SELECT k, count(*)
FROM TABLE(HOP(TABLE keyed, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
GROUP BY k, window_start, window_end;
"""


def start(command: list, core: int | None) -> tuple[subprocess.Popen, float]:
    prefix = [] if core is None else ["taskset", "-c", str(core)]
    return subprocess.Popen(prefix + command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), time.monotonic()


def end(process: subprocess.Popen, begun: float) -> tuple[float, float]:
    """CPU and wall seconds."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{process.args} failed")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begun


def middle(values) -> float:
    return statistics.median(values)


def workers(options, queries: list[str], program) -> None:
    print("| query | CPU s, 1 worker | 2 workers | ratio | control | wall s, 1 worker | 2 workers | faster |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for query in queries:
        one, two, both = [], [], []
        for _ in range(options.pairs):
            one.append(end(*start(program(query, 1), 0)))
            two.append(end(*start(program(query, 2), None)))
            at_once = [start(program(query, 1), core) for core in (0, 1)]
            both.append(sum(end(*p)[0] for p in at_once) / 2)
        cells = [middle(o[0] for o in one), middle(t[0] for t in two), middle(t[0] / o[0] for o, t in zip(one, two))]
        cells += [middle(b / o[0] for o, b in zip(one, both)), middle(o[1] for o in one), middle(t[1] for t in two)]
        cells += [middle(o[1] / t[1] for o, t in zip(one, two))]
        print(f"| {query} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)


def hot_key(options, folder: str, bids: Path) -> None:
    print("\n| keys | CPU s | wall s |\n|---|---:|---:|")
    programs = {"bidders": "bidder", "nine of ten rows under one": "1"}
    runs = {name: [] for name in programs}
    for _ in range(options.pairs):
        for name, hot in programs.items():
            sql = Path(folder, "windows.sql")
            sql.write_text(WINDOWS.format(bids=bids, hot=hot))
            runs[name].append(end(*start([options.binary, "run", str(sql), "-p", "2"], None)))
    for name, seen in runs.items():
        print(f"| {name} | {middle(s[0] for s in seen):.2f} | {middle(s[1] for s in seen):.2f} |")
    even, hot = runs.values()
    print(f"\nratio of CPU: {middle(h[0] / e[0] for e, h in zip(even, hot)):.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/rheos")
    parser.add_argument("--data", type=Path, required=True, help="folder of the events; made if it is missing")
    parser.add_argument("--events", default="10M")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--queries", default="q0,q1,q5,q11")
    options = parser.parse_args()
    options.binary, options.data = str(Path(options.binary).resolve()), options.data.resolve()
    bench = [options.binary, "bench", "nexmark", "--source", "parquet", "--events", options.events, "--runs", "1"]
    bench += ["--data", str(options.data), "-o", "json"]
    subprocess.run([*bench, "--queries", "q0"], check=True, stdout=subprocess.DEVNULL)
    bids = next(options.data.glob("parquet-*/**/bid*/"), None)
    if bids is None:
        raise SystemExit(f"there are no bids in {options.data}")
    workers(options, options.queries.split(","), lambda query, n: [*bench, "--queries", query, "-p", str(n)])
    with tempfile.TemporaryDirectory() as folder:
        hot_key(options, folder, bids)


if __name__ == "__main__":
    main()
