"""Large bodies on their way from an edge to the core that was chosen, over a real server."""

import os

import pytest

from bus import bodies
from bus.bodies import BodyLost, BodyShelf, ShelfFull, fetch_body
from bus.connection import Connection
from runtime import ids


@pytest.fixture
async def shelf(connection: Connection) -> BodyShelf:
    shelf = BodyShelf(connection, "edge-a")
    await shelf.start()
    return shelf


async def test_ten_megabytes_arrive_whole(shelf: BodyShelf, connection: Connection) -> None:
    """Nobody could send an image."""
    body, request_id = os.urandom(10_000_000), ids.mint()
    ref = await shelf.put(request_id, body)
    assert await fetch_body(connection, "edge-a", request_id, ref) == body


async def test_a_body_on_the_chunk_boundary_arrives_whole(shelf: BodyShelf, connection: Connection) -> None:
    """The last chunk would be asked for although it is empty."""
    body, request_id = os.urandom(2 * bodies.CHUNK_BYTES), ids.mint()
    ref = await shelf.put(request_id, body)
    assert ref.chunks == 2
    assert await fetch_body(connection, "edge-a", request_id, ref) == body


async def test_a_dropped_body_is_lost_at_once(shelf: BodyShelf, connection: Connection) -> None:
    """A core would wait for a client that has left, and the edge would keep its bytes."""
    request_id = ids.mint()
    ref = await shelf.put(request_id, bytes(600_000))
    shelf.drop(request_id)
    shelf.drop(request_id)
    assert shelf._bytes == 0
    with pytest.raises(BodyLost):
        await fetch_body(connection, "edge-a", request_id, ref)


async def test_a_body_of_a_dead_edge_is_lost_at_once(shelf: BodyShelf, connection: Connection) -> None:
    """A core would wait for an edge that is gone."""
    request_id = ids.mint()
    ref = await shelf.put(request_id, bytes(600_000))
    with pytest.raises(BodyLost):
        await fetch_body(connection, "edge-b", request_id, ref)


async def test_a_damaged_body_is_refused(shelf: BodyShelf, connection: Connection) -> None:
    """A provider would be asked, and paid, for what the client never wrote."""
    request_id = ids.mint()
    ref = await shelf.put(request_id, bytes(600_000))
    shelf._bodies[request_id.hex()] = bytes(599_999) + b"x"
    with pytest.raises(BodyLost):
        await fetch_body(connection, "edge-a", request_id, ref)


async def test_a_reference_to_too_much_is_refused(connection: Connection) -> None:
    """A broken edge could fill a core's memory."""
    ref = bodies.work_pb2.BodyRef(size=bodies.CHUNK_BYTES * 65, chunks=65, sha256=bytes(32))
    with pytest.raises(BodyLost):
        await fetch_body(connection, "edge-a", ids.mint(), ref)


async def test_the_shelf_is_bounded(shelf: BodyShelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many large bodies at once would end the edge."""
    monkeypatch.setattr(bodies, "SHELF_BYTES_MAX", 1_000_000)
    await shelf.put(ids.mint(), bytes(600_000))
    with pytest.raises(ShelfFull):
        await shelf.put(ids.mint(), bytes(600_000))
