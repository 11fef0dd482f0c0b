"""Holds everything that claims to know about money against the log: cores, projections, provider, clients.

`python -m tests.faults.reconcile DATA` reconciles the instance that is up on a data folder. Run it when nothing is
under way: it waits until every hold is past its deadline. The exit code is 1 when anything differs.
"""

import asyncio
import hashlib
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.client import CallFailed
from core.ledger.fold import FoldStopped, apply_batch
from core.ledger.money import to_text
from core.ledger.outcome import Code, Outcome
from core.ledger.state import State
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import ACCOUNT, REQUEST, parse, text
from tests.faults.book import Book, Effect, Settlement, charge_of, payer_charge_of
from tests.faults.gateway import Gateway, GatewayFailed
from tests.faults.load import Call
from tests.faults.log import Raw, read_ledger
from tests.faults.report import Report
from tests.faults.task_load import TaskCall
from tests.faults.task_reconcile import KIE, check_tasks

NANO = Decimal(10) ** 9
QUIET_MARGIN_S = 30.0
PROJECTIONS_TIMEOUT_S = 20.0
POLL_S = 0.2
EFFECTS = {
    Code.ADMITTED: "admitted",
    Code.EXTENDED: "extended",
    Code.SETTLED: "settled",
    Code.SETTLED_LATE: "settled",
    Code.RELEASED: "released",
}


@dataclass(frozen=True, slots=True)
class Replay:
    """The gateway's own fold, run over the same messages."""

    state: State
    chain: list[bytes]
    codes: Counter[str]
    request_events: dict[tuple[bytes, int, int], tuple[int, int, int]]


async def reconcile(
    gateway: Gateway, calls: Sequence[Call] = (), wait_s: float = 90.0, tasks: Sequence[TaskCall] = ()
) -> Report:
    """Wait until the log is quiet, read all of it, compare. Everything found goes into the report."""
    report = Report()
    await until_quiet(gateway, wait_s + QUIET_MARGIN_S, report)
    messages = await read_ledger(gateway.document["nats_url"])
    journal = await asyncio.to_thread(gateway.journal)
    book, replay = compare(report, messages, journal, calls)
    check_tasks(report, book, await asyncio.to_thread(gateway.journal, "tasks"), tasks)
    if replay is not None:
        await _check_cores(gateway, report, book, replay)
        _check_projections(gateway, report, book, replay)
    return report


def compare(
    report: Report, messages: Sequence[Raw], journal: list[dict[str, Any]], calls: Sequence[Call]
) -> tuple[Book, "Replay | None"]:
    """The log against itself, the provider's journal and the clients' notes; both readings of the log."""
    book = Book()
    effects = [book.take(message) for message in messages]
    report.differences += book.differences
    _count_book(report, book, messages)
    _check_no_hold(report, book)
    replay = _replay(report, messages, effects)
    if replay is not None:
        _check_replay(report, book, replay)
    _check_settlements(report, book)
    _check_provider(report, book, journal)
    _check_clients(report, book, calls)
    return book, replay


async def until_quiet(gateway: Gateway, timeout_s: float, report: Report) -> None:
    """Wait until all cores stand at one position and hold nothing open."""
    deadline = time.monotonic() + timeout_s
    seen: dict[str, Any] = {}
    while time.monotonic() < deadline:
        try:
            seen = await asyncio.to_thread(gateway.statuses)
        except CallFailed:
            seen = {}
        together = len({each.position for each in seen.values()}) == 1
        if together and not any(each.open_requests for each in seen.values()):
            return
        await asyncio.sleep(POLL_S)
    state = {address: (each.position, each.open_requests) for address, each in seen.items()}
    report.differs(f"the cores did not come to rest in {timeout_s:g} s: (position, open holds) are {state}")


