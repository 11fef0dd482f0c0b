"""Compares HTTP clients for the core: CPU and latency of calls, streams, cancelled streams, TLS, memory.

    python bench/http_clients.py [--quick] [--only aiohttp,pyreqwest,own]

Each figure comes from a fresh process that runs one client under uvloop against one local server in a process of its
own. CPU is the whole process's, all threads, user and system (`getrusage`).
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import httptools
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

REQUEST = json.dumps(
    {"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 200}], "max_tokens": 64}
).encode()
ANSWER = json.dumps(
    {
        "id": "gen-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "y" * 300}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 28, "completion_tokens": 95, "total_tokens": 123, "cost": 0.0000612},
    }
).encode()
EVENT = b"data: " + json.dumps({"id": "gen-1", "choices": [{"index": 0, "delta": {"content": "z" * 40}}]}).encode()
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT) + 2, EVENT + b"\n\n")
EVENTS_PER_S = 50
HEADERS = {"authorization": "Bearer sk-test", "content-type": "application/json", "traceparent": "00-" + "1" * 32}


# --- the server -------------------------------------------------------------------------------------------------------


class ServerConnection(asyncio.Protocol):
    """Answers /chat with ANSWER, /sse with EVENTs for ever, /open with the number of open streams."""

    streams: ClassVar[set["ServerConnection"]] = set()
    connections = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.url = b""
        self.parser = httptools.HttpRequestParser(self)
        ServerConnection.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        ServerConnection.streams.discard(self)
        ServerConnection.connections -= 1

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        write = self.transport.write  # type: ignore[attr-defined]
        if self.url == b"/sse":
            write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            ServerConnection.streams.add(self)
            return
        body = ANSWER
        if self.url == b"/open":
            body = json.dumps([len(ServerConnection.streams), ServerConnection.connections]).encode()
        write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-generation-id: gen-1\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )


async def serve(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    plain = await loop.create_server(ServerConnection, "127.0.0.1", 0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem", folder / "leaf.key")
    secure = await loop.create_server(ServerConnection, "127.0.0.1", 0, ssl=context)
    print(plain.sockets[0].getsockname()[1], secure.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(1 / EVENTS_PER_S)
        for connection in tuple(ServerConnection.streams):
            connection.transport.write(CHUNK)  # type: ignore[attr-defined]


def make_certificates(folder: Path) -> None:
    """A CA, and a certificate of that CA for 127.0.0.1."""
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=bench-ca",
        "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=127.0.0.1",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out leaf.pem -extfile san.txt",
    ):
        (folder / "san.txt").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


# --- the clients ------------------------------------------------------------------------------------------------------


class Client(Protocol):
    async def post(self, url: str) -> bytes: ...

    def stream(self, url: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...

    async def close(self) -> None: ...


class Aiohttp:
    def __init__(self, ca: Path | None) -> None:
        import aiohttp

        context = ssl.create_default_context(cafile=str(ca)) if ca else None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1_000, ssl=context or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=60, connect=5, sock_read=30),
            auto_decompress=False,
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
        )

    async def post(self, url: str) -> bytes:
        async with self._session.post(url, data=REQUEST, headers=HEADERS) as answer:
            return await answer.read()

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._session.post(url, data=REQUEST, headers=HEADERS) as answer:
            yield answer.content.iter_any()

    async def close(self) -> None:
        await self._session.close()


class Pyreqwest:
    def __init__(self, ca: Path | None) -> None:
        from datetime import timedelta

        from pyreqwest.client import ClientBuilder

        builder = (
            ClientBuilder()
            .max_connections(1_000)
            .connect_timeout(timedelta(seconds=5))
            .read_timeout(timedelta(seconds=30))
            .timeout(timedelta(seconds=60))
            .follow_redirects(False)
        )
        builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
        self._client = (builder.add_root_certificate_pem(ca.read_bytes()) if ca else builder).build()

    async def post(self, url: str) -> bytes:
        answer = await self._client.post(url).headers(HEADERS).body_bytes(REQUEST).build().send()
        return (await answer.bytes()).to_bytes()

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with (
            self._client.post(url)
            .headers(HEADERS)
            .body_bytes(REQUEST)
            .streamed_read_buffer_limit(0)
            .build_streamed() as answer
        ):
            yield self._chunks(answer.body_reader)

    async def _chunks(self, reader: Any) -> AsyncIterator[bytes]:
        while (chunk := await reader.read_chunk()) is not None:
            yield chunk.to_bytes()

    async def close(self) -> None:
        await self._client.close()


class Own:
    """The gateway's own client (core/providers/http.py): httptools on asyncio transports."""

    def __init__(self, ca: Path | None) -> None:
        from core.providers.http import HttpClient, Limits

        self._make = partial(HttpClient, headers=HEADERS, limits=Limits(), tls=own_tls(ca))
        self._client: HttpClient | None = None

    def _path(self, url: str) -> str:
        base, _, path = url.rpartition("/")
        self._client = self._client or self._make(base)
        return f"/{path}"

    async def post(self, url: str) -> bytes:
        path = self._path(url)
        assert self._client is not None
        return (await self._client.fetch("POST", path, REQUEST, {}, 60)).body()

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        path = self._path(url)
        assert self._client is not None
        reply = await self._client.open("POST", path, REQUEST, {}, 60)
        try:
            yield self._pieces(reply)
        finally:
            reply.close()

    async def _pieces(self, reply: Any) -> AsyncIterator[bytes]:
        while piece := await reply.piece():
            yield piece

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def own_tls(ca: Path | None) -> ssl.SSLContext:
    from core.providers.http import default_tls

    context = default_tls()
    if ca:
        context.load_verify_locations(ca)
    return context


