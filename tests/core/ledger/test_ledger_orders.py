"""What must not depend on the order of things, or on when one looks: digests, months of use, changed accounts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from core.ledger.limits import describe
from core.ledger.state import State
from core.ledger.windows import month_of_day
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import snapshot_pb2
from tests.model.ledger_log import LEASE_MS, TRY, Log, funded, key_issued, name, released, rules_activated
from tests.model.tree_log import blocked, call, grown, limited, markup_set, paid, rate_set, tree

DAY_MS = 86_400_000


def digest_after(*events: pb.Event) -> bytes:
    """One batch each, so that only their order may differ."""
    log = tree()
    for event in events:
        log.append(event)
    return log.state.digest()


@pytest.mark.parametrize(
    "events",
    [
        [
            limited("ann", "a*", daily_tokens=5),
            limited("ann", "b*", daily_tokens=6),
            limited("ann", "*", daily_tokens=7),
        ],
        [markup_set("ann", "a*", 1), markup_set("ann", "b*", 2), markup_set("ann", "c", 3)],
    ],
    ids=["limits", "markups"],
)
def test_the_order_of_settings_is_in_no_digest(events: list[pb.Event]) -> None:
    """A replica that was restored from a snapshot would differ from one that replayed, and stop."""
    assert len({digest_after(*order) for order in permutations(events)}) == 1


def test_many_blocks_survive_a_snapshot_with_the_same_digest() -> None:
    """Sets come back in another order."""
    log = tree()
    log.append(*(blocked("ann", f"model-{number}*") for number in range(100)))
    restored = State.from_snapshot(snapshot_pb2.Snapshot.FromString(log.state.to_snapshot().SerializeToString()))
    owner = restored.accounts[name("ann")]
    kept = sorted(owner.blocks, reverse=True)
    owner.blocks = set()
    for pattern in kept:
        owner.change_blocks(pattern, True)
    restored.dirty_accounts.add(name("ann"))
    assert restored.digest() == log.state.digest()


def from_bank(event: pb.Event) -> pb.Event:
    event.fx_rate_set.source = "tcmb-1"  # as long as `manual`
    return event


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (limited("ann", "a*", daily_tokens=5), limited("ann", "a*", monthly_tokens=5)),
        (rate_set(40 * TRY), from_bank(rate_set(40 * TRY))),
    ],
    ids=["kind of limit", "source of a rate"],
)
def test_settings_that_differ_have_digests_that_differ(one: pb.Event, other: pb.Event) -> None:
    """Two replicas would go on with other limits or other rates, and no checkpoint would tell."""
    assert digest_after(one) != digest_after(other)


def over_a_month_end() -> Log:
    """`ann` has used 100 tokens in one month, and a call that began then is still open in the next."""
    end_ms = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000) - 3 * 3_600_000
    log = tree(now_ms=end_ms - 10_000)
    log.append(call("early", key="key-ann"), paid("early", tokens=(60, 40)))
    log.append(call("long", key="key-ann", tokens=50, lease_ms=3_600_000))
    log.now_ms = end_ms + 10_000
    log.append()
    return log


def used_this_month(log: Log) -> int:
    log.append(limited("ann", "*", monthly_tokens=1_000))
    rows = describe(log.state, name("ann"), log.state.time_ms)
    return next(row.used for row in rows if row.kind == "monthly_tokens")


@pytest.mark.parametrize(
    ("events", "used"), [([], 0), ([paid("long", tokens=(3, 4))], 7)], ids=["nothing yet", "one call"]
)
def test_a_limit_set_after_a_month_end_finds_that_months_use_alone(events: list[pb.Event], used: int) -> None:
    """A customer would be refused for what they used last month."""
    log = over_a_month_end()
    if events:
        log.append(*events)
    assert used_this_month(log) == used


@pytest.mark.parametrize("change", [lambda: grown("c", 1, 1), lambda: released("c")], ids=["grown", "released"])
def test_a_partners_balance_is_among_the_changed_ones(change: Callable[[], pb.Event]) -> None:
    """The read models of balances would show the partner's money as held, or as free, for ever."""
    log = tree()
    log.append(call("c", 10, 10, key="key-can", lease_ms=LEASE_MS))
    log.state.take_changed_accounts()
    log.append(change())
    assert {name("can"), name("pam")} <= log.state.take_changed_accounts()


def test_months_are_those_of_the_calendar() -> None:
    """Use would be counted in the month before or after."""
    first = datetime(1999, 1, 1, tzinfo=UTC)
    for day in range(366 * 110):
        date = first + timedelta(days=day)
        number = (date - datetime(1970, 1, 1, tzinfo=UTC)).days
        assert month_of_day(number) == date.year * 12 + date.month - 1


def test_keys_from_before_the_switch_have_the_new_rules_digest() -> None:
    """A replica that starts from a snapshot taken after the switch would be refused its own snapshot."""
    log = funded()
    log.append(key_issued("other"))
    log.state.digest()
    log.append(rules_activated(2))
    log.state.digest()
    restored = State.from_snapshot(snapshot_pb2.Snapshot.FromString(log.state.to_snapshot().SerializeToString()))
    assert restored.digest() == log.state.digest()
