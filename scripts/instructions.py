#!/usr/bin/env python3
"""Instructions per record of the hot paths, which repeat where times do not.

    scripts/instructions.py            counts, compares with scripts/instructions.toml, ends with 1 if one grew by 10 %
    scripts/instructions.py --record   counts, and writes that file

The paths are in crates/rheos/benches/paths; callgrind counts what is done inside of `measured`. Another compiler gives
other counts: they are compared only under the rustc, and on the kind of machine, that they were recorded with.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "scripts" / "instructions.toml"
GROWTH_MAX = 0.10
# Nothing else of the environment. Callgrind counts a string instruction once a byte: libc is told to do without.
VARIABLES = {
    "LC_ALL": "C",
    "GLIBC_TUNABLES": "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000",
}
HEADER = """\
# Instructions per record of the hot paths (scripts/instructions.py --record). A record is what goes into the path: a bid,
# but a partial aggregate in "merge", and a result in "window emit".
"""


def compiler():
    version = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    return f"{version} {platform.machine()}"


def build():
    """The driver's path. One build with the tests and the binary: the same profile, the same features."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--release", "--locked", "--workspace", "--bench", "paths"]
    command.append("--message-format=json-render-diagnostics")
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return next(a["executable"] for a in artifacts if a.get("executable") and a["target"]["name"] == "paths")


def count(driver, name):
    """Instructions per record."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind"
        command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*paths::measured*"]
        command += [f"--callgrind-out-file={out}", driver, "count", name]
        run = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"], **VARIABLES})
        if run.returncode != 0:
            sys.exit(f"{name}: {' '.join(command)} failed:\n{run.stdout}{run.stderr}")
        total = int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE).group(1))
    if total == 0:
        sys.exit(f"{name}: callgrind has counted nothing: is there still a function `measured` in the driver?")
    return total / int(run.stdout)


def count_all(driver):
    names = subprocess.run([driver, "names"], check=True, capture_output=True, text=True).stdout.splitlines()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(lambda name: count(driver, name), names)))


def write(counts, rustc):
    lines = [f'{json.dumps(name)} = {value:.1f}\n' for name, value in counts.items()]
    RECORD.write_text(f'{HEADER}rustc = "{rustc}"\n\n[instructions_per_record]\n{"".join(lines)}')


def compare(counts, recorded):
    """Prints every path; gives those that grew too much, and those that one side does not know."""
    wrong = []
    for name in dict.fromkeys([*recorded, *counts]):
        old, new = recorded.get(name), counts.get(name)
        if old is None or new is None:
            wrong.append(f"{name}: {'not recorded' if old is None else 'no longer there'}; record anew")
            continue
        growth = new / old - 1
        print(f"{name:20} {new:10.1f} instructions/record  {growth:+7.1%}")
        if growth > GROWTH_MAX:
            wrong.append(f"{name}: {old:.1f} instructions per record have become {new:.1f} ({growth:+.1%})")
        elif growth < -GROWTH_MAX:
            print(f"{'':20} much less than recorded: keep it with --record")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the counts instead of comparing them")
    options = parser.parse_args()
    rustc = compiler()
    recorded = tomllib.loads(RECORD.read_text()) if RECORD.exists() else {}
    if not options.record and recorded.get("rustc") != rustc:
        print(f"INSTRUCTIONS NOT COMPARED: skipped: recorded with rustc {recorded.get('rustc')}, this is {rustc};")
        print("    record anew with scripts/instructions.py --record")
        return
    counts = count_all(build())
    if options.record:
        write(counts, rustc)
        print(RECORD.read_text())
        return
    wrong = compare(counts, recorded["instructions_per_record"])
    if wrong:
        sys.exit("\n".join(["", *wrong, "Where it is meant: scripts/instructions.py --record"]))


if __name__ == "__main__":
    main()
