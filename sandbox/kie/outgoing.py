"""The sandbox's own HTTP calls: webhooks, and a look at source files. One call, one connection, everything bounded."""

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

HEAD_BYTES_MAX = 32_768


class Unreachable(Exception):
    """No whole answer came; the text says why in a word."""


async def call(
    method: str, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float, body_bytes_max: int
) -> tuple[int, bytes]:
    """Status and body, at most `body_bytes_max` of it. Raises Unreachable."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _call(method, url, headers, body, body_bytes_max)
    except TimeoutError:
        raise Unreachable("timeout") from None
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Unreachable(type(error).__name__) from None


async def _call(method: str, url: str, headers: Mapping[str, str], body: bytes, limit: int) -> tuple[int, bytes]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    context = ssl.create_default_context() if secure else None
    host = parts.hostname or ""
    reader, writer = await asyncio.open_connection(host, parts.port or (443 if secure else 80), ssl=context)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc.rpartition('@')[2]}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append(f"content-length: {len(body)}")
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        await writer.drain()
        return await _answer(reader, limit)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader, limit: int) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    if len(head) > HEAD_BYTES_MAX:
        raise ValueError("head")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = int(first.split(" ")[1])
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("transfer-encoding", "").lower() == "chunked":
        return status, await _chunks(reader, limit)
    if "content-length" in fields:
        return status, await reader.readexactly(min(int(fields["content-length"]), limit))
    return status, await reader.read(limit)


async def _chunks(reader: asyncio.StreamReader, limit: int) -> bytes:
    whole = b""
    while len(whole) < limit:
        size = int((await reader.readline()).split(b";")[0], 16)
        if not size:
            break
        whole += (await reader.readexactly(size + 2))[:-2]
    return whole
