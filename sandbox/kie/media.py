"""Real small media files, made from a number: the same number gives the same file.

PNG: a pattern. MP4: H.264 (baseline; one picture of raw macroblocks, then skipped ones), which every player shows. MP3:
silent frames under a title. WAV: a tone.
"""

import math
import struct
import zlib
from functools import lru_cache

PNG_SIZE = 64
VIDEO_SIZE = 64
FRAMES_PER_SECOND = 8
SECONDS = 5
FILES_REMEMBERED = 256

_MP3_HEADER = b"\xff\xfb\x90\xc4"
_MP3_FRAME_BYTES = 417
_MP3_FRAMES_PER_SECOND = 38
_WAV_RATE = 8_000


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@lru_cache(FILES_REMEMBERED)
def png(seed: int) -> bytes:
    """A picture in two colours."""
    colours = (seed & 0xFFFFFF).to_bytes(3, "big"), (~seed & 0xFFFFFF).to_bytes(3, "big")
    size = range(PNG_SIZE)
    rows = b"".join(b"\0" + b"".join(colours[(x ^ y) >> 3 & 1] for x in size) for y in size)
    header = struct.pack(">IIBBBBB", PNG_SIZE, PNG_SIZE, 8, 2, 0, 0, 0)
    parts = _png_chunk(b"IHDR", header), _png_chunk(b"IDAT", zlib.compress(rows)), _png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@lru_cache(FILES_REMEMBERED)
def mp3(seed: int, seconds: int = SECONDS) -> bytes:
    """Silence of that length, MPEG-1 layer III at 128 kbit/s, titled with the number."""
    title = b"TIT2" + struct.pack(">I", 17) + b"\0\0" + b"\0" + b"%016x" % (seed & 0xFFFFFFFFFFFFFFFF)
    tag = b"ID3\x03\0\0" + bytes((0, 0, 0, len(title))) + title
    frame = _MP3_HEADER + bytes(_MP3_FRAME_BYTES - len(_MP3_HEADER))
    return tag + frame * (_MP3_FRAMES_PER_SECOND * seconds)


@lru_cache(FILES_REMEMBERED)
def wav(seed: int, seconds: int = SECONDS) -> bytes:
    """A tone of 220 to 475 Hz, 8 kHz, 16 bits, one channel."""
    step = 2 * math.pi * (220 + seed % 256) / _WAV_RATE
    second = struct.pack(f"<{_WAV_RATE}h", *(int(12_000 * math.sin(step * index)) for index in range(_WAV_RATE)))
    samples = second * seconds  # whole hertz: each second is like the first
    form = struct.pack("<HHIIHH", 1, 1, _WAV_RATE, _WAV_RATE * 2, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


@lru_cache(FILES_REMEMBERED)
def mp4(seed: int, seconds: int = SECONDS) -> bytes:
    """A still film of that length: a square pattern in grey."""
    frames = [_key_frame(seed)] + [_skipped_frame(number) for number in range(1, FRAMES_PER_SECOND * seconds)]
    samples = [struct.pack(">I", len(frame)) + frame for frame in frames]
    kind = _box(b"ftyp", b"isom\0\0\x02\0isomiso2avc1mp41")
    before = len(kind) + len(_movie(samples, 0)) + 8
    return kind + _movie(samples, before) + _box(b"mdat", b"".join(samples))


# H.264


class _Bits:
    def __init__(self) -> None:
        self._bits: list[str] = []

    def fixed(self, value: int, width: int) -> None:
        self._bits.append(f"{value:0{width}b}")

    def golomb(self, value: int) -> None:
        code = f"{value + 1:b}"
        self._bits.append("0" * (len(code) - 1) + code)

    def align(self) -> None:
        self._bits.append("0" * (-len("".join(self._bits)) % 8))

    def raw(self, data: bytes) -> None:
        self._bits.append("".join(f"{byte:08b}" for byte in data))

    def trailing(self) -> bytes:
        self._bits.append("1")
        self.align()
        bits = "".join(self._bits)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _nal(head: int, payload: bytes) -> bytes:
    """With emulation prevention: no three bytes look like a start code."""
    out = bytearray((head,))
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


_BLOCKS = VIDEO_SIZE // 16


def _sequence_set() -> bytes:
    bits = _Bits()
    bits.fixed(66, 8)  # baseline
    bits.fixed(0xC0, 8)
    bits.fixed(20, 8)
    for value in (0, 0, 2, 1):  # id, frame numbers of 4 bits, picture order of its own, one reference
        bits.golomb(value)
    bits.fixed(0, 1)
    bits.golomb(_BLOCKS - 1)
    bits.golomb(_BLOCKS - 1)
    for flag in (1, 1, 0, 0):  # frames only, direct 8x8, no cropping, no usability data
        bits.fixed(flag, 1)
    return _nal(0x67, bits.trailing())


def _picture_set() -> bytes:
    bits = _Bits()
    bits.golomb(0)
    bits.golomb(0)
    bits.fixed(0, 2)
    for value in (0, 0, 0):
        bits.golomb(value)
    bits.fixed(0, 3)
    for value in (0, 0, 0):
        bits.golomb(value)
    bits.fixed(0b100, 3)  # deblocking is said in the slice
    return _nal(0x68, bits.trailing())


def _slice(kind: int, number: int, key: bool) -> _Bits:
    bits = _Bits()
    bits.golomb(0)
    bits.golomb(kind)
    bits.golomb(0)
    bits.fixed(number % 16, 4)
    if key:
        bits.golomb(0)
        bits.fixed(0, 2)  # no output of prior pictures, no long-term reference
    else:
        bits.fixed(0, 3)  # one reference, no reordering, sliding window
    bits.golomb(0)
    bits.golomb(1)  # no deblocking
    return bits


def _key_frame(seed: int) -> bytes:
    bits = _slice(7, 0, key=True)
    for block in range(_BLOCKS * _BLOCKS):
        bits.golomb(25)  # raw samples
        bits.align()
        light = 40 + (seed >> (block % 24) & 1) * 160
        bits.raw(bytes((light,)) * 256 + bytes((128,)) * 128)
    return _nal(0x65, bits.trailing())


def _skipped_frame(number: int) -> bytes:
    bits = _slice(5, number, key=False)
    bits.golomb(_BLOCKS * _BLOCKS)
    return _nal(0x41, bits.trailing())


# MP4


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)


