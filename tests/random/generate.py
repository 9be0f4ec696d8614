"""Random tables and random queries over them.

Values come from small domains, so that rows meet in joins and groups; integers stay small, so that nothing overflows; floats
are multiples of a quarter, so that sums do not depend on their order.
"""

from tree import (Aggregate, Call, Derived, Item, Join, Literal, Ranked, Ref, Scan, Select, SetOperation, Subquery, Top, Windows,
                  null)

FIELDS = (("id", "i"), ("k", "i"), ("v", "i"), ("s", "s"), ("x", "f"), ("ok", "b"), ("ts", "t"))
WORDS = ("a", "b", "ab", "B", "", "zz", "ä")
TABLES_MAX, ROWS_MAX = 3, 24


def maybe(rng, share, value):
    return None if rng.random() < share else value


def a_row(rng, key):
    return {
        "id": key,
        "k": maybe(rng, 0.15, rng.randrange(5)),
        "v": maybe(rng, 0.15, rng.randrange(-6, 12)),
        "s": maybe(rng, 0.15, rng.choice(WORDS)),
        "x": maybe(rng, 0.15, rng.randrange(-8, 9) / 4),
        "ok": maybe(rng, 0.2, rng.random() < 0.5),
        "ts": maybe(rng, 0.1, f"2024-03-10 00:0{rng.randrange(3)}:{rng.randrange(60):02}"),
    }


