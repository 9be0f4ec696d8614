"""Queries as trees, and how they are written for each engine.

A reference to a column that its place does not know is written as NULL of its type, so any part of a tree may be replaced by
any other of its kind and the query stays valid: that is what shrinking needs.
"""

import dataclasses
import typing

# Types: i BIGINT, f DOUBLE, s text, b boolean, t timestamp.
NAMES = {"i": "BIGINT", "f": "DOUBLE", "s": "VARCHAR", "b": "BOOLEAN", "t": "TIMESTAMP"}
RHEOS, DUCKDB = "rheos", "duckdb"


class Node:
    def simpler(self):
        """Replacements of this node that are of its kind and smaller."""
        return ()


def variants(node):
    """Copies of a tree in which one node is simpler, those with the largest cut first."""
    yield from node.simpler()
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if isinstance(value, Node):
            for new in variants(value):
                yield dataclasses.replace(node, **{field.name: new})
        elif isinstance(value, tuple):
            for i, part in enumerate(value):
                for new in variants(part) if isinstance(part, Node) else ():
                    yield dataclasses.replace(node, **{field.name: value[:i] + (new,) + value[i + 1:]})


def without_each(values, least=0):
    """The tuple without one of its members, if enough are left."""
    return [values[:i] + values[i + 1:] for i in range(len(values))] if len(values) > least else []


def size(node):
    parts = [getattr(node, f.name) for f in dataclasses.fields(node)]
    flat = [p for part in parts for p in (part if isinstance(part, tuple) else (part,))]
    return 1 + sum(size(p) for p in flat if isinstance(p, Node))


# Expressions: .type, and sql(scope, dialect), where the scope is the set of (alias, name) that may be read.


@dataclasses.dataclass(frozen=True)
class Ref(Node):
    alias: str
    name: str
    type: str

    def sql(self, scope, dialect):
        known = (self.alias, self.name) in scope
        return f"{self.alias}.{self.name}" if known else null(self.type)


def null(kind):
    return f"CAST(NULL AS {NAMES[kind]})"


@dataclasses.dataclass(frozen=True)
class Literal(Node):
    text: str
    type: str

    def sql(self, scope, dialect):
        return self.text


@dataclasses.dataclass(frozen=True)
class Call(Node):
    """A template with its arguments: operators, functions, CASE, casts."""

    form: str
    args: tuple
    type: str

    def sql(self, scope, dialect):
        return self.form.format(*(a.sql(scope, dialect) for a in self.args))

    def simpler(self):
        yield from (a for a in self.args if a.type == self.type)
        if self.type == "b":
            yield Literal("true", "b")
            yield Literal("false", "b")
        elif not isinstance(self.args[0] if self.args else None, Aggregate):
            yield Literal(null(self.type), self.type)


@dataclasses.dataclass(frozen=True)
class Aggregate(Node):
    form: str
    args: tuple
    filter: typing.Optional[Node]
    type: str

    def sql(self, scope, dialect):
        condition = f" FILTER (WHERE {self.filter.sql(scope, dialect)})" if self.filter else ""
        return self.form.format(*(a.sql(scope, dialect) for a in self.args)) + condition

    def simpler(self):
        if self.type == "i" and (self.form != "count(*)" or self.filter):
            yield Aggregate("count(*)", (), None, "i")
        if self.filter:
            yield dataclasses.replace(self, filter=None)


@dataclasses.dataclass(frozen=True)
class Subquery(Node):
    """A query as a value, or in a condition. `form` has {0} for an argument and {q} for the query."""

    form: str
    args: tuple
    query: Node
    type: str

    def sql(self, scope, dialect):
        args = [a.sql(scope, dialect) for a in self.args]
        return self.form.format(*args, q=self.query.sql(dialect, scope))

    def simpler(self):
        yield Literal("true", "b") if self.type == "b" else Literal(null(self.type), self.type)


# Relations: columns() as (alias, name, type), and source(dialect, outer), the text behind FROM.


