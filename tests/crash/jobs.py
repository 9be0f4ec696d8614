"""What is run while it is killed: jobs, their input, and what has to become visible, computed without the engine."""

import base64
import collections
import csv
import json
import time

SECOND_MS = 1000
# Rows that come so much after their time that a window of a second may have fired.
DELAYS_MS = (8_000, 40_000)
# 2024-01-01.
START_MS = 1_704_067_200_000

TABLE = """CREATE TABLE t (id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'csv', 'csv.multiline' = 'false');
"""
# Small batches, as they come at a pace.
GENERATED = """CREATE TABLE t (id BIGINT, k AS id % 100, v AS id * 7 % 1000,
    ts AS TIMESTAMP '2024-01-01 00:00:00' + INTERVAL '0.001' SECOND
        * (CASE WHEN id % 10 = 9 THEN id - 20000 ELSE id END / CASE WHEN id % 1000 = 7 THEN 0 ELSE 1 END),
    WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}', 'rows-per-second' = '200000/s', 'fields.id.kind' = 'sequence');
"""
SINK = """CREATE TABLE {name} ({columns})
WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = '{format}', 'sink.commit-interval' = '{interval} ms');
INSERT INTO {name} {query};
"""


class Wrong(RuntimeError):
    """What is visible is not what has to be."""


def stamp(ms):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}"


def text(ms):
    """A timestamp as Rheos prints it."""
    whole, rest = divmod(ms, 1000)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(whole)) + (f".{rest:03d}".rstrip("0") if rest else "")


class Job:
    """columns: of the output; query: over t; expected: rows as lists of texts, from (id, k, v, ms)."""

    delayed = 0.0

    def __init__(self, columns, query, expected):
        self.columns, self.query, self.expected = columns, query, expected

    def make_input(self, work, rng, rows):
        return Input(work / "in", rng, rows, self.delayed)

    def outputs(self):
        """Name, columns and query of each table that is written."""
        return [("o", self.columns, self.query)]

    def program(self, made, folder, form, interval_ms):
        """`made`: what `make_input` gave; `folder`: where each output gets a folder of its name."""
        sinks = [
            SINK.format(name=name, columns=columns, query=query, path=folder / name, format=form, interval=interval_ms)
            for name, columns, query in self.outputs()
        ]
        return made.table + "".join(sinks)

    def compare(self, made, folder, state, form, is_whole):
        """What is visible, with what is right; before the end rows may be missing. Errors: Wrong."""
        check("rows", as_text(self.expected(made.rows)), read_output(folder / "o", form), is_whole)
        check("dead letters", collections.Counter(made.bad), read_letters(state / "errors" / "t"), is_whole)
        return {}


class LateJob(Job):
    """Windows, the rows that came too late for them, and the lines that are no rows: all that is read is in one of the three.

    Which rows are late is for the engine to say, as it depends on who is how far. But only those that were held back may be, and
    the windows have to be those of all others.
    """

    delayed = 0.1

    def outputs(self):
        late = "SELECT id, k, v, ts, window_end, watermark FROM t$late"
        return [
            *super().outputs(),
            ("late", "id BIGINT, k BIGINT, v BIGINT, ts TIMESTAMP(3), e TIMESTAMP(3), w TIMESTAMP(3)", late),
            ("bad", "line STRING", "SELECT CAST(raw AS STRING) FROM t$errors"),
        ]

    def compare(self, made, folder, state, form, is_whole):
        windows, late, bad = (read_output(folder / name, form) for name in ("o", "late", "bad"))
        held_back = {str(i) for i in made.delayed}
        known = {str(i): (str(k), str(v), text(ms), text(ms - ms % SECOND_MS + SECOND_MS)) for i, k, v, ms in made.rows}
        for (i, *row, watermark), times in late.items():
            if times > 1 or i not in held_back or tuple(row) != known[i] or padded(watermark) < padded(row[-1]):
                raise Wrong(f"late rows: {[i, *row, watermark]} is there {times} times; held back: {i in held_back}")
        check("dead letters", collections.Counter((line,) for line in made.bad), bad, is_whole)
        if is_whole:
            ids = {row[0] for row in late}
            check("rows", as_text(self.expected([r for r in made.rows if str(r[0]) not in ids])), windows, is_whole)
            used = sum(int(row[2]) * times for row, times in windows.items())
            if used + len(ids) + bad.total() != len(made.rows) + len(made.bad):
                raise Wrong(f"{used} used + {len(ids)} late + {bad.total()} bad are not {len(made.rows) + len(made.bad)} read")
        return {"late": late.total()}