_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def _movie(samples: list[bytes], data_offset: int) -> bytes:
    length = len(samples)
    times = struct.pack(">IIII", 0, 0, FRAMES_PER_SECOND, length)
    movie = _full(b"mvhd", times, struct.pack(">IH10x", 0x10000, 0x100), _MATRIX, bytes(24), struct.pack(">I", 2))
    head = _full(
        b"tkhd",
        struct.pack(">IIIII", 0, 0, 1, 0, length),
        bytes(16),
        _MATRIX,
        struct.pack(">II", VIDEO_SIZE << 16, VIDEO_SIZE << 16),
        flags=3,
    )
    media = _box(
        b"mdia",
        _full(b"mdhd", times, struct.pack(">HH", 0x55C4, 0)),
        _full(b"hdlr", bytes(4), b"vide", bytes(12), b"video\0"),
        _box(b"minf", _full(b"vmhd", bytes(8), flags=1), _references(), _table(samples, data_offset)),
    )
    return _box(b"moov", movie, _box(b"trak", head, media))


def _references() -> bytes:
    return _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1)))


def _table(samples: list[bytes], data_offset: int) -> bytes:
    sequence, picture = _sequence_set(), _picture_set()
    configuration = (b"\x01" + sequence[1:4] + b"\xff\xe1" + struct.pack(">H", len(sequence)) + sequence + b"\x01") + (
        struct.pack(">H", len(picture)) + picture
    )
    entry = _box(
        b"avc1",
        struct.pack(">6xH16xHHII4xH32xHh", 1, VIDEO_SIZE, VIDEO_SIZE, 0x480000, 0x480000, 1, 24, -1),
        _box(b"avcC", configuration),
    )
    sizes = b"".join(struct.pack(">I", len(sample)) for sample in samples)
    return _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), entry),
        _full(b"stts", struct.pack(">III", 1, len(samples), 1)),
        _full(b"stss", struct.pack(">II", 1, 1)),
        _full(b"stsc", struct.pack(">IIII", 1, 1, len(samples), 1)),
        _full(b"stsz", struct.pack(">II", 0, len(samples)), sizes),
        _full(b"stco", struct.pack(">II", 1, data_offset)),
    )
