"""The catalogue while the provider or the directory is out of reach."""

import asyncio
from typing import Any

import pytest

from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_model
from bus.errors import NoCore
from bus.streams import provision
from core import catalogue as catalogue_module
from core.catalogue import Catalogue
from core.providers.port import FailureKind, ProviderFailure
from proto.onysoft.v1.directory_pb2 import ModelRecord
from runtime.errors import Refusal
from runtime.settings import Settings

MODEL = {"id": "a/b", "name": "B", "context_length": 1000, "pricing": {"prompt": "0.001", "completion": "0.002"}}


class FakeProvider:
    """A provider whose list can be out of reach."""

    name = "fake"

    def __init__(self) -> None:
        self.reachable = True

    async def list_models(self) -> list[dict[str, Any]]:
        if not self.reachable:
            raise ProviderFailure(FailureKind.UNAVAILABLE)
        return [MODEL]


async def test_a_core_without_a_catalogue_does_not_deny_models(settings: Settings, connection: Connection) -> None:
    """After a restart a customer would be told that its model does not exist, and stop asking."""
    await provision(connection, settings)
    provider = FakeProvider()
    catalogue = Catalogue(connection, [provider])  # type: ignore[list-item]
    with pytest.raises(Refusal) as caught:
        catalogue.find("a/b")
    assert (caught.value.error.code, caught.value.retry_after_s) == ("service_unavailable", 2)
    await catalogue.refresh()
    assert catalogue.find("a/b").id == "a/b"
    with pytest.raises(Refusal) as caught:
        catalogue.find("no/such")
    assert caught.value.error.code == "model_not_found"


async def test_refreshing_goes_on_after_the_directory_was_away(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of NATS would end all refreshing: new models would never be sold, old prices for ever."""
    await provision(connection, settings)
    tries = 0

    async def publish(connection: Connection, record: ModelRecord) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise NoCore("no stream")
        await publish_model(connection, record)

    monkeypatch.setattr(catalogue_module, "publish_model", publish)
    stop = asyncio.Event()
    catalogue = Catalogue(connection, [FakeProvider()])  # type: ignore[list-item]
    fresh = asyncio.create_task(catalogue.keep_fresh(0.05, stop))
    mirror = DirectoryMirror(connection)
    await mirror.start()
    async with asyncio.timeout(20):
        while "a/b" not in mirror.models:
            await asyncio.sleep(0.02)
            assert not fresh.done()
    stop.set()
    await fresh
    await mirror.stop()
