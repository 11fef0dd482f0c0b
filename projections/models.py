"""The catalogue's read models: the directory's records for edges, and every version of a model that there was.

An edge knows a model by its id or by an alias, and whether it can be called; its price is the core's affair.
"""

import asyncio
from collections.abc import Iterator

from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_model
from bus.errors import BusError
from core.ledger.state import State
from proto.onysoft.v1.directory_pb2 import ModelRecord
from proto.onysoft.v1.ledger_pb2 import Event, ModelSet
from runtime.log import log

VersionRow = tuple[str, int, int, int, bytes]
"""Model id, position, index in the batch, the log's time (ms), the version (ModelSet)."""

PUBLISHED_AT_ONCE = 64
LEDGER_KINDS = frozenset({"", "chat"})
"""Kinds whose records do not outlive the ledger's entry: cores put media models into it a moment after their start."""

KINDS = frozenset({"model_set", "model_activated", "model_deactivated", "alias_set", "alias_removed"})


class ModelRecords:
    """What edges have to be told of models: by id or alias, the position of the newest event about it."""

    def __init__(self) -> None:
        self._unpublished: dict[str, int] = {}

    def changed(self, state: State, event: Event, kind: str, position: int) -> None:
        """Note an event that had an effect."""
        fact = getattr(event, kind)
        if kind in ("alias_set", "alias_removed"):
            self._unpublished[fact.alias] = position
            return
        self._unpublished[fact.model_id] = position
        for alias, model_id in state.aliases.items():
            if model_id == fact.model_id:
                self._unpublished[alias] = position

    def mend(self, state: State, mirror: DirectoryMirror) -> None:
        """Note what the directory lacks or has wrong. A catalogue without models says nothing about any."""
        known = [name for name, record in mirror.models.items() if state.models and record.kind in LEDGER_KINDS]
        for name in {*state.models, *state.aliases, *known}:
            record = record_of(state, name, 0)
            there = mirror.models.get(name)
            if there is None or not _is_same(there, record):
                self._unpublished.setdefault(name, state.position)

    async def publish(self, connection: Connection, state: State) -> None:
        """Publish what is waiting, some at a time; what fails waits for the next time."""
        waiting = list(self._unpublished.items())
        for start in range(0, len(waiting), PUBLISHED_AT_ONCE):
            part = waiting[start : start + PUBLISHED_AT_ONCE]
            records = (publish_model(connection, record_of(state, name, position)) for name, position in part)
            failures = await asyncio.gather(*records, return_exceptions=True)
            for (name, position), failure in zip(part, failures, strict=True):
                if failure is None and self._unpublished[name] == position:
                    del self._unpublished[name]
            failed = next((failure for failure in failures if failure is not None), None)
            if isinstance(failed, BusError):
                log.warning("directory.unpublished", models=len(self._unpublished), reason=type(failed).__name__)
                return
            if failed is not None:
                raise failed


def record_of(state: State, name: str, position: int) -> ModelRecord:
    """What an edge must know of a model's id or an alias; one that means nothing any more is not active."""
    alias_of = state.aliases.get(name, "")
    model = state.models.get(alias_of or name)
    if model is None:
        return ModelRecord(id=name, active=False, position=position)
    entry = model.set
    return ModelRecord(
        id=name,
        name=entry.name,
        created=entry.created,
        active=model.active and not entry.unlisted,
        price_version=entry.price_version,
        kind=entry.kind,
        alias_of=alias_of,
        position=position,
    )


def _is_same(there: ModelRecord, record: ModelRecord) -> bool:
    compared = ModelRecord()
    compared.CopyFrom(there)
    compared.position = record.position
    return compared == record


def prices_of(version: ModelSet) -> Iterator[tuple[bytes, bytes]]:
    """Version and canonical JSON of every price in a version of a model."""
    yield version.price_version, version.price
    for route in version.routes:
        if route.price:
            yield route.price_version, route.price
