"""Small real images, and the data URIs of them."""

import base64
import struct
import zlib

URL = "https://images.example.com/cat.png"
VIDEO_URL = "https://images.example.com/cat.mp4"
AUDIO_URL = "https://images.example.com/cat.mp3"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size_bytes: int = 0) -> bytes:
    """A real one-pixel PNG; padded behind its end to `size_bytes`."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    whole += _chunk(b"IEND", b"")
    return whole.ljust(size_bytes, b"\0")


GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    + b"\xff\xdb\x00C\x00"
    + b"\x01" * 64
    + b"\xff\xd9"
)
WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00/\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"


def data_uri(data: bytes, content_type: str = "image/png") -> str:
    """`data:image/png;base64,…`"""
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"
