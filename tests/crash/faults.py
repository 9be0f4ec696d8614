"""What goes wrong with the disk below a job that is killed, and what may be said of it then.

    none     nothing
    power    a kill is a power failure: names and bytes that were not synced may be gone, also out of order
    disk     writes of state fail, are slow, half done, done and told as failed; the disk is full now and then
    space    state lies on a small file system, which somebody else fills up and empties again
    damage   after a kill, files of state lose a bit, their end, or are gone

The first job of a fault is to be impossible to tell from the outside. Only these may be seen: under `disk` and `space` a start
may end with an error of the store, and the next one goes on; under `damage` a start may refuse to go on, by an error that is
documented, and goes on when the files are back.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import threading

import aims

KINDS = ("none", "power", "disk", "space", "damage")

# Chances in a million: fail, full, slow, half, done but told as failed.
CHANCES = ((2000, 500, 20000, 2000, 2000), (20000, 2000, 5000, 10000, 20000), (0, 20000, 0, 0, 0), (0, 0, 100000, 0, 0))
SMALL_DISK_MIB = 6
# Errors that say that others have the job, not that files are damaged.
IN_USE = {"R0605", "R0623"}
# R0203: dead letters lie beside the state.
STORE_FAILED = {"R0621", "R0622", "R0405", "R0203"}


class Fault:
    """Nothing goes wrong. `disk`: the folder in which the job has its state and its output."""

    kind = "none"

    def __init__(self, rng, work):
        self.rng, self.disk, self.seen = rng, work / "disk", {}
        # Folders of their own above them: what one syncs does not help the other.
        self.state, self.output = self.disk / "a" / "state", self.disk / "b"
        self.state.parent.mkdir(parents=True)
        self.output.mkdir()

    def count(self, what):
        self.seen[what] = self.seen.get(what, 0) + 1

    def environment(self):
        """Of the next start."""
        return dict(os.environ)

    def while_running(self):
        return contextlib.nullcontext()

    def after_kill(self):
        pass

    def after_end(self):
        pass

    def may_end(self, code, log):
        """Whether a start may end so and be followed by another. `log`: what it has said."""
        return False

    def close(self):
        pass


class Shim(Fault):
    """disk.c below the process."""

    @classmethod
    def missing(cls, folder):
        """Why it cannot be, or nothing."""
        return aims.build(folder)

    def environment(self):
        return {**os.environ, "LD_PRELOAD": str(aims.library), "DISK_ROOTS": f"{self.state}:{self.disk}"}


class Power(Shim):
    kind = "power"

    def __init__(self, rng, work):
        super().__init__(rng, work)
        self.log, self.grave = work / "operations", work / "grave"

    def environment(self):
        shutil.rmtree(self.grave, ignore_errors=True)
        self.grave.mkdir()
        self.log.write_text("")
        return {**super().environment(), "DISK_LOG": str(self.log), "DISK_GRAVE": str(self.grave)}

    def after_kill(self):
        names, bytes_of = self.unsynced()
        # In the order of a file system's journal, or each folder for itself.
        pending = [op for op in names if not op["durable"]]
        if self.rng.random() < 0.5:
            cut = self.rng.randint(0, len(pending))
            undone = pending[cut:]
        else:
            cuts = {folder: self.rng.random() for folder in {op["folder"] for op in pending}}
            undone = []
            for folder, share in cuts.items():
                here = [op for op in pending if op["folder"] == folder]
                undone += here[round(share * len(here)) :]
        for op in sorted(undone, key=lambda op: -op["at"]):
            self.undo(op)
        self.lose_bytes(bytes_of)
        self.count("power failures")

    def after_end(self):
        self.after_kill()

    def unsynced(self):
        """Changes of names in their order, and by inode how many bytes are there for good."""
        names, synced = [], {}
        for line in self.log.read_text().splitlines():
            at, kind, *rest = line.split("\t")
            if kind in ("create", "open"):
                synced[int(rest[0])] = int(rest[1])
            if kind == "sync":
                synced[int(rest[0])] = int(rest[1])
            elif kind == "folder":
                for op in names:
                    if op["folder"] == rest[1] and op["at"] < int(rest[0]):
                        op["durable"] = True
            elif kind != "open":
                path = {"create": 2, "link": 0, "rename": 1, "unlink": 0, "mkdir": 0}[kind]
                folder = os.path.dirname(rest[path])
                names.append({"at": int(at), "kind": kind, "rest": rest, "folder": folder, "durable": False})
        return names, synced

    def undo(self, op):
        kind, rest = op["kind"], op["rest"]
        with contextlib.suppress(FileNotFoundError, FileExistsError, NotADirectoryError):
            if kind == "create":
                if os.stat(rest[2]).st_ino == int(rest[0]):
                    os.remove(rest[2])
            elif kind == "link":
                os.remove(rest[0])
            elif kind == "rename":
                os.rename(rest[1], rest[0])
                if rest[2] != "-":
                    os.link(rest[2], rest[1])
            elif kind == "unlink":
                if rest[1] != "-":
                    os.link(rest[1], rest[0])
            elif kind == "mkdir":
                shutil.rmtree(rest[0])
        self.count("names lost")

    def lose_bytes(self, synced):
        for path in [p for p in self.disk.rglob("*") if p.is_file()]:
            found = path.stat()
            safe = synced.get(found.st_ino, found.st_size)
            if found.st_size <= safe:
                continue
            self.count("files cut")
            at = self.rng.choice((safe, self.rng.randint(safe, found.st_size)))
            with open(path, "r+b") as file:
                file.truncate(at)
                if self.rng.random() < 0.3:
                    file.truncate(found.st_size)  # zeros


class Disk(Shim):
    kind = "disk"

    def environment(self):
        chances = " ".join(str(c) for c in self.rng.choice(CHANCES))
        return {**super().environment(), "DISK_FAULTS": f"{self.rng.getrandbits(32)} {chances}"}

    def may_end(self, code, log):
        ended = code == 1 and bool(STORE_FAILED & codes(log))
        if ended:
            self.count("starts that the store ended")
        if "warning" in log:
            self.count("starts with warnings")
        return ended


class Space(Disk):
    """The small file system has nothing but the state."""

    kind = "space"

    @classmethod
    def missing(cls, folder):
        at = folder / "try"
        at.mkdir()
        if not mount(at):
            return "no file system can be mounted here"
        subprocess.run(["umount", at], check=True)
        return None

    def __init__(self, rng, work):
        super().__init__(rng, work)
        self.mounted = self.disk / "small"
        self.mounted.mkdir()
        if not mount(self.mounted):
            raise RuntimeError("a file system could be mounted, and now none can")
        self.state = self.mounted / "state"

    def environment(self):
        return dict(os.environ)

    @contextlib.contextmanager
    def while_running(self):
        over = threading.Event()
        thread = threading.Thread(target=self.fill, args=(over, self.rng.getrandbits(32)))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def fill(self, over, seed):
        rng = type(self.rng)(seed)
        other = self.mounted / "of-others"
        while not over.wait(rng.random() * 0.3):
            with contextlib.suppress(OSError), open(other, "wb", buffering=0) as file:
                # To the last byte.
                for size in (1 << 16, 1 << 12, 1):
                    with contextlib.suppress(OSError):
                        while file.write(bytes(size)) == size:
                            pass
            self.count("times full")
            over.wait(rng.random() * 0.4)
            other.unlink(missing_ok=True)

    def close(self):
        subprocess.run(["umount", self.mounted], check=False, capture_output=True)


class Damage(Fault):
    kind = "damage"

    def __init__(self, rng, work):
        super().__init__(rng, work)
        self.kept, self.copies = [], work / "copies"
        self.copies.mkdir()

    def after_kill(self):
        files = sorted(p for p in self.state.rglob("*") if p.is_file() and not p.name.startswith(".") and p.stat().st_size)
        if not files or self.rng.random() < 0.4:
            return
        newest = sorted(files, key=lambda p: p.stat().st_mtime_ns)[-4:]
        victim = self.rng.choice(newest if self.rng.random() < 0.6 else files)
        copy = self.copies / str(len(self.kept))
        shutil.copy2(victim, copy)
        self.kept.append((victim, copy))
        how, size = self.rng.choice(("bit", "cut", "removed")), victim.stat().st_size
        self.count(how)
        if how == "removed":
            victim.unlink()
            return
        with open(victim, "r+b") as file:
            if how == "cut":
                file.truncate(self.rng.randrange(size))
            else:
                at = self.rng.randrange(size)
                file.seek(at)
                byte = file.read(1)[0] ^ 1 << self.rng.randrange(8)
                file.seek(at)
                file.write(bytes([byte]))

    def may_end(self, code, log):
        said = codes(log)
        refused = code == 65 and bool(self.kept) and any(c.startswith("R06") for c in said) and not said & IN_USE
        if refused:
            self.count("refused: " + ", ".join(sorted(said)))
            # As the user does: the files come back from a copy.
            for victim, copy in self.kept:
                shutil.copy2(copy, victim)
            self.kept.clear()
        return refused


def codes(log):
    """Of the errors that ended a start."""
    return set(re.findall(r"^error\[(R\d+)\]", log, re.M))


def mount(at):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MIB}m", "tmpfs", at], capture_output=True)
    return done.returncode == 0


CLASSES = {"none": Fault, **{c.kind: c for c in (Power, Disk, Space, Damage)}}


def usable(kinds, folder):
    """Those of `kinds` that can be had here. Tells what is skipped, and why."""
    found = []
    for kind in kinds:
        missing = getattr(CLASSES[kind], "missing", None)
        why = missing(folder) if missing else None
        if why:
            print(f"skipped: {kind}: {why}", flush=True)
        else:
            found.append(kind)
    return found