def _count_book(report: Report, book: Book, messages: Sequence[Raw]) -> None:
    counted = [each for each in book.settlements if each.counted]
    report.count("log positions", book.position)
    report.count("events", book.events)
    report.count("duplicate batches ignored", book.duplicates)
    report.count("accounts", len(book.purses))
    report.count("attempts admitted", book.admitted)
    report.count("requests settled", len(counted))
    report.count("… of these after expiry", sum(each.late for each in counted))
    report.count("attempts released", book.released)
    report.count("holds expired", book.expiries)
    report.count("settlements of no effect (house's loss)", len(book.settlements) - len(counted))
    report.count("credits", to_text(sum(purse.credits for purse in book.purses.values())))
    report.count("charges", to_text(sum(purse.charges for purse in book.purses.values())))
    report.count("shortfall (house's loss)", to_text(sum(purse.shortfall for purse in book.purses.values())))
    report.count("log bytes for each event", round(sum(len(m.payload) for m in messages) / max(1, book.events)))


def _check_no_hold(report: Report, book: Book) -> None:
    for request in book.open.values():
        report.differs(f"{text(REQUEST, request.request_id)} attempt {request.attempt} still holds {request.hold}")
    charged: Counter[bytes] = Counter()
    for settlement in book.settlements:
        charged[settlement.account_id] += settlement.charged
        charged[settlement.payer] += settlement.payer_charged
    for account_id, purse in book.purses.items():
        if purse.charges != charged[account_id]:
            report.differs(f"{text(ACCOUNT, account_id)}: charges {purse.charges}, settlements {charged[account_id]}")
    requests = Counter(each.event.request_id for each in book.settlements if each.counted)
    for request_id, count in requests.items():
        if count != 1:
            report.differs(f"{text(REQUEST, request_id)} is settled {count} times")


# The gateway's own fold


def _replay(report: Report, messages: Sequence[Raw], effects: Sequence[list[Effect]]) -> Replay | None:
    """Fold from position 1, compare each event's effect with the book's. None when the fold stops."""
    replay = Replay(State(), [bytes(32)], Counter(), {})
    chain = bytes(32)
    for message, book_effects in zip(messages, effects, strict=True):
        batch = pb.LedgerBatch.FromString(message.payload)
        try:
            outcomes = apply_batch(
                replay.state, batch, message.partition, message.position, message.time_ms, message.payload
            )
        except FoldStopped as stopped:
            report.differs(f"the fold stops: {stopped}", message.position)
            return None
        chain = hashlib.sha256(chain + message.payload).digest()
        replay.chain.append(chain)
        for index, (outcome, effect) in enumerate(zip(outcomes, book_effects, strict=True)):
            _take_outcome(report, replay, message.position, (index, batch.events[index]), outcome, effect)
    return replay


def _take_outcome(
    report: Report, replay: Replay, position: int, event: tuple[int, pb.Event], outcome: Outcome, effect: Effect
) -> None:
    index, body = event
    kind = body.WhichOneof("event") or ""
    replay.codes[outcome.code.name.lower()] += 1
    mine = Effect(EFFECTS.get(outcome.code, ""), outcome.charged_nano, outcome.shortfall_nano)
    if not mine.name:
        mine = Effect()
    if kind.startswith(("request_", "hold_", "task_")):
        if mine != effect:
            report.differs(f"{kind}: the fold says {mine}, the second reading {effect}", position)
        if outcome.code is not Code.DUPLICATE_BATCH:
            request_id = getattr(body, kind).request_id
            row = (int(outcome.code), outcome.charged_nano, outcome.shortfall_nano)
            replay.request_events[request_id, position, index] = row


def _check_replay(report: Report, book: Book, replay: Replay) -> None:
    report.count("checkpoints equal", replay.codes["checked"])
    report.count("checkpoints too old to compare", replay.codes["unchecked"])
    if replay.state.chain_hash != replay.chain[-1]:
        report.differs("the fold's chain hash is not the one over the messages' bytes", replay.state.position)
    for account_id, account in replay.state.accounts.items():
        purse = book.purses.get(account_id)
        mine = (account.credits_nano, account.charges_nano, account.held_nano, account.shortfall_nano)
        theirs = purse and (purse.credits, purse.charges, purse.held, purse.shortfall)
        if mine != theirs:
            report.differs(f"{text(ACCOUNT, account_id)}: the fold says {mine}, the second reading {theirs}")


