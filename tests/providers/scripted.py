"""A server that answers every request with the same scripted bytes, however broken: faults that need a hostile peer."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

CLOSE = "close"
"""Close the connection."""
STALL = "stall"
"""Send nothing more, and keep the connection open."""
PAUSE_S = 0.05

Step = bytes | str | float


def answer(body: bytes, status: str = "200 OK", content_type: str = "application/json", *headers: str) -> bytes:
    """A whole answer."""
    lines = "".join(f"{line}\r\n" for line in headers)
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body


def events(*bodies: object, done: bool = True) -> bytes:
    """A streamed answer whose length is known, so that the answer ends where the bytes do."""
    data = b"".join(b"data: " + orjson.dumps(body) + b"\n\n" for body in bodies)
    return answer(data + (b"data: [DONE]\n\n" if done else b""), content_type="text/event-stream")


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def piece(data: bytes) -> bytes:
    """One piece of a chunked answer."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(body: object) -> bytes:
    """One event as a piece of a chunked answer."""
    return piece(b"data: " + orjson.dumps(body) + b"\n\n")


@dataclass
class Scripted:
    """`scripts[n]` answers the n-th request, the last one all later requests. A number pauses so many seconds."""

    scripts: Sequence[Sequence[Step]]
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    written: int = 0
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, tls: ssl.SSLContext | None = None) -> "Scripted":
        """Listen on a free port; `url` tells where."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.requests.append(head + await reader.readexactly(length))
        for step in self.scripts[min(len(self.requests), len(self.scripts)) - 1]:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
                self.written += len(step)
            elif step == CLOSE:
                return False
            elif step == STALL:
                await reader.read(1)
                return False
            elif isinstance(step, float):
                await asyncio.sleep(step)
        return True
