#!/usr/bin/env python3
"""Writes sealed-v1.bin: an encrypted file in version 1, with other implementations of AES-GCM, HKDF and xxh3 than Rheos has.

    pip install cryptography xxhash; python3 sealed-v1.py

The file is 'journal/golden' and holds 70,000 bytes, which makes a full frame and a shorter one: byte i is i * 7 % 251.
The key is '2026-11', the bytes 0 to 31; the salt the bytes 100 to 131.
"""

import base64
import hashlib
import hmac
import json
import pathlib

import xxhash
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NAME, KEY_ID, KEY, SALT = b"journal/golden", "2026-11", bytes(range(32)), bytes(range(100, 132))
PLAIN = bytes(i * 7 % 251 for i in range(70_000))
FRAME = 64 << 10


def derive(info, length):
    """HKDF-SHA-256 (RFC 5869) for at most one block."""
    extracted = hmac.new(SALT, KEY, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:length]


def main():
    salt, check = base64.b64encode(SALT).decode(), derive(b"rheos key check v1", 8).hex()
    checksum = xxhash.xxh3_64_hexdigest(f"1\n{KEY_ID}\n{salt}\n{check}\n".encode())
    line = {"rheos": "encrypted", "version": 1, "key": KEY_ID, "salt": salt, "check": check, "checksum": checksum}
    data = json.dumps(line, separators=(",", ":")).encode().ljust(255) + b"\n"
    cipher = AESGCM(derive(b"rheos file v1 " + NAME, 32))
    starts = range(0, len(PLAIN), FRAME)
    for number, start in enumerate(starts):
        is_last = number == len(starts) - 1
        nonce = bytes(3) + number.to_bytes(8, "big") + bytes([is_last])
        data += cipher.encrypt(nonce, PLAIN[start : start + FRAME], b"")
    pathlib.Path(__file__).with_suffix(".bin").write_bytes(data)


if __name__ == "__main__":
    main()
