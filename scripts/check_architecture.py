#!/usr/bin/env python3
"""Checks what ARCHITECTURE.md promises about crates: imports point down, and what must be absent is absent.

Reads `cargo metadata`, so it sees what cargo sees, and the length of files. Prints every violation and ends with 1.
"""

import json
import pathlib
import subprocess
import sys

# From top to bottom: a crate may import only crates that stand below it.
LAYERS = [
    ["rheos-cli"],
    ["rheos"],
    ["rheos-sql", "rheos-runtime"],
    ["rheos-functions", "rheos-operators", "rheos-connectors"],
    ["rheos-formats", "rheos-state", "rheos-log"],
    ["rheos-checkpoint"],
    ["rheos-core"],
]
# Dev-dependency only.
TEST_ONLY = ["rheos-testkit"]
# What a crate must not name among its own dependencies: (packages by prefix, where they are allowed, why).
BANS = [
    (("timely", "differential-dataflow"), {"rheos-runtime"}, "only the runtime knows Timely"),
    (("anyhow",), {"rheos-cli"}, "libraries have typed errors"),
    (("tokio",), {"rheos-cli", "rheos-connectors", "rheos-log", "rheos-runtime", "rheos-state"}, "operators and planning are synchronous"),
    (("datafusion", "sqlparser"), {"rheos-sql", "rheos-functions", "rheos-operators", "rheos", "rheos-testkit"},
     "expressions belong to SQL and operators"),
    (("datafusion-sql", "sqlparser"), {"rheos-sql"}, "only the SQL crate parses"),
    (("clap", "indicatif", "comfy-table", "ctrlc"), {"rheos-cli"}, "only the binary talks to a terminal"),
    (("parquet",), {"rheos-formats", "rheos-connectors"}, "file formats stay below the operators"),
]
# What the whole tree has once.
ONCE = ["arrow", "parquet", "datafusion-common", "datafusion-expr", "sqlparser", "timely"]
FILE_LINES_MAX = 1000


def metadata():
    out = subprocess.run(
        ["cargo", "metadata", "--format-version", "1"], check=True, capture_output=True, text=True
    )
    return json.loads(out.stdout)


def layer_of(name):
    return next((i for i, layer in enumerate(LAYERS) if name in layer), None)


def check_dependencies(packages):
    ours = {p["name"] for p in packages}
    for package in packages:
        name = package["name"]
        if name in TEST_ONLY:
            mine = -1
        else:
            mine = layer_of(name)
            if mine is None:
                yield f"{name} is in no layer: add it to LAYERS in {__file__}"
                continue
        for dependency in package["dependencies"]:
            to, dev = dependency["name"], dependency["kind"] == "dev"
            if to in TEST_ONLY and not dev:
                yield f"{name} uses {to} outside of its tests"
            if to in ours and not dev and to not in TEST_ONLY and layer_of(to) is not None and layer_of(to) <= mine:
                yield f"{name} imports {to}, which does not stand below it"
            if dev:
                continue
            for prefixes, allowed, why in BANS:
                exact = to in prefixes or any(to.startswith(p + "-") for p in prefixes if p in ("timely", "datafusion"))
                if exact and name not in allowed:
                    yield f"{name} depends on {to}: {why}"


def check_versions(packages):
    for name in ONCE:
        versions = sorted({p["version"] for p in packages if p["name"] == name})
        if len(versions) > 1:
            yield f"{name} is in the tree more than once: {', '.join(versions)}"


def check_files():
    for path in sorted(pathlib.Path("crates").rglob("*.rs")):
        lines = path.read_text(encoding="utf-8").splitlines()
        code = next((i for i, line in enumerate(lines) if line.startswith("#[cfg(test)]")), len(lines))
        if code > FILE_LINES_MAX:
            yield f"{path} has {code} lines: look for the seam"
        if "/tests/" in str(path):
            continue
        if path.name != "tests.rs" and lines and not lines[0].startswith("//!"):
            yield f"{path} does not begin with //! (what it is, its invariant)"


def main():
    data = metadata()
    members = set(data["workspace_members"])
    ours = [p for p in data["packages"] if p["id"] in members]
    found = [*check_dependencies(ours), *check_versions(data["packages"]), *check_files()]
    for violation in found:
        print(f"architecture: {violation}")
    print(f"architecture: {len(ours)} crates, {len(found)} violations")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
