#!/usr/bin/env python3
"""What keeping state costs: three tables of docs/benchmarks.md.

    benches/checkpoints.py cost     [--state-gb 0,1,4] [--interval-ms 1000] [--seconds 20] [--pairs 3]
    benches/checkpoints.py recovery [--state-mb 100,1000] [--runs 5]
    benches/checkpoints.py latency  [--intervals-ms 200,1000] [--seconds 30]
    each: [--binary target/release/rheos] [--work DIR] [--workers 2]

cost: a window that never fires keeps a text for each of a million keys (--keys), in all so many GB. Each interval touches a
tenth of the keys and leaves the others alone. Two runs of each kind, with and without a state directory:
  paced      rows come at the rate that touches a tenth of the keys an interval. A second stream of 1,000 rows a second goes
             through the same workers to stdout: how late its rows are is the pause that a checkpoint makes on the data path.
             How long checkpoints take is read off the manifests: from the cut to the file's own time.
  as fast as possible
             rows per second, merging of old state and all; in turn, the drop is the median over the pairs. As many rows touch a
             tenth of the keys as an interval has at that rate.
recovery: such a job is killed (SIGKILL) when its state is complete, and started again: the time to the first row on stdout.
latency: a generator of 1,000 rows a second, a csv table that commits with each checkpoint. A row is due at its number / rate behind
the first, and has arrived when its file has its visible name; how long it waits to be written counts.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TICKS_PER_S = 1000
MIB, GB = 1 << 20, 1_000_000_000
# Rows that come before are not looked at: threads start, memory is touched for the first time.
WARM_UP_S = 2

SOURCE = """CREATE TABLE t (id BIGINT, payload STRING, at TIMESTAMP(3), WATERMARK FOR at AS at)
WITH ('connector' = 'datagen', {pace}'fields.id.kind' = 'sequence', 'fields.at.kind' = 'sequence', 'fields.at.step' = '1 ms',
      'fields.payload.length' = '{width}');
