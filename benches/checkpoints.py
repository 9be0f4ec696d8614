#!/usr/bin/env python3
"""What keeping state costs: tables of docs/benchmarks.md.

    benches/checkpoints.py cost     [--state-gb 0,1,4] [--interval-s 1,2,5,10] [--seconds 10] [--rounds 3] [--changed 0.1]
    benches/checkpoints.py control  [--state-gb 1] [--interval-ms 1000] [--seconds 10] [--rounds 3] [--changed 0.1]
    benches/checkpoints.py recovery [--state-mb 100,1000] [--rounds 5]
    benches/checkpoints.py latency  [--intervals-ms 200,1000] [--seconds 10] [--rounds 3]
    each: [--binary target/release/rheos] [--work DIR] [--workers 2] [--results FILE]

cost: a window that never fires keeps a text for each of a million keys (--keys), in all so many GB. Each interval touches a
tenth of the keys (--changed) and leaves the others alone. What is looked at begins when all keys have come once and are stored, and
has 22 intervals at least: the table is merged as a whole each time twice its size has come, so once in them. Two runs of each kind, with and without a state
directory:
  paced      rows come at the rate that touches a tenth of the keys an interval. A second stream of 1,000 rows a second goes
             through the same workers to stdout: how late its rows are is the pause that a checkpoint makes on the data path.
             How long checkpoints take is read off the manifests: from the cut to the file's own time. Of several intervals
             (--interval-s) the first: as many bytes change in each of them.
  as fast as possible
             for each interval: rows per second, merging of old state and all; in turn, the drop is the median over the rounds. As many rows touch a
             tenth of the keys as an interval has at the rate without state. What goes to the disk meanwhile stands beside it.
control: what of that no program can avoid that keeps state so. As fast as possible without a state directory, in turn alone and beside
a process that only moves bytes: each interval it copies as many as change, writes them to a file, syncs it and reads it back; and
for two of these bytes, as merging does at least, it reads three that were written before and writes one, synced and read back.
recovery: such a job is killed (SIGKILL) when its state is complete, and started again: the time to the first row on stdout.
latency: a generator of 1,000 rows a second, a csv table that commits with each checkpoint. A row is due at its number / rate behind
the first, and has arrived when its file has its visible name; how long it waits to be written counts.

Each measured run adds a line of JSON to the results. A run of this program that was stopped goes on behind them; another binary or
other options begin anew. What the machine has no memory or disk for is skipped, and told.
"""

import argparse
import datetime
import itertools
import json
import multiprocessing
import os
import pathlib
import platform
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
# For a checkpoint that has all keys, behind the last of them.
STORED_S_MAX = 40
# What a job may take of the memory that is free, and of the disk for each byte of state.
MEMORY_SHARE, DISK_FOR_STATE = 0.85, 4

SOURCE = """CREATE TABLE t (id BIGINT, payload STRING, at TIMESTAMP(3), WATERMARK FOR at AS at)
WITH ('connector' = 'datagen', {pace}'fields.id.kind' = 'sequence', 'fields.at.kind' = 'sequence', 'fields.at.step' = '1 ms',
      'fields.payload.length' = '{width}');
CREATE TABLE gone (k BIGINT, n BIGINT, highest STRING) WITH ('connector' = 'blackhole');
"""
# All keys once; then a window of half of what is to change, which moves by as much in each stretch of `block` rows: wherever such
# a stretch begins, it touches that many keys.
STATE = """CREATE VIEW keyed AS SELECT CASE WHEN id < {keys} THEN id ELSE (id * {half} / {block} + id % {half}) % {keys} END AS k, payload, at
FROM t;
INSERT INTO gone SELECT k, count(*), max(payload) FROM TABLE(TUMBLE(TABLE keyed, DESCRIPTOR(at), INTERVAL '36500' DAY))
GROUP BY k, window_start, window_end;
"""
NO_STATE = "INSERT INTO gone SELECT id, id, payload FROM t WHERE id % 2 = 0;\n"
TICKS = """CREATE TABLE ticks (id BIGINT)
WITH ('connector' = 'datagen', 'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence');
SELECT id FROM ticks;
"""
# Tells how far the generator is.
PROGRESS = "SELECT id FROM t WHERE id % {step} = 0;\n"
ROWS = """CREATE TABLE t (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000/s', 'fields.id.kind' = 'sequence');
CREATE TABLE o (id BIGINT) WITH ('connector' = 'filesystem', 'path' = '{output}', 'format' = 'csv', 'sink.commit-interval' = '0 s');
INSERT INTO o SELECT id FROM t;
"""


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def lateness_ms(ticks, n, now):
    """How late each of (number, time in s) is, in ms, from the n-th on; the earliest of all counts as on time. Also what has
    not come by `now` is late."""
    begun = min(at - number / TICKS_PER_S for number, at in ticks)
    late = [(at - number / TICKS_PER_S - begun) * 1000 for number, at in ticks[n:]]
    return [*late, max(0.0, now - (ticks[-1][0] + 1) / TICKS_PER_S - begun) * 1000]


