"""HTTP by hand: what a well-kept client library would never send."""

import asyncio
from typing import NamedTuple

import orjson

from tests.edge.conftest import KEY, MODEL


class Response(NamedTuple):
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of the error."""
        body = orjson.loads(self.body)
        assert set(body) == {"success", "error"}
        assert body["success"] is False
        assert set(body["error"]) == {"code", "message"}
        code: str = body["error"]["code"]
        return code


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))

    async def response(self) -> Response:
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            return Response(int(lines[0].split()[1]), headers, await self._body(headers))

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        parts = []
        while headers.get("transfer-encoding") == "chunked":
            size = int((await self.reader.readline()).strip(), 16)
            data = await self.reader.readexactly(size + 2)
            if not size:
                break
            parts.append(data[:-2])
        return b"".join(parts)

    async def ended(self) -> bool:
        """Whether the server closes within a deadline."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.transport.abort()


def request(
    body: bytes = b"",
    method: str = "POST",
    path: str = "/v1/chat/completions",
    key: str = KEY,
    headers: dict[str, str] | None = None,
) -> bytes:
    """The bytes of a request."""
    fields = {"host": "edge", "authorization": f"Bearer {key}", "content-length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value != "")
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def chat(**more: object) -> bytes:
    """The body of a chat request."""
    return orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}], **more})


async def exchange(port: int, data: bytes) -> Response:
    """Send bytes on a connection of their own; the response to them."""
    client = await Client.connect(port)
    try:
        client.writer.write(data)
        return await client.response()
    finally:
        client.close()