CREATE TABLE gone (k BIGINT, n BIGINT, highest STRING) WITH ('connector' = 'blackhole');
"""
# All keys once, then in each stretch of `block` rows the next tenth of them, again and again.
STATE = """CREATE VIEW keyed AS SELECT CASE WHEN id < {keys} THEN id ELSE (id / {block} * {tenth} + id % {tenth}) % {keys} END AS k, payload, at
FROM t;
INSERT INTO gone SELECT k, count(*), max(payload) FROM TABLE(TUMBLE(TABLE keyed, DESCRIPTOR(at), INTERVAL '36500' DAY))
GROUP BY k, window_start, window_end;
"""
NO_STATE = "INSERT INTO gone SELECT id, id, payload FROM t WHERE id % 2 = 0;\n"
TICKS = """CREATE TABLE ticks (id BIGINT)
WITH ('connector' = 'datagen', 'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence');
SELECT id FROM ticks;
"""
ROWS = """CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence');
CREATE TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{output}', 'format' = 'csv', 'sink.commit-interval' = '0 s');
INSERT INTO o SELECT id FROM t;
"""


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def lateness_ms(arrivals, per_s):
    """Of (number, time in s): how late each is, in ms. The earliest counts as on time."""
    late = [at - number / per_s for number, at in arrivals]
    return [(value - min(late)) * 1000 for value in late]


def program(options, gb, block, pace):
    width = max(1, round(gb * GB / options.keys)) if gb else 100
    text = SOURCE.format(pace=pace, width=min(width, 65_536))
    return text + (STATE.format(keys=options.keys, tenth=options.keys // 10, block=max(1, block)) if gb else NO_STATE)


class Run:
    """A job on its way. `ticks`: (number, time) of the rows on stdout."""

    def __init__(self, options, folder, text, state, interval_ms):
        self.folder, self.ticks, self.first, self.written = folder, [], None, 0
        (folder / "job.sql").write_text(text)
        command = [options.binary, "run", folder / "job.sql", "-p", str(options.workers), "-o", "csv"]
        command += ["--set", f"checkpoint.interval={interval_ms} ms"]
        if state:
            command += ["--state-dir", folder / "state"]
        self.log = open(folder / "log", "w+")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        rest = b""
        while chunk := os.read(self.process.stdout.fileno(), 1 << 16):
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.isdigit():
                    self.first = self.first or now
                    self.ticks.append((int(line), now))

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024

    def written_mib(self):
        """To the disk, also of files that are gone by now."""
        io = pathlib.Path(f"/proc/{self.process.pid}/io").read_text()
        return int(re.search(r"^write_bytes: (\d+)", io, re.M)[1]) // MIB

    def check(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise SystemExit(f"the job ended with {self.process.returncode}: {self.log.read()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self):
        """Waits. Gives CPU and wall seconds."""
        _, status, usage = os.wait4(self.process.pid, 0)
        took_s = time.monotonic() - self.begun
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.reader.join()
        self.process.stdout.close()
        if self.process.returncode not in (0, -signal.SIGKILL):
            self.log.seek(0)
            raise SystemExit(f"the job ended with {self.process.returncode}: {self.log.read()}")
        self.log.close()
        return usage.ru_utime + usage.ru_stime, took_s


class Checkpoints(threading.Thread):
    """Notes the manifests of a state directory as they come: old ones are deleted."""

    def __init__(self, state):
        super().__init__(daemon=True)
        self.journal, self.over, self.found = state / "journal", threading.Event(), {}

    def run(self):
        while not self.over.wait(0.1):
            if not self.journal.is_dir():
                continue
            for file in self.journal.iterdir():
                if file.name in self.found or not re.search(r"\d+\.json$", file.name):
                    continue
                try:
                    took_ms = file.stat().st_ctime * 1000 - cut_ms(file.read_text())
                    self.found[file.name] = (time.monotonic(), took_ms)
                except (FileNotFoundError, TypeError):
                    # Deleted just now, or no manifest.
                    self.found.setdefault(file.name, None)

    def times_ms(self, since):
        self.over.set()
        self.join()
        return [took_ms for at, took_ms in filter(None, self.found.values()) if at >= since]


def cut_ms(text):
    """When the epoch of a manifest was cut, in ms since 1970; None for another entry."""
    found = re.search(r'"wall_time_ms":\s*(\d+)', text)
    return int(found[1]) if found else None


def size_mib(folder):
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) // MIB


def paced(options, gb, state, folder):
    """Figures of one paced run, behind the time in which all keys come once."""
    per_interval = options.keys // 10
    rate = per_interval * 1000 // options.interval_ms
    text = program(options, gb, per_interval, f"'rows-per-second' = '{rate}/s', ") + TICKS
    run = Run(options, folder, text, state, options.interval_ms)
    checkpoints = Checkpoints(folder / "state")
    checkpoints.start()
    while len(run.ticks) < (options.keys / rate + WARM_UP_S) * TICKS_PER_S:
        run.check()
        time.sleep(0.05)
    since, n, written = time.monotonic(), len(run.ticks), run.written_mib()
    time.sleep(options.seconds)
    run.check()
    took_ms, figures = checkpoints.times_ms(since), {"peak_mib": run.peak_mib(), "written_mib": run.written_mib() - written}
    figures["stored_mib"] = size_mib(folder / "state") if state else 0
    run.kill()
    late = lateness_ms(run.ticks[n:], TICKS_PER_S)
    figures |= {"late_p99_ms": quantile(late, 0.99), "late_max_ms": max(late), "checkpoints": len(took_ms)}
    if took_ms:
        figures |= {"took_p50_ms": statistics.median(took_ms), "took_max_ms": max(took_ms)}
    return figures


def fast(options, gb, rows, block, state, folder):
    """Rows per second and CPU seconds per million rows."""
    pace = f"'number-of-rows' = '{rows}', "
    cpu_s, wall_s = Run(options, folder, program(options, gb, block, pace), state, options.interval_ms).end()
    return rows / wall_s, cpu_s / rows * 1e6


def in_folder(options, measure):
    with tempfile.TemporaryDirectory(prefix="rheos-bench-", dir=options.work) as folder:
        return measure(pathlib.Path(folder).resolve())


def cost(options):
    print(f"{options.workers} workers, {options.keys:,} keys, interval {options.interval_ms} ms\n")
    print("| state GB | checkpoints | ms, p50 | ms, max | late p99 ms, without | with | late max ms, without | with | "
          "MiB/s to disk | MiB stored | peak MiB, without | with |")
    print("|---:" * 12 + "|")
    for gb in options.state_gb:
        without, kept = (in_folder(options, lambda f, s=state: paced(options, gb, s, f)) for state in (False, True))
        both = [f"{run[key]:.1f}" for key in ("late_p99_ms", "late_max_ms") for run in (without, kept)]
        cells = [f"{gb:g}", kept["checkpoints"], f"{kept.get('took_p50_ms', 0):.0f}", f"{kept.get('took_max_ms', 0):.0f}", *both]
        cells += [f"{kept['written_mib'] / options.seconds:.0f}", kept["stored_mib"], without["peak_mib"], kept["peak_mib"]]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print("\n| state GB | rows/s without | with | drop % | CPU s/M without | with |\n" + "|---:" * 6 + "|")
    for gb in options.state_gb:
        # A short run tells the rate.
        block = options.keys
        rows = 2 * options.keys
        rate = in_folder(options, lambda f: fast(options, gb, rows, block, False, f))[0]
        block, rows = int(rate * options.interval_ms / 1000), int(rate * options.seconds)
        pairs = [
            [in_folder(options, lambda f, s=state: fast(options, gb, rows, block, s, f)) for state in (False, True)]
            for _ in range(options.pairs)
        ]
        rates = [statistics.median(pair[at][0] for pair in pairs) for at in (0, 1)]
        cpu = [statistics.median(pair[at][1] for pair in pairs) for at in (0, 1)]
        drop = statistics.median(1 - kept[0] / without[0] for without, kept in pairs)
        print(f"| {gb:g} | {rates[0]:,.0f} | {rates[1]:,.0f} | {drop * 100:.1f} | {cpu[0]:.3f} | {cpu[1]:.3f} |", flush=True)


def recovery(options):
    print("| state MB | MiB stored | first row, s, median | max | peak MiB |\n" + "|---:" * 5 + "|")
    for mb in options.state_mb:
        print(in_folder(options, lambda folder: recover(options, mb, folder)), flush=True)


def recover(options, mb, folder):
    per_interval = options.keys // 10
    rate = per_interval * 1000 // options.interval_ms
    text = program(options, mb / 1000, per_interval, f"'rows-per-second' = '{rate}/s', ") + TICKS
    run = Run(options, folder, text, True, options.interval_ms)
    while len(run.ticks) < (options.keys / rate + WARM_UP_S) * TICKS_PER_S:
        run.check()
        time.sleep(0.05)
    took_s, peaks = [], []
    for _ in range(options.runs):
        run.kill()
        stored = size_mib(folder / "state")
        run = Run(options, folder, text, True, options.interval_ms)
        while run.first is None:
            run.check()
            time.sleep(0.01)
        took_s.append(run.first - run.begun)
        # Some checkpoints more, so that the next start is no copy of this one.
        time.sleep(3 * options.interval_ms / 1000)
        peaks.append(run.peak_mib())
    run.kill()
    return f"| {mb:g} | {stored} | {statistics.median(took_s):.2f} | {max(took_s):.2f} | {max(peaks)} |"


def latency(options):
    print("| interval ms | rows | p50 ms | p99 ms | max ms |\n" + "|---:" * 5 + "|")
    for interval_ms in options.intervals_ms:
        late = in_folder(options, lambda folder: arrive(options, interval_ms, folder))
        figures = f"{quantile(late, 0.5):.0f} | {quantile(late, 0.99):.0f} | {max(late):.0f}"
        print(f"| {interval_ms} | {len(late):,} | {figures} |", flush=True)


def arrive(options, interval_ms, folder):
    """How late the rows are, in ms. When the first was due is what the engine's own output tells: the ticks of the same pace."""
    output = folder / "out"
    # The ticks go straight to stdout, so their earliest is due within a millisecond or two of the rows' own beginning.
    run = Run(options, folder, ROWS.format(output=output) + TICKS, True, interval_ms)
    seen, arrivals = set(), []
    until = time.monotonic() + options.seconds + WARM_UP_S
    while (now := time.monotonic()) < until:
        run.check()
        if output.is_dir():
            for entry in os.scandir(output):
                if entry.name.startswith(".") or entry.name in seen:
                    continue
                seen.add(entry.name)
                now = time.monotonic()
                ids = pathlib.Path(entry.path).read_text().split()[1:]
                arrivals += [(int(number), now) for number in ids]
        time.sleep(0.001)
    run.kill()
    begun = min(at - number / TICKS_PER_S for number, at in run.ticks)
    return [(at - number / TICKS_PER_S - begun) * 1000 for number, at in arrivals if number >= WARM_UP_S * TICKS_PER_S]


def numbers(text):
    return [float(part) if "." in part else int(part) for part in text.split(",")]


def main():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--binary", type=pathlib.Path, default="target/release/rheos")
    common.add_argument("--work", type=pathlib.Path, default=None, help="where state and output lie while it runs")
    common.add_argument("--workers", type=int, default=2)
    common.add_argument("--keys", type=int, default=1_000_000)
    common.add_argument("--interval-ms", type=int, default=1000, help="checkpoint.interval")
    common.add_argument("--seconds", type=int, default=20, help="that are looked at, of each run")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True)
    one = what.add_parser("cost", parents=[common])
    one.add_argument("--state-gb", type=numbers, default=[0, 1, 4])
    one.add_argument("--pairs", type=int, default=3)
    one.set_defaults(run=cost)
    one = what.add_parser("recovery", parents=[common])
    one.add_argument("--state-mb", type=numbers, default=[100, 1000])
    one.add_argument("--runs", type=int, default=5)
    one.set_defaults(run=recovery)
    one = what.add_parser("latency", parents=[common])
    one.add_argument("--intervals-ms", type=numbers, default=[200, 1000])
    one.set_defaults(run=latency)
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    options.run(options)


if __name__ == "__main__":
    sys.exit(main())
