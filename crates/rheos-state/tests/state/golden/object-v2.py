#!/usr/bin/env python3
"""Writes object-v2.bin: an object with a segment of version 2, whose rows take the place of earlier ones, with other
implementations of Arrow and xxh3 than Rheos has.

    pip install pyarrow xxhash; python3 object-v2.py
"""

import json
import pathlib
import struct

import pyarrow as pa
import xxhash

MAGIC, OBJECT_VERSION, SEGMENT_VERSION = b"RheosObj", 1, 2


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def main():
    rows = pa.record_batch(
        [
            pa.array([3, 3, 9], pa.uint16()),
            pa.array([1700, 2600, 1500], pa.int64()),
            pa.array(["ü", "ü", None], pa.string()),
            pa.array([1000, 2000, 900], pa.int64()),
            pa.array([4, 1, 2], pa.int64()),
        ],
        schema=pa.schema(
            [
                pa.field("key_group", pa.uint16(), False),
                pa.field("session_end", pa.int64(), False),
                pa.field("user", pa.string()),
                pa.field("session_start", pa.int64(), False),
                pa.field("rows", pa.int64(), False),
            ]
        ),
    )
    header = compact({
        "version": SEGMENT_VERSION, "layout": "window-sessions/v1", "kind": "keyed", "rows": 3,
        "namespaces": {"first": 1500, "last": 2600}, "tombstones": [{"groups": "", "up_to": 1400}],
        "replaces_by": [1, 2],
    })
    segment = struct.pack("<I", len(header)) + header
    segment += bytes(-len(segment) % 8)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(rows)
    segment += sink.getvalue().to_pybytes()
    data = MAGIC + struct.pack("<II", OBJECT_VERSION, 0)
    footer = compact({"segments": [{
        "offset": len(data), "length_bytes": len(segment), "checksum": xxhash.xxh3_64_hexdigest(segment),
        "operator": "sessions-2", "table": "sessions", "kind": "keyed", "layout": "window-sessions/v1",
        "groups": "0-511", "first_epoch": 17, "last_epoch": 17, "holder": 0,
    }]})
    data += segment + footer
    data += struct.pack("<QQII", len(footer), xxhash.xxh3_64_intdigest(footer), OBJECT_VERSION, 0) + MAGIC
    pathlib.Path(__file__).with_suffix(".bin").write_bytes(data)
    print(len(data))


if __name__ == "__main__":
    main()
