"""`python -m bench.client FILE`: the load of `wrk` where wrk is not installed. Costs about ten times wrk's CPU."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

LATENCIES_MAX = 1_000_000


class Caller(asyncio.Protocol):
    """One connection: sends the request, and again as soon as it is answered."""

    def __init__(self, request: bytes, until: float, latencies_us: list[int], failures: list[int]) -> None:
        self._request = request
        self._until = until
        self._latencies_us = latencies_us
        self._failures = failures
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = 0.0
        self._transport: asyncio.Transport
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if not 200 <= self._parser.get_status_code() < 300:
            self._failures[0] += 1
        if len(self._latencies_us) < LATENCIES_MAX:
            self._latencies_us.append(int((time.perf_counter() - self._sent_at) * 1e6))
        if time.perf_counter() < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._until:
            self._failures[0] += 1
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def request_bytes(url: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """A POST over HTTP/1.1."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL that names both."""
    parts = urlsplit(url)
    assert parts.hostname is not None, url
    assert parts.port is not None, url
    return parts.hostname, parts.port


async def load(order: dict[str, Any]) -> dict[str, int]:
    """wrk's figures, in the form that bench/load.py reads."""
    host, port = address(order["url"])
    request = request_bytes(order["url"], order["headers"], order["body"].encode())
    latencies_us: list[int] = []
    failures = [0]
    began = time.perf_counter()
    until = began + order["seconds"]
    loop = asyncio.get_running_loop()
    callers = []
    for _ in range(order["connections"]):
        _, caller = await loop.create_connection(lambda: Caller(request, until, latencies_us, failures), host, port)
        callers.append(caller)
    await asyncio.wait([caller.done for caller in callers], timeout=order["seconds"] + 10)
    took_us = int((time.perf_counter() - began) * 1e6)
    ordered = sorted(latencies_us) or [0]
    return {
        "calls": len(latencies_us),
        "duration_us": took_us,
        "bad_status": failures[0],
        "broken": 0,
        "p50_us": ordered[len(ordered) // 2],
        "p99_us": ordered[len(ordered) * 99 // 100],
        "max_us": ordered[-1],
    }


if __name__ == "__main__":
    print("figures: " + json.dumps(uvloop.run(load(json.loads(Path(sys.argv[1]).read_text())))))
