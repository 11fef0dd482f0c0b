"""Media tasks in one core: providers, store, pace, the follower, and what is done once an hour."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from bus.connection import Connection
from bus.errors import BusError
from bus.frames import Answer
from core.media.catalogue import MediaCatalogue, load
from core.media.compare import compare
from core.providers.http import Limits
from core.providers.kie.adapter import KieAI
from core.providers.tasks import TaskProvider
from core.replica import Replica
from core.resources import Resources
from core.sync import ROOT
from core.tasks import offer
from core.tasks.call import MediaCall
from core.tasks.copying import Copier
from core.tasks.desk import TaskDesk
from core.tasks.follow import Follower
from core.tasks.pace import CreatePace
from files import names
from files.configured import configured as configured_store
from files.store import StoreFailed
from proto.onysoft.v1 import work_pb2
from runtime.addresses import is_public
from runtime.log import log
from runtime.settings import Settings

SANDBOX_PATH = "/kie"
"""Where the sandbox speaks KieAI's protocol."""
SANDBOX_KEY = "sandbox"
SWEEP_EVERY_S = 3_600.0
OFFER_RETRY_S = 1.0
DAY_S = 86_400.0
HOUR_S = 3_600.0


def configured_providers(settings: Settings) -> dict[str, TaskProvider]:
    """KieAI with its key, else the sandbox in its place, named `kie` either way; none when neither is set."""
    limits = Limits.of(settings)
    key = settings.kie_api_key.get_secret_value()
    if key:
        return {"kie": KieAI(settings.kie_url, settings.kie_upload_url, key, limits)}
    if settings.sandbox_url:
        url = settings.sandbox_url.rstrip("/") + SANDBOX_PATH
        return {"kie": KieAI(url, url, SANDBOX_KEY, limits)}
    return {}


def _anywhere(_address: str) -> bool:
    return True


class TaskService:
    """The parts, made from the settings; `start` takes part in following, `stop` no longer."""

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        replica: Replica,
        resources: Resources,
    ) -> None:
        self.catalogue: MediaCatalogue = load()
        self._replica = replica
        self._resources = resources
        pepper = settings.key_pepper.get_secret_value().encode()
        providers: Mapping[str, TaskProvider] = configured_providers(settings)
        store = configured_store(settings)
        may_reach = _anywhere if settings.callback_private_addresses else is_public
        # The sandbox's results are on this machine.
        results_from = may_reach if settings.kie_api_key.get_secret_value() else _anywhere
        self.desk = TaskDesk(
            settings=settings,
            connection=connection,
            replica=replica,
            providers=providers,
            paces={
                name: CreatePace(connection, name, settings.kie_creates_per_10s, settings.create_wait_s)
                for name in providers
            },
            store=store,
            copier=Copier(store, pepper, results_from),
            may_reach=may_reach,
            pepper=pepper,
            calls=resources.counters,
        )
        self.follower = Follower(self.desk)
        self._running: list[asyncio.Task[None]] = []

    @property
    def offered(self) -> bool:
        """Whether there is a provider of media tasks."""
        return bool(self.desk.providers)

    @property
    def provider_name(self) -> str:
        """Whose tasks are offered; only where some are."""
        return next(iter(self.desk.providers))

    async def compare(self) -> dict[str, Any]:
        """How the provider's list differs from the models of this release, as JSON. Raises ProviderFailure."""
        listed = await self.desk.providers[self.provider_name].list_models()
        found = compare(self.catalogue, listed)
        return {
            "not_described": list(found.unknown),
            "not_listed": list(found.unlisted),
            "doubtful_prices": [
                {"id": doubt.model, "credits": list(doubt.credits), "text": doubt.text} for doubt in found.doubts
            ],
            "listed": len(listed),
        }

    def make_call(self, work: work_pb2.WorkRequest, answer: Answer) -> MediaCall:
        """A call of the worker's."""
        return MediaCall(self._resources, self.desk, self.catalogue, work, answer)

    async def start(self) -> None:
        """Follow tasks, also those that other cores have begun."""
        if self.offered:
            await self.follower.start()
            self._running = [asyncio.create_task(self._sweep()), asyncio.create_task(self._offer())]

    async def stop(self) -> None:
        """Give back what is under way."""
        if self._running:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self.follower.stop()
        for provider in self.desk.providers.values():
            await provider.close()

    async def _offer(self) -> None:
        """Put what can be asked for into the ledger's catalogue; edges hear of it from there."""
        provider = self.provider_name
        while True:
            try:
                await self._replica.fresh()
                events = offer.missing(self._replica.state, self.catalogue, provider)
                await asyncio.gather(*(self._replica.append(ROOT, event) for event in events))
            except BusError as error:
                log.warning("media.not_offered", reason=type(error).__name__)
                await asyncio.sleep(OFFER_RETRY_S)
            else:
                log.info("media.offered", models=len(self.catalogue.callable_models()), written=len(events))
                return

    async def _sweep(self) -> None:
        """Drop files whose time is over, now and once an hour. Several cores may do so at once."""
        settings, store = self.desk.settings, self.desk.store
        while True:
            now_s = time.time()
            try:
                old = await store.drop_older(names.RESULT, now_s - settings.result_days * DAY_S)
                old += await store.drop_older(names.SOURCE, now_s - settings.source_hours * HOUR_S)
                if old:
                    log.info("files.dropped", files=old)
            except StoreFailed as failure:
                log.warning("files.not_dropped", reason=str(failure))
            await asyncio.sleep(SWEEP_EVERY_S)
