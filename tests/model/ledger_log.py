"""A log for tests: builds batches, folds them, and keeps the bytes so that another replica can fold them again."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.ledger.fold import apply_batch
from core.ledger.outcome import Code, Outcome
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb

START_MS = 1_790_000_000_000
WRITER = b"writer-1"
OTHER_WRITER = b"writer-2"
TRY = 1_000_000_000
LEASE_MS = 60_000


def name(label: str | int) -> bytes:
    """A 12-byte id."""
    return str(label).encode().rjust(12, b"_")


def account_opened(account: str = "ann", per_minute: int = 0, per_day: int = 0) -> pb.Event:
    opened = pb.AccountOpened(account_id=name(account), kind=pb.USER, currency=pb.TRY, markup_bps=5000)
    opened.requests_per_minute, opened.requests_per_day = per_minute, per_day
    return pb.Event(account_opened=opened)


def account_suspended(account: str = "ann") -> pb.Event:
    return pb.Event(account_suspended=pb.AccountSuspended(account_id=name(account)))


def account_resumed(account: str = "ann") -> pb.Event:
    return pb.Event(account_resumed=pb.AccountResumed(account_id=name(account)))


def credit_added(amount_nano: int, reference: str = "pay-1", account: str = "ann") -> pb.Event:
    added = pb.CreditAdded(account_id=name(account), amount_nano=amount_nano, reference=reference)
    return pb.Event(credit_added=added)


def key_issued(key: str = "key-ann", account: str = "ann", key_hash: bytes | None = None) -> pb.Event:
    issued = pb.KeyIssued(key_id=name(key), account_id=name(account), key_hash=key_hash or name(key).rjust(32, b"#"))
    return pb.Event(key_issued=issued)


def key_revoked(key: str = "key-ann") -> pb.Event:
    return pb.Event(key_revoked=pb.KeyRevoked(key_id=name(key)))


def fx_rate_set(rate_nano: int, base: int = pb.USD, quote: int = pb.TRY) -> pb.Event:
    return pb.Event(fx_rate_set=pb.FxRateSet(base=base, quote=quote, rate_nano=rate_nano))  # type: ignore[arg-type]


def rules_activated(version: int) -> pb.Event:
    return pb.Event(rules_activated=pb.RulesActivated(version=version))


def checkpoint(position: int, chain_hash: bytes, digest: bytes) -> pb.Event:
    return pb.Event(checkpoint=pb.Checkpoint(position=position, chain_hash=chain_hash, state_digest=digest))


def opened(
    request: str | int,
    hold_nano: int = TRY,
    attempt: int = 1,
    account: str = "ann",
    key: str | None = None,
    lease_ms: int = LEASE_MS,
) -> pb.Event:
    event = pb.RequestOpened(request_id=name(request), attempt=attempt, account_id=name(account), model="m")
    event.key_id, event.hold_nano, event.lease_ms = name(key or f"key-{account}"), hold_nano, lease_ms
    return pb.Event(request_opened=event)


def extended(request: str | int, add_nano: int, attempt: int = 1, lease_ms: int = LEASE_MS) -> pb.Event:
    event = pb.HoldExtended(request_id=name(request), attempt=attempt, add_nano=add_nano, lease_ms=lease_ms)
    return pb.Event(hold_extended=event)


def settled(request: str | int, charge_nano: int, attempt: int = 1) -> pb.Event:
    event = pb.RequestSettled(request_id=name(request), attempt=attempt, charge_nano=charge_nano)
    return pb.Event(request_settled=event)


def released(request: str | int, attempt: int = 1) -> pb.Event:
    event = pb.RequestReleased(request_id=name(request), attempt=attempt, reason=pb.PROVIDER_FAILED)
    return pb.Event(request_released=event)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the log, as a tail would hand it over."""

    position: int
    time_ms: int
    partition: int
    payload: bytes


def fold(state: State, message: Message) -> list[Outcome]:
    """Applies one message the way a replica does: from its bytes."""
    batch = pb.LedgerBatch.FromString(message.payload)
    return apply_batch(state, batch, message.partition, message.position, message.time_ms, message.payload)


def replay(messages: Iterable[Message], state: State | None = None) -> State:
    """The state after these messages."""
    state = state or State()
    for message in messages:
        fold(state, message)
    return state


@dataclass
class Log:
    """A state and the messages that made it. Each writer's batches are numbered from 1."""

    state: State = field(default_factory=State)
    now_ms: int = START_MS
    messages: list[Message] = field(default_factory=list)
    numbers: dict[tuple[bytes, int], int] = field(default_factory=dict)

    def append(
        self,
        *events: pb.Event,
        writer: bytes = WRITER,
        number: int | None = None,
        partition: int = 0,
        position: int | None = None,
    ) -> list[Outcome]:
        """Puts one batch at the log's end at `now_ms` and folds it."""
        if number is None:
            number = self.numbers.get((writer, partition), 0) + 1
            self.numbers[writer, partition] = number
        payload = pb.LedgerBatch(writer=writer, number=number, events=events).SerializeToString()
        return self.put(payload, partition, position)

    def put(self, payload: bytes, partition: int = 0, position: int | None = None) -> list[Outcome]:
        """Puts these bytes at the log's end and folds them."""
        message = Message(position or self.state.position + 1, self.now_ms, partition, payload)
        self.messages.append(message)
        return fold(self.state, message)

    def codes(self, *events: pb.Event) -> list[Code]:
        """The verdicts on the events of one batch."""
        return [outcome.code for outcome in self.append(*events)]

    def code(self, event: pb.Event) -> Code:
        """The verdict on one event."""
        return self.append(event)[0].code

    def later(self, ms: int) -> None:
        """Moves the clock and appends an empty batch, as cores do, so that the log's time moves."""
        self.now_ms += ms
        self.append()


def funded(balance_nano: int = 10 * TRY, per_minute: int = 0, per_day: int = 0) -> Log:
    """A log with one account `ann`, its key and a balance."""
    log = Log()
    log.append(account_opened("ann", per_minute, per_day), credit_added(balance_nano), key_issued())
    return log
