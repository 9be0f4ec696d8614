#!/usr/bin/env python3
"""Writes the tables of the SQL cases, tests/sql/data/, byte for byte the same each time.

    python3 scripts/make_sql_data.py          (needs pyarrow for the Parquet files)

The files are small and awkward on purpose: NULLs, rows out of order within the watermark, times before 1970, letters
beyond ASCII, ties. How far rows are out of order is part of each table: see tests/sql/README.md.
"""

import datetime
import decimal
import json
import pathlib
import random

import pyarrow as pa
import pyarrow.parquet as pq

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "sql" / "data"
D = decimal.Decimal


def main():
    (DATA / "parts").mkdir(parents=True, exist_ok=True)
    sensors()
    trades()
    words()
    gaps()
    early()
    values()
    ticks()
    parts()
    orders()
    visits()
    baskets()
    clicks()
    events()


def jittered(rng, start, rows, step_ms, delay_ms):
    """Times that rise by about `step_ms`, each at most `delay_ms` behind the largest before it."""
    now, largest, times = 0, 0, []
    for _ in range(rows):
        now += rng.randrange(2 * step_ms)
        at = max(now - rng.randrange(delay_ms), largest - delay_ms, 0) if rng.random() < 0.4 else now
        largest = max(largest, at)
        times.append(start + datetime.timedelta(milliseconds=at))
    return times


def stamp(time):
    """`2024-03-10 00:00:00.5`, as Rheos prints it."""
    text = time.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
    return text


