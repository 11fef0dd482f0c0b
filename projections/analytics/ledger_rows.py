"""From the ledger to rows: folds the log, and says of each event what the tables must hold.

What was charged is not in the log: it is what the fold makes of it. So the sink folds, with the rules of every core.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from bus.tail import Entry
from core.ledger.accounts import Account
from core.ledger.fold import apply_batch
from core.ledger.outcome import Code, Outcome
from core.ledger.state import State
from projections.analytics.rows import (
    I64,
    POSITION_AND_TIME,
    TEXTS_KEPT,
    U32,
    Range,
    Rows,
    Table,
    Texts,
    clip,
    cost_nano,
    pack_id,
    pack_text,
)
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import ACCOUNT, KEY, REQUEST

_SUBJECT_PREFIX = len("ledger.")
_ROUTINE = frozenset({"request_opened", "hold_extended", "checkpoint"})
_SECRET_FIELDS = frozenset({"key_hash"})
_JSON_FIELDS = frozenset({"price", "defaults"})

CHARGES = Table(
    "charges",
    (
        *("stream_seq", "event_index", "time", "attempt", "outcome", "call_end", "basis", "hold_nano", "asked_nano"),
        *("charge_nano", "shortfall_nano", "parent_hold_nano", "parent_asked_nano", "parent_charge_nano"),
        *("parent_shortfall_nano", "provider_cost_nano", "fx_rate_nano", "markup_bps", "parent_fx_rate_nano"),
        *("parent_markup_bps", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "images"),
        *("provider_calls", "opened_seq", "opened_time", "request_id", "account_id", "parent_id", "currency"),
        *("parent_currency", "key_id", "model", "provider", "generation_id", "price_version", "quantities"),
        "counted_by",
    ),
    "QHqBbbbqqqqqqqqqqIqIIIIIIHQq",
)
_CHARGE = CHARGES.packer

RELEASES = Table(
    "releases",
    (
        *("stream_seq", "event_index", "time", "attempt", "hold_nano", "parent_hold_nano", "provider_calls"),
        *("opened_seq", "opened_time", "request_id", "account_id", "parent_id", "currency", "key_id", "model"),
        "reason",
    ),
    "QHqBqqHQq",
)
_RELEASE = RELEASES.packer

LOSSES = Table(
    "losses",
    (
        *("stream_seq", "event_index", "time", "attempt", "asked_nano", "provider_cost_nano", "prompt_tokens"),
        *("completion_tokens", "request_id", "provider", "generation_id", "reason"),
    ),
    "QHqBqqII",
)
_LOSS = LOSSES.packer

CREDITS = Table(
    "credits",
    (
        *("stream_seq", "event_index", "leg", "time", "kind", "asked_nano", "amount_nano", "account_id", "parent_id"),
        *("currency", "other_account_id", "reference", "actor"),
    ),
    "QHBqbqq",
)
_CREDIT = CREDITS.packer
_ADDED, _REVERSED, _MOVED_OUT, _MOVED_IN = 1, 2, 3, 4

TASKS = Table(
    "tasks",
    (
        *("stream_seq", "event_index", "time", "attempt", "lease_ms", "hold_nano", "opened_time", "request_id"),
        *("account_id", "parent_id", "currency", "key_id", "model", "provider", "provider_task_id"),
    ),
    "QHqBQqq",
)
_TASK = TASKS.packer

ACCOUNTS = Table(
    "accounts",
    ("stream_seq", "event_index", "time", "markup_bps", "account_id", "parent_id", "kind", "currency"),
    "QHqI",
)
FX_RATES = Table(
    "fx_rates", ("stream_seq", "event_index", "time", "rate_nano", "base", "quote", "source", "reference"), "QHqq"
)
MODEL_PRICES = Table(
    "model_prices", ("stream_seq", "event_index", "time", "model", "kind", "name", "price_version", "price"), "QHq"
)
CHANGES = Table(
    "changes", ("stream_seq", "event_index", "time", "event", "subject", "actor", "outcome", "details"), "QHq"
)
LEDGER_TABLES = (CHARGES, RELEASES, LOSSES, CREDITS, TASKS, ACCOUNTS, FX_RATES, MODEL_PRICES, CHANGES)

ENDS = range(5)
BASES = range(5)
"""What the columns' enums know; others become `unspecified` rather than stop the sink."""
_U8_MAX, _U16_MAX = 2**8 - 1, 2**16 - 1


