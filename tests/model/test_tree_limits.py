"""Limits that stand still while random calls run into them: by how much can one be passed?

A call uses at most the tokens that it holds, as a core makes sure. Then no limit of requests is passed, and a limit
of tokens by no more than the one call that crossed it, wherever in the tree it is set and however holds grow.
"""

from collections import defaultdict
from random import Random

import pytest
from hypothesis import settings

from core.ledger.outcome import Code
from tests.model import tree_log as trees
from tests.model.ledger_log import Log, name, released
from tests.model.tree_log import KEYS, KINDS, PAYERS
from tests.model.tree_windows import DAILY, MINUTE, MONTHLY, window

SCHEDULES = settings().max_examples * 2
STEPS_MS = (0, 0, 0, 0, 0, 1000, 20_000, 60_000, 3_600_000, 86_400_000)
LEASE_MS = 3_000_000_000  # nothing expires: a late settlement has no hold
ALL_REQUESTS = (("requests_per_minute", MINUTE, 6), ("requests_per_day", DAILY, 9))
ALL_TOKENS = (("daily_tokens", DAILY, 60), ("monthly_tokens", MONTHLY, 90))


def above(key: str) -> list[str]:
    """The owners of a key's calls."""
    chain = [key, KEYS[key]]
    while KINDS[chain[-1]][2]:
        chain.append(KINDS[chain[-1]][2])
    return chain


class Watched:
    """A tree with the same limits on every key and account, and what each call has used or holds."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.log: Log = trees.tree(0)
        self.requests: dict[tuple[str, str, object], int] = defaultdict(int)
        self.holding: dict[int, int] = {}
        self.spent: dict[tuple[str, str, object], list[int]] = defaultdict(list)
        self.keys: dict[int, str] = {}
        self.next = 0
        limits = {field: most for field, _, most in ALL_REQUESTS + ALL_TOKENS}
        for owner in (*KINDS, *KEYS):
            self.log.append(trees.limited(owner, "*", **limits))

    def step(self) -> None:
        """One random event about a call."""
        random = self.random
        if not self.holding or random.random() < 0.45:
            self.open(random.choice(tuple(KEYS)), random.choice((1, 2, 5, 10, 70)))
        elif random.random() < 0.45:
            self.grow(random.choice(tuple(self.holding)), random.choice((1, 5, 30)))
        else:
            self.end(random.choice(tuple(self.holding)))

    def open(self, key: str, tokens: int) -> None:
        self.next += 1
        if self.log.code(trees.call(self.next, key=key, tokens=tokens, lease_ms=LEASE_MS)) is Code.ADMITTED:
            self.holding[self.next], self.keys[self.next] = tokens, key
            for owner in above(key):
                for field, kind, _ in ALL_REQUESTS:
                    self.requests[owner, field, window(kind, self.log.now_ms)] += 1

    def grow(self, call: int, tokens: int) -> None:
        if self.log.code(trees.grown(call, tokens=tokens, lease_ms=LEASE_MS)) is Code.EXTENDED:
            self.holding[call] += tokens

    def end(self, call: int) -> None:
        most = self.holding.pop(call)
        if self.random.random() < 0.2:
            assert self.log.code(released(call)) is Code.RELEASED
            return
        used = self.random.randint(0, most)
        assert self.log.code(trees.paid(call, tokens=(used // 2, used - used // 2))) is Code.SETTLED
        for owner in above(self.keys[call]):
            for field, kind, _ in ALL_TOKENS:
                self.spent[owner, field, window(kind, self.log.now_ms)].append(used)

    def check(self) -> None:
        """No limit is passed by more than its last call."""
        for (owner, field, _), count in self.requests.items():
            assert count <= dict((name, most) for name, _, most in ALL_REQUESTS)[field], (owner, field)
        for owner in (*KINDS, *KEYS):
            running = [tokens for call, tokens in self.holding.items() if owner in above(self.keys[call])]
            for field, kind, most in ALL_TOKENS:
                each = self.spent[owner, field, window(kind, self.log.now_ms)] + running
                assert sum(each) - max(each, default=0) < most, (owner, field)


@pytest.mark.parametrize("part", range(4))
def test_no_limit_is_passed_by_more_than_the_call_that_crossed_it(part: int) -> None:
    """A partner or customer would pay for many calls more than it allowed."""
    for seed in range(part, SCHEDULES, 4):
        watched = Watched(Random(seed))
        for _ in range(60):
            watched.log.now_ms += watched.random.choice(STEPS_MS)
            watched.step()
            watched.check()


def test_the_calls_run_into_every_limit() -> None:
    """The search would prove nothing about what it never meets."""
    reached: set[Code] = set()
    for seed in range(20):
        watched = Watched(Random(seed))
        for _ in range(60):
            watched.log.now_ms += watched.random.choice(STEPS_MS)
            watched.step()
        for key in KEYS:
            reached.update(watched.log.codes(*(trees.call(f"{key}{n}"[-12:], key=key) for n in range(12))))
            watched.log.now_ms += 60_000
            reached.update(watched.log.codes(*(trees.call(f"{key}+{n}"[-12:], key=key) for n in range(12))))
    assert reached >= {Code.ADMITTED, Code.MINUTE_LIMIT, Code.DAY_LIMIT, Code.DAILY_TOKENS, Code.MONTHLY_TOKENS}


@pytest.mark.parametrize("customers", [("cem",), ("can",), ("cem", "can")])
def test_what_partners_pay_is_the_sum_of_their_legs(customers: tuple[str, ...]) -> None:
    """A partner's statement would not add up to its customers' calls."""
    random, log = Random(len(customers)), trees.tree(10**12)
    stated: dict[str, int] = defaultdict(int)
    for n in range(300):
        customer = random.choice(customers)
        nano, parent_nano = random.randint(1, 10**10), random.randint(1, 10**9)
        if log.code(trees.call(n, nano, parent_nano, key=f"key-{customer}")) is not Code.ADMITTED:
            continue
        outcome = log.append(trees.paid(n, random.randint(0, 2 * nano), random.randint(0, 2 * parent_nano)))[0]
        stated[customer] += outcome.charged_nano
        stated[PAYERS[customer]] += outcome.parent_charged_nano
    charges = {label: log.state.accounts[name(label)].charges_nano for label in KINDS}
    assert {label: nano for label, nano in charges.items() if nano} == stated
