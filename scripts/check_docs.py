#!/usr/bin/env python3
"""Checks the book and the Markdown files: every page is in the summary, every link and anchor leads somewhere.

Also: every error code that the sources name is listed in docs/src/errors.md once, and no other.
"""

import pathlib
import re
import sys

LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
ROOT = pathlib.Path(__file__).resolve().parent.parent
BOOK = ROOT / "docs" / "src"


def anchors(path):
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {
        re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower())
        for title in HEADING.findall(text)
    }


def check_links(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            yield f"{page.relative_to(ROOT)}: {target} does not exist"
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            yield f"{page.relative_to(ROOT)}: {target} has no such heading"


def check_summary():
    summary = (BOOK / "SUMMARY.md").read_text(encoding="utf-8")
    listed = {(BOOK / target).resolve() for target in LINK.findall(summary)}
    for page in BOOK.rglob("*.md"):
        if page.name != "SUMMARY.md" and page.resolve() not in listed:
            yield f"docs/src/SUMMARY.md does not list {page.relative_to(BOOK)}"


def source_numbers(pattern):
    """The numbers that match in the sources, tests and comments apart."""
    found = set()
    for path in (ROOT / "crates").rglob("*.rs"):
        if "tests" in path.parts:
            continue
        text = path.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests {")[0]
        text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("//"))
        found |= {int(n) for n in pattern.findall(text)}
    return found


def code_calls():
    """The numbers in `Error::invalid(123, ..)`, `Error::new(kind, 123, ..)` and their like."""
    return source_numbers(
        re.compile(r"(?:Error::invalid\(|Error::new\([^,()]*(?:\([^()]*\))?,|invalid\(|refuse\()\s*(\d{2,3}),", re.S)
    )


def check_codes():
    rows = re.findall(r"^\|\s*R(\d{4})\s*\|", (BOOK / "errors.md").read_text(encoding="utf-8"), re.M)
    listed = {int(n) for n in rows}
    for code in sorted(code for code in listed if rows.count(f"{code:04}") > 1):
        yield f"docs/src/errors.md lists R{code:04} twice"
    for code in sorted(code_calls() - listed):
        yield f"docs/src/errors.md does not list R{code:04}"
    # A code may also come from a table or a `match`, as a number of its own.
    for code in sorted(listed - source_numbers(re.compile(r"(?<![\w.])(\d{2,3})(?![\w.])"))):
        yield f"docs/src/errors.md lists R{code:04}, which no source names"


def main():
    pages = [*BOOK.rglob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md"), *ROOT.glob("*.md")]
    found = [problem for page in sorted(pages) for problem in check_links(page)]
    found += [*check_summary(), *check_codes()]
    for problem in found:
        print(f"docs: {problem}")
    print(f"docs: {len(pages)} pages, {len(found)} problems")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
