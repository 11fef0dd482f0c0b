"""Keeps the catalogue in step with the providers' lists: reads them, compares, and appends what may change.

Any number of cores and people may do it at once. Each compares with all that the log holds at that moment, and an event
that says what the catalogue says already has no effect.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.errors import BusError
from core.difference import Approval, Change, Difference, Kind, described, difference
from core.ledger.outcome import Code
from core.ledger.records import Model
from core.ledger.state import State
from core.listing import Listing, read_listing
from core.providers.port import Provider, ProviderFailure
from core.replica import Replica
from proto.onysoft.v1.ledger_pb2 import Event
from runtime.log import log
from runtime.settings import Settings

ROOT = b"models"
"""Catalogue events share one partition, as if the catalogue were a billing root."""

CATALOGUE_RULES = 2
"""The first version of the fold's rules that knows catalogue events."""

APPENDED_AT_ONCE = 100
FIRST_PAUSE_S = 1.0
FAILED_PAUSE_S = 30.0
NAMED_MAX = 20
"""Models that a log line names."""


Compare = Callable[[], Awaitable[dict[str, Any]]]


class UnknownProvider(Exception):
    """No provider of that name is set up."""


class Progress(NamedTuple):
    """How many of the due changes are in the ledger, and how many of those had an effect."""

    done: int
    due: int
    applied: int


class Unwritten:
    """A catalogue as the providers list it, while the ledger's rules do not know one yet: of this core alone."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.aliases: dict[str, str] = {}
        self.models_version = 0

    def take(self, found: Difference) -> None:
        """Take every change of a difference, whether it waits or not."""
        for change in found.changes:
            self.models[change.model.model_id] = Model(change.model)
        self.models_version += bool(found.changes)


class Sync:
    """Synchronises with the providers that are set up; the first of them says what is sold."""

    def __init__(self, replica: Replica, providers: Sequence[Provider], settings: Settings) -> None:
        self._replica = replica
        self.providers = {provider.name: provider for provider in providers}
        self._first = providers[0].name
        automatic = self.automatic = settings.models_approval == "automatic"
        self.bound_bps = settings.models_bound_bps
        self._approval = Approval(new=automatic, repriced=automatic, gone=automatic, bound_bps=self.bound_bps)
        self._unwritten = Unwritten()
        self.compared: dict[str, Compare] = {}
        """Providers whose lists can be compared with what is sold, and not applied: they hold no prices to take."""
        self.waiting: Counter[tuple[str, Kind]] = Counter()
        self.unsold: Counter[str] = Counter()

    @property
    def source(self) -> State | Unwritten:
        """Where the catalogue stands: in the ledger, as soon as its rules know one."""
        state = self._replica.state
        return state if state.rules_version >= CATALOGUE_RULES else self._unwritten

    async def look(self, provider: str, approval: Approval) -> Difference:
        """What the provider's list would change; `provider` empty: the first one's.

        Raises UnknownProvider, and ProviderFailure when the list cannot be read.
        """
        name = provider or self._first
        if name not in self.providers:
            raise UnknownProvider(name)
        listing = await self._read(name)
        further = await self._further() if name == self._first else None
        await self._replica.fresh()
        source = self.source
        return difference(source.models, source.aliases, listing, approval, further)

    async def compare(self, provider: str) -> dict[str, Any]:
        """What a list that cannot be applied says otherwise, as JSON. Raises KeyError, ProviderFailure."""
        found = await self.compared[provider]()
        differs = sum(len(entries) for entries in found.values() if isinstance(entries, list))
        empty: dict[str, Any] = described(Difference(provider, 0, ()))
        return empty | found | {"unchanged": max(0, found["listed"] - differs)}

    async def apply(self, found: Difference, actor: str = "") -> AsyncIterator[Progress]:
        """Append what is due, and say how far it is; `actor`: who approved it. Raises Overloaded, WriterClosed."""
        due = found.due
        applied = 0
        for start in range(0, len(due), APPENDED_AT_ONCE):
            part = due[start : start + APPENDED_AT_ONCE]
            futures = [self._replica.append(ROOT, Event(model_set=change.model, actor=actor)) for change in part]
            for change, done in zip(part, await asyncio.gather(*futures), strict=True):
                applied += self._noted(change, done.outcome.code)
            yield Progress(start + len(part), len(due), applied)

    def _noted(self, change: Change, code: Code) -> bool:
        if code not in (Code.APPLIED, Code.EXISTS):
            log.error("models.refused", model=change.model.model_id, outcome=code.name.lower())
        return code is Code.APPLIED

    async def keep_fresh(self, every_s: float, stop: asyncio.Event) -> None:
        """Synchronise now and then until `stop`; what has to be approved waits, and failures are tried again."""
        while not stop.is_set():
            pause_s = every_s
            for name in self.providers:
                try:
                    await self._refresh(name)
                except ProviderFailure as failure:
                    log.warning("models.unreadable", provider=name, reason=str(failure))
                    pause_s = min(pause_s, FAILED_PAUSE_S if self.source.models else FIRST_PAUSE_S)
                except (BusError, TimeoutError) as error:
                    log.warning("models.unwritten", provider=name, reason=type(error).__name__)
                    pause_s = min(pause_s, FIRST_PAUSE_S)
            try:
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _refresh(self, name: str) -> None:
        found = await self.look(name, self._approval)
        if self.source is self._unwritten:
            self._unwritten.take(found)
            return
        async for progress in self.apply(found):
            if progress.done == progress.due:
                log.info("models.synchronised", provider=name, changes=progress.applied)
        self._note_waiting(found)

    def _note_waiting(self, found: Difference) -> None:
        """Say what waits when that has changed, and keep the figures for /metrics."""
        counts = {kind: sum(change.waits for change in found.of(kind)) for kind in Kind}
        if any(self.waiting[found.provider, kind] != count for kind, count in counts.items()):
            named = [change.model.model_id for change in found.waiting[:NAMED_MAX]]
            log.warning("models.waiting", provider=found.provider, models=len(found.waiting), named=named)
        for kind, count in counts.items():
            self.waiting[found.provider, kind] = count
        self.unsold[found.provider] = len(found.unsold)

    async def _read(self, name: str) -> Listing:
        return read_listing(name, await self.providers[name].list_models())

    async def _further(self) -> list[Listing]:
        """The other providers' lists, as far as they can be read: they only add routes."""
        listings = []
        for name in self.providers:
            if name != self._first:
                try:
                    listings.append(await self._read(name))
                except ProviderFailure as failure:
                    log.warning("models.unreadable", provider=name, reason=str(failure))
        return listings


class SyncCollector(Collector):
    """What waits for a person, and what is listed and cannot be sold."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync

    def collect(self) -> Iterator[Metric]:
        """All figures of the synchronisation."""
        waiting = GaugeMetricFamily(
            "onysoft_models_waiting", "Catalogue changes that wait for approval", labels=["provider", "kind"]
        )
        for (provider, kind), count in self._sync.waiting.items():
            waiting.add_metric([provider, kind.value], count)
        yield waiting
        unsold = GaugeMetricFamily("onysoft_models_unsold", "Listed models that cannot be sold", labels=["provider"])
        for provider, count in self._sync.unsold.items():
            unsold.add_metric([provider], count)
        yield unsold
