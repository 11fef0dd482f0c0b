"""The operator's port of a process: GET /healthz, /readyz and /metrics, on an address that is never public."""

import asyncio
from collections.abc import Callable

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest

from runtime.settings import Settings

_REQUEST_BYTES_MAX = 8_192
_REQUEST_TIMEOUT_S = 5.0
_CONNECTIONS_MAX = 32
_LAG_PERIOD_S = 0.5

_LOOP_LAG = Gauge("onysoft_loop_lag_seconds", "How late the event loop ran a timer, latest sample")
_PROCESS = Gauge("onysoft_process", "1, with the name of the process", ["process"])
_JSON = "application/json"
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Ops:
    """Answers an operator's probes. One request a connection; more than 32 connections at once are closed.

    `ready` returns None when the process can take work, else the reason why it cannot.
    """

    def __init__(self, settings: Settings, process: str, ready: Callable[[], str | None]) -> None:
        self._host = settings.ops_host
        self._port = settings.ops_port
        self._process = settings.process_name or process
        self._ready = ready
        self._open = 0
        self._server: asyncio.Server | None = None
        self._lag_timer: asyncio.TimerHandle | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_REQUEST_BYTES_MAX)
        _PROCESS.labels(self._process).set(1)
        self._measure_lag(asyncio.get_running_loop().time())
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening."""
        if self._lag_timer is not None:
            self._lag_timer.cancel()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _CONNECTIONS_MAX:
                async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            pass
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return _response(400, _JSON, b'{"error":"bad request"}')
        method, target, _version = words
        if method not in (b"GET", b"HEAD"):
            return _response(405, _JSON, b'{"error":"only GET"}')
        response = _response(*self._page(target.split(b"?", 1)[0]))
        return response if method == b"GET" else response[: response.index(b"\r\n\r\n") + 4]

    def _page(self, path: bytes) -> tuple[int, str, bytes]:
        if path == b"/healthz":
            return 200, _JSON, orjson.dumps({"healthy": True, "process": self._process})
        if path == b"/readyz":
            reason = self._ready()
            page = {"ready": reason is None, "process": self._process, "reason": reason}
            return 200 if reason is None else 503, _JSON, orjson.dumps(page)
        if path == b"/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
        return 404, _JSON, b'{"error":"not found"}'

    def _measure_lag(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        _LOOP_LAG.set(max(0.0, now - due))
        self._lag_timer = loop.call_at(now + _LAG_PERIOD_S, self._measure_lag, now + _LAG_PERIOD_S)


def _response(status: int, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