CLIENTS: dict[str, Callable[[Path | None], Client]] = {"aiohttp": Aiohttp, "pyreqwest": Pyreqwest, "own": Own}


# --- the scenarios ----------------------------------------------------------------------------------------------------


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def calls(client: Client, url: str, count: int, connections: int) -> None:
    left = count

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            assert len(await client.post(url)) == len(ANSWER)

    await asyncio.gather(*(caller() for _ in range(connections)))


async def throughput(client: Client, base: str, scale: int) -> dict[str, float]:
    """CPU of a call with 64 connections kept alive."""
    await calls(client, base + "/chat", 500, 64)
    count, cpu, start = 2_000 * scale, cpu_s(), time.perf_counter()
    await calls(client, base + "/chat", count, 64)
    return {"cpu_us": (cpu_s() - cpu) / count * 1e6, "per_s": count / (time.perf_counter() - start)}


async def latency(client: Client, base: str, scale: int) -> dict[str, float]:
    """p50 and p99 of a call with one connection."""
    await calls(client, base + "/chat", 200, 1)
    taken = []
    for _ in range(300 * scale):
        start = time.perf_counter()
        await client.post(base + "/chat")
        taken.append((time.perf_counter() - start) * 1e6)
    taken.sort()
    return {"p50_us": taken[len(taken) // 2], "p99_us": taken[len(taken) * 99 // 100]}


async def streams(client: Client, base: str, scale: int) -> dict[str, float]:
    """CPU of an event with 200 streams of 50 events/s."""
    seen, running, begun = 0, True, asyncio.Semaphore(0)

    async def reader() -> None:
        nonlocal seen
        async with client.stream(base + "/sse") as chunks:
            await anext(chunks)
            begun.release()
            async for chunk in chunks:
                seen += chunk.count(b"\n\n")
                if not running:
                    return

    readers = [asyncio.create_task(reader()) for _ in range(200)]
    all_begun = asyncio.gather(*(begun.acquire() for _ in readers))
    awaited: list[asyncio.Future[Any]] = [all_begun, *readers]
    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
    for reader_done in filter(asyncio.Task.done, readers):
        await reader_done
    cpu, before = cpu_s(), seen
    await asyncio.sleep(0.5 * scale)
    cpu, events = cpu_s() - cpu, seen - before
    running = False
    await asyncio.gather(*readers)
    return {"event_us": cpu / events * 1e6, "events_per_s": events / (0.5 * scale)}


async def open_streams(base: str) -> int:
    """Streams that the server still has open, asked on a connection of our own."""
    host, port = base.split("//")[1].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /open HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    count = int(json.loads(await reader.readuntil(b"]"))[0])
    writer.close()
    return count


async def cancellation(client: Client, base: str, scale: int) -> dict[str, float]:
    """Time until the server sees 50 streams closed whose tasks were cancelled while they read; how many never close."""

    async def reader() -> None:
        async with client.stream(base + "/sse") as chunks:
            async for _ in chunks:
                pass

    readers = [asyncio.create_task(reader()) for _ in range(50)]
    while await open_streams(base) < 50:  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    start = time.perf_counter()
    for task in readers:
        task.cancel()
    while (left := await open_streams(base)) and time.perf_counter() - start < 3:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.002)
    closed_ms = (time.perf_counter() - start) * 1e3
    _, deaf = await asyncio.wait(readers, timeout=1)
    return {"closed_ms": closed_ms, "leaked": left, "deaf_tasks": len(deaf)}


async def memory(client: Client, base: str, scale: int) -> dict[str, float]:
    """RSS after warming up, and growth over many calls."""
    await calls(client, base + "/chat", 1_000, 64)
    gc.collect()
    before = rss_mib()
    await calls(client, base + "/chat", 2_000 * scale, 64)
    gc.collect()
    return {"rss_mib": before, "growth_mib": rss_mib() - before}


SCENARIOS: dict[str, Callable[[Client, str, int], Awaitable[dict[str, float]]]] = {
    "calls": throughput,
    "latency": latency,
    "streams": streams,
    "cancel": cancellation,
    "memory": memory,
    "tls": throughput,
    "tls-streams": streams,
}


async def refuses_unknown_ca(name: str, url: str) -> float:
    """1 when a certificate of an unknown CA is refused."""
    client = CLIENTS[name](None)
    try:
        await client.post(url)
    except Exception:  # noqa: BLE001 - each client has its own exception for this
        return 1
    finally:
        await client.close()
    return 0


async def run(name: str, scenario: str, ports: tuple[int, int], folder: Path, scale: int) -> dict[str, float]:
    tls = scenario.startswith("tls")
    base = f"https://127.0.0.1:{ports[1]}" if tls else f"http://127.0.0.1:{ports[0]}"
    client = CLIENTS[name](folder / "ca.pem" if tls else None)
    try:
        figures = await SCENARIOS[scenario](client, base, scale)
    finally:
        await client.close()
    if scenario == "tls":
        figures["verifies"] = await refuses_unknown_ca(name, base + "/chat")
    return figures


# --- the table --------------------------------------------------------------------------------------------------------


def compare(names: list[str], scale: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_certificates(folder)
        server = subprocess.Popen([sys.executable, __file__, "--serve", temporary], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            ports = server.stdout.readline().split()
            for scenario in SCENARIOS:
                for name in names:
                    arguments = ["--run", name, scenario, *ports, temporary, str(scale)]
                    done = subprocess.run(
                        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, check=True
                    )
                    figures = json.loads(done.stdout)
                    print(f"{scenario:12} {name:10}", *(f"{key}={value:<10.1f}" for key, value in figures.items()))
        finally:
            server.kill()
            server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the calls")
    parser.add_argument("--only", default=",".join(CLIENTS), help="clients, comma separated")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--run", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(Path(options.serve)))
    elif options.run:
        name, scenario, plain, secure, folder, scale = options.run
        ports = (int(plain), int(secure))
        print(json.dumps(uvloop.run(run(name, scenario, ports, Path(folder), int(scale)))))
    else:
        compare(options.only.split(","), 2 if options.quick else 10)


if __name__ == "__main__":
    main()
