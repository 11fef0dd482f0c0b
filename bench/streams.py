"""Many streams at once, and how late each chunk is: the sandbox stamps a chunk with its clock when it writes it."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import cast

import uvloop

from bench.call import Target, long_answer
from bench.client import address, request_bytes

_STAMP = re.compile(rb'"sandbox_ms":([0-9.]+)')
_EVENT_END = b"\n\n"
_DONE = b"data: [DONE]"
_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class StreamRun:
    """Delays are from the sandbox's writing of a chunk to its arrival here. `unfinished`: streams without their end."""

    streams: int
    unfinished: int
    chunks: int
    duration_s: float
    first_p50_ms: float
    first_p99_ms: float
    delay_p50_ms: float
    delay_p99_ms: float
    delay_max_ms: float
    cpu_s: float


class Reader(asyncio.Protocol):
    """One stream. It parses nothing but the stamps: it shares the machine with what it measures."""

    def __init__(self, request: bytes, delays_ms: list[float]) -> None:
        self._request = request
        self._delays_ms = delays_ms
        self._rest = b""
        self._began = 0.0
        self._transport: asyncio.Transport
        self.first_ms = 0.0
        self.finished = False
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        """Send the request."""
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now_ms = time.time_ns() / 1e6
        data = self._rest + data if self._rest else data
        whole = data.rfind(_EVENT_END) + len(_EVENT_END)
        if whole < len(_EVENT_END):
            self._rest = data
            return
        self._rest = data[whole:]
        stamps = _STAMP.findall(data, 0, whole)
        if stamps and not self.first_ms:
            self.first_ms = (time.perf_counter() - self._began) * 1e3
        for stamp in stamps:
            self._delays_ms.append(now_ms - float(stamp))
        if _DONE in data:
            self.finished = True
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


def measure(target: Target, streams: int, tokens: int, expected_s: float) -> StreamRun:
    """Open `streams` connections, start a stream on each at one moment, and read them to their ends."""
    return uvloop.run(_measure(target, streams, tokens, expected_s))


async def _measure(target: Target, streams: int, tokens: int, expected_s: float) -> StreamRun:
    host, port = address(target.url)
    request = request_bytes(target.url, list(target.headers), target.body(**long_answer(tokens)))
    delays_ms: list[float] = []
    loop = asyncio.get_running_loop()
    readers = []
    for _ in range(streams):
        _, reader = await loop.create_connection(lambda: Reader(request, delays_ms), host, port)
        readers.append(reader)
    began, cpu_began = time.perf_counter(), time.process_time()
    for reader in readers:
        reader.start()
    await asyncio.wait([reader.over for reader in readers], timeout=expected_s + _GRACE_S)
    took_s = time.perf_counter() - began
    firsts = sorted(reader.first_ms for reader in readers)
    delays_ms.sort()
    return StreamRun(
        streams=streams,
        unfinished=sum(not reader.finished for reader in readers),
        chunks=len(delays_ms),
        duration_s=took_s,
        first_p50_ms=at_share(firsts, 0.5),
        first_p99_ms=at_share(firsts, 0.99),
        delay_p50_ms=at_share(delays_ms, 0.5),
        delay_p99_ms=at_share(delays_ms, 0.99),
        delay_max_ms=at_share(delays_ms, 1.0),
        cpu_s=time.process_time() - cpu_began,
    )


def at_share(ordered: list[float], share: float) -> float:
    """The value below which this share of an ordered list lies; 0 for an empty list."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