def program(options, gb, block, pace):
    width = max(1, round(gb * GB / options.keys)) if gb else 100
    text = SOURCE.format(pace=pace, width=min(width, 65_536))
    return text + (STATE.format(keys=options.keys, half=max(1, changed(options) // 2), block=max(1, block)) if gb else NO_STATE)


def changed(options):
    """Keys that an interval touches."""
    return max(1, round(options.keys * options.changed))


class Skipped(Exception):
    """Why something cannot be measured here."""


class Run:
    """A job on its way. `ticks`: (number, time) of the rows on stdout."""

    def __init__(self, options, folder, text, state, interval_ms):
        self.folder, self.ticks, self.first, self.memory_mib = folder, [], None, free_mib() * MEMORY_SHARE
        (folder / "job.sql").write_text(text)
        command = [options.binary, "run", folder / "job.sql", "-p", str(options.workers), "-o", "csv"]
        command += ["--set", f"checkpoint.interval={interval_ms} ms"]
        if state:
            command += ["--state-dir", folder / "state"]
        self.checkpoints = Checkpoints(folder / "state") if state else None
        self.log = open(folder / "log", "w+")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.log.close()
        if self.checkpoints:
            self.checkpoints.stop()

    def read(self):
        rest = b""
        while chunk := os.read(self.process.stdout.fileno(), 1 << 16):
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.isdigit():
                    self.first = self.first or now
                    self.ticks.append((int(line), now))

    def status_mib(self, name):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", status)[1]) // 1024

    def written_mib(self):
        """To the disk, also of files that are gone by now."""
        io = pathlib.Path(f"/proc/{self.process.pid}/io").read_text()
        return int(re.search(r"^write_bytes: (\d+)", io, re.M)[1]) // MIB

    def cpu_s(self):
        words = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, is_done, limit_s=600):
        """Until `is_done`, or for so long. Errors: SystemExit if the job ends, Skipped if it takes too much memory."""
        until = time.monotonic() + limit_s
        while not is_done() and time.monotonic() < until:
            if self.process.poll() is not None:
                self.log.seek(0)
                raise SystemExit(f"the job ended with {self.process.returncode}: {self.log.read()}")
            if self.status_mib("VmRSS") > self.memory_mib:
                raise Skipped(f"it takes more than {self.memory_mib:.0f} MiB of memory")
            time.sleep(0.01)

    def wait_until_stored(self, is_complete):
        """Until the state `is_complete`, and a checkpoint has it."""
        self.wait(is_complete)
        complete_ms = time.time() * 1000
        if self.checkpoints:
            self.wait(lambda: self.checkpoints.newest_cut_ms > complete_ms, STORED_S_MAX)
        self.wait(lambda: False, WARM_UP_S)


class Checkpoints(threading.Thread):
    """Notes the manifests of a state directory as they come: old ones are deleted."""

    def __init__(self, state):
        super().__init__(daemon=True)
        self.journal, self.over, self.found, self.newest_cut_ms = state / "journal", threading.Event(), {}, 0
        self.start()

    def run(self):
        while not self.over.wait(0.05):
            if not self.journal.is_dir():
                continue
            for file in self.journal.iterdir():
                if file.name in self.found or not re.search(r"\d+\.json$", file.name):
                    continue
                try:
                    cut = cut_ms(file.read_text())
                    self.found[file.name] = cut and (cut, max(0, file.stat().st_ctime * 1000 - cut))
                    self.newest_cut_ms = max(self.newest_cut_ms, cut or 0)
                except FileNotFoundError:
                    # Deleted just now.
                    self.found.setdefault(file.name, None)

    def times_ms(self, since_ms):
        """How long those took that were cut since."""
        return [took for cut, took in filter(None, self.found.values()) if cut >= since_ms]

    def stop(self):
        self.over.set()
        self.join()


def cut_ms(text):
    """When the epoch of a manifest was cut, in ms since 1970; None for another entry."""
    found = re.search(r'"wall_time_ms":\s*(\d+)', text)
    return int(found[1]) if found else None


def size_mib(folder):
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            # Deleted just now.
            pass
    return total // MIB


def free_mib():
    return int(re.search(r"MemAvailable:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) // 1024


def paced(options, gb, state, folder):
    """Figures of one paced run."""
    per_interval = changed(options)
    rate = per_interval * 1000 // options.interval_ms
    text = program(options, gb, per_interval, f"'rows-per-second' = '{rate}/s', ") + TICKS
    with Run(options, folder, text, state, options.interval_ms) as run:
        run.wait_until_stored(lambda: len(run.ticks) >= (options.keys / rate + WARM_UP_S) * TICKS_PER_S)
        since_ms, n, written = time.time() * 1000, len(run.ticks), run.written_mib()
        run.wait(lambda: False, options.seconds)
        took_ms = run.checkpoints.times_ms(since_ms) if state else []
        figures = {"peak_mib": run.status_mib("VmHWM"), "written_mib_s": (run.written_mib() - written) / options.seconds}
        figures["stored_mib"] = size_mib(folder / "state") if state else 0
        late = lateness_ms(run.ticks, n, time.monotonic())
    return figures | {"late_p99_ms": quantile(late, 0.99), "late_max_ms": max(late), "took_ms": took_ms}


def fast(options, gb, block, state, folder):
    """Rows per second, CPU seconds per million rows, and what goes to the disk."""
    text = program(options, gb, block, "") + PROGRESS.format(step=options.keys // 100)
    with Run(options, folder, text, state, options.interval_ms) as run:

        def rows():
            return max((number for number, _ in run.ticks[-100:]), default=0)

        run.wait_until_stored(lambda: rows() >= options.keys)
        (first, at), cpu_s, written = (rows(), time.monotonic()), run.cpu_s(), run.written_mib()
        run.wait(lambda: False, options.seconds)
        made, took_s, cpu_s, written = rows() - first, time.monotonic() - at, run.cpu_s() - cpu_s, run.written_mib() - written
    if made == 0:
        raise Skipped(f"it comes no further within {options.seconds} s")
    return {"rows_per_s": made / took_s, "cpu_s_per_m": cpu_s / made * 1e6, "written_mib_s": written / took_s}


def move_bytes(folder, n, interval_s, behind_s):
    """Moves bytes until it is ended; see the top. `behind_s`: how far behind its schedule it is."""
    changed_bytes, piece = os.urandom(n), bytearray(MIB)

    def read(name, length):
        with open(folder / name, "rb", buffering=0) as file:
            while length > 0 and (got := file.readinto(piece)):
                length -= got

    def write(name, content):
        with open(folder / name, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view):]
            os.fsync(file.fileno())
        read(name, len(content))

    write("merged-0", changed_bytes)
    begun = time.monotonic()
    for number in itertools.count(1):
        write(f"changed-{number % 2}", bytearray(changed_bytes))
        if number % 2 == 0:
            for name in ("changed-0", "changed-1", "merged-0"):
                read(name, n)
            write("merged-0", changed_bytes)
        behind_s.value = time.monotonic() - begun - number * interval_s
        time.sleep(max(0.0, -behind_s.value))


def beside_moves(options, gb, folder):
    """As `fast` without state, beside a process that moves bytes."""
    behind_s = multiprocessing.Value("d", 0.0)
    n = int(gb * GB * options.changed)
    mover = multiprocessing.Process(target=move_bytes, args=(folder, n, options.interval_ms / 1000, behind_s), daemon=True)
    mover.start()
    try:
        return fast(options, gb, options.keys, False, folder) | {"behind_s": max(0.0, behind_s.value)}
    finally:
        mover.kill()
        mover.join()


def control(options, results):
    rows = []
    for gb in options.state_gb:
        pairs = []
        for n in range(options.rounds):
            alone = results.take(["alone", gb, n], lambda f: fast(options, gb, options.keys, False, f), gb)
            beside = results.take(["beside", gb, n], lambda f: beside_moves(options, gb, f), gb)
            if None not in (alone, beside):
                pairs.append((alone, beside))
        if pairs:
            drops = [(1 - beside["rows_per_s"] / alone["rows_per_s"]) * 100 for alone, beside in pairs]
            rates = [spread([pair[at]["rows_per_s"] for pair in pairs], "{:,.0f}") for at in (0, 1)]
            rows.append([f"{gb:g}", *rates, spread(drops, "{:.1f}"), f"{max(b['behind_s'] for _, b in pairs):.1f}"])
    table(["as for state GB", "rows/s alone", "beside moved bytes", "drop %", "s behind"], rows)


class Results:
    """What has been measured, as lines of JSON: what it is, and the figures or why there are none."""

    def __init__(self, options, found=None):
        self.options, binary = options, options.binary.stat()
        self.of = [binary.st_size, int(binary.st_mtime), options.workers, options.keys, options.changed, options.interval_ms, options.seconds]
        if found is None:
            options.results.parent.mkdir(parents=True, exist_ok=True)
            lines = options.results.read_text().splitlines() if options.results.exists() else []
            found = {json.dumps(line["key"]): line for line in map(json.loads, lines)}
        self.found = found

    def of_options(self, options):
        """The same, of runs with other options."""
        return Results(options, self.found)

    def take(self, what, measure, need_gb=0):
        """Figures of `what`, measured now if they are not there; `None` if they cannot be had. `need_gb`: of state."""
        key = [*what, *self.of]
        if (text := json.dumps(key)) not in self.found:
            print(f"{datetime.datetime.now():%H:%M:%S} {' '.join(map(str, what))}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="rheos-bench-", dir=self.options.work) as folder:
                line = {"key": key, "at": time.time()}
                try:
                    if shutil.disk_usage(folder).free < need_gb * GB * DISK_FOR_STATE:
                        raise Skipped(f"the disk has less than {need_gb * DISK_FOR_STATE:g} GB free")
                    line["figures"] = measure(pathlib.Path(folder).resolve())
                except Skipped as why:
                    line["skipped"] = str(why)
            self.found[text] = line
            with open(self.options.results, "a") as out:
                out.write(json.dumps(line) + "\n")
        line = self.found[text]
        if "skipped" in line:
            print(f"skipped: {' '.join(map(str, what))}: {line['skipped']}", file=sys.stderr, flush=True)
        return line.get("figures")


def spread(values, form="{:.0f}"):
    """The median, and between which values it lies."""
    texts = [form.format(v) for v in (statistics.median(values), min(values), max(values))]
    return texts[0] if len(values) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def table(head, rows):
    print("| " + " | ".join(head) + " |\n" + "|---:" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def about(options):
    """What the tables stand on."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / (1 << 20)
    version = subprocess.run([options.binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.NamedTemporaryFile(dir=options.work) as file:
        began = time.monotonic()
        for _ in range(64):
            file.write(os.urandom(4 * MIB))
        os.fsync(file.fileno())
        disk_mib_s = 256 / (time.monotonic() - began)
    intervals = [f"{s:g}" for s in getattr(options, "interval_s", None) or [options.interval_ms / 1000]]
    print(f"{version}, {datetime.date.today():%d %B %Y}; {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, "
          f"{memory:.0f} GiB, Linux {platform.release()}, load before {os.getloadavg()[0]:.2f}; the disk takes {disk_mib_s:.0f} MiB/s; "
          f"{options.workers} workers, {options.keys:,} keys, {options.changed:g} of them changed in an interval of {', '.join(intervals)} s, {options.seconds} s looked at\n", flush=True)


def cost(options, results):
    intervals_ms = [round(s * 1000) for s in options.interval_s] if options.interval_s else [options.interval_ms]
    each = [at_interval(options, results, interval_ms) for interval_ms in intervals_ms]
    paced_rows = [paced_row(*each[0], gb) for gb in options.state_gb]
    head = ["state GB", "checkpoints", "ms each", "late p99 ms, without", "with", "late max ms, without", "with"]
    table([*head, "MiB/s to disk", "MiB stored", "peak MiB, without", "with"], filter(None, paced_rows))
    drops = [drop(*one, gb) for gb in options.state_gb for one in each]
    head = ["state GB", "interval s", "rows/s without", "with", "drop %", "CPU s/M without", "with", "MiB/s to disk"]
    table(head, filter(None, drops))


def at_interval(options, results, interval_ms):
    """Options and results of one interval: 22 of them are looked at."""
    seconds = max(options.seconds, 22 * interval_ms // 1000)
    options = argparse.Namespace(**{**vars(options), "interval_ms": interval_ms, "seconds": seconds})
    return options, results.of_options(options)


def paced_row(options, results, gb):
    """A row of the first table."""
    kinds = [results.take(["paced", gb, state], lambda f, s=state: paced(options, gb, s, f), gb) for state in (False, True)]
    if None in kinds:
        return None
    without, kept = kinds
    took = spread(kept["took_ms"]) if kept["took_ms"] else "none ended"
    late = [f"{run[key]:.0f}" for key in ("late_p99_ms", "late_max_ms") for run in (without, kept)]
    disk = [f"{kept['written_mib_s']:.0f}", kept["stored_mib"]]
    return [f"{gb:g}", len(kept["took_ms"]), took, *late, *disk, without["peak_mib"], kept["peak_mib"]]


def drop(options, results, gb):
    """A row of the second table: medians, and the least and the greatest."""
    rate = results.take(["rate", gb], lambda f: fast(options, gb, options.keys, False, f))
    if rate is None:
        return None
    block = int(rate["rows_per_s"] * options.interval_ms / 1000)
    pairs = []
    for n in range(options.rounds):
        kinds = [results.take(["fast", gb, state, n], lambda f, s=state: fast(options, gb, block, s, f), gb) for state in (False, True)]
        if None not in kinds:
            pairs.append(kinds)
    if not pairs:
        return None
    drops = [(1 - kept["rows_per_s"] / without["rows_per_s"]) * 100 for without, kept in pairs]
    rates = [spread([pair[at]["rows_per_s"] for pair in pairs], "{:,.0f}") for at in (0, 1)]
    cpu = [spread([pair[at]["cpu_s_per_m"] for pair in pairs], "{:.3f}") for at in (0, 1)]
    disk = spread([kept["written_mib_s"] for _, kept in pairs])
    return [f"{gb:g}", f"{options.interval_ms / 1000:g}", *rates, spread(drops, "{:.1f}"), *cpu, disk]


def recovery(options, results):
    rows = []
    for mb in options.state_mb:
        found = results.take(["recovery", mb, options.rounds], lambda folder: recover(options, mb, folder), mb / 1000)
        if found:
            rows.append([f"{mb:g}", max(found["stored_mib"]), spread(found["took_s"], "{:.2f}"), max(found["peak_mib"])])
    table(["state MB", "MiB stored", "first row, s", "peak MiB"], rows)


def recover(options, mb, folder):
    """Figures of each start behind a kill."""
    per_interval = changed(options)
    rate = per_interval * 1000 // options.interval_ms
    text = program(options, mb / 1000, per_interval, f"'rows-per-second' = '{rate}/s', ") + TICKS
    with Run(options, folder, text, True, options.interval_ms) as run:
        run.wait_until_stored(lambda: len(run.ticks) >= (options.keys / rate + WARM_UP_S) * TICKS_PER_S)
    figures = {"took_s": [], "stored_mib": [], "peak_mib": []}
    for _ in range(options.rounds):
        figures["stored_mib"].append(size_mib(folder / "state"))
        with Run(options, folder, text, True, options.interval_ms) as run:
            run.wait(lambda: run.first is not None)
            figures["took_s"].append(run.first - run.begun)
            # Some checkpoints more, so that the next start is no copy of this one.
            run.wait(lambda: False, 3 * options.interval_ms / 1000)
            figures["peak_mib"].append(run.status_mib("VmHWM"))
    return figures


def latency(options, results):
    rows = []
    for interval_ms in options.intervals_ms:
        measure = lambda folder, interval_ms=interval_ms: arrive(options, interval_ms, folder)
        found = [results.take(["latency", interval_ms, n], measure) for n in range(options.rounds)]
        if None not in found:
            figures = [spread([one[key] for one in found]) for key in ("p50_ms", "p99_ms", "max_ms")]
            rows.append([interval_ms, f"{sum(one['rows'] for one in found):,}", *figures])
    table(["interval ms", "rows", "p50 ms", "p99 ms", "max ms"], rows)


def arrive(options, interval_ms, folder):
    """How late the rows are, in ms. When the first was due is what the engine's own output tells: the ticks of the same pace."""
    output = folder / "out"
    seen, arrivals = set(), []

    def look():
        for entry in os.scandir(output) if output.is_dir() else ():
            if not entry.name.startswith(".") and entry.name not in seen:
                seen.add(entry.name)
                now = time.monotonic()
                arrivals.extend((int(number), now) for number in pathlib.Path(entry.path).read_text().split()[1:])
        return False

    # The ticks go straight to stdout, so their earliest is due within a millisecond or two of the rows' own beginning.
    with Run(options, folder, ROWS.format(output=output) + TICKS, True, interval_ms) as run:
        run.wait(look, options.seconds + WARM_UP_S)
    begun = min(at - number / TICKS_PER_S for number, at in run.ticks)
    late = [(at - number / TICKS_PER_S - begun) * 1000 for number, at in arrivals if number >= WARM_UP_S * TICKS_PER_S]
    return {"rows": len(late), "p50_ms": quantile(late, 0.5), "p99_ms": quantile(late, 0.99), "max_ms": max(late)}


def numbers(text):
    return [float(part) if "." in part else int(part) for part in text.split(",")]


def main():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--binary", type=pathlib.Path, default="target/release/rheos")
    common.add_argument("--work", type=pathlib.Path, default=None, help="where state and output lie while it runs")
    common.add_argument("--workers", type=int, default=2)
    common.add_argument("--keys", type=int, default=1_000_000)
    common.add_argument("--changed", type=float, default=0.1, help="share of the keys that an interval touches")
    common.add_argument("--interval-ms", type=int, default=1000, help="checkpoint.interval")
    common.add_argument("--seconds", type=int, default=10, help="that are looked at, of each run")
    common.add_argument("--results", type=pathlib.Path, default="target/checkpoints.jsonl", help="lines of JSON; added to")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True)
    one = what.add_parser("cost", parents=[common])
    one.add_argument("--state-gb", type=numbers, default=[0, 1, 4])
    one.add_argument("--interval-s", type=numbers, help="in place of --interval-ms, and several of them")
    one.add_argument("--rounds", type=int, default=3, help="as fast as possible")
    one.set_defaults(run=cost)
    one = what.add_parser("control", parents=[common])
    one.add_argument("--state-gb", type=numbers, default=[1])
    one.add_argument("--rounds", type=int, default=3)
    one.set_defaults(run=control)
    one = what.add_parser("recovery", parents=[common])
    one.add_argument("--state-mb", type=numbers, default=[100, 1000])
    one.add_argument("--rounds", type=int, default=5, help="kills")
    one.set_defaults(run=recovery)
    one = what.add_parser("latency", parents=[common])
    one.add_argument("--intervals-ms", type=numbers, default=[200, 1000])
    one.add_argument("--rounds", type=int, default=3)
    one.set_defaults(run=latency)
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    about(options)
    options.run(options, Results(options))


if __name__ == "__main__":
    sys.exit(main())
