"""Thousands of random schedules: what would be lost is any customer's money, in an order nobody thought of."""

from random import Random

import pytest
from hypothesis import settings

from core.ledger.outcome import Code
from proto.onysoft.v1.ledger_pb2 import Event
from tests.model import ledger_log as events
from tests.model.world import FINGERPRINT_EVERY, LIMITS, World

SCHEDULES = settings().max_examples * 20
BATCHES = 30
REPLAYED = 11  # of so many schedules one is replayed from every prefix, which costs the square of its length

ACCOUNTS = tuple(LIMITS)
WRITERS = (b"writer-1", b"writer-2", b"writer-3")
SECOND, MINUTE, DAY = 1000, 60_000, 86_400_000
STEPS = (
    0,
    0,
    0,
    0,
    1,
    500,
    SECOND,
    SECOND,
    20 * SECOND,
    MINUTE,
    -5 * SECOND,
    3 * MINUTE,
    6 * MINUTE,
    DAY,
    DAY + MINUTE,
)


def some_event(world: World, random: Random) -> Event:
    """An event about few accounts and requests, so that they meet."""
    request, attempt = random.randrange(6), random.choice((1, 1, 1, 2, 3))
    account = random.choice(ACCOUNTS)
    amount = random.choice((0, 1, 10, 40, world.available(account), world.available(account) + 1, 150))
    lease_ms = random.choice((1, SECOND, 30 * SECOND, 2 * MINUTE, 12 * MINUTE))
    kind = random.random()
    if kind < 0.38:
        return events.opened(request, amount, attempt, account, key_of(account, random), lease_ms)
    if kind < 0.62:
        return events.settled(request, amount if random.random() < 0.95 else -amount - 1, attempt)
    if kind < 0.70:
        return events.released(request, attempt)
    if kind < 0.82:
        return events.extended(request, amount if random.random() < 0.95 else -amount - 1, attempt, lease_ms)
    if kind < 0.90:
        return events.credit_added(random.choice((amount, 100)), f"pay-{random.randrange(9)}", account)
    return rare_event(world, random, account)


def key_of(account: str, random: Random) -> str:
    return f"key-{account}" if random.random() < 0.95 else f"key-{random.choice(ACCOUNTS)}"


def rare_event(world: World, random: Random, account: str) -> Event:
    """Suspensions, revocations, new keys, checkpoints, names of nobody."""
    kind = random.randrange(8)
    if kind == 0:
        return events.account_suspended(account)
    if kind <= 2:
        return events.account_resumed(account)
    if kind == 3:
        return events.key_revoked(f"key-{account}") if random.random() < 0.2 else events.key_revoked("key-2")
    if kind == 4:
        return events.key_issued("key-2", account)
    if kind == 5:
        return events.credit_added(5, "lost", "nobody")
    position = random.choice((world.log.state.position // FINGERPRINT_EVERY * FINGERPRINT_EVERY, 3, 10_000))
    return events.checkpoint(position, *world.log.state.fingerprints.get(position, (bytes(32), bytes(32))))


def some_step(world: World, random: Random) -> int:
    """How far time moves: often not at all, sometimes exactly to a deadline or one millisecond before it."""
    deadline_ms = world.log.state.next_deadline_ms()
    if deadline_ms is not None and random.random() < 0.1:
        return deadline_ms - world.log.now_ms - random.randrange(2)
    return random.choice(STEPS)


def run_schedule(seed: int) -> World:
    """One schedule; the same for the same seed."""
    random, world = Random(seed), World(1 + seed % 2)
    if random.random() < 0.5:
        world.log.now_ms += random.randrange(DAY)
    for _ in range(BATCHES):
        world.log.now_ms += some_step(world, random)
        writer, partition = random.choice(WRITERS), random.randrange(2)
        if random.random() < 0.15:
            world.retry(writer, partition, random.randrange(3))
            continue
        batch = [some_event(world, random) for _ in range(random.choice((0, 1, 1, 1, 1, 2, 3, 8)))]
        world.append(*batch, writer=writer, partition=partition)
        if random.random() < 0.1 or seed % REPLAYED == 0:
            world.snapshot()
    if seed % REPLAYED == 0:
        world.replay_every_prefix()
    return world


OF_TREES = frozenset(code for code in Code if code >= 50)
"""Outcomes that need partners, limits by model or tasks: `test_tree_schedules` reaches them."""


@pytest.mark.parametrize("part", range(10))
def test_random_schedules_keep_the_invariants(part: int) -> None:
    """A balance below zero, a call charged twice, a hold that never ends, or two replicas that disagree."""
    for seed in range(part, SCHEDULES, 10):
        try:
            run_schedule(seed)
        except Exception as error:
            error.add_note(f"schedule {seed}")
            raise


def test_the_schedules_reach_every_outcome() -> None:
    """The search would prove nothing about what it never meets."""
    reached: set[str] = set()
    for seed in range(60):
        world = run_schedule(seed)
        replica = type(world.twin)()
        for message in world.log.messages:
            reached.update(outcome.code.name for outcome in events.fold(replica, message))
    assert reached == {code.name for code in Code if code not in OF_TREES}
