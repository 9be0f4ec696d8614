#!/usr/bin/env python3
"""Writes object-v3.bin: an object with a segment of version 3, some of whose rows say that earlier ones are gone, with other
implementations of Arrow and xxh3 than Rheos has.

    pip install pyarrow xxhash; python3 object-v3.py
"""

import json
import pathlib
import struct

import pyarrow as pa
import xxhash

MAGIC, OBJECT_VERSION, SEGMENT_VERSION = b"RheosObj", 1, 3


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def main():
    rows = pa.record_batch(
        [
            pa.array([3, 3, 9], pa.uint16()),
            pa.array(["ü", "ü", None], pa.string()),
            pa.array([1000, 2000, 900], pa.int64()),
            pa.array([2, 0, -1], pa.int64()),
        ],
        schema=pa.schema(
            [
                pa.field("key_group", pa.uint16(), False),
                pa.field("user", pa.string()),
                pa.field("amount", pa.int64(), False),
                pa.field("weight", pa.int64(), False),
            ]
        ),
    )
    header = compact({
        "version": SEGMENT_VERSION, "layout": "join-rows/v1", "kind": "keyed", "rows": 3,
        "namespaces": None, "tombstones": [], "replaces_by": [0, 1], "gone_by": 2,
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
        "operator": "join-2", "table": "left", "kind": "keyed", "layout": "join-rows/v1",
        "groups": "0-511", "first_epoch": 17, "last_epoch": 17, "holder": 0,
    }]})
    data += segment + footer
    data += struct.pack("<QQII", len(footer), xxhash.xxh3_64_intdigest(footer), OBJECT_VERSION, 0) + MAGIC
    pathlib.Path(__file__).with_suffix(".bin").write_bytes(data)
    print(len(data))


if __name__ == "__main__":
    main()
