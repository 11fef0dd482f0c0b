"""The digest and the snapshot of rules version 2: every field of every record is in both, or follows from others."""

from collections.abc import Callable
from typing import Any

import pytest

from core.ledger.accounts import Account, Key
from core.ledger.owners import Gauge, LimitKind, Owner, Use
from core.ledger.records import Model, Rate
from core.ledger.requests import Request
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import snapshot_pb2
from tests.model.ledger_log import LEASE_MS, TRY, WRITER, Log, account_suspended, key_revoked, name, released, replay
from tests.model.tree_log import (
    USD,
    alias_set,
    blocked,
    call,
    grown,
    issued,
    limited,
    markup_set,
    model_deactivated,
    model_set,
    moved,
    paid,
    policy,
    rate_proposed,
    rate_set,
    reversed_,
    rotated,
    submitted,
    tree,
)


def lived_in() -> Log:
    """A log whose state has something in every place."""
    log = tree(100 * TRY)
    log.append(limited("cem", requests_per_minute=50, requests_per_day=500), limited("key-cem", requests_per_minute=40))
    log.append(limited("cem", "g/*", requests_per_minute=30, daily_requests=20, daily_tokens=900, monthly_tokens=9000))
    log.append(limited("key-cem", "g/a", daily_tokens=800), limited("pam", "*", monthly_tokens=99_999))
    log.append(blocked("cem", "bad/*"), blocked("key-cem", "worse"), blocked("cem", "bad"))
    log.append(markup_set("cem", "g/*", 3000), markup_set("cem", "*", 4000))
    log.append(issued("k", "cem", policy(9**15, ("g/*", "x"), ("10.0.0.0/8", "::1"))), rotated("k", "new", 10**6))
    log.append(rate_set(40 * TRY, "monday"), rate_proposed(80 * TRY, "tuesday"), rate_set(7, "m", pb.TRY, pb.USD))
    log.append(model_set("g/a", b"1"), model_set("x", b"2"), model_deactivated("x"), alias_set("y", "x"))
    log.append(reversed_(101 * TRY, account="pro"), moved("pam", "pia", USD, USD))
    log.append(call("late", 5, 5, 7, "key-cem", "g/a"), call("gone", 5, 5, 7, "key-cem", "g/a"))
    log.later(LEASE_MS)
    log.append(call("free1", key="key-cem", model="x", free=True), call("free2", key="key-cem", model="x", free=True))
    log.append(call(1, 9, 4, 30, "key-cem", "g/a"), call(2, 3, 1, 20, "k", "g/b", secret=1, account="cem"))
    log.append(submitted(2), limited("k", requests_per_minute=20, requests_per_day=99))
    log.append(paid("free1", tokens=(3, 4)), grown(1, 1, 1, 5), released("gone"), account_suspended("pri"))
    log.append(call(3, 9, 4, key="key-cem"), paid(3, 500 * TRY, 500 * USD, (5, 6)), key_revoked("key-pri"))
    log.append(call(4, 1, key="key-ann"), call(5, 1, 1, key="key-can"))
    return log