# Who serves people


async def _check_cores(gateway: Gateway, report: Report, book: Book, replay: Replay) -> None:
    """Every core's state digest, chain hash and balances, and a verification that a core runs over the whole log."""
    statuses = await asyncio.to_thread(gateway.statuses)
    for address, status in statuses.items():
        if status.position >= len(replay.chain):
            report.differs(f"core {address} has gone on to position {status.position}: the log was not quiet")
        elif status.chain_hash != replay.chain[status.position]:
            report.differs(f"core {address} has another chain hash", status.position)
        elif status.position == replay.state.position and status.state_digest != replay.state.digest():
            report.differs(f"core {address} has another state digest than the replay", status.position)
        for account_id, account in (await asyncio.to_thread(gateway.accounts_of, address)).items():
            purse = book.purses[parse(ACCOUNT, account_id)]
            mine = (account.balance.balance, account.balance.held, account.balance.open_holds)
            theirs = (to_text(purse.credits - purse.charges), to_text(purse.held), 0)
            if mine != theirs:
                report.differs(f"{account_id} on core {address}: {mine}, by the second reading {theirs}")
    final = await asyncio.to_thread(_verify, gateway)
    if not final.ok:
        report.differs(f"ledger verify: {final.problem}", final.position)
    elif final.position == replay.state.position and final.state_digest != replay.state.digest():
        report.differs("ledger verify reaches another state digest", final.position)
    report.count("state digest", replay.state.digest().hex()[:16])
    report.count("cores that agree", len(statuses))


def _verify(gateway: Gateway) -> Any:
    from cli.client import AdminClient

    client = AdminClient(gateway.admin_addresses, gateway.document["admin_token"])
    try:
        return list(client.stream("VerifyLedger", admin.VerifyLedgerRequest()))[-1]
    finally:
        client.close()


def _check_projections(gateway: Gateway, report: Report, book: Book, replay: Replay) -> None:
    """Their accounts and their index of requests, row by row."""
    file = gateway.data / "projections" / "projections.sqlite"
    store = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5.0)
    try:
        deadline = time.monotonic() + PROJECTIONS_TIMEOUT_S
        while (position := store.execute("SELECT position FROM progress").fetchone()[0]) < book.position:
            if time.monotonic() > deadline:
                report.differs(f"the projections stand at {position}, the log at {book.position}")
                return
            time.sleep(POLL_S)
        accounts = store.execute(
            "SELECT account_id, credits_nano, charges_nano, held_nano, shortfall_nano FROM account"
        )
        rows = {row[0]: row[1:] for row in accounts}
        index = store.execute(
            "SELECT request_id, position, number, code, charged_nano, shortfall_nano FROM request_event"
        )
        events = {row[:3]: row[3:] for row in index if row[1] <= book.position}
    finally:
        store.close()
    for account_id, purse in book.purses.items():
        mine = (purse.credits, purse.charges, purse.held, purse.shortfall)
        if rows.get(account_id) != mine:
            report.differs(f"{text(ACCOUNT, account_id)}: the projections say {rows.get(account_id)}, the log {mine}")
    for key in events.keys() ^ replay.request_events.keys():
        where = "lack" if key in replay.request_events else "have, the log has not,"
        report.differs(f"{text(REQUEST, key[0])}: the projections {where} event {key[2]} of this position", key[1])
    for key in events.keys() & replay.request_events.keys():
        if events[key] != replay.request_events[key]:
            told = f"the projections say {events[key]}, the fold {replay.request_events[key]}"
            report.differs(f"{text(REQUEST, key[0])}: {told}", key[1])
    report.count("rows of the request index", len(events))


# Who was paid and who was answered


