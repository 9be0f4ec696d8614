#!/usr/bin/env python3
"""Writes the option tables of docs/src/connectors/*.md from `rheos connectors -o json`.

Run it after an option has changed; the tests check that every option is on its page.
"""

import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- options: begin -->\n).*?(<!-- options: end -->)", re.S)


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def table(options):
    if not options:
        return "It has none.\n"
    lines = []
    for group in dict.fromkeys(o["group"] for o in options):
        lines += [f"\n{group}:\n", "| option | value | default | what it does |", "|---|---|---|---|"]
        for o in (o for o in options if o["group"] == group):
            default = "required" if o["required"] else f"`{o['default']}`" if o["default"] else ""
            also = f" Also: {', '.join(f'`{a}`' for a in o['aliases'])}." if o["aliases"] else ""
            lines.append(f"| `{o['name']}` | {cell(o['type'])} | {cell(default)} | {cell(o['help'] + also)} |")
    return "\n".join(lines).lstrip("\n") + "\n\n"


def main():
    out = subprocess.run(
        [os.environ.get("RHEOS_BINARY", ROOT / "target/release/rheos"), "connectors", "-o", "json"], check=True, capture_output=True, text=True
    )
    for connector in json.loads(out.stdout):
        page = ROOT / "docs/src/connectors" / f"{connector['name']}.md"
        text = page.read_text(encoding="utf-8")
        page.write_text(MARKED.sub(lambda m: m[1] + "\n" + table(connector["options"]) + m[2], text), encoding="utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
