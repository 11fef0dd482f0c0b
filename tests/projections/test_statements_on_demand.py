"""Statements that somebody waits for: whole, made once, never in the way of the process that makes them."""

import asyncio
import hashlib
from datetime import datetime

import pytest

from projections import statements
from projections.main import Projections
from projections.proof.publishing import FILE, publish, read_published
from projections.proof.statement import ISTANBUL, NoStatement
from projections.proof.statement_csv import check
from projections.statements import Statements, TooMany
from proto.onysoft.v1.work_pb2 import StatementPart, StatementQuestion
from tests.projections.conftest import ACCOUNT, Ledger

DEADLINE_S = 60.0
MONTH = datetime.now(ISTANBUL).strftime("%Y-%m")
NOBODY = b"acc-of-nobod"


async def made(making: Statements, question: StatementQuestion, account_id: bytes = ACCOUNT) -> StatementPart:
    """The first part, once there is one."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            part = await making.part(account_id, question)
            if part.digest:
                return part
            await asyncio.sleep(0.01)


@pytest.fixture
def month(monkeypatch: pytest.MonkeyPatch) -> str:
    """The month of the tests' clock, and parts small enough that a file has several."""
    monkeypatch.setattr(statements, "PART_BYTES", 1000)
    monkeypatch.setattr(statements, "PUBLISH_EVERY_S", 0.0)
    return MONTH


async def test_parts_make_the_file_that_is_proven(ledger: Ledger, month: str) -> None:
    await ledger.open_account()
    await ledger.calls(30)
    making = Statements(ledger.settings)
    first = await made(making, StatementQuestion(month=month))
    content = first.content
    while len(content) < first.size:
        question = StatementQuestion(month=month, digest=first.digest, offset=len(content))
        content += (await making.part(ACCOUNT, question)).content
    assert len(content) > len(first.content)
    assert hashlib.sha256(content).hexdigest() == first.digest
    checked = check(content.decode(), read_published(ledger.archive_dir / FILE))
    assert (checked.ok, checked.lines) == (True, 31)
    pdf = await made(making, StatementQuestion(month=month, pdf=True))
    assert pdf.content.startswith(b"%PDF")
    await making.close()


async def test_who_asks_together_waits_for_one_and_the_same(ledger: Ledger, month: str) -> None:
    await ledger.open_account()
    making = Statements(ledger.settings)
    question = StatementQuestion(month=month)
    found = await asyncio.gather(*(made(making, question) for _ in range(5)))
    assert len({part.digest for part in found}) == 1
    assert len(read_published(ledger.archive_dir / FILE)) == 1
    await making.close()


async def test_what_cannot_be_stated_is_said(ledger: Ledger, month: str) -> None:
    await ledger.open_account()
    making = Statements(ledger.settings)
    with pytest.raises(NoStatement, match="does not know this account"):
        await made(making, StatementQuestion(month=month), NOBODY)
    for wrong in ("", "2026", "2026-13", "../etc"):
        with pytest.raises(NoStatement, match="like 2026-11"):
            await making.part(ACCOUNT, StatementQuestion(month=wrong))
    with pytest.raises(TooMany, match="no longer kept"):
        await making.part(ACCOUNT, StatementQuestion(month=month, digest="0" * 64))
    homeless = Statements(ledger.settings.model_copy(update={"archive_dir": None}))
    with pytest.raises(NoStatement, match="ONYSOFT_ARCHIVE_DIR"):
        await made(homeless, StatementQuestion(month=month))
    await making.close()


async def test_no_more_than_some_wait(ledger: Ledger, month: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "WAITING_MAX", 1)
    await ledger.open_account()
    making = Statements(ledger.settings)
    await making.part(ACCOUNT, StatementQuestion(month=month))
    with pytest.raises(TooMany, match="wait to be made"):
        await making.part(NOBODY, StatementQuestion(month=month))
    await made(making, StatementQuestion(month=month))
    await making.close()


async def test_old_files_go(ledger: Ledger, month: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement ever asked for would fill the disk."""
    monkeypatch.setattr(statements, "KEPT_MAX", 1)
    await ledger.open_account()
    making = Statements(ledger.settings)
    for each in ("2020-01", "2020-02", month):
        await made(making, StatementQuestion(month=each))
    folder = ledger.settings.projections_dir / "statements"
    assert len(list(folder.iterdir())) == 2
    await making.close()
    Statements(ledger.settings)
    assert not folder.exists()


async def test_two_who_publish_at_once_do_not_break_the_file(ledger: Ledger) -> None:
    """The operator's command and a customer's statement: one broken line would make every statement unprovable."""
    await ledger.open_account()
    await ledger.calls(20)
    await asyncio.gather(*(publish(ledger.connection, ledger.archive_dir, now=True) for _ in range(4)))
    assert [each.position for each in read_published(ledger.archive_dir / FILE)] == [await ledger.last()]


async def test_projections_stop_while_a_statement_is_made(ledger: Ledger, month: str) -> None:
    await ledger.open_account()
    await ledger.calls(50)
    projections = Projections(ledger.connection, ledger.settings, ledger.partitions)
    await projections.start()
    await projections.statements.part(ACCOUNT, StatementQuestion(month=month))
    async with asyncio.timeout(DEADLINE_S):
        await projections.close()