class Opened:
    """An attempt that was admitted and has not ended."""

    __slots__ = ("account_id", "attempt", "hold_nano", "key_id", "model", "parent_hold_nano", "position", "time_ms")

    def __init__(
        self,
        account_id: bytes,
        attempt: int,
        hold_nano: int,
        key_id: bytes,
        model: str,
        parent_hold_nano: int,
        position: int,
        time_ms: int,
    ) -> None:
        self.account_id = account_id
        self.attempt = attempt
        self.hold_nano = hold_nano
        self.key_id = key_id
        self.model = model
        self.parent_hold_nano = parent_hold_nano
        self.position = position
        self.time_ms = time_ms


class _Owner:
    """What rows say of an account, packed: account_id, parent_id, currency, parent_currency."""

    __slots__ = ("packed", "short")

    def __init__(self, account: Account, texts: Texts) -> None:
        payer = account.payer
        currency = texts.pack(_currency(account.currency))
        parent = texts.pack_id(ACCOUNT, account.parent_id)
        self.short = texts.pack_id(ACCOUNT, account.account_id) + parent + currency
        self.packed = self.short + (texts.pack("") if payer is None else texts.pack(_currency(payer.currency)))


class LedgerRows:
    """The fold's state, the rows since the last `take`, and what is known of open attempts.

    `silent_until`: up to this position the log is folded without giving rows: they are in the tables already.
    """

    def __init__(self, state: State, opened: dict[bytes, Opened], silent_until: int) -> None:
        self.state = state
        self.opened = opened
        self.silent_until = silent_until
        self._texts = Texts()
        self._owners: dict[bytes, _Owner] = {}
        self._rows = Rows()
        self._first = 0
        self._time_ms = 0

    @property
    def position(self) -> int:
        """The last position that was applied."""
        return self.state.position

    @property
    def pending(self) -> int:
        """Messages that no range has taken."""
        return self.state.position - self._first + 1 if self._first else 0

    @property
    def pending_rows(self) -> int:
        """Their rows."""
        return self._rows.count

    def apply(self, entry: Entry) -> None:
        """Fold one message and add its rows. Raises FoldStopped."""
        batch = pb.LedgerBatch.FromString(entry.payload)
        partition = int(entry.subject[_SUBJECT_PREFIX:])
        self.add(entry, batch, apply_batch(self.state, batch, partition, entry.position, entry.time_ms, entry.payload))

    def add(self, entry: Entry, batch: pb.LedgerBatch, outcomes: Sequence[Outcome]) -> None:
        """Add the rows of a message that `state` has just folded."""
        silent = entry.position <= self.silent_until
        if not silent:
            self._first = self._first or entry.position
            self._time_ms = entry.time_ms
        for index, (event, outcome) in enumerate(zip(batch.events, outcomes, strict=True)):
            if outcome.code is not Code.DUPLICATE_BATCH:
                self._event(event, outcome, index, silent)

    def take(self) -> Range:
        """The rows since the last one. Raises ValueError when nothing is pending."""
        if not self._first:
            raise ValueError("nothing is pending")
        taken = Range(self._first, self.state.position, self._time_ms, self._rows)
        self._rows = Rows()
        self._first = 0
        return taken

    def skip(self, position: int, first: int) -> None:
        """Never: a fold cannot leave anything out. Raises ValueError."""
        raise ValueError(f"the ledger lacks {self.position + 1} to {position}, needed for {first}")

    def forget_ended(self) -> None:
        """Drop attempts that the fold has forgotten: they expired and were never settled."""
        self.opened = {each: opened for each, opened in self.opened.items() if each in self.state.requests}

    def _event(self, event: pb.Event, outcome: Outcome, index: int, silent: bool) -> None:
        kind: str = event.WhichOneof("event") or ""
        code = outcome.code
        if kind == "request_opened":
            self._request_opened(event.request_opened, outcome)
        elif kind == "request_settled":
            settled = event.request_settled
            if code in (Code.SETTLED, Code.SETTLED_LATE):
                opened = self.opened.pop(settled.request_id)
                if not silent:
                    self._rows.add(CHARGES, self._charge(settled, outcome, index, opened))
            elif not silent:
                self._rows.add(LOSSES, self._loss(settled, outcome, index))
        elif kind == "request_released":
            if code is Code.RELEASED:
                released = event.request_released
                opened = self.opened.pop(released.request_id)
                if not silent:
                    self._rows.add(RELEASES, self._release(released, index, opened))
        elif kind == "hold_extended":
            if code is Code.EXTENDED:
                self._hold_extended(event.hold_extended)
        elif kind == "task_submitted":
            if code is Code.SUBMITTED and not silent:
                task = event.task_submitted
                self._rows.add(TASKS, self._task(task, index, self.opened[task.request_id]))
        elif not silent and kind not in _ROUTINE:
            self._change(kind, event, outcome, index)

    # Requests

    def _request_opened(self, event: pb.RequestOpened, outcome: Outcome) -> None:
        if outcome.code is Code.ADMITTED:
            self.opened[event.request_id] = Opened(
                event.account_id,
                event.attempt,
                event.hold_nano,
                event.key_id,
                event.model,
                event.parent_hold_nano,
                self.state.position,
                self.state.time_ms,
            )
        elif outcome.superseded:
            self.opened.pop(event.request_id, None)

    def _hold_extended(self, event: pb.HoldExtended) -> None:
        opened = self.opened.get(event.request_id)
        if opened is not None:
            opened.hold_nano += event.add_nano
            opened.parent_hold_nano += event.add_parent_nano

    def _charge(self, settled: pb.RequestSettled, outcome: Outcome, index: int, opened: Opened) -> bytes:
        state, texts = self.state, self._texts
        late = outcome.code is Code.SETTLED_LATE
        fixed = _CHARGE.pack(
            state.position,
            index,
            state.time_ms,
            opened.attempt,
            outcome.code,
            settled.end if settled.end in ENDS else 0,
            settled.basis if settled.basis in BASES else 0,
            0 if late else opened.hold_nano,
            settled.charge_nano,
            outcome.charged_nano,
            outcome.shortfall_nano,
            0 if late else opened.parent_hold_nano,
            settled.parent_charge_nano,
            outcome.parent_charged_nano,
            outcome.parent_shortfall_nano,
            cost_nano(settled.provider_cost_usd),
            settled.fx_rate_nano,
            settled.markup_bps,
            settled.parent_fx_rate_nano,
            settled.parent_markup_bps,
            settled.prompt_tokens,
            settled.completion_tokens,
            settled.cached_tokens,
            settled.reasoning_tokens,
            settled.images,
            clip(settled.provider_calls, _U16_MAX),
            opened.position,
            opened.time_ms,
        )
        return b"".join(
            (
                fixed,
                pack_id(REQUEST, settled.request_id),
                self._owner(opened.account_id).packed,
                texts.pack_id(KEY, opened.key_id),
                texts.pack(opened.model),
                texts.pack(settled.provider),
                pack_text(settled.generation_id),
                texts.pack_id("", settled.price_version),
                texts.pack(settled.quantities),
                texts.pack(settled.counted_by),
            )
        )

    def _release(self, released: pb.RequestReleased, index: int, opened: Opened) -> bytes:
        state, texts = self.state, self._texts
        fixed = _RELEASE.pack(
            state.position,
            index,
            state.time_ms,
            opened.attempt,
            opened.hold_nano,
            opened.parent_hold_nano,
            clip(released.provider_calls, _U16_MAX),
            opened.position,
            opened.time_ms,
        )
        return b"".join(
            (
                fixed,
                pack_id(REQUEST, released.request_id),
                self._owner(opened.account_id).short,
                texts.pack_id(KEY, opened.key_id),
                texts.pack(opened.model),
                texts.pack(_name(pb.ReleaseReason, released.reason)),
            )
        )

    def _loss(self, settled: pb.RequestSettled, outcome: Outcome, index: int) -> bytes:
        fixed = _LOSS.pack(
            self.state.position,
            index,
            self.state.time_ms,
            clip(settled.attempt, _U8_MAX),
            settled.charge_nano,
            cost_nano(settled.provider_cost_usd),
            settled.prompt_tokens,
            settled.completion_tokens,
        )
        return b"".join(
            (
                fixed,
                pack_id(REQUEST, settled.request_id),
                self._texts.pack(settled.provider),
                pack_text(settled.generation_id),
                self._texts.pack(outcome.code.name.lower()),
            )
        )

    def _task(self, task: pb.TaskSubmitted, index: int, opened: Opened) -> bytes:
        fixed = _TASK.pack(
            self.state.position,
            index,
            self.state.time_ms,
            opened.attempt,
            task.lease_ms,
            opened.hold_nano,
            opened.time_ms,
        )
        return b"".join(
            (
                fixed,
                pack_id(REQUEST, task.request_id),
                self._owner(opened.account_id).short,
                self._texts.pack_id(KEY, opened.key_id),
                self._texts.pack(opened.model),
                self._texts.pack(task.provider),
                pack_text(task.provider_task_id),
            )
        )

    def _owner(self, account_id: bytes) -> _Owner:
        owner = self._owners.get(account_id)
        if owner is None:
            if len(self._owners) >= TEXTS_KEPT:
                self._owners.clear()
            owner = self._owners[account_id] = _Owner(self.state.accounts[account_id], self._texts)
        return owner

    # Everything else

    def _change(self, kind: str, event: pb.Event, outcome: Outcome, index: int) -> None:
        head = POSITION_AND_TIME.pack(self.state.position, index, self.state.time_ms)
        message = getattr(event, kind)
        actor = self._texts.pack(event.actor)
        outcome_name = self._texts.pack(outcome.code.name.lower())
        subject, details = pack_text(self._subject(message)), pack_text(orjson.dumps(plain(message)).decode())
        self._rows.add(CHANGES, b"".join((head, self._texts.pack(kind), subject, actor, outcome_name, details)))
        if outcome.code is not Code.APPLIED:
            return
        if kind == "account_opened":
            self._rows.add(ACCOUNTS, self._account(message, head))
        elif kind in ("credit_added", "credit_reversed", "credit_moved"):
            self._credit(kind, message, outcome, index, actor)
        elif kind == "fx_rate_set":
            names = pack_text(_currency(message.base)) + pack_text(_currency(message.quote))
            rate = head + I64.pack(message.rate_nano) + names
            self._rows.add(FX_RATES, rate + pack_text(message.source) + pack_text(message.reference))
        elif kind == "model_set":
            named = pack_text(message.model_id) + pack_text(message.kind) + pack_text(message.name)
            price = pack_text(message.price_version.hex()) + pack_text(message.price.decode(errors="replace"))
            self._rows.add(MODEL_PRICES, head + named + price)

    def _account(self, opened: pb.AccountOpened, head: bytes) -> bytes:
        ids = pack_id(ACCOUNT, opened.account_id) + pack_id(ACCOUNT, opened.parent_id)
        kind = pack_text(_name(pb.AccountKind, opened.kind))
        return head + U32.pack(opened.markup_bps) + ids + kind + pack_text(_currency(opened.currency))

    def _credit(self, kind: str, message: Any, outcome: Outcome, index: int, actor: bytes) -> None:
        """`amount_nano` is what the balance changed by: less than asked where a receivable takes part of it."""
        tail = pack_text(message.reference) + actor
        sides: tuple[tuple[int, int, int, int, bytes, bytes], ...]
        if kind == "credit_moved":
            giver, taker = message.from_account_id, message.to_account_id
            sides = (
                (0, _MOVED_OUT, message.amount_nano, -message.amount_nano, giver, taker),
                (1, _MOVED_IN, message.to_amount_nano, message.to_amount_nano, taker, giver),
            )
        elif kind == "credit_added":
            paid = message.amount_nano - outcome.charged_nano
            sides = ((0, _ADDED, message.amount_nano, paid, message.account_id, b""),)
        else:
            sides = ((0, _REVERSED, message.amount_nano, -outcome.charged_nano, message.account_id, b""),)
        for leg, number, asked, amount, account_id, other in sides:
            fixed = _CREDIT.pack(self.state.position, index, leg, self.state.time_ms, number, asked, amount)
            self._rows.add(CREDITS, fixed + self._owner(account_id).short + pack_id(ACCOUNT, other) + tail)

    def _subject(self, message: Any) -> str:
        """The id of what an event is about."""
        fields = message.DESCRIPTOR.fields_by_name
        for name, prefix in (("key_id", KEY), ("account_id", ACCOUNT), ("from_account_id", ACCOUNT)):
            if name in fields:
                return str(prefix + getattr(message, name).hex())
        if "owner_id" in fields:
            owner: bytes = message.owner_id
            return (KEY if owner in self.state.keys else ACCOUNT) + owner.hex()
        if "base" in fields:
            return f"{_currency(message.base)}/{_currency(message.quote)}"
        return str(next((getattr(message, name) for name in ("alias", "model_id") if name in fields), ""))


def plain(message: Any) -> dict[str, Any]:
    """An event as JSON can hold it: bytes in hex, 64-bit numbers as they are, hashes of keys left out."""
    return {
        field.name: _plain_value(field, value)
        for field, value in message.ListFields()
        if field.name not in _SECRET_FIELDS
    }


def _plain_value(field: Any, value: Any) -> Any:
    if isinstance(value, bytes):
        if field.name in _JSON_FIELDS:
            return value.decode(errors="replace")
        return value.hex()
    if hasattr(value, "ListFields"):
        return plain(value)
    if not isinstance(value, str) and hasattr(value, "__len__"):
        return [_plain_value(field, each) for each in value]
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name if value in field.enum_type.values_by_number else value
    return value


def _name(enum: Any, number: int) -> str:
    """A protobuf enum's name in lower case; its number where this release does not know it."""
    return enum.Name(number).lower() if number in enum.values() else str(number)


def _currency(number: int) -> str:
    return _name(pb.Currency, number).upper()
