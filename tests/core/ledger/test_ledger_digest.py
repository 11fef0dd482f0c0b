"""The state digest and the snapshot: what a replica compares and what it starts from."""

from collections.abc import Callable

import pytest

from core.ledger.accounts import Account
from core.ledger.owners import Owner
from core.ledger.records import Writer
from core.ledger.requests import Ended
from core.ledger.state import State
from core.ledger.windows import MINUTE_MS
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import snapshot_pb2
from tests.model.ledger_log import (
    LEASE_MS,
    OTHER_WRITER,
    TRY,
    WRITER,
    Log,
    account_opened,
    account_suspended,
    credit_added,
    extended,
    funded,
    fx_rate_set,
    key_issued,
    key_revoked,
    name,
    opened,
    released,
    replay,
    settled,
)


def lived_in() -> Log:
    """A log whose state has something in every place."""
    log = funded(100 * TRY, per_minute=50, per_day=500)
    log.append(account_opened("bob"), credit_added(TRY, account="bob"), key_issued("key-bob", "bob"))
    log.append(account_opened("eve"), account_suspended("eve"), key_issued("key-eve", "eve"), key_revoked("key-eve"))
    log.append(fx_rate_set(40 * TRY), fx_rate_set(TRY // 40, pb.TRY, pb.USD), writer=OTHER_WRITER, partition=3)
    log.append(opened("late"), opened("lost"), opened("gone", lease_ms=2 * LEASE_MS))
    log.later(LEASE_MS)
    log.append(opened(1, 3 * TRY), opened(2, TRY, account="bob"), opened(3), opened(4), opened(5), opened(6))
    log.append(settled(3, 200 * TRY), released(4), opened(5, 2 * TRY, attempt=2), extended(1, TRY, lease_ms=90_000))
    log.append(settled("late", TRY), credit_added(TRY, "pay-2"))
    return log


FIELDS = (
    "kind",
    "currency",
    "markup_bps",
    "requests_per_minute",
    "requests_per_day",
    "suspended",
    "credits_nano",
    "charges_nano",
    "shortfall_nano",
    "minute",
    "minute_requests",
    "day",
    "day_requests",
    "requests_settled",
)
DERIVED = {"held_nano", "open_holds", "leaf", "references"}
SINCE_2 = {"receivable_nano", "parent_id", "lineage", "markups", "_markups_hash", "free_times_ms"}
OWNER_SINCE_2 = {"limits", "blocks", "uses", "dirty_uses", "_uses_sum", "_policy_hash", "_gauges", "_governing"}


def bump(thing: object, field: str) -> None:
    value = getattr(thing, field)
    setattr(thing, field, not value if isinstance(value, bool) else value + 1)


def change_account(field: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        bump(state.accounts[name("ann")], field)
        state.dirty_accounts.add(name("ann"))

    return change


def change_request(field: str) -> Callable[[State], None]:
    return lambda state: bump(state.requests[name(1)], field)


def add_reference(state: State) -> None:
    state.accounts[name("ann")].add_reference("another")
    state.dirty_accounts.add(name("ann"))


def revoke(state: State) -> None:
    state.keys[name("key-ann")].revoked = True
    state.dirty_keys.add(name("key-ann"))


def rename_key(state: State) -> None:
    state.keys[name("key-ann")].key_hash = b"?" * 32
    state.dirty_keys.add(name("key-ann"))


def give_key_away(state: State) -> None:
    state.keys[name("key-ann")].account_id = name("bob")
    state.dirty_keys.add(name("key-ann"))


def move_request(state: State) -> None:
    state.requests[name(1)].account_id = name("bob")


def drop_request(state: State) -> None:
    del state.requests[name(1)]


def swap_endings(state: State) -> None:
    minute = state.time_ms // MINUTE_MS
    state.ended.add(name(3), state.ended.last_attempt(name(4)), minute)
    state.ended.add(name(4), 255, minute)


def end_one_more(state: State) -> None:
    state.ended.add(name("one more"), 1, state.time_ms // MINUTE_MS)


def end_later(state: State) -> None:
    state.ended.add(name(3), 255, state.time_ms // MINUTE_MS + 1)


def forget_endings(state: State) -> None:
    state.ended.forget_before(state.time_ms)


CHANGES: dict[str, Callable[[State], None]] = {
    **{f"account.{field}": change_account(field) for field in FIELDS},
    **{f"request.{field}": change_request(field) for field in ("attempt", "hold_nano", "deadline_ms", "expired")},
    "request.expired_ms": change_request("expired_ms"),
    "request.account_id": move_request,
    "request gone": drop_request,
    "reference": add_reference,
    "key.revoked": revoke,
    "key.key_hash": rename_key,
    "key.account_id": give_key_away,
    "endings swapped": swap_endings,
    "one more ending": end_one_more,
    "ending in a later minute": end_later,
    "endings forgotten": forget_endings,
    "writer.number": lambda state: bump(state.writers[WRITER, 0], "number"),
    "writer.seen_ms": lambda state: bump(state.writers[WRITER, 0], "seen_ms"),
    "one more writer": lambda state: state.writers.update({(WRITER, 1): Writer(1, 1)}),
    "writer gone": lambda state: state.writers.__delitem__((OTHER_WRITER, 3)),
    "rate": lambda state: state.fx_rates.update({(pb.USD, pb.TRY): 1}),
    "position": lambda state: bump(state, "position"),
    "time_ms": lambda state: bump(state, "time_ms"),
    "rules_version": lambda state: bump(state, "rules_version"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_difference_changes_the_digest(what: str) -> None:
    """Two replicas would differ, and no checkpoint would tell; invariant 5."""
    log = lived_in()
    before = log.state.digest()
    assert log.state.digest() == before
    CHANGES[what](log.state)
    assert log.state.digest() != before


def test_every_field_of_an_account_is_in_the_digest_or_derived() -> None:
    """A field added later would be free to differ between replicas."""
    known = {*FIELDS, *DERIVED, *SINCE_2, *OWNER_SINCE_2, "account_id", "references_hash"}
    assert {*Account.__slots__, *Owner.__slots__} == known


def test_every_event_changes_the_digest() -> None:
    """A lost event would go unnoticed, even one that only takes a position."""
    log = lived_in()
    seen, state = set(), State()
    for message in log.messages:
        replay([message], state)
        seen.add(state.digest())
    assert len(seen) == len(log.messages)


def test_the_digest_does_not_depend_on_when_it_was_asked_for() -> None:
    """A replica that takes snapshots would differ from one that does not."""
    log, often, never = lived_in(), State(), State()
    for message in log.messages:
        replay([message], often)
        often.digest()
        replay([message], never)
    assert often.digest() == never.digest() == log.state.digest()


def test_every_reference_and_their_order_count() -> None:
    """Two replicas that applied other credits, or in another order, would look the same."""
    digests = set()
    for references in (("r1", "r2"), ("r2", "r1"), ("r3", "r1"), ("r1",), ("r3", "r2", "r1"), ("r2", "r3", "r1")):
        account = Account(name("a"), 1, 1, 0)
        for reference in references:
            account.add_reference(reference)
        digests.add(account.digest(1))
    assert len(digests) == 6


def test_endings_forgotten_in_any_way_leave_nothing_behind() -> None:
    """Memory would grow, or a replica from a snapshot would differ."""
    ended = Ended()
    ended.add(name(1), 1, 10)
    ended.add(name(2), 255, 10)
    ended.add(name(1), 2, 12)
    ended.add(name(1), 3, 12)
    ended.forget_before(10)
    assert (ended.last_attempt(name(1)), ended.last_attempt(name(2)), len(ended)) == (3, 255, 2)
    ended.forget_before(11)
    assert (ended.last_attempt(name(1)), ended.last_attempt(name(2)), len(ended)) == (3, 0, 1)
    assert list(ended.buckets()) == [(12, [name(1)])]
    ended.forget_before(13)
    assert (len(ended), ended.weight, list(ended.buckets())) == (0, 0, [])


def round_trip(state: State) -> State:
    """What another process would restore from the stored bytes."""
    return State.from_snapshot(snapshot_pb2.Snapshot.FromString(state.to_snapshot().SerializeToString()))


def test_a_snapshot_restores_everything() -> None:
    """A restarted core would start with other balances, keys or limits."""
    state = lived_in().state
    restored = round_trip(state)
    assert restored.digest() == state.digest()
    assert restored.chain_hash == state.chain_hash
    assert restored.fingerprints == state.fingerprints
    for account_id, account in state.accounts.items():
        other = restored.accounts[account_id]
        for field in {*FIELDS, *DERIVED} - {"leaf"}:
            assert getattr(other, field) == getattr(account, field), field
    assert restored.keys_by_hash.keys() == state.keys_by_hash.keys()
    assert [restored.keys_by_hash[key.key_hash].key_id for key in state.keys.values()] == list(state.keys)
    late = [entry for entry in state.expired if entry[1] in state.requests]
    assert late
    assert list(restored.expired) == late
    assert restored.next_deadline_ms() == state.next_deadline_ms()


def test_a_replica_from_any_snapshot_goes_on_like_a_replay() -> None:
    """A restarted core would decide otherwise than its peers: later expiries, endings, references, retries."""
    log = lived_in()
    log.append(released(5, attempt=2), opened(4, attempt=2), credit_added(TRY, "pay-2"))
    for wait_ms in (30_000, 60_000, 2 * MINUTE_MS, 4 * MINUTE_MS, 23 * 60 * MINUTE_MS, 2 * 60 * MINUTE_MS):
        log.later(wait_ms)
        log.append(opened(f"after {wait_ms}"), settled("lost", 1), writer=OTHER_WRITER, partition=3)
    states = [State()]
    for message in log.messages:
        states.append(replay([message], round_trip(states[-1])))
    digest = replay(log.messages).digest()
    assert digest == log.state.digest()
    for position in range(len(log.messages)):
        assert replay(log.messages[position:], round_trip(states[position])).digest() == digest


@pytest.mark.parametrize("field", ["credits_nano", "charges_nano", "requests_per_day"])
def test_a_snapshot_with_a_changed_amount_is_refused(field: str) -> None:
    """A damaged snapshot would change balances."""
    snapshot = lived_in().state.to_snapshot()
    bump(snapshot.accounts[0], field)
    with pytest.raises(ValueError, match="digest"):
        State.from_snapshot(snapshot)


def test_a_damaged_snapshot_is_refused_and_never_half_restored() -> None:
    """A core would start with requests or endings missing, or crash on it without saying what is wrong."""

    def damaged(damage: Callable[[snapshot_pb2.Snapshot], object]) -> snapshot_pb2.Snapshot:
        snapshot = lived_in().state.to_snapshot()
        damage(snapshot)
        return snapshot

    for damage in (
        lambda s: s.accounts.pop(),
        lambda s: s.keys.pop(),
        lambda s: s.requests.pop(),
        lambda s: s.ended.pop(),
        lambda s: s.writers.pop(),
        lambda s: s.fx_rates.pop(),
        lambda s: s.ended[0].__setattr__("request_ids", s.ended[0].request_ids[12:]),
        lambda s: s.requests[0].__setattr__("account_id", name("nobody")),
        lambda s: s.requests[0].__setattr__("attempt", 300),
        lambda s: s.accounts[0].__setattr__("kind", 300),
        lambda s: s.__setattr__("position", s.position + 1),
        lambda s: s.__setattr__("time_ms", s.time_ms + 1),
        lambda s: s.__setattr__("state_digest", bytes(32)),
    ):
        with pytest.raises(ValueError, match="snapshot at position"):
            State.from_snapshot(damaged(damage))


def test_the_empty_state_has_a_snapshot_too() -> None:
    """A new installation could not start."""
    assert round_trip(State()).digest() == State().digest()
