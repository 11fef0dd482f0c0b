"""A core in the test's own loop, in front of the real sandbox and a real nats-server; the test plays the edge."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from bus.connection import Connection
from bus.errors import NoCore
from bus.frames import CoreSilent, Inbox, answer_subject
from core.ledger.money import NANO
from core.main import Core
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import work_pb2
from runtime import ids
from runtime.settings import Settings
from sandbox.main import Sandbox
from tests.core.http import request_json

DEADLINE_S = 60.0


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, at most DEADLINE_S."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Received:
    """What the edge's side got of a call."""

    request_id: bytes
    data: bytes = b""
    code: str = ""
    retry_after_s: int = 0
    ended: bool = False
    lowered_to: int = 0
    rate_limit: tuple[int, int, int] = (0, 0, 0)

    @property
    def body(self) -> dict[str, Any]:
        """A whole answer's JSON."""
        parsed: dict[str, Any] = orjson.loads(self.data)
        return parsed

    @property
    def events(self) -> list[Any]:
        """A streamed answer's events; `[DONE]` as text."""
        lines = [line[6:] for line in self.data.split(b"\n\n") if line]
        return [line.decode() if line == b"[DONE]" else orjson.loads(line) for line in lines]


@dataclass
class House:
    """One sandbox, one or more cores, one test edge, one account."""

    settings: Settings
    sandbox_url: str
    connection: Connection
    inbox: Inbox
    cores: list[Core]
    account_id: bytes = field(default_factory=ids.mint)
    key_id: bytes = field(default_factory=ids.mint)

    @property
    def core(self) -> Core:
        """The first core."""
        return self.cores[0]

    @property
    def account(self) -> Any:
        """The account as the first core's replica sees it."""
        return self.core.replica.state.accounts[self.account_id]

    async def append(self, event: pb.Event) -> Any:
        """Through the first core's writer; the fold's outcome."""
        return (await self.core.replica.append(self.account_id, event)).outcome

    async def open_account(self, lira: float = 5, **limits: int) -> None:
        """An account at markup 0 with a key, a balance and the rate 40."""
        opened = pb.AccountOpened(account_id=self.account_id, kind=pb.USER, currency=pb.TRY, **limits)
        credit = pb.CreditAdded(account_id=self.account_id, amount_nano=int(lira * NANO), reference="r1")
        await self.append(pb.Event(account_opened=opened))
        await self.append(pb.Event(credit_added=credit))
        await self.append(pb.Event(fx_rate_set=pb.FxRateSet(base=pb.USD, quote=pb.TRY, rate_nano=40 * NANO)))
        issued = pb.KeyIssued(key_id=self.key_id, account_id=self.account_id, key_hash=self.key_id.ljust(32))
        await self.append(pb.Event(key_issued=issued))

    async def control(self, **wanted: Any) -> None:
        """PUT /control of the sandbox."""
        await request_json("PUT", f"{self.sandbox_url}/control", wanted)

    async def journal(self) -> list[dict[str, Any]]:
        """GET /journal of the sandbox."""
        entries: list[dict[str, Any]] = await request_json("GET", f"{self.sandbox_url}/journal")
        return entries

    def send(
        self, model: str = "sandbox/fixed-price", request_id: bytes = b"", attempt: int = 1, **fields: Any
    ) -> bytes:
        """Publish a work request; its id."""
        request_id = request_id or ids.mint()
        request = {"model": model, "messages": [{"role": "user", "content": "hello there"}], **fields}
        work = work_pb2.WorkRequest(
            request_id=request_id,
            attempt=attempt,
            account_id=self.account_id,
            key_id=self.key_id,
            edge=self.inbox.edge,
            model=model,
            stream=bool(fields.get("stream")),
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            body=orjson.dumps(request),
        )
        reply = answer_subject(self.inbox.edge, request_id)
        assert self.connection.send("work.00.chat", work.SerializeToString(), reply)
        return request_id

    async def call(self, model: str = "sandbox/fixed-price", leave_after: int = 0, **fields: Any) -> Received:
        """One call to its end; `leave_after` frames with data the client leaves."""
        request_id = ids.mint()
        pending = self.inbox.open(request_id)
        pending.begin(1)
        self.send(model, request_id, **fields)
        received = Received(request_id)
        frames = 0
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not received.ended and not received.code:
                    frame = await pending.next()
                    assert frame is not None
                    _take(received, frame)
                    frames += bool(frame.data)
                    if leave_after and frames >= leave_after:
                        pending.cancel()
                        break
        except (NoCore, CoreSilent) as error:
            received.code = type(error).__name__
        finally:
            pending.close()
        return received

    async def idle(self) -> None:
        """Wait until no core has a call in work and the first replica holds no request."""
        await until(lambda: not any(len(core.worker) for core in self.cores), "cores idle")
        await self.core.replica.fresh()

    def settlements(self, request_id: bytes) -> int:
        """1 when the fold remembers the request as settled."""
        return int(self.core.replica.state.ended.last_attempt(request_id) == 255)


def _take(received: Received, frame: work_pb2.Frame) -> None:
    if frame.HasField("head"):
        received.lowered_to = frame.head.max_tokens_lowered_to
        limit = frame.head.rate_limit
        received.rate_limit = (limit.limit, limit.remaining, limit.reset_s)
    received.data += frame.data
    received.ended = frame.end
    if frame.HasField("failure"):
        received.code = frame.failure.code
        received.retry_after_s = frame.failure.retry_after_s


@pytest.fixture
def core_settings() -> dict[str, Any]:
    """Settings that a test module may override."""
    return {}


@pytest.fixture
def cores_wanted() -> int:
    """How many cores; a test module may override it."""
    return 1


@pytest.fixture
async def house(
    settings: Settings, connection: Connection, core_settings: dict[str, Any], cores_wanted: int
) -> AsyncIterator[House]:
    """Everything running, an account opened."""
    sandbox = Sandbox(Settings())
    url = f"http://127.0.0.1:{await sandbox.start()}"
    wanted = Settings(
        nats_url=settings.nats_url, sandbox_url=url, key_pepper="p" * 32, admin_token="t" * 32, **core_settings
    )
    cores = []
    for _ in range(cores_wanted):
        core = await Core.open(wanted)
        await core.start()
        cores.append(core)
    inbox = Inbox(connection, "edge-test", 5.0)
    await inbox.start()
    made = House(wanted, url, connection, inbox, cores)
    await until(lambda: all(core.ready() is None for core in cores), "cores ready")
    await made.open_account()
    yield made
    for core in cores:
        await core.stop()
    await inbox.close()
    await sandbox.stop()
