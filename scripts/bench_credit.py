#!/usr/bin/env python3
"""Time and peak memory of jobs under several credits: the table of docs/benchmarks.md.

usage: cargo build --release --example credit
       scripts/bench_credit.py [--binary FILE] [--runs 5] [--events 20000000]

Threads that must share a core keep more rows on their way: `taskset -c 0 scripts/bench_credit.py` shows it.

Each run is a process of its own, and the credits take turns. Wall: the fastest run, since the others waited for the
machine. CPU: the median. Memory: the highest peak; "longer" is that of one run with ten times the events.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

CREDITS_MIB = (1, 2, 4, 8, 16)


def run(binary: Path, folder: str, *args: object) -> tuple[float, float, float]:
    """Seconds of the wall and of the CPU, peak memory in MiB."""
    start = time.monotonic()
    process = subprocess.Popen([binary, *map(str, args)], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{binary} {args} failed")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=Path("target/release/examples/credit"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=20_000_000)
    options = parser.parse_args()
    binary = options.binary.resolve()
    with tempfile.TemporaryDirectory() as folder:
        run(binary, folder, "csv-write", 4, options.events // 4)
        print("| job | credit | wall | CPU | peak memory | longer |\n|---|---|---|---|---|---|")
        n = options.events
        for job, events in {"hop": n, "exchange": n // 4, "wide": n // 8, "csv": 0}.items():
            results = {credit: [] for credit in CREDITS_MIB}
            for _ in range(options.runs):
                for credit in CREDITS_MIB:
                    results[credit].append(run(binary, folder, job, credit, events))
            for credit, found in results.items():
                walls, cpus, peaks = zip(*found)
                wall, cpu, peak = min(walls), statistics.median(cpus), max(peaks)
                # The csv file has one length.
                longer = f"{run(binary, folder, job, credit, events * 10)[2]:.0f} MiB" if events else ""
                print(f"| {job} | {credit} MiB | {wall:.2f} s | {cpu:.2f} s | {peak:.0f} MiB | {longer} |", flush=True)


if __name__ == "__main__":
    main()
