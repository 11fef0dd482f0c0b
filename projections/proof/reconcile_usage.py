"""Edges' reports against the ledger's outcomes: whoever got an answer was charged, whoever was refused was not.

Runs on tables that were compared with the ledger before, a day at a time. Reports may be missing (an edge died, the
stream keeps them for a week), so a charge without a report is counted, and is no difference.
"""

from core.ledger.windows import DAY_MS
from projections.proof.reading import OnProgress, no_progress
from projections.proof.reconcile import Ask, Report, query

QUIET_MS = 600_000
"""Calls of the last minutes may still be under way, or not be reported."""


async def compare_usage(
    ask: Ask, report: Report, first_ms: int, end_ms: int, on_progress: OnProgress = no_progress
) -> None:
    """Compare all reports of calls received between two moments of unix milliseconds. Raises StoreAway."""
    end_ms -= QUIET_MS
    days = max(0, -(-(end_ms - first_ms) // DAY_MS))
    for day in range(days):
        start = first_ms + day * DAY_MS
        await _compare_span(ask, report, start, min(start + DAY_MS, end_ms))
        on_progress(day + 1, days)


async def _compare_span(ask: Ask, report: Report, first_ms: int, end_ms: int) -> None:
    span = {"first_ms": first_ms, "end_ms": end_ms}
    for reported_at, request_id, account_id in await ask(query("unsettled", **span)):
        told = f"{request_id} of {account_id} was answered with 200 and never charged (report {reported_at})"
        report.differs(0, "requests", told)
    for row in await ask(query("refused", **span)):
        reported_at, request_id, status, code, account_id, key_id, payer, payer_key, position = row
        if (account_id, key_id) != (payer, payer_key) and account_id:
            told = f"{request_id} was called by {account_id} with {key_id} and charged to {payer} with {payer_key}"
        else:
            told = f"{request_id} was refused with {status} {code} and charged (report {reported_at})"
        report.differs(int(position), "requests", told)
    for request_id, times, reported_at in await ask(query("twice", **span)):
        report.differs(0, "requests", f"{request_id} was reported {times} times (report {reported_at})")
    for charged, reported in await ask(query("reported", **span)):
        report.totals["charges without a report"] += int(charged) - int(reported)
        report.totals["charges with a report"] += int(reported)
