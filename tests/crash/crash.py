#!/usr/bin/env python3
"""Kills jobs that keep state, again and again, and checks that their output is as if nothing had happened.

    tests/crash/crash.py --binary target/release/rheos [--kills 25] [--jobs filter,tumble] [--faults power,disk] [--seed N] [--results FILE]

Each round takes a job and a seed, makes its input, starts the real binary with `--state-dir`, kills it with SIGKILL at a random
moment or in the middle of a restore, a checkpoint, a compaction or a commit (aims.py), starts it again with another number of workers, and so on until it has come to its end. Then the output is compared with
what this script computes from the input, which shares no code with the engine: nothing may be lost, nothing may be there twice.
Some lines of the input are no rows; each has to be among the dead letters once.
With --faults each round also has one of these (faults.py): the power fails, the disk fails, is full, or damages files.

Rounds go on until as many kills as asked for have hit a running job. With --results each round adds a line of JSON to a file; a run
that was stopped is taken up again there, and the sums of all lines are printed.
"""

import argparse
import collections
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

import aims
import faults
from jobs import JOBS

WORKERS = (1, 2, 3)
# Starts of one round; a job that has not ended by then never will.
STARTS_MAX = 400
# With so many kills each phase has to be among them; some rounds more are aimed at one that is not.
KILLS_WITH_ALL_PHASES = 20
ROUNDS_MORE = 20

class Round:
    """One job, with its input and its fault, until it has come to its end. `phases`: what kills are aimed at."""

    def __init__(self, args, job_name, seed, phases, work):
        self.rng = random.Random(f"{job_name}-{seed}")
        self.args, self.work, self.job = args, work, JOBS[job_name]
        self.name, self.kills, self.starts = f"{job_name}, seed {seed}", 0, 0
        self.input = self.job.make_input(work, self.rng, args.rows)
        self.form = self.rng.choice(("csv", "json"))
        self.fault = faults.CLASSES[args.faults[seed % len(args.faults)]](self.rng, work)
        self.aims = aims.Aims(self.rng, phases)
        program = self.job.program(self.input, self.fault.output, self.form, self.rng.choice((0, 150, 1000)))
        (work / "job.sql").write_text(program)

    def play(self, kills_wanted, usual_s):
        """Starts and kills. `usual_s`: how long a start takes that is not killed, as far as it is known; kills fall into that."""
        for self.starts in range(1, STARTS_MAX + 1):
            # Now and then in the first moments: while it restores, claims, commits again.
            kill_s = self.rng.choice((0.06, usual_s, usual_s)) * self.rng.random() + 0.003
            kills = self.kills < kills_wanted
            if kills and self.aims.take():
                kill_s = None
            code, log, took_s = self.start(kill_s if kills else None, kills and self.aims.at)
            self.aims.look(self.fault.state)
            if code is None:
                self.kills += 1
                self.aims.count()
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

    def start(self, kill_s, is_aimed):
        """Exit code, what it said, and how long it took. The code is None if it was killed, after `kill_s` or where it was aimed."""
        workers, interval = self.rng.choice(WORKERS), self.rng.choice((20, 60, 200))
        environment = self.fault.environment()
        if is_aimed:
            interval = aims.INTERVALS_MS[self.aims.at]
            environment = self.aims.environment(environment, (self.fault.state, self.fault.disk))
        command = [self.args.binary, "run", self.work / "job.sql", "--state-dir", self.fault.state, "--parallelism", str(workers)]
        command += ["--set", f"checkpoint.interval={interval} ms"]
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
            finally:
                # If this program itself is ended.
                process.kill()
            log.seek(0)
            return None if is_aimed and code == -signal.SIGKILL else code, log.read(), time.monotonic() - began

    def compare(self, is_whole):
        """What is visible, with what is right; before the end rows may be missing."""
        self.fault.seen |= self.job.compare(self.input, self.fault.output, self.fault.state, self.form, is_whole)

    def check_counts(self, log):
        """What the last start tells of the whole job: each line has been counted once."""
        rows, bad = len(self.input.rows), len(self.input.bad)
        counts = f"t: {rows + bad:,} read = {rows:,} decoded + {bad:,} dead-lettered + 0 skipped\n"
        if bad and counts not in log and "had come to its end before" not in log:
            raise RuntimeError(f"wrong counts, not {counts.strip()}: {log[-500:]}")


