"""Statements: a customer must be able to prove what they were charged, and to notice any line that was changed."""

import csv
import io
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from bus.connection import Connection
from bus.jetstream import Entry
from cli.simulation.log import LogBuilder
from core.ledger.money import to_text
from core.ledger.outcome import FoldStopped
from projections.proof.books import Books, Movement
from projections.proof.commitments import path_of, root_from, tree
from projections.proof.publishing import FILE, Publication, PublicationBroken, publish, read_published
from projections.proof.statement import ISTANBUL, NoStatement, Statement, make_statement, month_bounds
from projections.proof.statement_csv import NotAStatement, check, to_csv
from projections.proof.statement_pdf import to_pdf
from projections.proof.time_travel import NoSuchMoment, books_at_position, books_at_time
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings

NANO = 1_000_000_000
PARTNER, CUSTOMER, USER = b"partner-----", b"customer----", b"user--------"


def at(day: str) -> int:
    """Unix milliseconds of an Istanbul time."""
    return int(datetime.fromisoformat(day).replace(tzinfo=ISTANBUL).timestamp() * 1000)


class Business:
    """Accounts and calls at chosen times; `charged` is what each account paid in each month."""

    def __init__(self, folder: Path) -> None:
        self.log = LogBuilder(folder, 4, seed=1)
        self.calls = 0

    def open(self) -> None:
        """A user, and a partner with a customer."""
        opened = [
            pb.AccountOpened(account_id=USER, kind=pb.USER, currency=pb.TRY),
            pb.AccountOpened(account_id=PARTNER, kind=pb.PARTNER, currency=pb.USD),
            pb.AccountOpened(account_id=CUSTOMER, kind=pb.PARTNER_CUSTOMER, currency=pb.TRY, parent_id=PARTNER),
        ]
        events = [pb.Event(rules_activated=pb.RulesActivated(version=2))]
        events += [pb.Event(account_opened=each) for each in opened]
        for account_id in (USER, PARTNER, CUSTOMER):
            credit = pb.CreditAdded(account_id=account_id, amount_nano=100 * NANO, reference="pay-1")
            key = pb.KeyIssued(key_id=b"k" + account_id[1:], account_id=account_id, key_hash=account_id.ljust(32))
            events += [pb.Event(credit_added=credit), pb.Event(key_issued=key)]
        self.log.append(at("2026-09-20"), 0, events)

    def call(self, day: str, account_id: bytes, charge_nano: int, parent_nano: int = 0) -> None:
        """A call that is opened and settled a second later."""
        self.calls += 1
        request_id = self.calls.to_bytes(12, "big")
        opened = pb.RequestOpened(
            request_id=request_id, attempt=1, account_id=account_id, key_id=b"k" + account_id[1:], model="test/model"
        )
        opened.hold_nano, opened.parent_hold_nano, opened.lease_ms = 2 * charge_nano, 2 * parent_nano, 60_000
        settled = pb.RequestSettled(request_id=request_id, attempt=1, charge_nano=charge_nano, prompt_tokens=10)
        settled.parent_charge_nano = parent_nano
        self.log.append(at(day), 0, [pb.Event(request_opened=opened)])
        [outcome] = self.log.append(at(day) + 1000, 0, [pb.Event(request_settled=settled)])
        assert outcome.charged_nano == charge_nano

    async def publish(self, connection: Connection, settings: Settings) -> None:
        """Into the instance, which goes on behind it."""
        await self.log.publish(connection, settings, self.log.finish(at("2026-11-20")))


