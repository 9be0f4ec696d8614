#!/usr/bin/env python3
"""Writes object-v1.bin: an object of state in version 1, with other implementations of Arrow and xxh3 than Rheos has.

    pip install pyarrow xxhash; python3 object-v1.py
"""

import json
import pathlib
import struct

import pyarrow as pa
import xxhash

MAGIC, VERSION = b"RheosObj", 1


def checksum(data):
    return xxhash.xxh3_64_hexdigest(data)


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def stream(batch, compression):
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def main():
    fired = pa.record_batch(
        [pa.array([0, 511], pa.uint16()), pa.array([1000, 2000], pa.int64())],
        schema=pa.schema([pa.field("key_group", pa.uint16(), False), pa.field("watermark_ms", pa.int64(), False)]),
    )
    slices = pa.record_batch(
        [
            pa.array([3, 3, 7], pa.uint16()),
            pa.array([6, 8, 7], pa.int64()),
            pa.array(["ü", None, "a text that is longer than a view"], pa.string_view()),
            pa.array([0.5, -0.0, None], pa.float64()),
        ],
        schema=pa.schema(
            [
                pa.field("key_group", pa.uint16(), False),
                pa.field("slice", pa.int64(), False),
                pa.field("origin", pa.string_view()),
                pa.field("sum", pa.float64()),
            ]
        ),
    )
    segments = [
        ("aggregate-1", "fired", "keyed", "window-fired/v1", "0-511", 17, 17,
         [{"groups": "", "up_to": None}], {"first": 1000, "last": 2000}, fired, None),
        ("aggregate-1", "slices", "keyed", "window-slices/v1", "0-300,302-511", 15, 17,
         [{"groups": "0-10", "up_to": 5}, {"groups": "20", "up_to": None}],
         {"first": 6, "last": 8}, slices, "lz4"),
        ("sort-4", "rows", "single", "sort-rows/v1", "", 17, 17,
         [{"groups": "", "up_to": None}], None, None, None),
    ]
    data = MAGIC + struct.pack("<II", VERSION, 0)
    footer = []
    for operator, table, kind, layout, groups, first, last, tombstones, namespaces, rows, compression in segments:
        header = compact({
            "version": VERSION, "layout": layout, "kind": kind, "rows": rows.num_rows if rows else 0,
            "namespaces": namespaces, "tombstones": tombstones,
        })
        segment = struct.pack("<I", len(header)) + header
        segment += bytes(-len(segment) % 8)
        if rows:
            segment += stream(rows, compression)
        data += bytes(-len(data) % 8)
        footer.append({
            "offset": len(data), "length_bytes": len(segment), "checksum": checksum(segment), "operator": operator,
            "table": table, "kind": kind, "layout": layout, "groups": groups, "first_epoch": first,
            "last_epoch": last, "holder": 0,
        })
        data += segment
    footer = compact({"segments": footer})
    data += footer + struct.pack("<QQII", len(footer), xxhash.xxh3_64_intdigest(footer), VERSION, 0) + MAGIC
    pathlib.Path(__file__).with_suffix(".bin").write_bytes(data)
    print(len(data), checksum(data))


if __name__ == "__main__":
    main()
