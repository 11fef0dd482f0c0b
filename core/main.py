"""The core process: replica, worker, catalogue, asks, admin service."""

import asyncio
import os
from functools import partial
from typing import Any, Self

from prometheus_client import REGISTRY

from bus.connection import Connection
from bus.directory import DirectoryMirror
from bus.frames import Answers
from bus.presence import Presence, Presences
from bus.streams import provision
from core.admin import AdminService, Desk, serve_admin
from core.asks import Asks
from core.catalogue import Catalogue
from core.chat import ChatCall
from core.fx.watch import RateWatch
from core.metrics import CoreCollector
from core.price_list import PriceLists
from core.providers.breaker import CircuitBreaker
from core.providers.configured import configured
from core.replica import Replica
from core.resources import Counters, Resources
from core.routing import Router
from core.sync import Sync, SyncCollector
from core.tasks.service import TaskService
from core.worker import MakeCall, Worker
from runtime.log import log
from runtime.ops import Ops
from runtime.process import unless_stopped
from runtime.settings import Settings

ADMIN_GRACE_S = 1.0


class Core:
    """The parts of a core, in the order in which they start; `stop` ends them in the reverse."""

    def __init__(self, settings: Settings, connection: Connection, bulk: Connection, partitions: int) -> None:
        self.name = f"core-{os.urandom(4).hex()}"
        self.providers = configured(settings)
        self.replica = Replica(connection, partitions)
        self.sync = Sync(self.replica, self.providers, settings)
        self.catalogue = Catalogue(lambda: self.sync.source, self.providers)
        self._settings = settings
        self._connection = connection
        self._bulk = bulk
        self._mirror = DirectoryMirror(connection)
        self._answers = Answers(connection, self.name)
        router = Router({provider.name: CircuitBreaker() for provider in self.providers})
        self.resources = Resources(
            settings, connection, bulk, self.replica, self.catalogue, self._answers, router, Counters()
        )
        self.tasks = TaskService(settings, connection, self.replica, self.resources)
        makers: dict[str, MakeCall] = {"chat": partial(ChatCall, self.resources)}
        if self.tasks.offered:
            self.sync.compared[self.tasks.provider_name] = self.tasks.compare
            makers["media"] = self.tasks.make_call
        self.worker = Worker(self.resources, makers)
        self.rate_watch = RateWatch(self.replica, settings)
        self._presences = Presences(connection)
        self.started = False
        self.admin_port = 0
        self._stop = asyncio.Event()

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Connect to NATS, provision the streams, and make the parts."""
        name = settings.process_name or "core"
        connection = await Connection.open(settings, name)
        bulk = await Connection.open(settings, f"{name}-bulk")
        return cls(settings, connection, bulk, await provision(connection, settings))

    async def start(self) -> None:
        """Fold the log, then serve. Raises when the log cannot be folded."""
        await self._presences.start()
        self._presence = Presence(self._connection, self._settings, "core", self._facts)
        await self.replica.start()
        await self.replica.activate_rules(self._settings.activate_rules)
        await self._mirror.start()
        self._refreshing = asyncio.create_task(self.sync.keep_fresh(self._settings.catalogue_refresh_s, self._stop))
        self._watching_rates = asyncio.create_task(self.rate_watch.run(self._stop))
        price_lists = PriceLists(self.catalogue, self.tasks.catalogue if self.tasks.offered else None)
        desk = Desk(
            self.replica,
            self.catalogue,
            self._connection,
            self._mirror,
            self._settings,
            self.sync,
            price_lists,
            self._presences,
        )
        service = AdminService(desk)
        self._server, self.admin_port = await serve_admin(service, self._settings)
        await Asks(self._connection, self.replica, price_lists).start()
        await self._answers.start()
        await self.worker.start()
        await self.tasks.start()
        self.started = True

    def ready(self) -> str | None:
        """Why this core cannot take calls; None when it can."""
        if not self.started:
            return "folding the log"
        if not self._connection.connected:
            return "no connection to NATS"
        return None if self.catalogue.entries else "no catalogue yet"

    def _facts(self) -> dict[str, Any]:
        state = self.replica.state
        return {"not_ready": self.ready(), "position": state.position, "rules": state.rules_version}

    async def stop(self) -> None:
        """Take no more calls, let the running ones end, send what is queued."""
        self._stop.set()
        await self.worker.drain(self._settings.drain_s)
        await self.tasks.stop()
        await self._refreshing
        self._watching_rates.cancel()
        await asyncio.gather(self._watching_rates, return_exceptions=True)
        await self.rate_watch.close()
        await self._server.stop(ADMIN_GRACE_S)
        await self._answers.close()
        await self._presence.stop()
        await self.replica.close()
        await self._mirror.stop()
        for provider in self.providers:
            await provider.close()
        await self._bulk.close()
        await self._connection.close()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run a core until `stop`, then drain it. A log that cannot be folded ends the process, loudly."""
    core = await unless_stopped(stop, Core.open(settings))
    ops = Ops(settings, "core", core.ready)
    REGISTRY.register(CoreCollector(core.resources, core.worker, core.tasks, core.rate_watch))
    REGISTRY.register(SyncCollector(core.sync))
    ops_port = await ops.start()
    await unless_stopped(stop, core.start())
    log.info("core.ready", position=core.replica.state.position, ops_port=ops_port, admin_port=core.admin_port)
    stopping = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(core.replica.failed())
    await asyncio.wait((stopping, failed), return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        await failed
    failed.cancel()
    await core.stop()
    await ops.close()