class GeneratedJob(LateJob):
    """The same of rows that the engine makes by itself."""

    def make_input(self, work, rng, rows):
        return GeneratedInput(rows)


def as_text(rows):
    return collections.Counter(tuple(str(value) for value in row) for row in rows)


def padded(time):
    """So that texts of times sort as the times."""
    return time if "." in time else time + "."


def check(name, expected, found, is_whole):
    lost, twice = expected - found if is_whole else {}, found - expected
    if lost or twice:
        what = f"{name}: {sum(lost.values())} lost, {sum(twice.values())} twice or wrong"
        raise Wrong(f"{what}; lost {list(lost)[:3]}, more {list(twice)[:3]}")


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
SECONDS = (
    "s TIMESTAMP(3), k BIGINT, n BIGINT, total BIGINT",
    """SELECT window_start, k, count(*), sum(v) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' SECOND))
       GROUP BY window_start, window_end, k""",
    counted(SECOND_MS, SECOND_MS),
)
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
    "late": LateJob(*SECONDS),
    "generated": GeneratedJob(*SECONDS),
}


class Input:
    """Files whose rows are out of order by at most what the watermark allows, and some lines that are no rows.

    table: what declares it; rows: (id, k, v, ms); bad: those lines; delayed: ids of rows that come later than allowed, a share
    of them.
    """

    def __init__(self, folder, rng, rows, delayed=0.0):
        folder.mkdir()
        self.table, self.rows, self.bad, self.delayed = TABLE.format(input=folder), [], [], set()
        # Rows of files that are read at once are late only for the slowest of them.
        files = 1 if delayed else rng.randint(1, 4)
        per_ms = 1 if delayed else rng.choice((1, 5, 20))
        for n in range(rows):
            k = rng.randint(0, 99) if rng.random() < 0.7 else 7
            ms = START_MS + n // per_ms + rng.randint(-2000, 2000)
            if delayed and rng.random() < delayed:
                self.delayed.add(n)
                ms -= rng.randint(*DELAYS_MS)
            self.rows.append((n, k, rng.randint(0, 999), ms))
        for f in range(files):
            part = self.rows[f * rows // files : (f + 1) * rows // files]
            with open(folder / f"part-{f}.csv", "w", newline="") as out:
                out.write("id,k,v,ts\n")
                for i, k, v, ms in part:
                    if rng.random() < 0.001:
                        self.bad.append(self.garbage(rng, i, k, v, ms))
                        out.write(self.bad[-1] + "\n")
                    out.write(f"{i},{k},{v},{stamp(ms)}\n")

    @staticmethod
    def garbage(rng, i, k, v, ms):
        kinds = (f"{i},{k},{v},never", f"{i},{k},NaN,{stamp(ms)}", f"{i},{k},{v},292277026596-12-04 15:30:08")
        return rng.choice(kinds)


class GeneratedInput:
    """As `Input`, of the rows of GENERATED."""

    def __init__(self, rows):
        self.table = GENERATED.format(rows=rows)
        is_bad = [i % 1000 == 7 for i in range(rows)]
        self.bad = [f'{{"id":{i}}}' for i in range(rows) if is_bad[i]]
        self.delayed = set(range(9, rows, 10))
        self.rows = [
            (i, i % 100, i * 7 % 1000, START_MS + (i - 20_000 if i in self.delayed else i)) for i in range(rows) if not is_bad[i]
        ]


def read_output(folder, form):
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


