"""Kills in the middle of something: disk.c below the process counts the points of a phase and ends it at one of them.

    restore     it reads what it goes on from, and claims the journal
    checkpoint  it makes objects and manifests
    compaction  it merges old objects, and removes what nothing needs any more
    commit      it makes output visible

Nothing in the product knows of it: a phase is told by the files that are read and made. All other kills are at random moments.
"""

import pathlib
import re
import shutil
import subprocess

# How far from the first point of its phase a kill falls, at most: about as many as a job of some hundred milliseconds has.
POINTS_MAX = {"restore": 30, "checkpoint": 200, "compaction": 12, "commit": 40}
PHASES = tuple(POINTS_MAX)
# Of checkpoints, so that there are some, and something to merge, within a short run.
INTERVALS_MS = {"restore": 20, "checkpoint": 20, "compaction": 5, "commit": 20}

library = None


def build(folder):
    """Builds disk.c. Why there is none, or nothing."""
    global library
    if library is not None:
        return None
    if shutil.which("cc") is None:
        return "there is no C compiler"
    made = folder / "disk.so"
    source = pathlib.Path(__file__).with_name("disk.c")
    built = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl", "-lpthread"], capture_output=True)
    if built.returncode:
        return f"cc: {built.stderr.decode()[:200]}"
    library = made
    return None


class Aims:
    """Of one round: what its next kill is aimed at, each phase in turn, and what kills have hit."""

    def __init__(self, rng, phases):
        self.rng, self.waiting, self.hit, self.at = rng, rng.sample(phases, len(phases)), {}, None
        self.has_merged = False

    def take(self):
        """Whether the next start is aimed at: about every second, if any is."""
        self.at = self.waiting.pop(0) if self.waiting and self.rng.random() < 0.5 else None
        if self.at:
            self.waiting.append(self.at)
        return self.at is not None

    def environment(self, environment, roots):
        """`environment`, so that the process kills itself. `roots`: its state, and what its output lies in."""
        points = self.rng.randint(1, POINTS_MAX[self.at])
        own = {"LD_PRELOAD": str(library), "DISK_ROOTS": ":".join(map(str, roots)), "DISK_AIM": f"{self.at} {points}"}
        return {**environment, **own}

    def count(self):
        """A kill has hit."""
        what = self.at or "at random"
        self.hit[what] = self.hit.get(what, 0) + 1

    def look(self, state):
        """Whether what a checkpoint names has been merged, by the names of objects in it."""
        for entry in (state / "journal").glob("*.json"):
            try:
                self.has_merged |= re.search(r'"g\d+-w\d+-e\d+-c\d+"', entry.read_text(errors="replace")) is not None
            except FileNotFoundError:
                pass
