"""The catalogue's read models: what edges may pass on, and the prices that settlements of long ago name."""

import hashlib

from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_model
from projections.main import Projections
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1.directory_pb2 import ModelRecord
from tests.projections.conftest import Ledger

OLD, NEW = b'{"completion":"1","prompt":"1"}', b'{"completion":"2","prompt":"2"}'


def version_of(price: bytes) -> bytes:
    return hashlib.sha256(price).digest()[:8]


def model(price: bytes = OLD, **fields: object) -> pb.Event:
    entry = pb.ModelSet(model_id="a/b", kind="chat", name="B", price=price, price_version=version_of(price))
    for name, value in fields.items():
        setattr(entry, name, value)
    return pb.Event(model_set=entry)


async def directory(connection: Connection) -> dict[str, ModelRecord]:
    mirror = DirectoryMirror(connection)
    await mirror.start()
    await mirror.loaded()
    await mirror.stop()
    return mirror.models


async def begin(ledger: Ledger) -> None:
    await ledger.write(pb.Event(rules_activated=pb.RulesActivated(version=2)))


async def test_edges_hear_of_models_and_their_other_names(ledger: Ledger) -> None:
    """A model on sale would be refused as unknown, or one that was withdrawn passed on to a core."""
    await begin(ledger)
    await ledger.write(model(), pb.Event(alias_set=pb.AliasSet(alias="fast", model_id="a/b")))
    await ledger.project()
    known = await directory(ledger.connection)
    assert (known["a/b"].active, known["a/b"].kind, known["a/b"].alias_of) == (True, "chat", "")
    assert (known["fast"].active, known["fast"].kind, known["fast"].alias_of) == (True, "chat", "a/b")
    await ledger.write(pb.Event(model_deactivated=pb.ModelDeactivated(model_id="a/b")))
    await ledger.project()
    known = await directory(ledger.connection)
    assert (known["a/b"].active, known["fast"].active) == (False, False)
    await ledger.write(
        pb.Event(model_activated=pb.ModelActivated(model_id="a/b")),
        pb.Event(alias_removed=pb.AliasRemoved(alias="fast")),
    )
    await ledger.project()
    known = await directory(ledger.connection)
    assert (known["a/b"].active, known["fast"].active) == (True, False)
    await ledger.write(model(unlisted="no price"))
    await ledger.project()
    assert not (await directory(ledger.connection))["a/b"].active


async def test_what_the_directory_has_wrong_is_mended(ledger: Ledger) -> None:
    """A record that was lost, or left by an earlier release, would stand for ever."""
    await begin(ledger)
    await ledger.write(model())
    await publish_model(ledger.connection, ModelRecord(id="a/b", active=False))
    await publish_model(ledger.connection, ModelRecord(id="left/over", active=True))
    await publish_model(ledger.connection, ModelRecord(id="kie/video", active=True, kind="video"))
    projections = Projections(ledger.connection, ledger.settings, ledger.partitions)
    await projections.start()
    known = await directory(ledger.connection)
    assert (known["a/b"].active, known["left/over"].active, known["kie/video"].active) == (True, False, True)
    await projections.close()


async def test_an_older_record_never_replaces_a_newer_one(ledger: Ledger) -> None:
    """A projection that lags behind would put a withdrawn model on sale again."""
    await publish_model(ledger.connection, ModelRecord(id="a/b", active=False, position=9))
    await publish_model(ledger.connection, ModelRecord(id="a/b", active=True, position=8))
    assert not (await directory(ledger.connection))["a/b"].active


async def test_every_price_that_there_was_can_be_looked_up(ledger: Ledger) -> None:
    """A charge of last month could not be explained after the next repricing."""
    await begin(ledger)
    route = pb.ModelRoute(provider="second", upstream_id="b", price=b'{"completion":"3","prompt":"3"}')
    route.price_version = version_of(route.price)
    with_route = model(NEW)
    with_route.model_set.routes.append(route)
    await ledger.write(model(), model(), with_route)
    await ledger.project()
    projections = Projections(ledger.connection, ledger.settings, ledger.partitions)
    store = projections.store
    assert [price for price in (OLD, NEW, route.price) if store.price(version_of(price)) != price] == []
    assert store.price(bytes(8)) is None
    assert [entry.price for _, _, entry in store.versions_of("a/b", 10)] == [OLD, NEW]
    assert [entry.price for _, _, entry in store.versions_of("a/b", 1)] == [NEW]
    store.close()
