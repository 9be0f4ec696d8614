"""Writes the golden texts of version 1 by the description in src/manifest/text.rs, with the reference xxh3 (package xxhash).

Shares no code with the crate that is tested. Run in this folder; what it writes must not change any more.
"""
import base64
import json
import xxhash

b64 = lambda raw: base64.b64encode(raw).decode()
sum16 = lambda raw: xxhash.xxh3_64_hexdigest(raw)


def write(path, kind, body, version=1, key=None):
    body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    told = f"{kind}\n{version}\n{key or ''}\n".encode()
    first = {"rheos": kind, "version": version, "key": key, "length_bytes": len(body), "checksum": sum16(told + body)}
    text = json.dumps(first, separators=(",", ":")).encode() + b"\n" + body + b"\n"
    open(path, "wb").write(text)


def segment(offset, length, data, operator, table, kind, layout, groups, first, last, holder):
    return {
        "offset": offset, "length_bytes": length, "checksum": sum16(data), "operator": operator, "table": table,
        "kind": kind, "layout": layout, "groups": groups, "first_epoch": first, "last_epoch": last, "holder": holder,
    }


def split(id, sequence, path, progress, newest, not_before=None, size=0):
    descriptor = json.dumps({"path": path}, ensure_ascii=False, separators=(",", ":"))
    of = {"id": id, "sequence": sequence, "not_before_ms": not_before, "size_bytes": size, "descriptor": descriptor}
    return {"split": of, "progress": progress, "max_event_time_ms": newest}


def staged(generation, epoch, worker, raw):
    return {"generation": generation, "epoch": epoch, "worker": worker, "committable": b64(raw)}


# Every second key group of 512 to 1023: 64 bytes of no group, then 64 bytes with the bits 1, 3, 5, 7.
scattered = "#" + b64(bytes(64) + b"\xaa" * 64).rstrip("=")
manifest = {
    "entry": 12,
    "generation": 4,
    "epoch": 17,
    "phase": "running",
    "savepoint": "before-upgrade",
    "wall_time_ms": 1700000000456,
    "processing_time_ms": 1700000000123,
    "program": {
        "fingerprint": "f00dfeed00000001",
        "context": b64(b'{"zone":"UTC"}'),
        "operators": [
            {"id": "sink-5", "name": "filesystem", "facts": []},
            {"id": "tumble-1", "name": "window aggregate", "facts": [["group by", "origin"], ["window", "1 h"]]},
        ],
    },
    "parallelism": 2,
    "key_hash_version": 1,
    "owners": [{"first": 0, "last": 511, "worker": 0}, {"first": 512, "last": 1023, "worker": 1}],
    "objects": [
        {"name": "g1-w0-e9", "length_bytes": 4096, "checksum": sum16(b"g1"), "segments": [
            segment(64, 1000, b"a", "tumble-1", "slices", "keyed", "window-slices/v1", "0-300,600-1023", 5, 9, 0),
        ]},
        {"name": "g4-w0-e17", "length_bytes": 400, "checksum": sum16(b"g4w0"), "segments": [
            segment(0, 50, b"b", "rules-3", "rules", "broadcast", "rules/v2", "", 17, 17, 0),
            segment(50, 350, b"c", "sort-4", "rows", "single", "rows/v1", "", 17, 17, 0),
        ]},
        {"name": "g4-w1-e17", "length_bytes": 900, "checksum": sum16(b"g4w1"), "segments": [
            segment(0, 400, b"d", "tumble-1", "slices", "keyed", "window-slices/v1", scattered, 17, 17, 1),
            segment(400, 100, b"e", "rows-2", "buffer", "split", "rows/v1", "", 16, 17, 1),
        ]},
    ],
    "sources": [{
        "operator": "source-0",
        "watermark_ms": -62135596800000,
        "enumerated": False,
        "enumerator": "c.csv",
        "sequences": [{"sequence": 0, "finished_max_ms": 1000}],
        "splits": [
            split("b.csv:0", 1, "b.csv", {"reading": "4711"}, -5, not_before=-100, size=123456),
            split("d.csv:0", 3, "d.csv", "finished", 7),
            split("ü.csv:0", 2, "ü.csv", "pending", None),
        ],
    }],
    "sinks": [
        {
            "operator": "sink-5",
            "repeat": "duplicates",
            "last_release": {"number": {"generation": 4, "sequence": 1}, "through": 16},
            "releases": [
                {"number": {"generation": 4, "sequence": 0}, "committables": [
                    staged(1, 9, 0, b'{"part":"w"}'), staged(4, 15, 0, b'{"part":"x"}')]},
                {"number": {"generation": 4, "sequence": 1}, "committables": [staged(4, 16, 1, b'{"part":"y"}')]},
            ],
            "held": [staged(4, 17, 0, bytes([0, 255, 7]))],
        },
        {"operator": "sink-6", "repeat": "replaces", "last_release": None, "releases": [], "held": []},
    ],
    "counters": {"source-0/decoded": 18446744073709551615, "source-0/skipped": 2},
}
claim = {
    "generation": 13,
    "nonce": f"{0xABCDEF:032x}",
    "job": f"{0x1234:032x}",
    "restored": {"entry": 12, "generation": 4},
    "first_epoch": 18,
    "checkpoints_kept": 3,
    "damaged": ["g4-w1-e17"],
}
write("manifest-v1.json", "manifest", manifest)
write("claim-v1.json", "claim", claim)
write("committed-v1.json", "committed", {"entry": 14, "generation": 13, "manifest": 12})
write("retired-v1.json", "retired", {"entry": 3})
write("manifest-v2.json", "manifest", {"anything": True}, version=2)
write("manifest-encrypted.json", "manifest", {"anything": True}, key="2026-11")
