"""A small real PNG, made from a number: the same number gives the same picture."""

import base64
import struct
import zlib

SIZE = 16


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(seed: int) -> bytes:
    """A 16 × 16 picture in two colours."""
    colours = (seed & 0xFFFFFF).to_bytes(3, "big"), (~seed & 0xFFFFFF).to_bytes(3, "big")
    rows = b"".join(b"\0" + b"".join(colours[(x ^ y) >> 2 & 1] for x in range(SIZE)) for y in range(SIZE))
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def data_url(seed: int) -> str:
    """The picture as it stands in an answer."""
    return "data:image/png;base64," + base64.b64encode(png(seed)).decode()
