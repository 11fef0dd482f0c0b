"""What a file is, by its first bytes. Pure.

Names and headers lie; and what a browser would run (HTML, SVG) is never called so, since it would run on our address.
"""

HEAD_BYTES = 512
"""How much of a file is needed to know it."""

UNKNOWN = "bin"
TEXT = "txt"

CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "m4a": "audio/mp4",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "mid": "audio/midi",
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    UNKNOWN: "application/octet-stream",
}
"""Ending → content type, of all that is ever served."""

_PREFIXES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\x1aE\xdf\xa3", "webm"),
    (b"ID3", "mp3"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"MThd", "mid"),
)
_RIFF = {b"WEBP": "webp", b"WAVE": "wav"}
_MP4_AUDIO = (b"M4A ", b"M4B ")
_MP4_QUICKTIME = b"qt  "


def ending_of(head: bytes) -> str:
    """A key of CONTENT_TYPES for a file that begins with `head`."""
    for prefix, ending in _PREFIXES:
        if head.startswith(prefix):
            return ending
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "m4a" if brand in _MP4_AUDIO else "mov" if brand == _MP4_QUICKTIME else "mp4"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # an MPEG audio frame without a tag
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    return UNKNOWN
