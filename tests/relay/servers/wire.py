"""Protobuf messages written by field number: the tests must not depend on the encoder under test."""

from __future__ import annotations

import struct


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(written + bytes([number]))


def integer(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def fixed64(field: int, number: int) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<Q", number)


def double(field: int, number: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", number)


def message(field: int, *parts: bytes | str) -> bytes:
    """A message, string or bytes."""
    body = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def snappy(body: bytes) -> bytes:
    """Snappy's block format, all literals."""
    blocks = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    return varint(len(body)) + b"".join(bytes([61 << 2]) + struct.pack("<H", len(block) - 1) + block for block in blocks)
