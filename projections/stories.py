"""Why was I charged: everything the log says of one request, as JSON."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bus.connection import Connection
from bus.history import read_entry
from bus.tail import Entry
from core.ledger.money import to_text
from core.ledger.outcome import Code
from core.ledger.state import State
from projections.store import IndexEntry, Store
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import ACCOUNT, KEY, REQUEST, text

EVENTS_MAX = 200
"""Events of one request that a story tells; a request has a handful."""

_STATUS_AFTER = {
    Code.SETTLED: "settled",
    Code.SETTLED_LATE: "settled",
    Code.RELEASED: "released",
}


class Unknown(Exception):
    """No such request in the index, or it is another account's."""


async def tell(
    connection: Connection,
    store: Store,
    state: State,
    request_id: bytes,
    account_id: bytes,
    archive: Path | None = None,
) -> dict[str, Any]:
    """The story of a request; `account_id` empty: of any account; `archive` has what was trimmed.

    Raises Unknown; BusError when the log cannot be read.
    """
    entries = store.events_of(request_id)[:EVENTS_MAX]
    if not entries:
        raise Unknown
    story: dict[str, Any] = {"request_id": text(REQUEST, request_id), "status": "refused", "attempts": []}
    attempts: dict[int, dict[str, Any]] = {}
    currency = ""
    read_entries: dict[int, tuple[Entry, pb.LedgerBatch]] = {}
    for row in entries:
        if row.position not in read_entries:
            entry = await read_entry(connection, row.position, archive)
            read_entries[row.position] = (entry, pb.LedgerBatch.FromString(entry.payload))
        entry, batch = read_entries[row.position]
        event = batch.events[row.index]
        if event.HasField("request_opened"):
            opened = event.request_opened
            if account_id and opened.account_id != account_id:
                raise Unknown
            account = state.accounts[opened.account_id]
            currency = pb.Currency.Name(pb.Currency.ValueType(account.currency))
            story |= {
                "account_id": text(ACCOUNT, opened.account_id),
                "key_id": text(KEY, opened.key_id),
                "model": opened.model,
                "currency": currency,
            }
        _add(story, attempts, event, row, entry)
    story["attempts"] = [attempts[number] for number in sorted(attempts)]
    open_now = state.requests.get(request_id)
    if open_now is not None:
        story["status"] = "expired" if open_now.expired else "open"
    story["positions"] = sorted({row.position for row in entries})
    return story


def prices(store: Store, story: dict[str, Any]) -> dict[str, str]:
    """Version → canonical JSON, of the prices that a story names and that are known."""
    parts = [part for attempt in story["attempts"] for part in attempt.values() if isinstance(part, dict)]
    named = {part["price_version"] for part in parts if "price_version" in part}
    found = {version: store.price(bytes.fromhex(version)) for version in named}
    return {version: price.decode() for version, price in found.items() if price is not None}


def _add(
    story: dict[str, Any], attempts: dict[int, dict[str, Any]], event: pb.Event, row: IndexEntry, entry: Entry
) -> None:
    kind = event.WhichOneof("event") or ""
    number = getattr(event, kind).attempt
    attempt = attempts.setdefault(number, {"attempt": number})
    seen = {
        "position": row.position,
        "time": datetime.fromtimestamp(entry.time_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "outcome": Code(row.code).name.lower(),
    }
    if kind == "request_opened":
        opened = event.request_opened
        attempt["opened"] = seen | {
            "hold": to_text(opened.hold_nano),
            "lease_ms": opened.lease_ms,
            "price_version": opened.price_version.hex(),
        }
        if row.code == Code.ADMITTED:
            story["hold"] = to_text(opened.hold_nano)
    elif kind == "hold_extended":
        attempt.setdefault("extended", []).append(seen | {"added": to_text(event.hold_extended.add_nano)})
    elif kind == "task_submitted":
        submitted = event.task_submitted
        attempt["submitted"] = seen | {
            "provider": submitted.provider,
            "provider_task_id": submitted.provider_task_id,
            "lease_ms": submitted.lease_ms,
        }
    elif kind == "request_settled":
        attempt["settled"] = seen | _settlement(event.request_settled, row)
        if row.code in _STATUS_AFTER:
            story |= attempt["settled"]
    else:
        released = event.request_released
        reason = pb.ReleaseReason.Name(released.reason).lower()
        attempt["released"] = seen | {"reason": reason, "provider_calls": released.provider_calls}
    story["status"] = _STATUS_AFTER.get(Code(row.code), story["status"])


def _settlement(settled: pb.RequestSettled, row: IndexEntry) -> dict[str, Any]:
    told = {
        "charge": to_text(row.charged_nano),
        "charge_asked": to_text(settled.charge_nano),
        "shortfall": to_text(row.shortfall_nano),
        "prompt_tokens": settled.prompt_tokens,
        "completion_tokens": settled.completion_tokens,
        "cached_tokens": settled.cached_tokens,
        "reasoning_tokens": settled.reasoning_tokens,
        "provider_cost_usd": settled.provider_cost_usd,
        "fx_rate": to_text(settled.fx_rate_nano),
        "markup_bps": settled.markup_bps,
        "price_version": settled.price_version.hex(),
        "basis": pb.CostBasis.Name(settled.basis).lower(),
        "end": pb.CallEnd.Name(settled.end).lower(),
        "provider": settled.provider,
        "generation_id": settled.generation_id,
        "provider_calls": settled.provider_calls,
    }
    if settled.parent_fx_rate_nano:
        told |= {
            "parent_charge_asked": to_text(settled.parent_charge_nano),
            "parent_fx_rate": to_text(settled.parent_fx_rate_nano),
            "parent_markup_bps": settled.parent_markup_bps,
        }
    for field in ("images", "counted_by", "quantities"):
        if getattr(settled, field):
            told[field] = getattr(settled, field)
    return told