def play(args, job_name, seed, phases, kills_wanted, usual_s):
    """One round. Gives its line of the results; raises on a wrong result. `usual_s`: by job and fault."""
    with tempfile.TemporaryDirectory(prefix="rheos-crash-", dir=args.work) as made:
        one = Round(args, job_name, seed, phases, pathlib.Path(made).resolve())
        kind = one.fault.kind
        try:
            usual_s[job_name, kind] = one.play(kills_wanted, usual_s.get((job_name, kind), 0.3))
        except RuntimeError as failure:
            raise RuntimeError(keep(one.work, f"{one.name}, faults: {kind}: {failure}")) from None
        finally:
            one.fault.close()
        done = {"job": job_name, "seed": seed, "kills": one.kills, "starts": one.starts, "rows": len(one.input.rows)}
        return {**done, "faults": kind, "seen": one.fault.seen, "hit": one.aims.hit, "merged": int(one.aims.has_merged)}


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
    parser.add_argument("--kills-per-round", type=int, default=None, metavar="N", help="at most; 5, or fewer so that each job has some")
    parser.add_argument("--jobs", default=",".join(JOBS), metavar="NAMES", help="such as filter,tumble; all unless given")
    parser.add_argument("--faults", default="none", metavar="NAMES", help=f"of {', '.join(faults.KINDS)}, or all; none unless given")
    phases = ",".join(aims.PHASES)
    parser.add_argument("--aims", default=phases, metavar="NAMES", help=f"of {phases}, or none; all unless given")
    parser.add_argument("--rows", type=int, default=300_000, metavar="N", help="of each input; 300,000 unless given")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first round; each round takes the next")
    parser.add_argument("--limit", type=int, default=120, metavar="SECONDS", help="of a start that is not killed")
    parser.add_argument("--work", type=pathlib.Path, default=None, metavar="DIR", help="where the rounds have their folders")
    parser.add_argument("--results", type=pathlib.Path, default=None, metavar="FILE", help="lines of JSON, one a round; added to")
    args = parser.parse_args()
    args.binary = args.binary.absolute()
    args.jobs, args.aims = args.jobs.split(","), [] if args.aims == "none" else args.aims.split(",")
    args.faults = faults.KINDS if args.faults == "all" else args.faults.split(",")
    args.kills_per_round = args.kills_per_round or min(5, -(-args.kills // len(args.jobs)))
    for what, names, known in (("job", args.jobs, JOBS), ("phase", args.aims, aims.PHASES), ("fault", args.faults, faults.KINDS)):
        for name in names:
            if name not in known:
                parser.error(f"there is no {what} '{name}'; choose from {', '.join(known)}")
    return args


def main():
    args = arguments()
    # As Ctrl-C: what is mounted and what runs must not stay.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="rheos-faults-") as folder:
        folder = pathlib.Path(folder)
        args.faults = faults.usable(args.faults, folder)
        missing = aims.build(folder) if args.aims else None
        if missing:
            print(f"skipped: aimed kills: {missing}", flush=True)
            args.aims = []
        return run(args) if args.faults else 0


def run(args):
    done = []
    if args.results and args.results.exists():
        done = [json.loads(line) for line in args.results.read_text().splitlines()]
    try:
        return rounds(args, done)
    except KeyboardInterrupt:
        print(f"stopped after {told(done)}, {len(done)} rounds")
        return 130


def rounds(args, done):
    """Plays until there are enough; adds to `done`. The exit code."""
    seed = max((r["seed"] for r in done), default=args.seed - 1) + 1
    usual_s, more = {}, 0
    while True:
        kills, missed = sum(r["kills"] for r in done), missed_phases(args, done)
        is_enough = kills >= args.kills
        if is_enough and not missed:
            break
        more += is_enough
        if more > ROUNDS_MORE:
            print(f"FAILED: no kill has hit: {', '.join(missed)}", file=sys.stderr)
            return 1
        # So that each job meets each fault.
        name = args.jobs[(seed // len(args.faults)) % len(args.jobs)]
        wanted = 1 if is_enough else min(args.kills_per_round, args.kills - kills)
        try:
            line = play(args, name, seed, missed if is_enough else args.aims, wanted, usual_s)
        except RuntimeError as failure:
            print(f"FAILED: {failure}", file=sys.stderr)
            return 1
        done.append(line)
        print(f"{name}, seed {seed}, faults: {line['faults']}: {told([line])}: right", flush=True)
        if args.results:
            with open(args.results, "a") as out:
                out.write(json.dumps(line) + "\n")
        seed += 1
    print(f"{told(done)}, {len(done)} rounds: 0 lost, 0 duplicated")
    return 0


def missed_phases(args, done):
    """Those that no kill has hit, where there were enough kills for all of them."""
    if args.kills < KILLS_WITH_ALL_PHASES:
        return []
    return [phase for phase in args.aims if not any(phase in line.get("hit", {}) for line in done)]


def told(done):
    """Sums of rounds: kills and what they have hit, starts, input rows, what faults have done."""
    total = {key: sum(r[key] for r in done) for key in ("kills", "starts", "rows")}
    hit, seen = collections.Counter(), collections.Counter()
    for line in done:
        # Lines of earlier versions do not have all.
        hit.update(line.get("hit", {"at random": line["kills"]}))
        seen.update(line.get("seen", {}))
    where = ", ".join(f"{hit[what]} {'' if what == 'at random' else 'in a '}{what}" for what in ("at random", *aims.PHASES) if hit[what])
    merged = sum(line.get("merged", 0) for line in done)
    extra = [f"state merged in {merged} of {len(done)}"] if merged else []
    extra += [f"{count} {what}" for what, count in sorted(seen.items())]
    kills = f"{total['kills']} kills" + (f" ({where})" if where else "")
    return ", ".join([kills, f"{total['starts']} starts", f"{total['rows']:,} rows", *extra])


if __name__ == "__main__":
    sys.exit(main())
