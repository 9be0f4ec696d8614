#!/usr/bin/env python3
"""Compares the expected rows of the SQL cases with DuckDB's answers, or fills them in.

    python3 scripts/oracle.py                 check tests/sql/*.slt
    python3 scripts/oracle.py --write         fill in what is missing or differs
    python3 scripts/oracle.py --list          the cases, one a line
    python3 scripts/oracle.py FILE ...        only these files

Needs the package `duckdb` (PyPI). Exit code 0: all cases agree; 1: one does not; 2: a file cannot be read or a query
fails. tests/sql/README.md describes the format.
"""

import argparse
import datetime
import decimal
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "sql"
TOLERANCE = 1e-9


class BadFile(Exception):
    """A file that is not in the format."""


class Case:
    """One case: where it stands, its oracle, and its expected rows. Line numbers count from 0."""

    def __init__(self, path, name, line):
        self.path, self.name, self.line = path, name, line
        self.ordered, self.oracle, self.by_hand = False, [], False
        self.first_row, self.end_row, self.rows = None, None, []

    def place(self):
        return f"{self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path}:{self.line + 1}"


def read_cases(path):
    """The lines of a file and its cases."""
    lines = path.read_text(encoding="utf-8").split("\n")
    cases, case, part = [], None, "setup"
    for number, line in enumerate(lines):
        if line.startswith("-- case:"):
            if case is not None and part not in ("rows", "between"):
                raise BadFile(f"{case.place()}: the case has no '----'")
            case, part = Case(path, line[len("-- case:") :].strip(), number), "program"
            cases.append(case)
        elif part == "program" and line.strip() == "-- ordered":
            case.ordered = True
        elif part == "program" and line.startswith("-- duckdb:"):
            part = "oracle"
            case.oracle.append(line[len("-- duckdb:") :])
        elif part == "program" and line.startswith("-- hand:"):
            case.by_hand, part = True, "oracle"
        elif part in ("program", "oracle") and line == "----":
            if part == "program":
                raise BadFile(f"{case.place()}: the case has neither '-- duckdb:' nor '-- hand:'")
            case.first_row = case.end_row = number + 1
            part = "rows"
        elif part == "oracle":
            case.oracle.append(line)
        elif part == "rows" and line == "":
            part = "between"
        elif part == "rows":
            case.rows.append(line)
            case.end_row = number + 1
        elif part == "between" and line and not line.startswith("#"):
            raise BadFile(f"{path}:{number + 1}: text between two cases must begin with '#'")
    if case is not None and part not in ("rows", "between"):
        raise BadFile(f"{case.place()}: the case has no '----'")
    names = [c.name for c in cases]
    for case in cases:
        if names.count(case.name) > 1:
            raise BadFile(f"{case.place()}: two cases are called '{case.name}'")
    return lines, cases


def cell(value):
    """A value as the cases write it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        zone = "" if value.tzinfo is None else "Z"
        if zone:
            value = value.astimezone(datetime.timezone.utc)
        text = f"{value.year:04}" + value.strftime("-%m-%d %H:%M:%S.%f")
        return text.rstrip("0").rstrip(".") + zone
    if isinstance(value, datetime.date):
        return f"{value.year:04}" + value.strftime("-%m-%d")
    if isinstance(value, (list, dict, bytes, datetime.timedelta, datetime.time)):
        raise BadFile(f"a case cannot show {value!r}: cast it to text or take it apart")
    text = str(value)
    if "|" in text or "\n" in text:
        raise BadFile(f"a case cannot show {text!r}: it holds '|' or a line's end")
    return "(empty)" if text == "" else text


def answer(connection, case):
    """DuckDB's rows as lines: as they come if the case is ordered, else sorted."""
    result = connection.execute("\n".join(case.oracle).strip().rstrip(";"))
    rows = ["|".join(cell(v) for v in row) for row in result.fetchall()]
    return rows if case.ordered else sorted(rows)


def alike(expected, got):
    """Cells are alike as texts, or as numbers of which one is not whole, within a relative tolerance."""
    a, b = expected.split("|"), got.split("|")
    return len(a) == len(b) and all(x == y or near(x, y) for x, y in zip(a, b))


def near(x, y):
    number = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?$")
    if not (number.match(x) and number.match(y)) or not any(c in ".eE" for c in x + y):
        return False
    return math.isclose(float(x), float(y), rel_tol=TOLERANCE, abs_tol=1e-12)


def same_rows(expected, got):
    return len(expected) == len(got) and all(alike(e, g) for e, g in zip(expected, got))


def show_difference(case, got):
    print(f"{case.place()}: '{case.name}' differs from DuckDB")
    for sign, rows, others in (("-", case.rows, got), ("+", got, case.rows)):
        for row in [r for r in rows if r not in others][:10]:
            print(f"  {sign} {row}")


def work_on(path, connection, write):
    """The number of cases that differ, and of all cases with an oracle."""
    lines, cases = read_cases(path)
    wrong, edits = 0, []
    for case in cases:
        if case.by_hand:
            continue
        try:
            got = answer(connection, case)
        except Exception as error:  # DuckDB's errors have no common root that says more
            raise BadFile(f"{case.place()}: '{case.name}': {error}") from error
        if same_rows(case.rows, got):
            continue
        wrong += 1
        if write:
            edits.append((case.first_row, case.end_row, got))
        else:
            show_difference(case, got)
    for first, end, rows in reversed(edits):
        lines[first:end] = rows
    if edits:
        path.write_text("\n".join(lines), encoding="utf-8", newline="\n")
        print(f"{path.name}: {len(edits)} cases filled in")
    return wrong, len(cases)


def connect():
    try:
        import duckdb
    except ImportError:
        print("oracle.py: the package duckdb is missing\ntry: python3 -m pip install duckdb", file=sys.stderr)
        sys.exit(2)
    connection = duckdb.connect()
    connection.execute("SET threads = 1; SET TimeZone = 'UTC'; SET default_null_order = 'nulls_last';")
    connection.execute((CASES / "duckdb.sql").read_text(encoding="utf-8").replace("${DATA}", str(CASES / "data")))
    return connection


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="case files (all of tests/sql if none)")
    parser.add_argument("--check", action="store_true", help="compare only (the default)")
    parser.add_argument("--write", action="store_true", help="fill in DuckDB's rows")
    parser.add_argument("--list", action="store_true", help="list the cases")
    arguments = parser.parse_args()
    files = [f.resolve() for f in arguments.files] or sorted(CASES.glob("*.slt"))
    try:
        if arguments.list:
            for case in (c for f in files for c in read_cases(f)[1]):
                print(f"{case.place()}: {case.name}")
            return
        connection = connect()
        counts = [work_on(f, connection, arguments.write) for f in files]
    except (BadFile, OSError) as error:
        print(f"oracle.py: {error}", file=sys.stderr)
        sys.exit(2)
    wrong, cases = (sum(c) for c in zip(*counts)) if counts else (0, 0)
    if not arguments.write:
        print(f"{cases} cases in {len(files)} files, {wrong} differ from DuckDB")
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