@pytest.fixture
async def archive(connection: Connection, settings: Settings, tmp_path: Path) -> Path:
    """Three months of business in an archive, and an instance that goes on."""
    business = Business(tmp_path / "archive")
    business.open()
    business.call("2026-09-29T10:00", USER, NANO)
    for day in range(1, 31):
        business.call(f"2026-10-{day:02d}T23:59:58", USER, day * 1_000_001)
        business.call(f"2026-10-{day:02d}T12:00", CUSTOMER, 300, parent_nano=7)
    business.call("2026-11-02T10:00", USER, 2 * NANO)
    moved = pb.CreditMoved(from_account_id=PARTNER, to_account_id=CUSTOMER, amount_nano=NANO, to_amount_nano=40 * NANO)
    moved.reference = "move-1"
    taken = pb.CreditReversed(account_id=USER, amount_nano=1000 * NANO, reference="chargeback-1")
    business.log.append(at("2026-11-03"), 0, [pb.Event(credit_moved=moved), pb.Event(credit_reversed=taken)])
    await business.publish(connection, settings)
    return tmp_path / "archive"


async def stated(connection: Connection, archive: Path, account: bytes, month: str) -> Statement:
    publication = await publish(connection, archive, now=True)
    return await make_statement(connection, archive, publication, account, month)


def published(archive: Path) -> Publication:
    return Publication(archive / FILE)


async def test_a_months_statement_is_proven_by_published_checkpoints(connection: Connection, archive: Path) -> None:
    statement = await stated(connection, archive, USER, "2026-10")
    assert len(statement.lines) == 30
    assert sum(line.amount_nano for line in statement.lines) == -sum(range(1, 31)) * 1_000_001
    assert statement.opening.standing.balance_nano == 99 * NANO
    checked = check(to_csv(statement), published(archive).lines)
    assert (checked.ok, checked.problems) == (True, ())
    assert checked.closing_balance == to_text(99 * NANO - 465 * 1_000_001)
    assert statement.month_over
    following = await stated(connection, archive, USER, "2026-11")
    assert following.opening.standing == statement.closing.standing, "nothing lies between two months"


async def test_each_side_of_a_partners_call_and_every_kind_of_money_is_a_line(
    connection: Connection, archive: Path
) -> None:
    october = await stated(connection, archive, PARTNER, "2026-10")
    assert {(line.kind, line.amount_nano) for line in october.lines} == {("customer_charge", -7)}
    november = {}
    for account in (USER, PARTNER, CUSTOMER):
        statement = await stated(connection, archive, account, "2026-11")
        assert check(to_csv(statement), published(archive).lines).ok
        november[account] = [(line.kind, line.amount_nano, line.reference) for line in statement.lines]
    left = 100 * NANO - NANO - 465 * 1_000_001 - 2 * NANO
    assert november[USER] == [("charge", -2 * NANO, ""), ("reversal", -left, "chargeback-1")]
    assert november[PARTNER] == [("moved_out", -NANO, "move-1")]
    assert november[CUSTOMER] == [("moved_in", 40 * NANO, "move-1")]


def cell(row: int, column: int, old: str, new: str) -> Callable[[list[list[str]]], None]:
    """A change of one cell."""

    def change(rows: list[list[str]]) -> None:
        assert old in rows[row][column]
        rows[row][column] = rows[row][column].replace(old, new)

    return change


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda rows: rows.pop(20), "there are 29 lines"),
        (cell(20, 8, "test/model", "test/dearer"), "a line was changed"),
        (cell(20, 4, "-", ""), "the balance is not the one before"),
        (cell(8, 1, "98", "99"), "at the top"),
        (cell(-1, 1, '"lines":32', '"lines":31'), "there are 30 lines"),
        (cell(-1, 1, '"charges_nano":1000000000', '"charges_nano":0'), "under the published root"),
        (cell(-1, 1, '"root":"', '"root":"0'), "the published root of position"),
    ],
)
async def test_whatever_is_changed_is_noticed(
    connection: Connection, archive: Path, damage: Callable[[list[list[str]]], None], told: str
) -> None:
    content = to_csv(await stated(connection, archive, USER, "2026-10"))
    rows = [row for row in csv.reader(io.StringIO(content)) if row]
    damage(rows)
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    checked = check(out.getvalue(), published(archive).lines)
    assert any(told in problem for problem in checked.problems), checked.problems


