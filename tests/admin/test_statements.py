"""Statements through a core: whole, from projections that make them, or refused with a reason."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.connection import Connection
from cli.client import CallFailed
from projections import statements
from projections.main import Projections
from projections.proof.publishing import FILE, read_published
from projections.proof.statement_csv import check
from proto.onysoft.v1 import admin_pb2 as admin
from runtime.settings import Settings
from tests.admin.conftest import UNKNOWN_ACCOUNT, Operator

MONTH = "2020-01"
STOP_S = 60.0


@pytest.fixture
async def archive(
    operator: Operator, connection: Connection, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Path]:
    """Projections beside the core, which answer in small parts; where they publish."""
    monkeypatch.setattr(statements, "PART_BYTES", 100)
    monkeypatch.setattr(statements, "PUBLISH_EVERY_S", 0.0)
    folders = {"projections_dir": tmp_path / "projections", "archive_dir": tmp_path / "archive"}
    projections = Projections(connection, settings.model_copy(update=folders), operator.replica.partitions)
    await projections.start()
    stop = asyncio.Event()
    running = asyncio.create_task(projections.run(stop))
    yield tmp_path / "archive"
    stop.set()
    await asyncio.wait_for(running, STOP_S)
    await projections.close()


async def test_a_statement_comes_whole_in_parts(operator: Operator, archive: Path) -> None:
    account = await operator.open()
    await operator.credit(account.account_id, "5.00", "R")
    request = admin.GetStatementRequest(account_id=account.account_id, month=MONTH)
    chunks = [chunk for chunk in await operator.stream("GetStatement", request) if chunk.size]
    content = b"".join(chunk.content for chunk in chunks)
    assert len(chunks) > 3
    assert {chunk.size for chunk in chunks} == {len(content)}
    checked = check(content.decode(), read_published(archive / FILE))
    assert (checked.ok, checked.account) == (True, account.account_id)
    pdf = await operator.stream("GetStatement", admin.GetStatementRequest(**_named(account), pdf=True))
    assert b"".join(chunk.content for chunk in pdf).startswith(b"%PDF")


async def test_what_cannot_be_stated_is_refused_with_a_reason(operator: Operator, archive: Path) -> None:
    account = await operator.open()
    for request, code in (
        (admin.GetStatementRequest(account_id=account.account_id, month="November"), "failed_precondition"),
        (admin.GetStatementRequest(account_id=UNKNOWN_ACCOUNT, month=MONTH), "not_found"),
        (admin.GetStatementRequest(account_id="x", month=MONTH), "invalid_argument"),
    ):
        with pytest.raises(CallFailed) as failure:
            await operator.stream("GetStatement", request)
        assert failure.value.code == code, failure.value.message


async def test_without_projections_it_is_said_at_once(operator: Operator) -> None:
    account = await operator.open()
    with pytest.raises(CallFailed) as failure:
        await operator.stream("GetStatement", admin.GetStatementRequest(**_named(account)))
    assert failure.value.code == "unavailable"


def _named(account: admin.Account) -> dict[str, str]:
    return {"account_id": account.account_id, "month": MONTH}
