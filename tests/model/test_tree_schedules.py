"""Thousands of random schedules over a tree of accounts: what would be lost is a partner's, a customer's or an
organisation's money, or a limit, in an order nobody thought of."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import settings

from core.ledger.outcome import Code
from proto.onysoft.v1.ledger_pb2 import TRY, USD, Event
from tests.model import ledger_log as events
from tests.model import tree_log as trees
from tests.model.reference import istanbul
from tests.model.tree_world import MODELS, TreeWorld
from tests.model.world import FINGERPRINT_EVERY

SCHEDULES = settings().max_examples * 10
BATCHES = 30
REPLAYED = 13  # of so many schedules one is replayed from every prefix and snapshot

ACCOUNTS, KEYS = tuple(trees.KINDS), tuple(trees.KEYS)
OWNERS = ACCOUNTS + KEYS
PATTERNS = ("*", "g/*", "g*", "g/a", "x")
LIMITS = ("requests_per_minute", "requests_per_day", "daily_requests", "daily_tokens", "monthly_tokens")
WRITERS = (b"writer-1", b"writer-2", b"writer-3")
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
STEPS = (
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    1,
    500,
    SECOND,
    SECOND,
    20 * SECOND,
    MINUTE,
    -5 * SECOND,
    6 * MINUTE,
    3 * HOUR,
    DAY + MINUTE,
)
REQUESTS = 40
LEASES = (1, SECOND, 2 * MINUTE, 12 * MINUTE, 12 * MINUTE, 2 * DAY, 40 * DAY)

STARTS = tuple(
    int(datetime.fromisoformat(f"{text}+03:00").timestamp() * 1000)
    for text in ("2026-09-21T17:00", "2026-10-31T23:59", "2028-02-28T23:50", "2028-02-29T12:00", "2026-12-31T23:59:30")
)


def some_call(world: TreeWorld, random: Random) -> Event:
    """A call by some key: mostly a sound one, with holds near to what is free."""
    key = random.choice(world.busy if random.random() < 0.7 else KEYS)
    account = trees.KEYS[key] if random.random() < 0.97 else random.choice(ACCOUNTS)
    free = world.available(account)
    nano = random.choice((0, 0, 0, 0, 1, 1, 5, 10, 40, free, free + 1, 150))
    parent_free = world.parent_available(account)
    parent_nano = (
        random.choice((1, 5, 10, parent_free, parent_free + 1, 150)) if nano and account in trees.PAYERS else 0
    )
    if random.random() < 0.02:
        parent_nano = random.choice((-1, 0, 3))
    secret = world.secret(key) if random.random() < 0.95 else random.randrange(3)
    return trees.call(
        random.randrange(REQUESTS),
        nano if random.random() < 0.98 else -1,
        parent_nano,
        random.choice((0, 1, 5, 10, 20, 2**41 if random.random() < 0.05 else 3)),
        key,
        random.choice(MODELS),
        random.choice((1, 1, 1, 1, 1, 2, 3)),
        random.choice(LEASES),
        nano == 0 and random.random() < 0.9,
        secret,
        account,
    )


def some_request(world: TreeWorld, random: Random) -> tuple[int, int]:
    """A request and an attempt: mostly of those that have not ended."""
    pending = world.log.state.requests
    if pending and random.random() < 0.8:
        request = pending[random.choice(tuple(pending))]
        return int(request.request_id.strip(b"_")), request.attempt
    return random.randrange(REQUESTS), random.choice((1, 1, 1, 2, 3))


def is_customers(world: TreeWorld, request: int) -> bool:
    found = world.log.state.requests.get(events.name(request))
    return found is not None and bool(world.reference.payer(found.account_id))


def some_ending(world: TreeWorld, random: Random) -> Event:
    """A settlement or a release of some request."""
    request, attempt = some_request(world, random)
    if random.random() < 0.25:
        return events.released(request, attempt)
    nano = random.choice((0, 1, 1, 2, 10, 40, 150)) if random.random() < 0.97 else -1
    legs = 2 if is_customers(world, request) or random.random() < 0.05 else 1
    parent_nano = random.choice((0, 1, 1, 5, 150, -1)) if legs == 2 else 0
    return trees.paid(request, nano, parent_nano, (random.randrange(12), random.randrange(9)), attempt)


def some_growth(world: TreeWorld, random: Random) -> Event:
    """An extension, or a task."""
    request, attempt = some_request(world, random)
    if random.random() < 0.2:
        return trees.submitted(request, random.choice((0, 1, MINUTE, HOUR, 3 * DAY, 8 * DAY)), attempt)
    legs = 2 if is_customers(world, request) or random.random() < 0.05 else 1
    parent_nano = random.choice((0, 1, 5, 60, -1)) if legs == 2 else 0
    lease_ms = random.choice((0, 1, MINUTE, MINUTE, 12 * MINUTE))
    nano, tokens = random.choice((0, 0, 0, 1, 10, 60, -1)), random.choice((0, 1, 9))
    return trees.grown(request, nano, parent_nano, tokens, attempt, lease_ms)


def some_money(world: TreeWorld, random: Random) -> Event:
    account, other = random.choice(ACCOUNTS), random.choice(ACCOUNTS)
    amount = random.choice((1, 10, 40, world.available(account), world.available(account) + 1, 150, 0, -1))
    kind = random.random()
    if kind < 0.5:
        return events.credit_added(amount, f"pay-{random.randrange(9)}", account)
    if kind < 0.7:
        return trees.reversed_(amount, f"back-{random.randrange(4)}", account)
    to_amount = amount if random.random() < 0.8 else amount + 7
    if random.random() < 0.7:
        account, other = random.choice((("pam", "pia"), ("pam", "can"), ("pia", "cem"), ("org", "pro"), ("pro", "pri")))
    return trees.moved(account, other, amount, to_amount, f"move-{random.randrange(5)}")


def some_policy(world: TreeWorld, random: Random) -> Event:
    """Limits, blocks, markups: of any owner, for any pattern."""
    busy = [owner for key in world.busy for owner in (key, trees.KEYS[key], trees.KINDS[trees.KEYS[key]][2]) if owner]
    owner = random.choice(busy if random.random() < 0.6 else (*OWNERS, "nobody"))
    pattern = random.choice((*PATTERNS, *PATTERNS, "g*a"))
    kind = random.random()
    if kind < 0.6:
        fields = random.sample(LIMITS, random.choice((0, 1, 1, 2)))
        return trees.limited(owner, pattern, **{field: random.choice((0, 1, 2, 3, 5, 20)) for field in fields})
    if kind < 0.7:
        return trees.unlimited(owner, pattern)
    if kind < 0.76:
        return trees.blocked(owner, pattern)
    if kind < 0.9:
        return trees.unblocked(owner, pattern)
    account = random.choice((*ACCOUNTS, "nobody"))
    if kind < 0.96:
        return trees.markup_set(account, pattern, random.choice((0, 3000, 1_000_001)))
    return trees.markup_cleared(account, pattern)


def some_key_event(world: TreeWorld, random: Random) -> Event:
    key = random.choice((*KEYS, "nobody"))
    models = random.choice(((), (), (), ("g/*",), ("x", "g/a"), ("",)))
    policy = trees.policy(random.choice((0, 0, 0, world.log.now_ms + SECOND)), models)
    makers: tuple[Callable[[], Event], ...] = (
        lambda: trees.issued(random.choice(("key-new", key, "ann")), random.choice(ACCOUNTS), policy),
        lambda: trees.key_changed(key, policy),
        lambda: trees.key_changed(key, trees.policy()),
        lambda: trees.rotated(key, random.randrange(9), random.choice((0, SECOND, HOUR, 31 * DAY))),
        lambda: trees.key_suspended(key),
        lambda: trees.key_resumed(key),
        lambda: trees.key_resumed(key),
        lambda: events.key_revoked(key if random.random() < 0.2 else "key-new"),
    )
    return random.choice(makers)()


def some_record(world: TreeWorld, random: Random) -> Event:
    """Rates, models, aliases, accounts, checkpoints."""
    account, model = random.choice(ACCOUNTS), random.choice(MODELS)
    position = random.choice((world.log.state.position // FINGERPRINT_EVERY * FINGERPRINT_EVERY, 3, 10_000))
    fingerprint = world.log.state.fingerprints.get(position, (bytes(32), bytes(32)))
    day, rate = random.choice(("monday", "tuesday", "")), random.choice((0, 40, 41))
    pair = random.choice(((USD, TRY), (USD, TRY), (TRY, USD), (USD, USD)))
    makers: tuple[Callable[[], Event], ...] = (
        lambda: events.account_suspended(account),
        lambda: events.account_resumed(account),
        lambda: events.account_resumed(account),
        lambda: trees.placed(random.choice(("new", account)), random.randrange(8), TRY, random.choice(("", *ACCOUNTS))),
        lambda: trees.rate_set(rate, day, *pair),
        lambda: trees.rate_proposed(rate, day, *pair),
        lambda: trees.model_set(model, random.choice((b"", b"1", b"2"))),
        lambda: trees.model_activated(model),
        lambda: trees.model_deactivated(model),
        lambda: trees.alias_set(random.choice(("y", "x")), model),
        lambda: trees.alias_removed("y"),
        lambda: events.checkpoint(position, *fingerprint),
    )
    return random.choice(makers)()


KINDS = ((some_call, 45), (some_ending, 20), (some_growth, 9), (some_money, 8), (some_policy, 9), (some_key_event, 4))
MAKERS, WEIGHTS = zip(*(*KINDS, (some_record, 5)), strict=True)


def some_event(world: TreeWorld, random: Random) -> Event:
    made: Event = random.choices(MAKERS, WEIGHTS)[0](world, random)
    return made


def some_step(world: TreeWorld, random: Random) -> int:
    """How far time moves: sometimes exactly to a deadline or to midnight in Istanbul, or one millisecond before it."""
    chance, now_ms = random.random(), world.log.now_ms
    deadline_ms = world.log.state.next_deadline_ms()
    if deadline_ms is not None and chance < 0.1:
        return deadline_ms - now_ms - random.randrange(2)
    if chance < 0.2:
        midnight = istanbul(now_ms).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return int(midnight.timestamp() * 1000) - now_ms - random.randrange(2)
    return random.choice(STEPS)


def run_schedule(seed: int) -> TreeWorld:
    """One schedule; the same for the same seed."""
    random, world = Random(seed), TreeWorld(STARTS[seed % len(STARTS)])
    world.busy = tuple(random.sample(KEYS, 2))
    for _ in range(BATCHES):
        world.log.now_ms += some_step(world, random)
        writer, partition = random.choice(WRITERS), random.randrange(2)
        if random.random() < 0.1:
            world.retry(writer, partition, random.randrange(3))
            continue
        batch = [some_event(world, random) for _ in range(random.choice((0, 1, 1, 2, 3, 3, 5, 9)))]
        world.append(*batch, writer=writer, partition=partition)
        if random.random() < 0.1 or seed % REPLAYED == 0:
            world.snapshot()
    world.check_derived()
    if seed % REPLAYED == 0:
        world.replay_every_prefix()
    return world


@pytest.mark.parametrize("part", range(10))
def test_random_schedules_keep_the_invariants(part: int) -> None:
    """A leg that is not charged, a limit that is passed or reset, a balance below zero, replicas that disagree."""
    for seed in range(part, SCHEDULES, 10):
        try:
            run_schedule(seed)
        except Exception as error:
            error.add_note(f"schedule {seed}")
            raise


def test_the_schedules_reach_every_outcome() -> None:
    """The search would prove nothing about what it never meets."""
    reached: set[str] = set()
    for seed in range(120):
        world = run_schedule(seed)
        replica = type(world.twin)()
        for message in world.log.messages:
            reached.update(outcome.code.name for outcome in events.fold(replica, message))
    assert reached == {code.name for code in Code}
