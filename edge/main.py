"""One edge process: its connections, its parts, its drain."""

import asyncio
import os
from typing import Any

from prometheus_client import REGISTRY

from bus.bodies import BodyShelf
from bus.connection import Connection
from bus.directory import DirectoryMirror
from bus.frames import Inbox
from bus.presence import Presence
from bus.tasks import TaskMirror
from edge.app import App
from edge.auth import Authenticator
from edge.http_impl import Limits, Listener
from edge.metrics import EdgeMetrics
from edge.relay import Relay
from edge.tasks import TaskPages
from edge.usage import UsageReporter
from files.configured import configured as configured_store
from runtime.log import log
from runtime.ops import Ops
from runtime.settings import Settings

USAGE_FLUSH_S = 5.0


class Edge:
    """Everything one edge consists of. `name` is its own for each start: frames of a former life go nowhere."""

    def __init__(self, settings: Settings, connection: Connection, bulk: Connection) -> None:
        self.name = f"edge-{os.urandom(4).hex()}"
        self.settings = settings
        self._draining = False
        self.connection = connection
        self.bulk = bulk
        self.mirror = DirectoryMirror(connection)
        self.metrics = EdgeMetrics()
        self.inbox = Inbox(connection, self.name, settings.core_silence_s)
        self.shelf = BodyShelf(bulk, self.name)
        self.usage = UsageReporter(connection, self.name)
        self.relay = Relay(connection, self.inbox, self.shelf, settings)
        pepper = settings.key_pepper.get_secret_value().encode()
        authenticator = Authenticator(connection, self.mirror, pepper)
        self.tasks_mirror = TaskMirror(connection)
        pages = TaskPages(connection, self.tasks_mirror, configured_store(settings), settings)
        self.app = App(connection, self.mirror, authenticator, self.relay, self.usage, self.metrics, pages, settings)
        limits = Limits(
            header_bytes=settings.header_limit_bytes,
            header_timeout_s=settings.header_timeout_s,
            body_bytes=settings.body_limit_bytes,
            body_timeout_s=settings.body_timeout_s,
            connections=settings.max_connections,
        )
        self.listener = Listener(self.app, limits, self.app.refused_unseen)
        self._name_figures()

    async def start(self) -> int:
        """Listen to NATS, then to clients; returns the port."""
        await self.inbox.start()
        await self.shelf.start()
        self.usage.start()
        return await self.listener.start(self.settings.edge_host, self.settings.edge_port)

    async def mirror_directory(self) -> None:
        """Follow the directory, and never return; an edge is not ready before it has read it once.

        Raises what ended the mirror: an edge that hears of no new keys and models must start anew.
        """
        await self.mirror.start()
        await self.mirror.loaded()
        log.info("edge.ready", edge=self.name, keys=len(self.mirror.keys), models=len(self.mirror.models))
        await self.mirror.failed()

    async def mirror_tasks(self) -> None:
        """Follow what becomes of media tasks, and never return. Raises what ended it."""
        await self.tasks_mirror.follow()

    def tasks(self) -> list[asyncio.Task[None]]:
        """The tasks without which the edge is no edge: none of them may end."""
        running = [self.listener.sweeper, self.inbox.ticker, self.usage.task]
        return [task for task in running if task is not None]

    async def drain(self) -> None:
        """Accept no more, let calls end, report what they were."""
        self._draining = True
        await self.listener.drain(self.settings.drain_s)
        await self.inbox.close()
        await self.mirror.stop()
        await self.tasks_mirror.stop()
        await self.usage.close(USAGE_FLUSH_S)

    def facts(self) -> dict[str, Any]:
        """What operators are shown of this edge."""
        return {
            "not_ready": self.not_ready(),
            "connections": len(self.listener.state.connections),
            "calls": self.app.in_flight,
            "unreported": len(self.usage),
        }

    def not_ready(self) -> str | None:
        """Why clients should go elsewhere; None when they should not."""
        if self._draining:
            return "draining"
        if not self.connection.connected:
            return "not connected to NATS"
        if not self.mirror.is_loaded:
            return "the directory is not loaded yet"
        return None

    def _name_figures(self) -> None:
        gauges, counters = self.metrics.gauges, self.metrics.counters
        gauges["onysoft_edge_connections"] = "Client connections", lambda: len(self.listener.state.connections)
        gauges["onysoft_edge_calls"] = "Calls under way", lambda: self.app.in_flight
        gauges["onysoft_edge_body_bytes"] = "Request bodies in memory", lambda: self.app.body_bytes
        gauges["onysoft_edge_usage_events"] = "Usage events not published yet", lambda: len(self.usage)
        gauges["onysoft_edge_tasks"] = "Media tasks in memory", lambda: len(self.tasks_mirror)
        gauges["onysoft_edge_ready"] = "1 when clients are welcome", lambda: float(self.not_ready() is None)
        counters["onysoft_edge_task_reads"] = (
            "Polls that asked the stream",
            lambda: self.tasks_mirror.reads,
        )
        counters["onysoft_edge_usage_dropped"] = "Usage events dropped", lambda: self.usage.dropped
        counters["onysoft_edge_connections_refused"] = (
            "Connections over the limit",
            lambda: self.listener.connections_refused,
        )
        counters["onysoft_edge_stalled"] = "Clients cut off as they took nothing", lambda: self.listener.stalled


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain. Raises what ended a part of the edge that must not end."""
    name = settings.process_name or "edge"
    edges: list[Edge] = []
    ops = Ops(settings, "edge", lambda: edges[0].not_ready() if edges else "not connected to NATS")
    ops_port = await ops.start()
    opening = asyncio.gather(Connection.open(settings, name), Connection.open(settings, f"{name}-bulk"))
    if not await _done_before(stop, opening):
        opening.cancel()
        await ops.close()
        return
    connection, bulk = opening.result()
    edge = Edge(settings, connection, bulk)
    edges.append(edge)
    REGISTRY.register(edge.metrics)
    try:
        port = await edge.start()
        log.info("edge.listening", edge=edge.name, port=port, ops_port=ops_port)
        presence = Presence(connection, settings, "edge", edge.facts)
        mirrors = [asyncio.create_task(edge.mirror_directory()), asyncio.create_task(edge.mirror_tasks())]
        running = [*mirrors, *edge.tasks()]
        if await _done_before(stop, *running):
            log.critical("edge.part_ended")
            await asyncio.gather(*(task for task in running if task.done()))
        for mirroring in mirrors:
            mirroring.cancel()
        await edge.drain()
        await presence.stop()
    finally:
        REGISTRY.unregister(edge.metrics)
        await ops.close()
        await bulk.close()
        await connection.close()


async def _done_before(stop: asyncio.Event, *work: asyncio.Future[Any]) -> bool:
    """Wait until one of `work` is done, True, or until `stop` is set, False."""
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({stopped, *work}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if any(each.done() for each in work):
        return True
    for each in work:
        each.add_done_callback(_forget)
    return False


def _forget(future: asyncio.Future[Any]) -> None:
    """What becomes of it does not matter any more."""
    if not future.cancelled():
        future.exception()