@dataclasses.dataclass(frozen=True)
class Scan(Node):
    table: str
    fields: tuple
    alias: str

    def columns(self):
        return [(self.alias, name, kind) for name, kind in self.fields]

    def source(self, dialect, outer):
        return f"{self.table} AS {self.alias}"


@dataclasses.dataclass(frozen=True)
class Windows(Node):
    """The rows of a table in the windows of so many seconds that hold their times; rows without a time are in none."""

    table: str
    fields: tuple
    alias: str
    slide_s: int
    size_s: int

    def columns(self):
        window = [("window_start", "t"), ("window_end", "t")]
        return [(self.alias, name, kind) for name, kind in (*self.fields, *window)]

    def source(self, dialect, outer):
        slide, width = f"INTERVAL '{self.slide_s}' SECOND", f"INTERVAL '{self.size_s}' SECOND"
        if dialect == RHEOS:
            args = f"TABLE {self.table}, DESCRIPTOR(ts), {width}"
            call = f"TUMBLE({args})" if self.slide_s == self.size_s else f"HOP(TABLE {self.table}, DESCRIPTOR(ts), {slide}, {width})"
            return f"TABLE({call}) AS {self.alias}"
        shifts = f"unnest(generate_series(0, {self.size_s // self.slide_s - 1})) AS shifts(n)"
        start = f"time_bucket({slide}, ts) - to_seconds(n * {self.slide_s})"
        return f"(SELECT *, {start} AS window_start, {start} + {width} AS window_end FROM {self.table}, {shifts} WHERE ts IS NOT NULL) AS {self.alias}"

    def simpler(self):
        yield Scan(self.table, self.fields, self.alias)
        if self.slide_s != self.size_s:
            yield dataclasses.replace(self, slide_s=self.size_s)


@dataclasses.dataclass(frozen=True)
class Derived(Node):
    query: Node
    alias: str

    def columns(self):
        return [(self.alias, name, kind) for name, kind in self.query.outputs()]

    def source(self, dialect, outer):
        return f"({self.query.sql(dialect)}) AS {self.alias}"


@dataclasses.dataclass(frozen=True)
class Join(Node):
    kind: str
    left: Node
    right: Node
    condition: typing.Optional[Node]

    def columns(self):
        return self.left.columns() + self.right.columns()

    def source(self, dialect, outer):
        right = self.right.source(dialect, outer)
        if isinstance(self.right, Join):
            right = f"({right})"
        text = f"{self.left.source(dialect, outer)} {self.kind} JOIN {right}"
        return text + (f" ON {self.condition.sql(scope_of(self), dialect)}" if self.condition else "")

    def simpler(self):
        yield self.left
        yield self.right
        if self.kind not in ("", "CROSS"):
            yield dataclasses.replace(self, kind="")


def scope_of(relation):
    return frozenset((alias, name) for alias, name, _ in relation.columns())


# Queries: outputs() as (name, type), and sql(dialect, outer), where outer is the scope of the query around.


@dataclasses.dataclass(frozen=True)
class Item(Node):
    name: str
    expr: Node


@dataclasses.dataclass(frozen=True)
class Select(Node):
    items: tuple
    source: Node
    where: typing.Optional[Node] = None
    # None: no GROUP BY. Items are keys and aggregates then.
    keys: typing.Optional[tuple] = None
    grouping: str = "{0}"
    having: typing.Optional[Node] = None
    distinct: bool = False

    def outputs(self):
        return [(item.name, item.expr.type) for item in self.items]

    def sql(self, dialect, outer=frozenset()):
        scope = scope_of(self.source) | outer
        write = lambda e: e.sql(scope, dialect)
        items = ", ".join(f"{write(item.expr)} AS {item.name}" for item in self.items)
        text = f"SELECT {'DISTINCT ' if self.distinct else ''}{items} FROM {self.source.source(dialect, outer)}"
        if self.where:
            text += f" WHERE {write(self.where)}"
        if self.keys:
            text += " GROUP BY " + self.grouping.format(", ".join(write(k) for k in self.keys))
        return text + (f" HAVING {write(self.having)}" if self.having else "")

    def simpler(self):
        source = self.source
        if isinstance(source, Derived):
            # The query below with the columns of this one.
            yield source.query
            if isinstance(source.query, (SetOperation, Ranked, Top)):
                for inner in source.query.parts():
                    yield dataclasses.replace(self, source=Derived(inner, source.alias))
        for name in ("where", "having"):
            if getattr(self, name):
                yield dataclasses.replace(self, **{name: None})
        for items in without_each(self.items, 1):
            yield dataclasses.replace(self, items=items)
        if self.distinct:
            yield dataclasses.replace(self, distinct=False)
        if self.keys and self.grouping != "{0}":
            yield dataclasses.replace(self, grouping="{0}")
        if self.keys:
            for i, keys in enumerate(without_each(self.keys)):
                items = tuple(item for item in self.items if item.expr != self.keys[i])
                if items:
                    yield dataclasses.replace(self, keys=keys, items=items)