class Table:
    """What happens to a table: ("c", None, row), ("u", row before, row after), ("d", row, None). `has_key`: whether it is declared by
    its primary key, where rows go at all; `has_changes`: whether they may."""

    def __init__(self, name, events, has_key=True, has_changes=False):
        self.name, self.events, self.has_key, self.has_changes = name, events, has_key, has_changes

    def of(self, events):
        return Table(self.name, events, self.has_key, self.has_changes)

    @classmethod
    def random(cls, rng, name, has_changes):
        there, events = {}, []
        for key in range(rng.choice((0, rng.randrange(1, 4), rng.randrange(2, ROWS_MAX), ROWS_MAX, ROWS_MAX))):
            there[key] = a_row(rng, key)
            events.append(("c", None, there[key]))
            while has_changes and there and rng.random() < 0.4:
                old = there.pop(rng.choice(list(there)))
                if rng.random() < 0.4:
                    events.append(("d", old, None))
                    continue
                changed = rng.choice([name for name, _ in FIELDS if name != "id"])
                new = there[old["id"]] = {**old, changed: a_row(rng, 0)[changed]}
                events.append(("u", old, new))
        return cls(name, events, has_changes=has_changes)

    def rows(self):
        """Those that are there at the end."""
        there = {}
        for _, old, new in self.events:
            if old:
                del there[old["id"]]
            if new:
                there[new["id"]] = new
        return list(there.values())

    def smaller(self):
        """The same with less: halves, then without the events of one key."""
        keys = sorted({(new or old)["id"] for _, old, new in self.events})
        parts = [keys[: len(keys) // 2], keys[len(keys) // 2:]] if len(keys) > 3 else []
        parts += [[key] for key in keys]
        for part in parts:
            yield self.of([e for e in self.events if (e[2] or e[1])["id"] not in part])
        for row in self.rows():
            if len([e for e in self.events if (e[2] or e[1])["id"] == row["id"]]) > 1:
                yield self.of([e for e in self.events if (e[2] or e[1])["id"] != row["id"]] + [("c", None, row)])


class Generator:
    """`has_windows`: whether queries have windows of time, which are told when they are over."""

    def __init__(self, rng, tables, has_windows=True):
        self.rng, self.tables, self.names, self.has_windows = rng, tables, 0, has_windows

    def fresh(self, letter):
        self.names += 1
        return f"{letter}{self.names}"

    def chance(self, share):
        return self.rng.random() < share

    # Relations

    def relation(self, depth):
        kinds = ["scan"] * 3 + (["derived"] * 3 + ["join"] * 4 if depth > 0 else []) + ["windows"] * self.has_windows
        kind = self.rng.choice(kinds)
        if kind == "scan":
            return Scan(self.rng.choice(self.tables).name, FIELDS, self.fresh("t"))
        if kind == "windows":
            slide, width = self.rng.choice(((60, 60), (20, 20), (20, 60)))
            return Windows(self.rng.choice(self.tables).name, FIELDS, self.fresh("w"), slide, width)
        if kind == "derived":
            return Derived(self.query(depth - 1), self.fresh("d"))
        return self.join(depth)

    def join(self, depth):
        left, right = self.relation(depth - 1), self.relation(depth - 1)
        kind = self.rng.choice(("", "", "LEFT", "RIGHT", "FULL", "CROSS"))
        if kind == "CROSS":
            return Join(kind, left, right, None)
        pairs = [(a, b) for a in left.columns() for b in right.columns() if a[2] == b[2] and a[2] in "ist"]
        windows = [(a, b) for a, b in pairs if a[1] == b[1] and a[1] in ("window_start", "window_end")]
        picked = windows if len(windows) >= 2 and self.chance(0.6) else []
        narrow = [(a, b) for a, b in pairs if a[1] not in ("window_start", "window_end", "ts")] or pairs
        if narrow and (not picked or self.chance(0.5)):
            picked = picked + [self.rng.choice(narrow)]
        terms = [Call("{0} = {1}", (Ref(*a), Ref(*b)), "b") for a, b in picked]
        # DuckDB has no full join on less than equalities.
        if kind != "FULL" and self.chance(0.35) or not terms:
            terms.append(self.condition(left.columns() + right.columns(), 1, 0) if kind != "FULL" else Literal("false", "b"))
        return Join(kind, left, right, conjunction(terms))

    # Queries

    def query(self, depth):
        kind = self.rng.choice(["select"] * 3 + ["group"] * 3 + (["set", "ranked", "top"] if depth > 0 else []))
        if kind == "select":
            return self.select(depth)
        if kind == "group":
            return self.group(depth)
        if kind == "set":
            return self.set_operation(depth)
        inner = self.query(depth - 1)
        names = [name for name, _ in inner.outputs()]
        order = tuple((n, self.chance(0.5)) for n in self.rng.sample(names, self.rng.randrange(1, min(3, len(names)) + 1)))
        if kind == "top":
            return Top(inner, self.fresh("o"), order, self.rng.randrange(6), self.rng.choice((0, 0, 1, 3)))
        function = self.rng.choice(("ROW_NUMBER", "ROW_NUMBER", "RANK", "DENSE_RANK"))
        partition = tuple(self.rng.sample(names, self.rng.randrange(0, min(2, len(names)) + 1)))
        return Ranked(inner, self.fresh("n"), function, partition, order, self.rng.choice((1, 1, 2, 3)), self.chance(0.5), self.fresh("c"))

    def select(self, depth):
        source = self.relation(depth)
        columns = source.columns()
        exprs = [self.expression(self.rng.choice("iiisbft"), columns, 2, depth) for _ in range(self.rng.randrange(1, 5))]
        items = tuple(Item(self.fresh("c"), e) for e in exprs)
        return Select(items, source, self.where(columns, depth), distinct=self.chance(0.2))

    def where(self, columns, depth):
        return self.condition(columns, 2, depth) if self.chance(0.5) else None

    def group(self, depth):
        source = self.relation(depth)
        columns = source.columns()
        where = self.where(columns, depth)
        keys = []
        windows = [c for c in columns if c[1] in ("window_start", "window_end")]
        if windows and self.chance(0.8):
            keys += [Ref(*c) for c in windows]
        for _ in range(self.rng.choice((0, 1, 1, 2))):
            key = self.expression(self.rng.choice("iisbt"), columns, self.rng.randrange(2), 0)
            if key not in keys and not isinstance(key, Literal):
                keys.append(key)
        aggregates = [self.aggregate(columns) for _ in range(self.rng.randrange(0 if keys else 1, 4))]
        items = tuple(Item(self.fresh("c"), e) for e in keys + aggregates)
        having = None
        if aggregates and self.chance(0.25):
            comparison = self.rng.choice(("{0} > {1}", "{0} <= {1}", "{0} <> {1}"))
            having = Call(comparison, (Aggregate("count(*)", (), None, "i"), Literal(str(self.rng.randrange(4)), "i")), "b")
        grouping = self.rng.choice(["{0}"] * 8 + ["ROLLUP ({0})", "CUBE ({0})"])
        return Select(items, source, where, tuple(keys), grouping if len(keys) <= 3 else "{0}", having)

    def aggregate(self, columns):
        kind = self.rng.choice("iiisfbt")
        argument = self.expression(kind, columns, 1, 0)
        condition = self.condition(columns, 1, 0) if self.chance(0.2) else None
        forms = ["min({0})", "max({0})", "count({0})", "count(DISTINCT {0})"] if kind != "b" else ["count({0})", "count(DISTINCT {0})"]
        if kind == "i":
            forms += ["sum({0})", "sum({0})", "avg({0})", "sum(DISTINCT {0})"]
        if kind == "f":
            forms += ["sum({0})", "avg({0})"]
        form = self.rng.choice(forms + ["count(*)", "count(*)"])
        args = () if form == "count(*)" else (argument,)
        of = "i" if "count" in form else "f" if "avg" in form else kind
        return Aggregate(form, args, condition, of)

    def set_operation(self, depth):
        left, right = self.select(depth - 1), self.select(depth - 1)
        columns = right.source.columns()
        named = zip(left.outputs(), right.items)
        # The right side in the types of the left one.
        items = [Item(name, i.expr if i.expr.type == kind else self.expression(kind, columns, 1, 0)) for (name, kind), i in named]
        items += [Item(name, self.expression(kind, columns, 1, 0)) for name, kind in left.outputs()[len(items):]]
        right = Select(tuple(items), right.source, right.where, distinct=right.distinct)
        operator = self.rng.choice(("UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"))
        return SetOperation(operator, left, right)

    # Expressions

    def expression(self, kind, columns, depth, queries):
        refs = [c for c in columns if c[2] == kind]
        if refs and (depth == 0 or self.chance(0.45)):
            return Ref(*self.rng.choice(refs))
        if depth == 0 or self.chance(0.12):
            return self.literal(kind)
        if queries > 0 and kind == "i" and self.chance(0.06):
            return self.scalar_query(columns)
        sub = lambda of: self.expression(of, columns, depth - 1, 0)
        if self.chance(0.15):
            return Call("CASE WHEN {0} THEN {1} ELSE {2} END", (sub("b"), sub(kind), sub(kind)), kind)
        if self.chance(0.1):
            return Call("coalesce({0}, {1})", (sub(kind), sub(kind)), kind)
        if self.chance(0.05) and kind in "is":
            return Call("nullif({0}, {1})", (sub(kind), sub(kind)), kind)
        if kind == "i":
            form, of = self.rng.choice((("({0} + {1})", "ii"), ("({0} - {1})", "ii"), ("({0} % 3)", "i"), ("abs({0})", "i"),
                                        ("length({0})", "s"), ("(- {0})", "i"), ("CAST({0} AS BIGINT)", "b")))
            return Call(form, tuple(sub(k) for k in of), "i")
        if kind == "f":
            form, of = self.rng.choice((("({0} + {1})", "ff"), ("CAST({0} AS DOUBLE)", "i"), ("({0} * 2)", "f")))
            return Call(form, tuple(sub(k) for k in of), "f")
        if kind == "s":
            form, of = self.rng.choice((("({0} || {1})", "ss"), ("upper({0})", "s"), ("substr({0}, 1, 1)", "s"), ("CAST({0} AS VARCHAR)", "i")))
            return Call(form, tuple(sub(k) for k in of), "s")
        if kind == "b":
            return self.condition(columns, depth - 1, queries)
        return Call("({0} + INTERVAL '20' SECOND)", (sub("t"),), "t")

    def literal(self, kind):
        if self.chance(0.08):
            return Literal(null(kind), kind)
        texts = {
            "i": str(self.rng.randrange(0, 5)),
            "f": f"CAST({self.rng.randrange(-4, 5) / 4} AS DOUBLE)",
            "s": f"'{self.rng.choice(WORDS)}'",
            "b": self.rng.choice(("true", "false")),
            "t": f"TIMESTAMP '2024-03-10 00:0{self.rng.randrange(3)}:{self.rng.choice(('00', '20', '40'))}'",
        }
        return Literal(texts[kind], kind)

    def condition(self, columns, depth, queries):
        if depth > 0 and self.chance(0.35):
            parts = (self.condition(columns, depth - 1, queries), self.condition(columns, depth - 1, queries))
            return Call(self.rng.choice(("({0} AND {1})", "({0} OR {1})")), parts, "b")
        if depth > 0 and self.chance(0.1):
            return Call("(NOT {0})", (self.condition(columns, depth - 1, queries),), "b")
        if queries > 0 and self.chance(0.15):
            return self.query_condition(columns, queries)
        if self.chance(0.05):
            return self.literal("b")
        kind = self.rng.choice("iiisft")
        sub = lambda: self.expression(kind, columns, depth, 0)
        form, n = self.rng.choice((("({0} = {1})", 2), ("({0} <> {1})", 2), ("({0} < {1})", 2), ("({0} >= {1})", 2), ("({0} IS NULL)", 1),
                                   ("({0} IS NOT NULL)", 1), ("({0} IS DISTINCT FROM {1})", 2), ("({0} IN ({1}, {2}))", 3),
                                   ("({0} BETWEEN {1} AND {2})", 3)))
        return Call(form, tuple(sub() for _ in range(n)), "b")

    # Queries in expressions

    def inner(self, columns, wanted, is_correlated):
        """A query of one column, which may read the columns of the query around."""
        source = self.relation(0)
        inner = source.columns()
        where = self.condition(inner, 1, 0) if self.chance(0.5) else None
        pairs = [(a, b) for a in inner for b in columns if a[2] == b[2] and a[1] == b[1]]
        if is_correlated and pairs:
            mine, outer = self.rng.choice(pairs)
            equal = Call("{0} = {1}", (Ref(*mine), Ref(*outer)), "b")
            where = equal if where is None else Call("({0} AND {1})", (equal, where), "b")
        return Select((Item(self.fresh("c"), wanted(inner)),), source, where)

    def scalar_query(self, columns):
        wanted = lambda inner: Aggregate(self.rng.choice(("max({0})", "min({0})", "count({0})", "sum({0})")), (self.expression("i", inner, 0, 0),), None, "i")
        return Subquery("({q})", (), self.inner(columns, wanted, self.chance(0.5)), "i")

    def query_condition(self, columns, depth):
        if self.chance(0.5):
            query = self.inner(columns, lambda inner: Literal("1", "i"), self.chance(0.8))
            return Subquery(self.rng.choice(("EXISTS ({q})", "(NOT EXISTS ({q}))")), (), query, "b")
        query = self.inner(columns, lambda inner: self.expression("i", inner, 0, 0), False)
        return Subquery("({0} IN ({q}))", (self.expression("i", columns, 1, 0),), query, "b")


def conjunction(terms):
    whole = terms[0]
    for term in terms[1:]:
        whole = Call("({0} AND {1})", (whole, term), "b")
    return whole
