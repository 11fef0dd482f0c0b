"""What an edge knows of a key beside whose it is: from where, until when, and which of its secrets."""

import asyncio
import time

import pytest

from bus.connection import Connection
from bus.directory import publish_key
from proto.onysoft.v1 import directory_pb2, work_pb2
from runtime import ids
from runtime.settings import Settings
from tests.edge.conftest import FakeCore, RunningEdge, key_hash, until
from tests.edge.wire import chat, exchange, request

OFFICE_KEY = "sk-ony-" + "1" * 48
FAR_ROUTES = [
    request(chat(), key=OFFICE_KEY),
    request(method="GET", path="/v1/models", key=OFFICE_KEY),
    request(method="GET", path="/v1/balance", key=OFFICE_KEY),
    request(method="GET", path="/v1/requests/req_" + "0" * 24, key=OFFICE_KEY),
]


@pytest.fixture
def edge_settings(edge_settings: Settings) -> Settings:
    """The tests' own connections come from a trusted proxy."""
    return edge_settings.model_copy(update={"trusted_proxies": "127.0.0.0/8"})


async def mirror(edge: RunningEdge, connection: Connection, key: str = OFFICE_KEY, **fields: object) -> None:
    record = directory_pb2.KeyRecord(key_id=ids.mint(), account_id=ids.mint(), position=9, **fields)  # type: ignore[arg-type]
    await publish_key(connection, key_hash(key), record)
    await until(lambda: key_hash(key) in edge.edge.mirror.keys)


@pytest.mark.parametrize("data", FAR_ROUTES)
async def test_a_key_is_refused_outside_its_addresses(edge: RunningEdge, connection: Connection, data: bytes) -> None:
    """A key that was stolen from an office would work from anywhere."""
    await mirror(edge, connection, allowed_ips=["192.0.2.0/24", "2001:db8::/32"])
    for address, allowed in (("192.0.2.9", True), ("2001:db8::7", True), ("::ffff:192.0.2.9", True)):
        response = await exchange(edge.port, _from(address, data))
        assert (response.status != 403) is allowed
    for address in ("192.0.3.9", "2001:db9::7", "192.0.2.9, 198.51.100.1", "unknown"):
        response = await exchange(edge.port, _from(address, data))
        assert (response.status, response.code) == (403, "access_denied")
    assert (await exchange(edge.port, data)).status == 403, "the proxy itself is not in the office"


def _from(address: str, data: bytes) -> bytes:
    line, _, rest = data.partition(b"\r\n")
    return line + b"\r\nx-forwarded-for: " + address.encode() + b"\r\n" + rest


async def test_the_core_hears_which_secret_was_shown(edge: RunningEdge, core: FakeCore, connection: Connection) -> None:
    """A replaced secret would work for ever: the ledger could not tell it from the new one."""
    await mirror(edge, connection, secret=2)
    assert (await exchange(edge.port, request(chat(), key=OFFICE_KEY))).status == 200
    assert core.works[0].key_secret == 2
    assert core.works[0].language == "tr"


async def test_an_expired_key_is_refused(edge: RunningEdge, core: FakeCore, connection: Connection) -> None:
    """A key given out for a day would work for ever."""
    await mirror(edge, connection, expires_ms=int(time.time() * 1000) - 1)
    response = await exchange(edge.port, request(chat(), key=OFFICE_KEY))
    assert (response.status, response.code) == (401, "invalid_api_key")
    assert not core.works


async def test_a_key_that_was_prolonged_a_moment_ago_works(
    edge: RunningEdge, core: FakeCore, connection: Connection
) -> None:
    """Its owner would be refused until the directory has caught up."""
    now_ms = int(time.time() * 1000)
    await mirror(edge, connection, expires_ms=now_ms - 1)
    answer = work_pb2.Answer(
        key_id=ids.mint(), account_id=ids.mint(), partition=1, expires_ms=now_ms + 60_000, key_secret=1
    )
    core.known_keys[key_hash(OFFICE_KEY)] = answer
    assert (await exchange(edge.port, request(chat(), key=OFFICE_KEY))).status == 200
    assert core.works[0].key_secret == 1


async def test_a_key_that_only_a_core_knows_is_bound_to_its_addresses_too(edge: RunningEdge, core: FakeCore) -> None:
    """In its first moments a new key would work from anywhere."""
    answer = work_pb2.Answer(key_id=ids.mint(), account_id=ids.mint(), partition=1, allowed_ips=["192.0.2.1"])
    core.known_keys[key_hash(OFFICE_KEY)] = answer
    data = request(chat(), key=OFFICE_KEY)
    assert (await exchange(edge.port, _from("192.0.2.2", data))).status == 403
    assert (await exchange(edge.port, _from("192.0.2.1", data))).status == 200


async def test_a_burst_on_a_key_of_a_moment_ago_is_one_question(edge: RunningEdge, core: FakeCore) -> None:
    """Most calls of the burst would be told that the key is invalid."""
    core.known_keys[key_hash(OFFICE_KEY)] = work_pb2.Answer(key_id=ids.mint(), account_id=ids.mint(), partition=1)
    answers = await asyncio.gather(*(exchange(edge.port, request(chat(), key=OFFICE_KEY)) for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert sum(what == "key" for what, _ in core.asks) == 1