@dataclasses.dataclass(frozen=True)
class SetOperation(Node):
    operator: str
    left: Node
    right: Node

    def parts(self):
        return (self.left, self.right)

    def outputs(self):
        return self.left.outputs()

    def sql(self, dialect, outer=frozenset()):
        return f"({self.left.sql(dialect, outer)}) {self.operator} ({self.right.sql(dialect, outer)})"

    def simpler(self):
        yield self.left
        # The names of the columns are those of the left side.
        names = [name for name, _ in self.left.outputs()]
        if [name for name, _ in self.right.outputs()] == names:
            yield self.right


@dataclasses.dataclass(frozen=True)
class Ranked(Node):
    """The first rows of each partition. `order`: (name, is descending); `shows`: whether the rank is a column."""

    query: Node
    alias: str
    function: str
    partition: tuple
    order: tuple
    limit: int
    shows: bool
    name: str

    def parts(self):
        return (self.query,)

    def outputs(self):
        return self.query.outputs() + ([(self.name, "i")] if self.shows else [])

    def sql(self, dialect, outer=frozenset()):
        names = [name for name, _ in self.query.outputs()]
        partition = [name for name in self.partition if name in names]
        order = [(n, d) for n, d in self.order if n in names]
        if self.function == "ROW_NUMBER":
            # An order of all columns: equal rows are equal in every respect.
            order += [(n, False) for n in names if n not in [o for o, _ in order]]
        over = f"PARTITION BY {', '.join(partition)} " if partition else ""
        over += f"ORDER BY {written_order(order or [(names[0], False)])}"
        shown = ", ".join(names + ([self.name] if self.shows else []))
        inner = f"SELECT {', '.join(names)}, {self.function}() OVER ({over}) AS {self.name} FROM ({self.query.sql(dialect, outer)}) AS {self.alias}"
        return f"SELECT {shown} FROM ({inner}) AS {self.alias}_r WHERE {self.name} <= {self.limit}"

    def simpler(self):
        yield self.query
        if self.shows:
            yield dataclasses.replace(self, shows=False)
        for partition in without_each(self.partition):
            yield dataclasses.replace(self, partition=partition)
        for order in without_each(self.order, 1):
            yield dataclasses.replace(self, order=order)


def written_order(order):
    return ", ".join(f"{name} {'DESC' if down else 'ASC'} NULLS {'FIRST' if down else 'LAST'}" for name, down in order)


@dataclasses.dataclass(frozen=True)
class Top(Node):
    """ORDER BY all columns, LIMIT, OFFSET."""

    query: Node
    alias: str
    order: tuple
    limit: int
    offset: int

    def parts(self):
        return (self.query,)

    def outputs(self):
        return self.query.outputs()

    def sql(self, dialect, outer=frozenset()):
        names = [name for name, _ in self.query.outputs()]
        order = [(n, d) for n, d in self.order if n in names]
        order += [(n, False) for n in names if n not in [o for o, _ in order]]
        offset = f" OFFSET {self.offset}" if self.offset else ""
        return f"SELECT * FROM ({self.query.sql(dialect, outer)}) AS {self.alias} ORDER BY {written_order(order)} LIMIT {self.limit}{offset}"

    def simpler(self):
        yield self.query
        if self.offset:
            yield dataclasses.replace(self, offset=0)
