"""Synchronisation against a real ledger: who may change what, and how often it is written."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.connection import Connection
from bus.streams import provision
from core.catalogue import Catalogue
from core.difference import Approval, Difference, Kind
from core.ledger.versions import NEWEST
from core.providers.port import FailureKind, ProviderFailure
from core.replica import Replica
from core.sync import ROOT, Sync, SyncCollector, UnknownProvider
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings
from tests.core.conftest import until

MANUAL = Approval(bound_bps=2_000)


class FakeProvider:
    """A provider whose list can be changed, and out of reach."""

    def __init__(self, name: str, *models: str) -> None:
        self.name = name
        self.reachable = True
        self.prompts = dict.fromkeys(models, "0.001")

    async def list_models(self) -> list[dict[str, Any]]:
        if not self.reachable:
            raise ProviderFailure(FailureKind.UNAVAILABLE)
        return [
            {"id": model_id, "context_length": 1000, "pricing": {"prompt": prompt, "completion": "0.002"}}
            for model_id, prompt in self.prompts.items()
        ]


@pytest.fixture
async def replica(connection: Connection, settings: Settings) -> AsyncIterator[Replica]:
    made = Replica(connection, await provision(connection, settings))
    await made.start()
    await made.append(ROOT, pb.Event(rules_activated=pb.RulesActivated(version=NEWEST)))
    yield made
    await made.close()


async def applied(sync: Sync, found: Difference) -> int:
    counts = [progress.applied async for progress in sync.apply(found, "ada")]
    return counts[-1] if counts else 0


async def test_two_at_once_write_the_catalogue_once(replica: Replica, settings: Settings) -> None:
    """Every core and every person would write it again, and one would undo the other."""
    provider = FakeProvider("home", *(f"a/{number}" for number in range(340)))
    one, two = Sync(replica, [provider], settings), Sync(replica, [provider], settings)  # type: ignore[list-item]
    first, second = await asyncio.gather(one.look("", MANUAL), two.look("", MANUAL))
    assert sum(await asyncio.gather(applied(one, first), applied(two, second))) == 340
    assert len(replica.state.models) == 340
    assert not (await one.look("", MANUAL)).changes


async def test_only_what_needs_no_approval_is_written_by_itself(replica: Replica, settings: Settings) -> None:
    """A provider's mistake would be every customer's price within minutes."""
    provider = FakeProvider("home", "a/b", "a/c", "a/d")
    sync = Sync(replica, [provider], settings)  # type: ignore[list-item]
    stop = asyncio.Event()
    keeping = asyncio.create_task(sync.keep_fresh(0.02, stop))
    await until(lambda: len(replica.state.models) == 3, "the first list is taken")
    del provider.prompts["a/d"]
    provider.prompts |= {"a/b": "0.0011", "a/c": "0.1", "a/new": "0.001"}
    await until(lambda: sync.waiting["home", Kind.NEW] == 1, "the new model is seen")
    models = replica.state.models
    await until(lambda: b"0.0011" in models["a/b"].set.price, "a small repricing is taken")
    await until(lambda: bool(models["a/d"].set.unlisted), "what is gone is taken out")
    assert b"0.001" in models["a/c"].set.price
    assert "a/new" not in models
    assert sync.waiting["home", Kind.REPRICED] == 1
    waiting = next(iter(SyncCollector(sync).collect()))
    shown = {sample.labels["kind"]: sample.value for sample in waiting.samples}
    assert (shown["new"], shown["repriced"]) == (1, 1)
    await applied(sync, await sync.look("", Approval(new=True, repriced=True)))
    await until(lambda: sync.waiting["home", Kind.REPRICED] == 0, "nothing waits after approval")
    assert b"0.1" in models["a/c"].set.price
    stop.set()
    await keeping


async def test_automatic_approval_takes_all(replica: Replica, settings: Settings) -> None:
    provider = FakeProvider("home", "a/b")
    automatic = settings.model_copy(update={"models_approval": "automatic"})
    sync = Sync(replica, [provider], automatic)  # type: ignore[list-item]
    stop = asyncio.Event()
    keeping = asyncio.create_task(sync.keep_fresh(0.02, stop))
    await until(lambda: len(replica.state.models) == 1, "the first list is taken")
    provider.prompts = {"a/b": "1", "a/c": "1"}
    await until(lambda: len(replica.state.models) == 2, "the new model is taken")
    await until(lambda: b'"1"' in replica.state.models["a/b"].set.price, "the repricing is taken")
    stop.set()
    await keeping


async def test_a_provider_out_of_reach_changes_nothing_and_is_tried_again(
    replica: Replica, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage would close the shop, or end all refreshing: old prices for ever."""
    monkeypatch.setattr("core.sync.FIRST_PAUSE_S", 0.02)
    home, second = FakeProvider("home", "a/b"), FakeProvider("second", "a/b")
    home.reachable = second.reachable = False
    sync = Sync(replica, [home, second], settings)  # type: ignore[list-item]
    with pytest.raises(ProviderFailure):
        await sync.look("", MANUAL)
    stop = asyncio.Event()
    keeping = asyncio.create_task(sync.keep_fresh(60, stop))
    home.reachable = True
    await until(lambda: "a/b" in replica.state.models, "the list is read again")
    stop.set()
    await keeping
    second.reachable = True
    (change,) = (await sync.look("second", MANUAL)).changes
    assert change.kind is Kind.ROUTED


async def test_a_provider_that_is_not_set_up_is_named(replica: Replica, settings: Settings) -> None:
    sync = Sync(replica, [FakeProvider("home")], settings)  # type: ignore[list-item]
    with pytest.raises(UnknownProvider, match="elsewhere"):
        await sync.look("elsewhere", MANUAL)


async def test_nothing_is_written_under_rules_that_do_not_know_it(connection: Connection, settings: Settings) -> None:
    """One event that the rules in force do not know stops every replica; and meanwhile there must be models to call."""
    replica = Replica(connection, await provision(connection, settings))
    await replica.start()
    sync = Sync(replica, [FakeProvider("home", "a/b")], settings)  # type: ignore[list-item]
    catalogue = Catalogue(lambda: sync.source, list(sync.providers.values()))
    stop = asyncio.Event()
    keeping = asyncio.create_task(sync.keep_fresh(0.01, stop))
    await until(lambda: "a/b" in catalogue.entries, "what the provider lists can be called")
    assert replica.state.position == 0
    await replica.append(ROOT, pb.Event(rules_activated=pb.RulesActivated(version=NEWEST)))
    await until(lambda: "a/b" in replica.state.models, "the catalogue is in the ledger")
    assert "a/b" in catalogue.entries
    stop.set()
    await keeping
    await replica.close()
