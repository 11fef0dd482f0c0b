"""A ledger in a real nats-server with real projections beside it, and ways to write into it."""

import asyncio
import os
from pathlib import Path

import pytest

from bus import jetstream
from bus.connection import Connection
from bus.streams import LEDGER, last_position, provision
from projections.main import Projections
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings

NANO = 1_000_000_000
ACCOUNT = b"acc-of-tests"
KEY = b"key-of-tests"


class Ledger:
    """Writes batches as a core would, and runs projections on demand."""

    def __init__(self, connection: Connection, settings: Settings, partitions: int) -> None:
        self.connection = connection
        self.settings = settings
        self.partitions = partitions
        self.writer = os.urandom(8)
        self.number = 0
        self.requests = 0

    @property
    def archive_dir(self) -> Path:
        """Where its archive goes."""
        assert self.settings.archive_dir is not None
        return self.settings.archive_dir

    async def write(self, *events: pb.Event) -> int:
        """One batch; its position."""
        self.number += 1
        batch = pb.LedgerBatch(writer=self.writer, number=self.number, events=events)
        identity = f"{self.writer.hex()}:{self.number}"
        return await jetstream.append(self.connection, "ledger.00", batch.SerializeToString(), identity)

    async def open_account(self, account_id: bytes = ACCOUNT, lira: int = 100) -> None:
        """An account with a key, credit and the rate 40."""
        opened = pb.AccountOpened(account_id=account_id, kind=pb.USER, currency=pb.TRY)
        credit = pb.CreditAdded(account_id=account_id, amount_nano=lira * NANO, reference="pay-1")
        key_id = KEY if account_id == ACCOUNT else b"k" + account_id[1:]
        issued = pb.KeyIssued(key_id=key_id, account_id=account_id, key_hash=account_id.ljust(32))
        rate = pb.FxRateSet(base=pb.USD, quote=pb.TRY, rate_nano=40 * NANO)
        await self.write(
            pb.Event(account_opened=opened),
            pb.Event(credit_added=credit),
            pb.Event(key_issued=issued),
            pb.Event(fx_rate_set=rate),
        )

    async def call(self, charge_nano: int = NANO // 1000, account_id: bytes = ACCOUNT) -> bytes:
        """One request, opened and settled in two batches; its id."""
        self.requests += 1
        request_id = self.requests.to_bytes(12, "big")
        key_id = KEY if account_id == ACCOUNT else b"k" + account_id[1:]
        opened = pb.RequestOpened(request_id=request_id, attempt=1, account_id=account_id, key_id=key_id, model="m")
        opened.hold_nano, opened.lease_ms = 2 * charge_nano, 60_000
        settled = pb.RequestSettled(request_id=request_id, attempt=1, charge_nano=charge_nano, prompt_tokens=7)
        settled.provider_cost_usd, settled.basis, settled.end = "0.000025", pb.PROVIDER_COST, pb.COMPLETED
        settled.fx_rate_nano, settled.provider, settled.generation_id = 40 * NANO, "sandbox", f"gen-{self.requests}"
        await self.write(pb.Event(request_opened=opened))
        await self.write(pb.Event(request_settled=settled))
        return request_id

    async def calls(self, count: int) -> None:
        """Many of them."""
        for _ in range(count):
            await self.call()

    async def last(self) -> int:
        """The log's end."""
        return await last_position(self.connection, LEDGER)

    async def project(self) -> None:
        """Run projections up to the log's end: rows, directory, a snapshot and a checkpoint."""
        projections = Projections(self.connection, self.settings, self.partitions)
        await projections.start()
        await projections.flush(snapshot=True)
        await projections.close()

    async def trimmed_at(self) -> int:
        """The first position that the stream still has."""
        return int((await jetstream.stream_state(self.connection, LEDGER))["first_seq"])


@pytest.fixture
async def ledger(connection: Connection, settings: Settings, tmp_path: Path) -> Ledger:
    """An empty ledger with streams."""
    wanted = settings.model_copy(
        update={
            "projections_dir": tmp_path / "projections",
            "archive_dir": tmp_path / "archive",
            "snapshot_every_s": 0.0,
            "checkpoint_every_s": 0.001,
        }
    )
    partitions = await asyncio.wait_for(provision(connection, wanted), 60)
    return Ledger(connection, wanted, partitions)
