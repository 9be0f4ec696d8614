"""One set of events, made by Rheos, for everybody.

    DIR/bid/part-0-0.parquet, auction/.., person/..   flat tables, compressed by snappy
    DIR/events/part-0-0.parquet                       all events in one table, a ROW column for each kind
    DIR/json/part-0-0.json                            the same as JSON lines
    DIR/json-split/part-{0,1}.json                    the same lines in two files, 50 by 50, for peers that split by file
    DIR/manifest.json                                 what they were made with; written last
"""

import itertools
import json
import pathlib
import shutil
import subprocess

# Events in a second of event time.
EVENTS_PER_S = 100_000
# Of the smaller set, on which answers are compared: it must be long enough for windows and sessions to end.
CHECK_EVENTS_PER_S = 1_000
SEED = 0

PERSON = """id BIGINT, name STRING, `emailAddress` STRING, `creditCard` STRING, city STRING, state STRING,
  `dateTime` TIMESTAMP(3), extra STRING"""
AUCTION = """id BIGINT, `itemName` STRING, description STRING, `initialBid` BIGINT, reserve BIGINT,
  `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING"""
BID = "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING"
FLAT = {"bid": BID, "auction": AUCTION, "person": PERSON}
EVENTS = f"event_type INT, person ROW<{PERSON}>, auction ROW<{AUCTION}>, bid ROW<{BID}>, `dateTime` TIMESTAMP(3)"

WATERMARK = ", WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND"
# One file a table: a part is neither full nor committed before the last event.
WHOLE = ", 'sink.if-exists' = 'replace', 'sink.rolling-policy.file-size' = '900000 GiB', 'sink.commit-interval' = '365 d'"
SNAPPY = ", 'parquet.compression' = 'snappy'"


def files(name, columns, folder, format, more=""):
    """A table of Rheos over the files of a folder."""
    path = str(folder).replace("'", "''")
    return f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = '{format}'{more});\n"


def rheos_tables(source, folder):
    """What stands before a program of examples/nexmark so that it reads the files of `source` in `folder`."""
    if source == "parquet":
        return "".join(files(name, columns + WATERMARK, folder / name, "parquet") for name, columns in FLAT.items())
    place, format = (folder / "events", "parquet") if source == "nested" else (folder / "json", "json")
    return files("events", EVENTS + WATERMARK, place, format)


def program(events, events_per_s, folder):
    """A program that writes all the files, each table by itself from a generator of the same seed."""

    def generator(name, table):
        options = f"'table' = '{table}', 'events.num' = '{events}', 'first-event.rate' = '{events_per_s}', 'seed' = '{SEED}'"
        return f"CREATE TABLE {name} WITH ('connector' = 'nexmark', {options});\n"

    text = generator("made", "events")
    for name, columns in FLAT.items():
        text += generator(f"made_{name}", name) + files(name, columns, folder / name, "parquet", WHOLE + SNAPPY)
        text += f"INSERT INTO {name} SELECT * FROM made_{name};\n"
    text += files("nested", EVENTS, folder / "events", "parquet", WHOLE + SNAPPY)
    text += files("lines", EVENTS, folder / "json", "json", WHOLE)
    for name in ("nested", "lines"):
        text += f"INSERT INTO {name} SELECT event_type, person, auction, bid, `dateTime` FROM made;\n"
    return text


def split_lines(folder):
    """Deals the lines out to two files, a round of 50 events at a time, so that both are in the order of event time."""
    target = folder / "json-split"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    with open(folder / "json" / "part-0-0.json", "rb") as lines:
        with open(target / "part-0.json", "wb") as first, open(target / "part-1.json", "wb") as second:
            for out in itertools.cycle((first, second)):
                round_of_50 = list(itertools.islice(lines, 50))
                if not round_of_50:
                    break
                out.writelines(round_of_50)


def prepare(binary, events, events_per_s, folder, say):
    """Makes the files unless they are there. `binary`: that of Rheos."""
    folder = pathlib.Path(folder)
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    wanted = {"events": events, "events_per_second": events_per_s, "seed": SEED, "rheos": version}
    manifest = folder / "manifest.json"
    if manifest.exists() and json.loads(manifest.read_text()) == wanted:
        say(f"reading {events:,} events from {folder}, which an earlier run has made")
        return
    say(f"making {events:,} events in {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    command = [binary, "run", "-", "--quiet", "--parallelism", "1"]
    subprocess.run(command, input=program(events, events_per_s, folder), text=True, check=True)
    split_lines(folder)
    manifest.write_text(json.dumps(wanted) + "\n")


def warm(folder, peer, source, program):
    """Reads what a run will read, so that it comes from memory: the run before may have pushed it out.

    `program`: the file of an engine whose start is part of what is measured.
    """
    names = {"parquet": tuple(FLAT), "json": ("json-split",) if peer == "flink" else ("json",)}.get(source.split(", ")[0], ())
    files = sorted(file for name in names for file in (folder / name).iterdir())
    for file in files + [program] * (program is not None):
        with open(file, "rb", buffering=0) as bytes_of_file:
            while bytes_of_file.read(1 << 20):
                pass