def _check_settlements(report: Report, book: Book) -> None:
    """Each settlement's charge can be recomputed from what it names."""
    bases: Counter[str] = Counter()
    for settlement in book.settlements:
        event = settlement.event
        bases[pb.CostBasis.Name(event.basis).lower()] += settlement.counted
        for asked, made in ((event.charge_nano, charge_of(event)), (event.parent_charge_nano, payer_charge_of(event))):
            if asked != made:
                told = f"asks for {asked}, its own terms make {made}"
                report.differs(f"{text(REQUEST, event.request_id)} {told}", settlement.position)
    for name, count in sorted(bases.items()):
        report.count(f"settled by {name.replace('_', ' ')}", count)


def _check_provider(report: Report, book: Book, journal: list[dict[str, Any]]) -> None:
    """Each settlement names one generation of the provider's, and with its cost; none is named twice."""
    billed = {entry["id"]: entry for entry in journal}
    named: dict[str, Settlement] = {}
    for settlement in book.settlements:
        event, name = settlement.event, settlement.event.generation_id
        if event.provider == KIE:
            continue
        who = text(REQUEST, event.request_id)
        if name in named and name:
            other = named[name]
            report.differs(f"{who}: {name} was named at position {other.position} already", settlement.position)
        named[name] = settlement
        entry = billed.get(name)
        if entry is None:
            report.differs(
                f"{who} names {name or 'no generation'}, which the provider does not know", settlement.position
            )
        elif event.basis == pb.PROVIDER_COST and Decimal(event.provider_cost_usd) != Decimal(entry["cost_usd"]):
            told = f"settles {event.provider_cost_usd} USD for {name}, the provider billed {entry['cost_usd']}"
            report.differs(f"{who} {told}", settlement.position)
    lost = [entry for name, entry in billed.items() if name not in named]
    report.count("provider's generations", len(billed))
    report.count("… that nobody settled (house's loss)", len(lost))
    report.count("… their cost, USD", sum((Decimal(entry["cost_usd"]) for entry in lost), Decimal(0)))


def _check_clients(report: Report, book: Book, calls: Sequence[Call]) -> None:
    """An answer that came whole was settled once, for the amount that it showed; a refusal was not settled."""
    settled = {text(REQUEST, each.event.request_id): each for each in book.settlements if each.counted}
    ids = Counter(call.request_id for call in calls if call.request_id)
    for call in calls:
        settlement = settled.get(call.request_id)
        if call.trouble == "another text":
            report.differs(f"{call.request_id}: the client received another text than the provider sent")
        if call.whole:
            _check_answer(report, call, settlement)
        elif settlement is not None and 400 <= call.status < 500:
            report.differs(f"{call.request_id} was refused with {call.code} and settled", settlement.position)
        if ids[call.request_id] > 1:
            report.differs(f"{call.request_id} was given to {ids[call.request_id]} calls")
    if calls:
        report.count("calls made by clients", len(calls))
        for outcome, count in Counter(call.outcome for call in calls).most_common():
            report.count(f"… {outcome}", count)
        paid = sum(not call.whole and call.request_id in settled for call in calls)
        report.count("settled, but not received whole", paid)


def _check_answer(report: Report, call: Call, settlement: Settlement | None) -> None:
    if settlement is None:
        report.differs(f"{call.request_id} was answered whole and never settled")
        return
    if text(ACCOUNT, settlement.account_id) != call.account_id:
        report.differs(f"{call.request_id} was settled on another account", settlement.position)
    if call.amount is None or call.amount * NANO != settlement.charged:
        told = f"showed a cost of {call.amount}, {to_text(settlement.charged)} was charged"
        report.differs(f"{call.request_id} {told}", settlement.position)


def main() -> int:
    """Reconcile the instance on the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m tests.faults.reconcile DATA\n")
        return 2
    try:
        report = asyncio.run(reconcile(Gateway(Path(sys.argv[1]).resolve())))
    except (GatewayFailed, CallFailed) as failure:
        sys.stderr.write(f"{failure}\n")
        return 2
    report.show(Console(highlight=False))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
