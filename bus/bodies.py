"""Large request bodies: the edge keeps them in memory, the core that was chosen pulls them in chunks.

They go over a connection of their own, so that no token of another call waits behind an image. Nothing is stored
outside the edge's memory, and no message is larger than CHUNK_BYTES.
"""

import asyncio
import hashlib

from bus.connection import Connection
from bus.errors import BusError, NoCore
from bus.transport import Message
from proto.onysoft.v1 import work_pb2

INLINE_BYTES = 256 * 1024  # a body up to this size travels in the request itself
CHUNK_BYTES = 256 * 1024
CHUNKS_MAX = 64
SHELF_BYTES_MAX = 512 * 1024 * 1024
CHUNK_TIMEOUT_S = 2.0
CHUNK_TRIES = 3
WINDOW = 4  # chunks asked for at a time


class ShelfFull(Exception):
    """The edge holds SHELF_BYTES_MAX of large bodies already."""


class BodyLost(Exception):
    """The body cannot be had: its edge is gone, has let go of it, or it came damaged."""


class BodyShelf:
    """The large bodies of one edge's requests, while these are under way."""

    def __init__(self, connection: Connection, edge: str) -> None:
        self._connection = connection
        self._edge = edge
        self._bodies: dict[str, bytes] = {}
        self._bytes = 0

    async def start(self) -> None:
        """Serve chunks, before any request names one. `connection` is one that carries nothing else."""
        await self._connection.subscribe_direct(f"body.{self._edge}.*.*", self._serve)

    async def put(self, request_id: bytes, body: bytes) -> work_pb2.BodyRef:
        """Keep a body until `drop`. Raises ShelfFull."""
        if self._bytes + len(body) > SHELF_BYTES_MAX:
            raise ShelfFull
        self._bodies[request_id.hex()] = body
        self._bytes += len(body)
        digest = await asyncio.to_thread(_sha256, body)
        return work_pb2.BodyRef(size=len(body), chunks=_chunks(len(body)), sha256=digest)

    def drop(self, request_id: bytes) -> None:
        """Let go of a body; nothing happens when there is none."""
        body = self._bodies.pop(request_id.hex(), None)
        if body is not None:
            self._bytes -= len(body)

    def _serve(self, message: Message) -> None:
        """Answer with one chunk; with nothing when there is no such chunk. When it cannot be sent the core asks again:
        it has WINDOW chunks under way at most, so what waits in the socket is bounded by the calls under way."""
        _, _, token, index = message.subject.split(".")
        body = self._bodies.get(token, b"")
        start = int(index) * CHUNK_BYTES if index.isdecimal() else len(body)
        self._connection.send(message.reply, body[start : start + CHUNK_BYTES])


async def fetch_body(connection: Connection, edge: str, request_id: bytes, ref: work_pb2.BodyRef) -> bytes:
    """The body that `ref` names, whole and verified. Raises BodyLost."""
    if ref.chunks != _chunks(ref.size) or ref.chunks > CHUNKS_MAX:
        raise BodyLost
    prefix = f"body.{edge}.{request_id.hex()}"
    chunks = [b""] * ref.chunks
    indexes = iter(range(ref.chunks))

    async def pull() -> None:
        for index in indexes:
            chunks[index] = await _fetch_chunk(connection, f"{prefix}.{index}")

    pullers = [asyncio.create_task(pull()) for _ in range(min(WINDOW, ref.chunks))]
    try:
        await asyncio.gather(*pullers)
    finally:
        for puller in pullers:
            puller.cancel()
    body = b"".join(chunks)
    if len(body) != ref.size or await asyncio.to_thread(_sha256, body) != ref.sha256:
        raise BodyLost
    return body


async def _fetch_chunk(connection: Connection, subject: str) -> bytes:
    for _ in range(CHUNK_TRIES):
        try:
            chunk = await connection.request(subject, b"", CHUNK_TIMEOUT_S)
        except NoCore as error:
            raise BodyLost from error
        except BusError:
            continue
        if not chunk:
            raise BodyLost
        return chunk
    raise BodyLost


def _chunks(size: int) -> int:
    return -(-size // CHUNK_BYTES)


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
