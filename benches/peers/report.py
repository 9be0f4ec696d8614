"""The table of docs/benchmarks.md, from the lines of results."""

import datetime
import os
import pathlib
import statistics

BEGIN, END = "<!-- peers: begin (written by benches/peers/run) -->", "<!-- peers: end -->"
TITLES = {"rheos": "Rheos", "duckdb": "DuckDB", "polars": "Polars", "flink": "Flink"}

# Which runs stand beside each other: (heading, what Rheos reads, [(peer, source)]).
GROUPS = (
    ("Parquet", "parquet", [("rheos", "parquet"), ("rheos", "parquet, changes"), ("duckdb", "parquet"), ("polars", "parquet"), ("flink", "generator")]),
    ("JSON lines", "json", [("rheos", "json"), ("duckdb", "json"), ("flink", "json")]),
)


class Figures:
    """The medians of the runs of one query by one peer."""

    def __init__(self, runs, events):
        def median(name):
            return statistics.median(run[name] for run in runs)

        self.runs = len(runs)
        self.cpu = median("cpu_s") * 1e6 / events
        self.million_per_s = events / 1e6 / median("wall_s")
        self.mib = median("peak_memory_bytes") / 2**20
        cpu = [run["cpu_s"] for run in runs]
        self.spread = (max(cpu) - min(cpu)) / median("cpu_s")


def gather(results, events):
    """{(peer, source, query): Figures}; runs that failed are left out. Of Flink with and without mini-batches the better one."""
    groups = {}
    for r in results:
        if r["events"] == events and "error" not in r:
            groups.setdefault((r["peer"], r["source"], r["query"]), []).append(r)
    figures = {}
    for (peer, source, query), runs in groups.items():
        found, key = Figures(runs, events), (peer, source.removesuffix(", mini-batch"), query)
        figures[key] = min(found, figures.get(key, found), key=lambda f: f.cpu)
    return figures


def number(value):
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def ratio(over, under):
    return f"{over / under:.2f}" if over and under else ""


def name_of(peer, source):
    more = {"generator": ", generator", "parquet, changes": ", changes"}.get(source, "")
    return TITLES[peer] + more


def tables(figures, queries):
    lines = []
    for heading, source, columns in GROUPS:
        columns = [c for c in columns if any((*c, q) in figures for q in queries)]
        if not columns:
            continue
        names = [name_of(*c) for c in columns]
        flink = columns[-1] if columns and columns[-1][0] == "flink" else None
        lines += [f"### {heading}: CPU seconds per million events", ""]
        lines.append(f"| query | {' | '.join(names)} | Rheos / DuckDB | Flink / Rheos |")
        lines.append("|---|" + "---:|" * (len(names) + 2))
        for query in queries:
            at = {c: figures.get((*c, query)) for c in columns}
            cpu = {c: f.cpu for c, f in at.items() if f}
            own = cpu.get(("rheos", source))
            cells = [number(cpu[c]) if c in cpu else "" for c in columns]
            cells += [ratio(own, cpu.get(("duckdb", source))), ratio(cpu.get(flink), own)]
            lines.append(f"| {query} | {' | '.join(cells)} |")
        lines += ["", f"### {heading}: million events a second by the clock, and peak memory in MiB", ""]
        lines.append(f"| query | {' | '.join(names)} |")
        lines.append("|---|" + "---:|" * len(names))
        for query in queries:
            found = [figures.get((*c, query)) for c in columns]
            lines.append(f"| {query} | " + " | ".join(f"{f.million_per_s:.2f} · {f.mib:.0f}" if f else "" for f in found) + " |")
        lines.append("")
    return lines


def machine():
    model = "unknown"
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = models[0] if models else model
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({model}), {gib:.0f} GiB of memory, Linux {os.uname().release}"


def markdown(results, events, queries, checked, skipped, note):
    """The text between the marks. `results`: of this number of events and these queries."""
    results = [r for r in results if r["events"] == events and r["query"] in queries]
    figures = gather(results, events)
    failed = sorted({(r["peer"], r["source"], r["query"], r["error"]) for r in results if "error" in r})
    failed = [r for r in failed if (r[0], r[1].removesuffix(", mini-batch"), r[2]) not in figures]
    versions = sorted({(TITLES[r["peer"]], r["version"]) for r in results if "version" in r})
    loads = [r["load"] for r in results if "load" in r]
    spread = max((f.spread for f in figures.values()), default=0)
    runs = [f.runs for f in figures.values()] or [0]
    lines = [
        BEGIN,
        f"{events:,} events, {datetime.date.today():%-d %B %Y}, {machine()}; two workers (threads, slots) each. "
        + ", ".join(f"{name} {version}" for name, version in versions)
        + f". Medians of {min(runs)}{f' to {max(runs)}' if max(runs) > min(runs) else ''} runs"
        + f" in turn; the widest spread of CPU time is {spread:.0%} of its median"
        + (f"; load of the machine {min(loads):.1f} to {max(loads):.1f}" if loads else "")
        + ".",
        "",
        *tables(figures, queries),
        *(f"* {line}" for line in (checked, note) if line),
        *(f"* {TITLES[peer]} is absent: {why}" for peer, why in skipped.items()),
        *(f"* {name_of(peer, source)} ({source}), {query}: no figure, {why}" for peer, source, query, why in failed),
        END,
    ]
    return "\n".join(lines) + "\n"


def put(path, text):
    """Replaces what stands between the marks in a file."""
    page = pathlib.Path(path).read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END + "\n")
    if not rest:
        raise SystemExit(f"{path} has no line '{BEGIN}'")
    pathlib.Path(path).write_text(before + text + after)
