"""apply_batch: the one way in which the log changes a State.

Pure: no I/O, no clock, no randomness, no globals. Time is the log's own, `max(previous, message timestamp)`.
Total: every event has an outcome; an event that this release does not understand stops the fold, loudly.
"""

import hashlib
import heapq

from core.ledger import holds, versions
from core.ledger.outcome import Code, FoldStopped, Outcome
from core.ledger.records import Writer
from core.ledger.state import FINGERPRINT_EVERY, State
from core.ledger.windows import DAY_MS, minute_of
from proto.onysoft.v1.ledger_pb2 import Event, LedgerBatch

__all__ = ["ENDED_KEPT_MINUTES", "LATE_SETTLEMENT_MS", "WRITER_KEPT_MS", "FoldStopped", "apply_batch"]

ENDED_KEPT_MINUTES = 5
"""How long an ended request is remembered. Edges give an attempt up within seconds, so minutes are ample."""

LATE_SETTLEMENT_MS = DAY_MS
"""How long after its expiry a request may still be settled; later, its cost is the house's loss."""

WRITER_KEPT_MS = DAY_MS
"""How long a silent writer's last number is remembered."""

WRITER_ID_BYTES = 8


def apply_batch(
    state: State, batch: LedgerBatch, partition: int, position: int, time_ms: int, payload: bytes
) -> list[Outcome]:
    """Applies one message of the log; returns one outcome for each of its events.

    `payload` are the message's bytes, over which the chain hash runs; `time_ms` is the stream's timestamp of it.
    Raises FoldStopped when a position or a writer's number is missing, when a checkpoint differs from this fold, or
    when an event or a rules version is unknown.
    """
    if position != state.position + 1:
        raise FoldStopped(f"position {position} follows {state.position}")
    state.position = position
    state.chain_hash = hashlib.sha256(state.chain_hash + payload).digest()
    ignored = _why_ignored(state, batch, partition, max(time_ms, state.time_ms))  # before any writer is forgotten
    if time_ms > state.time_ms:
        _advance(state, time_ms)
    if ignored is None:
        outcomes = [_apply_event(state, event) for event in batch.events]
    else:
        outcomes = [Outcome(ignored) for _ in batch.events]
    if position % FINGERPRINT_EVERY == 0:
        state.remember_fingerprint()
    return outcomes


def _apply_event(state: State, event: Event) -> Outcome:
    kind: str = event.WhichOneof("event") or ""
    handler = versions.HANDLERS.get(state.rules_version, {}).get(kind)
    if handler is None:
        raise FoldStopped(f"position {state.position} holds an event that rules {state.rules_version} do not know")
    return handler(state, getattr(event, kind))


def _advance(state: State, time_ms: int) -> None:
    """Moves the log's time and ends the holds whose deadline it passes."""
    before = state.windows
    state.enter(time_ms)
    while state.deadlines and state.deadlines[0][0] <= time_ms:
        deadline_ms, request_id = heapq.heappop(state.deadlines)
        request = state.requests.get(request_id)
        if request is None or request.deadline_ms != deadline_ms or request.expired:
            continue  # ended, superseded or extended since
        holds.release(state, request)
        request.expired = True
        request.expired_ms = deadline_ms
        state.expired.append((deadline_ms, request_id))
    if state.windows is not before:
        _forget(state, time_ms)
        if state.windows.month != before.month:
            _forget_uses(state)


def _forget(state: State, time_ms: int) -> None:
    """Once a minute of the log's time: drop what no verdict can need any more."""
    state.ended.forget_before(minute_of(time_ms) - ENDED_KEPT_MINUTES)
    while state.expired and state.expired[0][0] + LATE_SETTLEMENT_MS < time_ms:
        expired_ms, request_id = state.expired.popleft()
        request = state.requests.get(request_id)
        if request is not None and request.expired_ms == expired_ms:
            del state.requests[request_id]
    silent = [key for key, writer in state.writers.items() if writer.seen_ms + WRITER_KEPT_MS < time_ms]
    for key in silent:
        del state.writers[key]


def _forget_uses(state: State) -> None:
    """Once a month: drop the counters of windows that are over."""
    month = state.windows.month
    state.dirty_accounts.update(each.account_id for each in state.accounts.values() if each.forget_uses_before(month))
    state.dirty_keys.update(each.key_id for each in state.keys.values() if each.forget_uses_before(month))


def _why_ignored(state: State, batch: LedgerBatch, partition: int, time_ms: int) -> Code | None:
    """Why no event of this batch may have an effect; None when it is its writer's next."""
    if len(batch.writer) != WRITER_ID_BYTES or not batch.number:
        return Code.INVALID  # a batch that could not be told from its own retry
    key = (batch.writer, partition)
    writer = state.writers.get(key)
    if writer is None:
        state.writers[key] = Writer(batch.number, time_ms)
        return None
    if batch.number <= writer.number:
        return Code.DUPLICATE_BATCH
    if batch.number != writer.number + 1:
        raise FoldStopped(
            f"writer {batch.writer.hex()} jumps from {writer.number} to {batch.number} at {state.position}"
        )
    writer.number = batch.number
    writer.seen_ms = time_ms
    return None