def write(name, lines):
    (DATA / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def field(value):
    """A csv field: None is nothing, an empty text is quoted, so the two differ."""
    if value is None:
        return ""
    text = str(value)
    if text == "" or any(c in text for c in ',"\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def csv(name, header, rows):
    write(name, [header, *(",".join(field(v) for v in row) for row in rows)])


def sensors():
    """Readings at three places over an hour and a half; at most 90 s out of order."""
    rng = random.Random(1)
    rows = []
    notes = [None, None, "", "cal, start", 'said "ok"', "déjà vu", "night"]
    for time in jittered(rng, datetime.datetime(2024, 3, 10), 90, 60_000, 90_000):
        temp = None if rng.random() < 0.1 else f"{rng.uniform(-5, 25):.2f}"
        humidity = None if rng.random() < 0.1 else rng.randrange(20, 95)
        ok = rng.choice(["true", "true", "false", None])
        rows.append((rng.choice("abc"), stamp(time), temp, humidity, ok, rng.choice(notes)))
    csv("sensors.csv", "sensor,ts,temp,humidity,ok,note", rows)


def trades():
    """Trades over about ten minutes; at most 5 s out of order."""
    rng = random.Random(2)
    lines = []
    for i, time in enumerate(jittered(rng, datetime.datetime(2024, 3, 10, 9, 30), 200, 3_000, 5_000)):
        account = rng.choice([None, "ann", "bob", "cleo", "dan"])
        cents = rng.randrange(100_0000, 102_0000)
        row = {"id": i + 1, "sym": rng.choice(["ABC", "XYZ", "Q"]), "ts": stamp(time), "price": "@", "qty": rng.randrange(1, 60)}
        row.update({"side": rng.choice("BS"), "account": account})
        lines.append(json.dumps(row).replace('"@"', f"{cents // 10000}.{cents % 10000:04}"))
    write("trades.jsonl", lines)


def words():
    rows = [
        (1, "apple", "fruit"), (2, "Banana", "fruit"), (3, "cherry pie", "dish"), (4, "", "empty"), (5, None, None),
        (6, "naïve café", "accent"), (7, "  padded  ", "blank"), (8, "ÅNGSTRÖM", "accent"), (9, "a-b-c-d", "dash"),
        (10, "x1y22z333", "mixed"), (11, "日本語", "kanji"), (12, "100%", "sign"), (13, "under_score", "sign"),
        (14, "apple", None), (15, "Zebra", "animal"), (16, "zebra", "animal"), (17, "it's", "quote"),
        (18, 'say "hi"', "quote"), (19, "a,b", "comma"), (20, "ß", "accent"),
    ]
    csv("words.csv", "id,word,tag", rows)


def gaps():
    """Some rows have no time; the others are in order."""
    rng = random.Random(3)
    start = datetime.datetime(2024, 3, 10)
    rows = []
    for i in range(30):
        at = None if i % 7 == 3 else stamp(start + datetime.timedelta(seconds=20 * i + rng.randrange(10)))
        rows.append((i + 1, at, rng.randrange(100)))
    csv("gaps.csv", "id,ts,v", rows)


def early():
    """Times around 1970-01-01 00:00, where division must be floored; in order."""
    start = datetime.datetime(1969, 12, 31, 23, 59)
    rows = [(i + 1, stamp(start + datetime.timedelta(milliseconds=4_700 * i)), i * i % 11) for i in range(30)]
    csv("early.csv", "id,ts,v", rows)


def values():
    """One row a value that is easily got wrong."""
    at = datetime.datetime
    day = datetime.date
    rows = [
        # id, i, l, d, m, s, b, day, seen
        (1, 0, 0, 0.0, D("0.00"), "zero", True, day(1970, 1, 1), at(1970, 1, 1)),
        (2, 1, 1, 1.0, D("1.00"), "one", False, day(2024, 2, 29), at(2024, 2, 29, 12, 34, 56, 789012)),
        (3, -1, -1, -1.0, D("-1.00"), "minus one", True, day(1969, 12, 31), at(1969, 12, 31, 23, 59, 59, 999999)),
        (4, None, None, None, None, None, None, None, None),
        (5, 7, 7, 2.5, D("2.50"), "seven", False, day(2023, 12, 31), at(2023, 12, 31, 23, 59, 59)),
        (6, -7, -7, -2.5, D("-2.50"), "minus seven", None, day(2024, 1, 1), at(2024, 1, 1)),
        (7, 2147483647, 9007199254740993, 1e15, D("9999999999.99"), "large", True, day(9999, 12, 31), at(9999, 12, 31, 23, 59, 59)),
        (8, -2147483648, -9007199254740993, -1e-9, D("-9999999999.99"), "small", False, day(1, 1, 1), at(1900, 1, 1)),
        (9, 42, 42, 0.1, D("0.10"), "", True, day(2024, 3, 10), at(2024, 3, 10, 9, 30)),
        (10, 42, 42, 0.2, D("0.20"), "42", None, day(2024, 3, 10), at(2024, 3, 10, 9, 30, 0, 500000)),
        (11, 42, None, 0.30000000000000004, D("0.30"), "3.75", True, day(2024, 12, 25), at(2024, 12, 25, 18)),
        (12, 100, 1000000007, 123.456, D("123.46"), "-17", False, day(2000, 2, 28), at(2000, 2, 28, 6, 7, 8)),
    ]
    schema = pa.schema([
        ("id", pa.int64()), ("i", pa.int32()), ("l", pa.int64()), ("d", pa.float64()), ("m", pa.decimal128(12, 2)),
        ("s", pa.string()), ("b", pa.bool_()), ("day", pa.date32()), ("seen", pa.timestamp("us")),
    ])
    columns = [pa.array(c, type=f.type) for c, f in zip(zip(*rows), schema)]
    parquet("values.parquet", pa.table(columns, schema=schema), 5)


def ticks():
    """2,000 rows of eight keys, one of them hot, over about 33 minutes; at most 2 s out of order."""
    rng = random.Random(4)
    times = jittered(rng, datetime.datetime(2024, 3, 10, 12), 2_000, 1_000, 2_000)
    keys = [0 if rng.random() < 0.5 else rng.randrange(8) for _ in times]
    numbers = [None if rng.random() < 0.02 else rng.randrange(-500, 500) for _ in times]
    schema = pa.schema([("k", pa.int32()), ("ts", pa.timestamp("us")), ("v", pa.int64())])
    parquet("ticks.parquet", pa.table([pa.array(keys, pa.int32()), pa.array(times, pa.timestamp("us")), pa.array(numbers, pa.int64())], schema=schema), 250)


def parquet(name, table, rows):
    pq.write_table(table, DATA / name, row_group_size=rows, compression="zstd", version="2.6")


def parts():
    """Three files, one after the other in time; in order."""
    rng = random.Random(5)
    at = datetime.datetime(2024, 3, 10)
    for part in ("a", "b", "c"):
        rows = []
        for _ in range(12):
            at += datetime.timedelta(seconds=rng.randrange(10, 120))
            rows.append((stamp(at), rng.choice(["red", "green", "blue"]), rng.randrange(10)))
        csv(f"parts/{part}.csv", "ts,color,n", rows)


def orders():
    """Nested rows."""
    rng = random.Random(6)
    lines = []
    for i in range(20):
        customer = {"name": rng.choice(["Ann", "Bob", None]), "address": {"city": rng.choice(["Rome", "Oslo"]), "zip": 1000 + i}}
        lines.append(json.dumps({"id": i + 1, "customer": None if i == 7 else customer, "total": rng.randrange(500)}))
    write("orders.jsonl", lines)


def visits():
    """Visits at whole minutes, so that people come and go together; at most 2 min out of order, some of nobody."""
    rng = random.Random(7)
    start = datetime.datetime(2024, 3, 10, 8)
    people = ["ann", "bob", "cleo", None]
    minutes = [0, 0, 0, 1, 3, 2, 4, 4, 5, 20, 20, 21, 19, 22, 25, 30, 29, 30, 31, 50, 50, 50, 50, 55, 60, 59, 58, 65, 70, 70]
    rows = []
    for i, minute in enumerate(minutes):
        who = people[i % 3] if i < 15 else rng.choice(people)
        rows.append((i + 1, who, stamp(start + datetime.timedelta(minutes=minute)), rng.choice(["/", "/cart", "/pay"]), rng.randrange(1, 9)))
    csv("visits.csv", "id,who,ts,page,n", rows)


def baskets():
    """Rows with lists and maps: some empty, some NULL, some with NULL in them."""
    rng = random.Random(8)
    skus = ["tea", "milk", "salt", "rice"]
    lines = []
    for i in range(14):
        items = [{"sku": rng.choice(skus), "qty": rng.randrange(1, 5), "price": rng.randrange(100, 900) / 4} for _ in range(i % 4)]
        tags = [rng.choice(["new", "gift", "cold", None]) for _ in range(rng.randrange(4))]
        notes = {key: rng.choice(["yes", "no", None]) for key in rng.sample(["wrap", "card", "rush"], rng.randrange(4))}
        row = {"id": i + 1, "ts": stamp(datetime.datetime(2024, 3, 10, 10) + datetime.timedelta(seconds=25 * i))}
        row.update({"items": None if i == 5 else items, "tags": None if i == 9 else tags, "notes": None if i == 11 else notes})
        row["counts"] = [rng.randrange(10) for _ in range(rng.randrange(1, 4))]
        lines.append(json.dumps(row))
    write("baskets.jsonl", lines)


def clicks():
    """Times as milliseconds, names in two parts, addresses to be taken apart; in order."""
    rng = random.Random(9)
    urls = [
        "https://shop.example/a/b/c?id=7&channel_id=12", "https://shop.example/x?channel_id=3&z=1", "https://shop.example/a/b",
        "channel_id=99", "", None, "https://shop.example/cart/cc/c?nochannel_id=5",
    ]
    rows = []
    for i in range(24):
        ms = 1_710_064_800_000 + 7_125 * i
        rows.append((i + 1, ms, rng.choice(["Ann", "Bob", None]), rng.choice(["Ray", "Lee", ""]), urls[i % 7], rng.randrange(-20, 20)))
    csv("clicks.csv", "id,ms,first_name,last_name,url,n", rows)


def events():
    """Three kinds of event in one stream, each with its own row and its own time; at most 4 s out of order."""
    rng = random.Random(10)
    lines = []
    for i, time in enumerate(jittered(rng, datetime.datetime(2024, 3, 10, 11), 60, 2_000, 4_000)):
        kind = rng.choice([0, 1, 1, 2, 2, 2])
        row = {"event_type": kind, "person": None, "auction": None, "bid": None}
        if kind == 0:
            row["person"] = {"id": rng.randrange(6), "name": rng.choice(["Ann", "Bob", "Cleo"]), "dateTime": stamp(time)}
        elif kind == 1:
            row["auction"] = {"id": i, "seller": rng.randrange(6), "dateTime": stamp(time), "reserve": rng.randrange(100, 200)}
        else:
            row["bid"] = {"auction": rng.randrange(4), "bidder": rng.randrange(6), "price": rng.randrange(1000), "dateTime": stamp(time)}
        lines.append(json.dumps(row))
    write("events.jsonl", lines)


if __name__ == "__main__":
    main()
