"""Media tasks: the log, the provider's journal and the clients' notes against each other."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import ACCOUNT, REQUEST, text
from tests.faults.book import Book, Settlement
from tests.faults.report import Report
from tests.faults.task_load import TaskCall

KIE = "kie"
USD_A_CREDIT = Decimal("0.005")
NANO = 10**9


def check_tasks(report: Report, book: Book, journal: Sequence[dict[str, Any]], tasks: Sequence[TaskCall]) -> None:
    """Each task ended once; what was completed is charged once, for the provider's price; what failed costs nothing."""
    settled = {each.event.request_id: each for each in book.settlements if each.counted and each.event.provider == KIE}
    made = _by_request(report, journal)
    _check_settled(report, settled, journal)
    for task in tasks:
        _check_task(report, task, settled.get(bytes.fromhex(task.request_id[4:])) if task.request_id else None)
    completed = {request_id for request_id, entry in made.items() if entry["status"] == "completed"}
    unpaid = completed - settled.keys()
    report.count("provider's tasks", len(journal))
    report.count("… completed", len(completed))
    report.count("… completed that nobody was charged for (house's loss)", len(unpaid))
    report.count("tasks asked for by clients", len(tasks))
    for outcome, count in Counter(_outcome(task) for task in tasks).most_common():
        report.count(f"… {outcome}", count)


def _outcome(task: TaskCall) -> str:
    if not task.whole:
        return task.outcome
    return f"taken, {task.final or 'never ended'} {task.final_code}".strip()


def _by_request(report: Report, journal: Sequence[dict[str, Any]]) -> dict[bytes, dict[str, Any]]:
    """The provider's tasks by our request, which stands in their callback's address; never two for one."""
    found: dict[bytes, dict[str, Any]] = {}
    for entry in journal:
        mark = parse_qs(urlsplit(entry["callback_url"] or "").query).get("task", [""])[0]
        request_id = bytes.fromhex(mark[:24])
        if request_id in found:
            other = found[request_id]["task_id"]
            report.differs(f"{text(REQUEST, request_id)} has two tasks: {other} and {entry['task_id']}")
        found[request_id] = entry
    return found


def _check_settled(report: Report, settled: dict[bytes, Settlement], journal: Sequence[dict[str, Any]]) -> None:
    known = {entry["task_id"]: entry for entry in journal}
    named: dict[str, bytes] = {}
    for request_id, settlement in settled.items():
        event, who = settlement.event, text(REQUEST, request_id)
        entry = known.get(event.generation_id)
        if entry is None:
            report.differs(
                f"{who} pays for {event.generation_id}, which the provider does not know", settlement.position
            )
            continue
        if event.generation_id in named:
            report.differs(f"{who} and {named[event.generation_id].hex()} pay for one task", settlement.position)
        named[event.generation_id] = request_id
        if entry["status"] != "completed":
            report.differs(f"{who} is settled, the provider's task is {entry['status']}", settlement.position)
        cost = Decimal(entry["credits"]) * USD_A_CREDIT
        if Decimal(event.provider_cost_usd) != cost:
            report.differs(
                f"{who} settles {event.provider_cost_usd} USD, the provider took {cost}", settlement.position
            )
        if event.end != pb.COMPLETED:
            report.differs(f"{who} is settled as {event.end}", settlement.position)


def _check_task(report: Report, task: TaskCall, settlement: Settlement | None) -> None:
    """What its client saw against what its account paid."""
    who = task.request_id
    if task.trouble and task.whole:
        report.differs(f"{who}: {task.trouble}")
    if not task.whole:
        if settlement is not None and settlement.charged and 400 <= task.status < 500:
            report.differs(f"{who} was refused with {task.code} and charged", settlement.position)
        return
    if not task.final:
        report.differs(f"{who} was taken and never ended")
    elif task.final == "completed":
        charged = settlement.charged if settlement is not None else 0
        if task.amount is None or task.amount * NANO != charged:
            report.differs(f"{who} shows a cost of {task.amount}, {charged} was charged")
        if not task.urls:
            report.differs(f"{who} is completed without a result")
        if settlement is not None and text(ACCOUNT, settlement.account_id) != task.account_id:
            report.differs(f"{who} was charged to another account", settlement.position)
    elif settlement is not None and settlement.charged:
        report.differs(f"{who} failed and was charged {settlement.charged}", settlement.position)
    elif task.amount:
        report.differs(f"{who} failed and shows a cost of {task.amount}")
