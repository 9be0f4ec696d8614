"""A smaller query over smaller tables that is answered wrongly still."""

from tree import size as nodes
from tree import variants

# Attempts for one failure: each is a run of the engine.
ATTEMPTS_MAX = 600


def smallest(tables, query, check):
    """Greedy: the first cut after which `check(tables, query)` still finds something, until there is none."""
    attempts = 0

    def fails(tables, query):
        nonlocal attempts
        attempts += 1
        return attempts <= ATTEMPTS_MAX and check(tables, query) is not None

    tried = set()
    progress = True
    while progress and attempts < ATTEMPTS_MAX:
        progress = False
        for smaller in variants(query):
            if smaller in tried or not smaller.outputs():
                continue
            tried.add(smaller)
            if fails(tables, smaller):
                query, progress = smaller, True
                break
        if progress:
            continue
        for i, table in enumerate(tables):
            for smaller in table.smaller():
                changed = tables[:i] + [smaller] + tables[i + 1:]
                if fails(changed, query):
                    tables, progress = changed, True
                    break
            if progress:
                break
    used = [table for table in tables if f" {table.name} " in f" {query.sql('rheos')} ".replace(",", " ")]
    return (used if used and check(used, query) is not None else tables), query


__all__ = ["nodes", "smallest"]
