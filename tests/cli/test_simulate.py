"""Simulation: demos need a month that the gateway's own rules accept, and no instance may ever be its victim."""

import asyncio
import random
from collections import Counter
from pathlib import Path

from bus.archive import Archive
from bus.connection import Connection
from bus.streams import LEDGER, USAGE, last_position
from cli.simulation.log import LogBuilder
from cli.simulation.market import open_market
from cli.simulation.month import Month
from cli.simulation.processes import nats_server
from core import audit
from core.replica import Replica
from projections.proof.books import Books
from projections.proof.statement import month_bounds
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings
from tests.cli.conftest import Onysoft

MONTH = "2026-10"


def played(folder: Path, seed: int, calls: int = 3_000) -> tuple[LogBuilder, Month]:
    """A month of calls in an archive."""
    rng = random.Random(seed)
    builder = LogBuilder(folder, 4, seed)
    month = Month(builder, open_market(rng, 60), rng, calls, *month_bounds(MONTH))
    for _ in month.ticks():
        pass
    builder.finish(month.ended_ms)
    return builder, month


def test_a_month_has_every_kind_of_event_and_a_seed_makes_it_again(tmp_path: Path) -> None:
    builder, month = played(tmp_path / "one", seed=7)
    again, _ = played(tmp_path / "two", seed=7)
    other, _ = played(tmp_path / "three", seed=8)
    assert builder.state.digest() == again.state.digest() != other.state.digest()
    assert (month.calls, len(month.usage)) == (3_000, 3_000)
    kinds: Counter[str] = Counter()
    books = Books()
    for block in Archive(tmp_path / "one").read(0):
        for entry in block:
            books.apply(entry)
            for event in pb.LedgerBatch.FromString(entry.payload).events:
                kinds[event.WhichOneof("event") or ""] += 1
    books.check()
    assert books.state.digest() == builder.state.digest()
    acts = {
        "limit_set",
        "model_blocked",
        "account_suspended",
        "key_resumed",
        "key_revoked",
        "credit_moved",
        "markup_set",
    }
    assert not acts - kinds.keys()
    missing = {"request_opened", "request_settled", "request_released", "task_submitted", "credit_added"} - kinds.keys()
    assert not missing
    assert kinds["fx_rate_set"] >= 31
    assert kinds["checkpoint"] > 10
    assert {event.status for event in month.usage} >= {200, 202, 400, 401, 402, 404, 502}
    charged = [account for account in builder.state.accounts.values() if account.charges_nano]
    assert {account.kind for account in charged} >= {pb.USER, pb.PROJECT, pb.PARTNER, pb.PARTNER_CUSTOMER}


async def test_an_instance_goes_on_behind_the_simulated_month(tmp_path: Path, onysoft: Onysoft) -> None:
    folder = tmp_path / "data"
    words = ("simulate", "--data", str(folder), "--calls", "400", "--accounts", "30", "--no-sink", "--month", MONTH)
    done = await asyncio.to_thread(onysoft, *words, "--json")
    assert done.code == 0, done.err
    assert (done.json["calls"], done.json["reports"], done.json["complete"]) == (400, 400, True)
    async with nats_server(folder) as url:
        connection = await Connection.open(Settings(nats_url=url), "test")
        assert await last_position(connection, LEDGER) == done.json["ledger_positions"]
        assert await last_position(connection, USAGE) == 1
        final = [each async for each in audit.verify(connection, folder / "archive")][-1]
        assert (final.ok, final.from_position) == (True, 1)
        replica = Replica(connection, 16)
        await replica.start()
        assert replica.state.digest() == final.state_digest
        await replica.close()
        await connection.close()

    refused = await asyncio.to_thread(onysoft, *words, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "failed_precondition")
    assert "--fresh" in refused.err


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path: Path, onysoft: Onysoft) -> None:
    (tmp_path / "precious").write_text("data")
    done = onysoft("simulate", "--data", str(tmp_path), "--calls", "10", "--fresh", "--json")
    assert done.code == 1
    assert "not a simulation" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert onysoft("simulate", "--json").code == 1
