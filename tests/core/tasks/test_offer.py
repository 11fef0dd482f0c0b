"""Media models on sale: in the ledger once, found by edges, and withdrawn where an operator says so."""

import asyncio
from pathlib import Path

import orjson
import pytest

from bus.directory import DirectoryMirror
from cli.client import AdminClient, CallFailed
from core.media.catalogue import load
from core.tasks import offer
from projections.main import Projections
from proto.onysoft.v1 import admin_pb2 as admin
from tests.core.conftest import until
from tests.core.tasks.conftest import MODEL, Studio

MODELS = len(load().callable_models())


def registered(studio: Studio) -> int:
    return sum(model.set.kind != "chat" for model in studio.house.core.replica.state.models.values())


async def test_every_media_model_is_in_the_ledger_once(studio: Studio) -> None:
    """A settlement's price version would name a price that nobody has kept; each start would write them all again."""
    house = studio.house
    await until(lambda: registered(studio) == MODELS, "every model is registered")
    state = house.core.replica.state
    await until(lambda: not offer.missing(state, load(), "kie"), "every alias is registered")
    entry = state.models[MODEL].set
    price = load().find(MODEL).price
    assert price is not None
    assert (entry.kind, entry.routes[0].provider, entry.price_version) == ("image", "kie", price.version)


async def test_edges_hear_of_media_models_and_their_aliases(studio: Studio, tmp_path: Path) -> None:
    """Every generate call would be refused as an unknown model."""
    house = studio.house
    await until(lambda: not offer.missing(house.core.replica.state, load(), "kie"), "all is registered")
    settings = house.settings.model_copy(update={"projections_dir": tmp_path / "projections"})
    projections = Projections(house.connection, settings, house.core.replica.partitions)
    await projections.start()
    mirror = DirectoryMirror(house.connection)
    await mirror.start()
    await mirror.loaded()
    names = {name for model in load().callable_models() for name in (model.id, *model.aliases)}
    assert {name for name, record in mirror.models.items() if record.active and record.kind != "chat"} == names
    await mirror.stop()
    await projections.close()


async def test_the_providers_list_is_compared_and_never_applied(studio: Studio) -> None:
    """Prices in prose would be taken for prices, or a model that is gone would be found by customers only."""
    listed = [{"model": MODEL, "pricingDesc": "9 credits"}, {"model": "new/model", "pricingDesc": "1 credit"}]
    studio.kie.listed = listed
    client = await asyncio.to_thread(AdminClient, [f"127.0.0.1:{studio.house.core.admin_port}"], "t" * 32)
    request = admin.SyncModelsRequest(provider="kie")
    (seen,) = await asyncio.to_thread(lambda: list(client.stream("SyncModels", request)))
    found = orjson.loads(seen.difference_json)
    assert (found["listed"], found["due"], found["not_described"]) == (2, 0, ["new/model"])
    assert found["doubtful_prices"] == [{"id": MODEL, "credits": ["8.0"], "text": "9 credits"}]
    assert len(found["not_listed"]) > 100
    request.apply = True
    with pytest.raises(CallFailed, match="only compared"):
        await asyncio.to_thread(lambda: list(client.stream("SyncModels", request)))
    client.close()


async def test_what_an_operator_withdraws_is_not_generated(studio: Studio) -> None:
    """A model that must not be sold any more would go on being sold."""
    house = studio.house
    await until(lambda: registered(studio) == MODELS, "every model is registered")
    client = await asyncio.to_thread(AdminClient, [f"127.0.0.1:{house.core.admin_port}"], "t" * 32)
    await asyncio.to_thread(client.call, "DeactivateModel", admin.ModelRef(model_id=MODEL))
    assert (await studio.generate()).code == "model_not_found"
    await asyncio.to_thread(client.call, "ActivateModel", admin.ModelRef(model_id=MODEL))
    assert (await studio.generate()).ended
    client.close()