def another(value: Any) -> Any:
    """Something of the same type that differs."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "+"
    if isinstance(value, bytes):
        return bytes((value[0] ^ 1, *value[1:])) if value else name("another")
    if isinstance(value, tuple):
        return (*value, "another")
    if isinstance(value, list):
        return [*value, 12_345]
    raise TypeError(type(value))


def account_of(state: State) -> Account:
    return state.accounts[name("cem")]


def key_of(state: State) -> Key:
    return state.keys[name("k")]


def use_of(state: State) -> Use:
    return account_of(state).uses["g/a"]


def request_of(state: State) -> Request:
    return state.requests[name(1)]


RECORDS: dict[str, Callable[[State], object]] = {
    "account": account_of,
    "key": key_of,
    "use of an account": use_of,
    "use of a key": lambda state: key_of(state).uses["g/b"],
    "request": request_of,
    "task": lambda state: state.requests[name(2)],
    "expired request": lambda state: state.requests[name("late")],
}
OWNER_FIELDS = ("requests_per_minute", "requests_per_day", "minute", "minute_requests", "day", "day_requests")
FIELDS: dict[str, tuple[str, ...]] = {
    "account": (
        *OWNER_FIELDS,
        "kind",
        "currency",
        "markup_bps",
        "suspended",
        "credits_nano",
        "charges_nano",
        "shortfall_nano",
        "receivable_nano",
        "requests_settled",
        "parent_id",
        "free_times_ms",
        "references_hash",
        "account_id",
    ),
    "key": (
        *OWNER_FIELDS,
        "account_id",
        "key_hash",
        "key_id",
        "revoked",
        "suspended",
        "expires_ms",
        "allowed_models",
        "allowed_ips",
        "secret",
        "old_hash",
        "old_until_ms",
        "last_used_ms",
    ),
    "use of an account": (
        "minute",
        "minute_requests",
        "day",
        "day_requests",
        "day_tokens",
        "month",
        "month_tokens",
    ),
    "request": (
        "request_id",
        "attempt",
        "account_id",
        "key_id",
        "model",
        "hold_nano",
        "parent_hold_nano",
        "hold_tokens",
        "deadline_ms",
        "expired",
        "expired_ms",
        "task",
    ),
}
FIELDS["use of a key"] = FIELDS["use of an account"]
FIELDS["task"] = FIELDS["expired request"] = FIELDS["request"]

OWNER_APART = {"limits", "blocks", "uses"}
"""Tested by themselves below."""

OWNER_DERIVED = {"dirty_uses", "_uses_sum", "_policy_hash", "_gauges", "_governing"}
APART = {
    "account": {"references", "markups", *OWNER_APART},
    "key": OWNER_APART,
}
DERIVED = {
    "account": {"held_nano", "open_holds", "leaf", "lineage", "_markups_hash", *OWNER_DERIVED},
    "key": {"leaf", *OWNER_DERIVED},
    "use of an account": {"held_tokens", "leaf"},
}


def touch_all(state: State) -> None:
    """As after a restore: every leaf is taken anew."""
    state.dirty_accounts.update(state.accounts)
    state.dirty_keys.update(state.keys)
    for owner in (*state.accounts.values(), *state.keys.values()):
        owner.dirty_uses.update(owner.uses)


@pytest.mark.parametrize(("what", "field"), [(what, field) for what, fields in FIELDS.items() for field in fields])
def test_any_other_value_of_any_field_is_another_digest(what: str, field: str) -> None:
    """Two replicas would differ, and no checkpoint would tell; invariant 5."""
    state = lived_in().state
    before = state.digest()
    touch_all(state)
    assert state.digest() == before
    record = RECORDS[what](state)
    setattr(record, field, another(getattr(record, field)))
    touch_all(state)
    assert state.digest() != before


def test_every_field_of_every_record_is_known() -> None:
    """A field added later would be free to differ between replicas."""
    slots: dict[str, set[str]] = {
        "account": {*Account.__slots__, *Owner.__slots__},
        "key": {*Key.__slots__, *Owner.__slots__},
        "use of an account": set(Use.__slots__),
        "request": set(Request.__slots__),
    }
    for what, its in slots.items():
        assert its == {*FIELDS[what], *APART.get(what, ()), *DERIVED.get(what, ())}, what
    assert set(Model.__slots__) == {"set", "active", "leaf"}
    assert set(Rate.__slots__) == {"event", "set_ms", "proposed"}
    assert set(Gauge.__slots__) == {"kind", "pattern", "most", "window", "used", "held"}  # all of it derived


def swap_uses(one: Use, other: Use) -> None:
    for field in FIELDS["use of an account"]:
        mine, theirs = getattr(one, field), getattr(other, field)
        setattr(one, field, theirs)
        setattr(other, field, mine)


def rate_of(state: State) -> Rate:
    return state.rates[pb.USD, pb.TRY]


def change(state: State, path: str) -> None:
    """One difference in what has no plain field."""
    account, key, kind = account_of(state), key_of(state), LimitKind.DAILY_TOKENS
    changes: dict[str, Callable[[], object]] = {
        "another limit": lambda: account.limits.update({(kind, "x"): 1}),
        "another most": lambda: account.limits.update({(kind, "g/*"): 901}),
        "another kind": lambda: account.limits.update({(LimitKind.DAILY_REQUESTS, "x"): 20}),
        "a limit less": lambda: account.limits.pop((kind, "g/*")),
        "a limit of a key": lambda: key.limits.update({(kind, "x"): 1}),
        "another block": lambda: account.blocks.add("x"),
        "a block less": lambda: account.blocks.discard("bad"),
        "a block of a key": lambda: key.blocks.add("x"),
        "a block that is a limit's pattern": lambda: (account.blocks.clear(), account.blocks.add("g/*")),
        "another use": lambda: account.uses.update({"new": Use()}),
        "uses of two models swapped": lambda: swap_uses(account.uses["g/a"], account.uses["g/b"]),
        "another markup": lambda: account.set_markup("x", 1),
        "a markup less": lambda: account.set_markup("g/*", None),
        "a markup's pattern": lambda: (account.set_markup("g/*", None), account.set_markup("g/", 3000)),
        "another markup's value": lambda: account.set_markup("g/*", 3001),
        "another reference": lambda: account.add_reference("x"),
        "a model is on": lambda: setattr(state.models["x"], "active", True),
        "a model's price": lambda: setattr(state.models["x"].set, "price", b"3"),
        "a model more": lambda: state.models.update({"z": Model(pb.ModelSet(model_id="z"))}),
        "an alias more": lambda: state.aliases.update({"z": "x"}),
        "an alias of another model": lambda: state.aliases.update({"y": "g/a"}),
        "another alias": lambda: (state.aliases.pop("y"), state.aliases.update({"yy": "x"})),
        "a rate's time": lambda: setattr(rate_of(state), "set_ms", 1),
        "a rate's source": lambda: setattr(rate_of(state).event, "source", "x"),
        "a rate's reference": lambda: setattr(rate_of(state).event, "reference", "x"),
        "a rate's value": lambda: setattr(rate_of(state).event, "rate_nano", 1),
        "nothing waits": lambda: setattr(rate_of(state), "proposed", None),
        "another rate waits": lambda: setattr(rate_of(state).proposed, "rate_nano", 1),
        "a rate of another pair": lambda: state.rates.update({(pb.TRY, pb.USD): rate_of(state)}),
        "an fx rate": lambda: state.fx_rates.update({(pb.USD, pb.TRY): 1}),
        "a request gone": lambda: state.requests.pop(name("late")),
        "an account gone": lambda: state.accounts.pop(name("ann")),
    }
    changes[path]()
    for owner in (*state.accounts.values(), *state.keys.values()):
        owner.regauge(state.windows)
    for model in state.models.values():
        state.touch_model(model)
    touch_all(state)


CHANGES = (
    "another limit",
    "another most",
    "another kind",
    "a limit less",
    "a limit of a key",
    "another block",
    "a block less",
    "a block of a key",
    "a block that is a limit's pattern",
    "another use",
    "uses of two models swapped",
    "another markup",
    "a markup less",
    "a markup's pattern",
    "another markup's value",
    "another reference",
    "a model is on",
    "a model's price",
    "a model more",
    "an alias more",
    "an alias of another model",
    "another alias",
    "a rate's time",
    "a rate's source",
    "a rate's reference",
    "a rate's value",
    "nothing waits",
    "another rate waits",
    "a rate of another pair",
    "an fx rate",
    "a request gone",
)


@pytest.mark.parametrize("path", CHANGES)
def test_any_difference_in_sets_and_lists_is_another_digest(path: str) -> None:
    """Two replicas would differ in a limit, a block, a price or a rate, and no checkpoint would tell."""
    state = lived_in().state
    before = state.digest()
    change(state, path)
    assert state.digest() != before


def test_limits_and_blocks_that_read_alike_differ() -> None:
    """Two replicas could trade a limit for another without a trace."""
    digests = set()
    owners = 0
    for limits in (
        {(LimitKind.DAILY_TOKENS, "ab"): 1},
        {(LimitKind.DAILY_TOKENS, "a"): 1, (LimitKind.DAILY_TOKENS, "b"): 1},
    ):
        for blocks in ((), ("ab",), ("a", "b")):
            owner = Owner()
            owner.limits = dict(limits)
            owner.blocks = set(blocks)
            owner.regauge(State().windows)
            digests.add(owner.owner_digest())
            owners += 1
    assert len(digests) == owners


def test_models_and_addresses_of_a_policy_are_not_mixed_up() -> None:
    """A key that may call a model named like an address would look the same."""
    digests = set()
    for models, ips in ((("a", "b"), ()), (("a",), ("b",)), ((), ("a", "b")), (("ab",), ()), (("b", "a"), ())):
        key = Key(name("k"), name("ann"), bytes(32))
        key.adopt_policy(policy(models=models, ips=ips))
        digests.add(key.digest(2))
    assert len(digests) == 5


def stored(state: State) -> State:
    """What another process would restore from the stored bytes."""
    return State.from_snapshot(snapshot_pb2.Snapshot.FromString(state.to_snapshot().SerializeToString()))


def plain(thing: object) -> dict[str, object]:
    """Every field of a record by value; leaves and caches are derived and may be older on one side."""
    skipped = {"leaf", "dirty_uses", "_uses_sum", "_governing", "uses", "_gauges", "lineage"}
    slots = [slot for each in type(thing).__mro__ for slot in getattr(each, "__slots__", ())]
    return {slot: getattr(thing, slot) for slot in slots if slot not in skipped}


def gauges_of(owner: Owner, state: State) -> dict[object, tuple[int, int, int]]:
    return {
        (gauge.kind, gauge.pattern): (gauge.most, gauge.used_now(state.windows), gauge.held) for gauge in owner.gauges()
    }


def test_every_field_survives_a_snapshot() -> None:
    """A restarted core would start with other limits, use, policies, holds or rates."""
    state = lived_in().state
    restored = stored(state)
    assert restored.digest() == state.digest()
    assert (restored.windows, restored.fx_rates, restored.aliases) == (state.windows, state.fx_rates, state.aliases)
    assert restored.keys_by_hash.keys() == state.keys_by_hash.keys()
    assert {h: key.key_id for h, key in restored.keys_by_hash.items()} == {
        h: key.key_id for h, key in state.keys_by_hash.items()
    }
    for mine, theirs in ((state.accounts, restored.accounts), (state.keys, restored.keys)):
        assert mine.keys() == theirs.keys()
        for owner_id, owner in mine.items():
            other = theirs[owner_id]  # type: ignore[index]
            assert plain(other) == plain(owner)
            assert {m: plain(use) for m, use in other.uses.items()} == {m: plain(use) for m, use in owner.uses.items()}
            assert gauges_of(other, restored) == gauges_of(owner, state)
    for account_id, account in state.accounts.items():
        lineage = [each.account_id for each in account.lineage]
        assert [each.account_id for each in restored.accounts[account_id].lineage] == lineage
        assert all(restored.accounts[each.account_id] is each for each in restored.accounts[account_id].lineage)
    assert {i: plain(request) for i, request in restored.requests.items()} == {
        i: plain(request) for i, request in state.requests.items()
    }
    assert {m: (x.set, x.active) for m, x in restored.models.items()} == {
        m: (x.set, x.active) for m, x in state.models.items()
    }
    assert {p: plain(rate) for p, rate in restored.rates.items()} == {p: plain(rate) for p, rate in state.rates.items()}
    assert restored.next_deadline_ms() == state.next_deadline_ms()


def test_the_lived_in_state_has_something_in_every_place() -> None:
    """The tests above would compare nothing with nothing."""
    state = lived_in().state
    empty = {"old_hash", "old_until_ms"} | {"expired_ms", "expired"} | {"suspended", "revoked", "task"}
    for what in ("account", "key", "request"):
        record = RECORDS[what](state)
        missing = {field for field in FIELDS[what] if not getattr(record, field)} - empty
        assert missing <= {"receivable_nano"}, what
    assert all(getattr(use_of(state), field) for field in FIELDS["use of an account"] if not field.endswith("tokens"))
    assert state.accounts[name("pro")].receivable_nano
    assert state.requests[name("late")].expired
    assert state.requests[name(2)].task
    assert min(account_of(state).held_nano, account_of(state).shortfall_nano) > 0


DAMAGES: dict[str, Callable[[snapshot_pb2.Snapshot], object]] = {
    "a limit": lambda s: s.accounts[2].owner.limits.pop(),
    "a block": lambda s: s.accounts[2].owner.blocks.pop(),
    "a use": lambda s: s.accounts[2].owner.uses.pop(),
    "a use of a key": lambda s: s.keys[1].owner.uses.pop(),
    "a markup": lambda s: s.accounts[2].markups.pop(),
    "a free call": lambda s: s.accounts[2].free_times_ms.pop(),
    "a rate's state": lambda s: s.fx_states.pop(),
    "a model": lambda s: s.models.pop(),
    "an alias": lambda s: s.aliases.pop(),
    "a kind of limit": lambda s: setattr(s.accounts[2].owner.limits[0], "kind", 99),
    "a parent's hold without a parent": lambda s: setattr(
        next(r for r in s.requests if r.request_id == name(4)), "parent_hold_nano", 1
    ),
    "a parent that is not there": lambda s: setattr(s.accounts[2], "parent_id", name("nobody")),
    "a parent that comes later": lambda s: setattr(s.accounts[0], "parent_id", s.accounts[3].account_id),
    "a key's policy": lambda s: s.keys[-1].ClearField("policy"),
    "tokens held": lambda s: setattr(next(r for r in s.requests if r.request_id == name(1)), "hold_tokens", 1),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_snapshot_is_refused(what: str) -> None:
    """A core would start with a limit, a policy or a rate missing, or crash without saying why."""
    snapshot = lived_in().state.to_snapshot()
    DAMAGES[what](snapshot)
    with pytest.raises(ValueError, match=r"snapshot|LimitKind"):
        State.from_snapshot(snapshot)


def test_a_replica_from_any_snapshot_goes_on_like_a_replay() -> None:
    """A restarted core would decide otherwise than its peers."""
    log = lived_in()
    for wait_ms in (30_000, 60_000, 3_600_000, 86_400_000, 11 * 86_400_000):
        log.later(wait_ms)
        log.append(call(f"n{wait_ms}", 1, 1, 9, "key-cem", "g/a"), paid("late", 1, 1), grown(1, tokens=1))
        log.append(limited("cem", "g/*", daily_tokens=wait_ms // 1000))
    states = [State()]
    for message in log.messages:
        states.append(replay([message], stored(states[-1])))
    digests, state = [], State()
    for message in log.messages:
        digests.append(replay([message], state).digest())
    assert [each.digest() for each in states[1:]] == digests
    assert WRITER in {writer for writer, _ in state.writers}
