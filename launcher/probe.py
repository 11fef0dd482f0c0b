"""Is a process ready? Asked over its own port, as an operator would."""

import asyncio
import json
from collections.abc import Awaitable, Callable

Probe = Callable[[], Awaitable[str | None]]
"""None: ready; else why not."""

_TIMEOUT_S = 2.0
_ANSWER_BYTES_MAX = 65_536


def http_probe(port: int, path: str = "/readyz") -> Probe:
    """Asks for a page that has status 200 when the process is ready, and a JSON `reason` otherwise."""
    question = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()

    async def ask() -> str | None:
        answer = await _exchange(port, question)
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " in head.split(b"\r\n", 1)[0]:
            return None
        try:
            return str(json.loads(body).get("reason") or "not ready")
        except ValueError:
            return "no answer" if not answer else "not ready"

    return ask


def nats_probe(port: int) -> Probe:
    """Waits for the greeting of a nats-server, which it sends once its streams are recovered."""

    async def ask() -> str | None:
        greeting = await _exchange(port, b"")
        return None if greeting.startswith(b"INFO ") else "no greeting"

    return ask


async def _exchange(port: int, question: bytes) -> bytes:
    """Everything the other side says until it closes, or, with no question, what it says first."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if not question:
                    return await reader.read(64)
                writer.write(question)
                return await reader.read(_ANSWER_BYTES_MAX)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
