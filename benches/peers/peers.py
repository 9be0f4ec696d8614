"""The engines that are compared: how each is set up, and how it runs one query."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import data
import queries

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKERS = 2


class Skipped(Exception):
    """A peer that cannot be had here, and why."""


def venv(folder, packages, python=sys.executable):
    """A Python with these packages, in a virtual environment of its own. Errors: Skipped with the last line of pip."""
    binary = folder / "bin" / "python"
    if not binary.exists():
        made = subprocess.run([python, "-m", "venv", folder], capture_output=True, text=True)
        if made.returncode != 0:
            raise Skipped(f"no virtual environment: {last_line(made.stdout + made.stderr)}")
    names = [re.split("[<>=]", package)[0] for package in packages]
    there = subprocess.run([binary, "-m", "pip", "show", "-q", *names], capture_output=True)
    if there.returncode != 0:
        done = subprocess.run([binary, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
        if done.returncode != 0:
            raise Skipped(f"pip cannot install {', '.join(packages)}: {last_line(done.stderr)}")
    return binary


def last_line(text):
    return (text.strip().splitlines() or ["no message"])[-1]


def run_json(command, **more):
    """Runs a process to its end. Gives its last line of stdout as JSON, or {"error"}."""
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        return {"error": " ".join(done.stderr.split())[-500:] or f"it ended with {done.returncode}"}
    return json.loads(last_line(done.stdout))


class Rheos:
    name = "rheos"

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def sources(self, query):
        # Of input that ends, the answer is what is true at the end; Flink tells each change.
        return ("parquet", "json", "parquet, changes") if query in queries.CHANGING else ("parquet", "json")

    def program(self, source, query):
        source, _, changes = source.partition(", ")
        head = "SET 'emit.mode' = 'changes';\n" if changes else ""
        return head + data.rheos_tables(source, self.folder) + (ROOT / "examples" / "nexmark" / f"{query}.sql").read_text()

    def run(self, source, query):
        command = [self.binary, "bench", "measure", "--quiet", "--parallelism", str(WORKERS)]
        took = run_json(command, input=self.program(source, query))
        version = subprocess.run([self.binary, "--version"], capture_output=True, text=True).stdout.split()[-1]
        return took if "error" in took else took | {"version": version}

    def answer(self, source, query, path):
        """Writes the rows; gives the expression by which DuckDB reads them."""
        path = path.with_suffix(".csv")
        command = [self.binary, "run", "-", "--quiet", "--parallelism", str(WORKERS), "--output", "csv"]
        # Nothing is written where the program says; its rows are the answer.
        text = re.sub(r"CREATE TABLE archive.*?;\s*INSERT INTO archive\n", "", self.program(source, query), flags=re.S)
        with open(path, "w") as out:
            subprocess.run(command, input=text, text=True, stdout=out, check=True)
        return f"read_csv('{path}', header = true, all_varchar = true)"

    def close(self):
        pass


class Batch:
    """DuckDB or Polars: a process a query."""

    def __init__(self, name, inputs, work, folder):
        self.name, self.inputs, self.folder = name, inputs, folder
        self.python = venv(work / "venv-batch", ["duckdb==2.0.*", "polars", "pyarrow"])

    def sources(self, query):
        asked = queries.POLARS if self.name == "polars" else queries.ALL
        return self.inputs if query in asked and query not in queries.BY_THE_CLOCK else ()

    def command(self, source, query, *more):
        return [self.python, HERE / "batch.py", self.name, source, self.folder, query, *more]

    def run(self, source, query):
        return run_json(self.command(source, query), env={**os.environ, "POLARS_MAX_THREADS": str(WORKERS)})

    def answer(self, source, query, path):
        path = path.with_suffix(".parquet")
        done = run_json(self.command(source, query, path))
        if "error" in done:
            raise RuntimeError(done["error"])
        return f"read_parquet('{path}')"

    def close(self):
        pass


class Flink:
    name = "flink"

    def __init__(self, work, folder, events, limit_s):
        java = shutil.which("java")
        if java is None:
            raise Skipped("there is no Java: apt-get install openjdk-17-jre-headless")
        said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
        major = re.search(r'version "(\d+)', said)
        if not major or int(major[1]) not in (11, 17, 21):
            raise Skipped(f"Flink runs on Java 11, 17 or 21, and this is {said.splitlines()[0] if said else 'none'}")
        python = venv(work / "venv-flink", ["apache-flink>=2.3,<2.4"])
        self.limit_s = limit_s
        self.log = open(work / "flink.log", "w")
        self.process = subprocess.Popen(
            [python, HERE / "flink_driver.py", folder, str(events)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
            env={**os.environ, "JAVA_TOOL_OPTIONS": "-Xmx8g -Xms2g"},
        )  # fmt: skip
        if not self.process.stdout.readline():
            raise Skipped(f"it does not start: see {self.log.name}")

    def sources(self, query):
        inputs = ("json", "generator")
        return inputs + tuple(f"{source}, mini-batch" for source in inputs if query in queries.CHANGING)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the JVM has ended: see {self.log.name}"}

    def run(self, source, query):
        return self.ask(query=query, source=source, limit_s=self.limit_s, answer=None)

    def answer(self, source, query, path):
        shutil.rmtree(path, ignore_errors=True)
        done = self.ask(query=query, source=source, limit_s=self.limit_s, answer=str(path))
        if "error" in done:
            raise RuntimeError(done["error"])
        names = [f"c{i}" for i in range(len(queries.TYPES[query]))]
        row = f"STRUCT({', '.join(f'{name} VARCHAR' for name in names)})"
        lines = f"read_json('{path}/**', format = 'newline_delimited', columns = {{before: '{row}', after: '{row}'}})"
        # What the changes add up to.
        each = f"SELECT after AS r, 1 AS w FROM {lines} WHERE after IS NOT NULL UNION ALL SELECT before, -1 FROM {lines} WHERE before IS NOT NULL"
        return f"(SELECT unnest(r) FROM (SELECT r, unnest(range(sum(w)::BIGINT)) FROM ({each}) GROUP BY r))"

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