async def test_a_spreadsheet_may_quote_and_end_lines_as_it_likes(connection: Connection, archive: Path) -> None:
    content = to_csv(await stated(connection, archive, USER, "2026-10"))
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(csv.reader(io.StringIO(content)))
    assert check("\ufeff" + out.getvalue(), published(archive).lines).ok
    with pytest.raises(NotAStatement):
        check(content[: len(content) // 2], published(archive).lines)
    with pytest.raises(NotAStatement):
        check("hello", [])


async def test_published_lines_cannot_be_changed_or_forgotten(connection: Connection, archive: Path) -> None:
    first = await publish(connection, archive, now=False)
    assert len(first.added) == len(first.lines) == 35
    again = await publish(connection, archive, now=True, from_start=True)
    assert (len(again.added), again.compared) == (1, 35)
    path = archive / FILE
    kept = path.read_bytes()
    lines = kept.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))
    with pytest.raises(PublicationBroken, match="line 6"):
        read_published(path)
    root = again.lines[-1].root.encode()
    path.write_bytes(b"".join([*lines[:-1], lines[-1].replace(root, root[::-1])]))
    with pytest.raises(PublicationBroken, match="is not what the log says"):
        await publish(connection, archive, now=True, from_start=True)


async def test_an_unknown_account_or_an_unpublished_end_gets_no_statement(
    connection: Connection, archive: Path
) -> None:
    with pytest.raises(NoStatement, match="does not know"):
        await stated(connection, archive, b"nobody------", "2026-10")
    (archive / FILE).unlink()
    publication = Publication(archive / FILE)
    publication.lines = (await publish(connection, archive, now=True)).lines[-1:]
    with pytest.raises(NoStatement, match="publish first"):
        await make_statement(connection, archive, publication, USER, "2026-10")
    with pytest.raises(ValueError, match="does not match"):
        month_bounds("october")


async def test_the_pdf_has_turkish_letters_and_the_csv_attached(connection: Connection, archive: Path) -> None:
    statement = await stated(connection, archive, USER, "2026-10")
    content = to_pdf(statement)
    assert content.startswith(b"%PDF-")
    assert b"SourceSansPro" in content
    assert b"/EmbeddedFile" in content
    assert len(content) < 200_000


async def test_a_balance_of_the_past_is_what_it_was(connection: Connection, archive: Path) -> None:
    then = await books_at_time(connection, archive, at("2026-10-01T00:00"))
    assert then.state.accounts[USER].balance_nano == 99 * NANO
    later = await books_at_time(connection, archive, at("2026-10-02T12:00"))
    assert later.state.accounts[USER].balance_nano == 99 * NANO - 1_000_001
    same = await books_at_position(connection, archive, later.state.position)
    assert same.state.digest() == later.state.digest()
    with pytest.raises(NoSuchMoment, match="begins later"):
        await books_at_time(connection, archive, at("2026-09-01"))
    with pytest.raises(NoSuchMoment, match="positions 1 to"):
        await books_at_position(connection, archive, 10_000)


def test_every_leaf_of_any_tree_leads_to_its_root() -> None:
    for count in range(1, 40):
        leaves = [bytes([number]) * 32 for number in range(count)]
        levels = tree(leaves)
        for index, leaf in enumerate(leaves):
            assert root_from(leaf, path_of(levels, index)) == levels[-1][0]
        assert root_from(b"x" * 32, path_of(levels, 0)) != levels[-1][0]


def test_a_rule_that_moves_money_unseen_stops_the_books() -> None:
    books = Books()
    books._chain(Movement(USER, 1, 0, 0, 0, "credit", 5))
    opened = pb.AccountOpened(account_id=USER, kind=pb.USER, currency=pb.TRY)
    batch = pb.LedgerBatch(writer=b"w" * 8, number=1, events=[pb.Event(account_opened=opened)])
    books.apply(Entry(1, 1, "ledger.00", batch.SerializeToString()))
    with pytest.raises(FoldStopped, match="its lines make 5, the fold 0"):
        books.check()
