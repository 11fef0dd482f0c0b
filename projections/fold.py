"""The projections' own fold of the log, and the rows that come out of it."""

from dataclasses import dataclass, field

from bus.tail import Entry
from core.ledger.fold import apply_batch
from core.ledger.outcome import Code, Outcome
from core.ledger.state import State
from projections import models
from projections.models import ModelRecords, VersionRow
from projections.store import AccountRow, IndexRow
from proto.onysoft.v1.ledger_pb2 import Event, LedgerBatch

SUBJECT_PREFIX = len("ledger.")

_KINDS = {field.name: field.number for field in Event.DESCRIPTOR.fields}
_REQUEST_KINDS = frozenset({"request_opened", "hold_extended", "task_submitted", "request_settled", "request_released"})
_ACCOUNT_KINDS = frozenset({"account_opened", "account_suspended", "account_resumed", "credit_added"})
_KEY_KINDS = frozenset({"key_issued", "key_revoked", "key_rotated", "key_changed"})


@dataclass(slots=True)
class Changes:
    """What has changed since the last flush."""

    index: list[IndexRow] = field(default_factory=list)
    keys: dict[bytes, int] = field(default_factory=dict)  # key id → position of the event
    versions: list[VersionRow] = field(default_factory=list)
    batches: int = 0


class Fold:
    """State after the last entry, and the changes that have not been written yet."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.changes = Changes()
        self.model_records = ModelRecords()

    def apply(self, entry: Entry) -> tuple[LedgerBatch, int, list[Outcome]]:
        """Fold one message; its batch, its partition and the outcomes."""
        batch = LedgerBatch.FromString(entry.payload)
        partition = int(entry.subject[SUBJECT_PREFIX:])
        outcomes = apply_batch(self.state, batch, partition, entry.position, entry.time_ms, entry.payload)
        changes = self.changes
        changes.batches += 1
        for number, (event, outcome) in enumerate(zip(batch.events, outcomes, strict=True)):
            if outcome.code is Code.DUPLICATE_BATCH:
                continue
            kind: str = event.WhichOneof("event") or ""
            if kind in _REQUEST_KINDS:
                request_id = getattr(event, kind).request_id
                changes.index.append(
                    (
                        request_id,
                        entry.position,
                        number,
                        _KINDS[kind],
                        int(outcome.code),
                        outcome.charged_nano,
                        outcome.shortfall_nano,
                    )
                )
            elif kind in _KEY_KINDS and outcome.code is Code.APPLIED:
                changes.keys[getattr(event, kind).key_id] = entry.position
            elif kind in models.KINDS and outcome.code is Code.APPLIED:
                self.model_records.changed(self.state, event, kind, entry.position)
                if kind == "model_set":
                    body = event.model_set.SerializeToString()
                    row = (event.model_set.model_id, entry.position, number, self.state.time_ms, body)
                    changes.versions.append(row)
        return batch, partition, outcomes

    def take(self) -> tuple[list[IndexRow], list[AccountRow], list[VersionRow], dict[bytes, int]]:
        """The changes so far; the next ones start anew."""
        changes, self.changes = self.changes, Changes()
        accounts = [self._account_row(account_id) for account_id in self.state.take_changed_accounts()]
        return changes.index, accounts, changes.versions, changes.keys

    def _account_row(self, account_id: bytes) -> AccountRow:
        account = self.state.accounts[account_id]
        return (
            account_id,
            account.currency,
            account.credits_nano,
            account.charges_nano,
            account.held_nano,
            account.shortfall_nano,
            int(account.suspended),
        )
