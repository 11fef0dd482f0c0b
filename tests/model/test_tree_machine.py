"""The tree driven by hypothesis, which looks for the shortest history that breaks an invariant."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from proto.onysoft.v1.ledger_pb2 import Event
from tests.model import ledger_log as events
from tests.model import tree_log as trees
from tests.model.test_tree_schedules import LIMITS, PATTERNS, STARTS
from tests.model.tree_world import MODELS, TreeWorld
from tests.model.world import FINGERPRINT_EVERY

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000

keys = st.sampled_from(("key-cem", "key-pro", "key2-pro"))
accounts = st.sampled_from(("pam", "pia", "cem", "org", "pro"))
owners = st.one_of(accounts, keys)
patterns = st.sampled_from(PATTERNS)
models = st.sampled_from(MODELS)
requests = st.integers(0, 4)
attempts = st.integers(1, 3)
amounts = st.integers(-1, 120)
tokens = st.integers(0, 12)
leases = st.sampled_from((1, SECOND, MINUTE, 2 * DAY))
writers = st.sampled_from((b"writer-1", b"writer-2"))


class TreeMachine(RuleBasedStateMachine):
    """Each rule puts one batch, or a retry of one, into the log."""

    @initialize(start_ms=st.sampled_from(STARTS), wait_ms=st.integers(0, DAY))
    def begin(self, start_ms: int, wait_ms: int) -> None:
        self.world = TreeWorld(start_ms + wait_ms)

    def one(self, event: Event, writer: bytes = b"writer-1") -> None:
        self.world.append(event, writer=writer)

    @rule(
        request=requests,
        attempt=attempts,
        key=keys,
        amount=amounts,
        parent=amounts,
        held=tokens,
        model=models,
        free=st.booleans(),
        lease_ms=leases,
        writer=writers,
    )
    def open(
        self,
        request: int,
        attempt: int,
        key: str,
        amount: int,
        parent: int,
        held: int,
        model: str,
        free: bool,
        lease_ms: int,
        writer: bytes,
    ) -> None:
        parent = max(1, parent) if key == "key-cem" and amount else 0
        secret = self.world.secret(key)
        event = trees.call(request, amount, parent, held, key, model, attempt, lease_ms, free, secret)
        self.one(event, writer)

    @rule(request=requests, key=keys, near=st.integers(-1, 1), parent_near=st.integers(-1, 1))
    def open_all(self, request: int, key: str, near: int, parent_near: int) -> None:
        account = trees.KEYS[key]
        amount = self.world.available(account) + near
        parent = self.world.parent_available(account) + parent_near if account in trees.PAYERS else 0
        self.one(trees.call(request, amount, parent, key=key))

    @rule(request=requests, attempt=attempts, amount=amounts, parent=st.integers(0, 120), used=tokens, writer=writers)
    def settle(self, request: int, attempt: int, amount: int, parent: int, used: int, writer: bytes) -> None:
        self.one(trees.paid(request, amount, parent * (parent % 2), (used, used // 2), attempt), writer)

    @rule(request=requests, attempt=attempts)
    def release(self, request: int, attempt: int) -> None:
        self.one(events.released(request, attempt))

    @rule(request=requests, attempt=attempts, add=amounts, parent=st.integers(0, 20), held=tokens, lease_ms=leases)
    def extend(self, request: int, attempt: int, add: int, parent: int, held: int, lease_ms: int) -> None:
        self.one(trees.grown(request, add, parent * (parent % 2), held, attempt, lease_ms))

    @rule(request=requests, attempt=attempts, lease_ms=leases)
    def submit(self, request: int, attempt: int, lease_ms: int) -> None:
        self.one(trees.submitted(request, lease_ms, attempt))

    @rule(owner=owners, pattern=patterns, field=st.sampled_from(LIMITS), most=st.integers(0, 6))
    def limit(self, owner: str, pattern: str, field: str, most: int) -> None:
        self.one(trees.limited(owner, pattern, **{field: most}))

    @rule(owner=owners, pattern=patterns)
    def clear(self, owner: str, pattern: str) -> None:
        self.one(trees.unlimited(owner, pattern))

    @rule(owner=owners, pattern=patterns, on=st.booleans())
    def block(self, owner: str, pattern: str, on: bool) -> None:
        self.one(trees.blocked(owner, pattern) if on else trees.unblocked(owner, pattern))

    @rule(account=accounts, amount=st.integers(-1, 200), reference=st.integers(0, 5), back=st.booleans())
    def money(self, account: str, amount: int, reference: int, back: bool) -> None:
        maker = trees.reversed_ if back else events.credit_added
        self.one(maker(amount, f"ref-{reference}", account))

    @rule(giver=accounts, taker=accounts, amount=amounts, rate=st.integers(1, 3), reference=st.integers(0, 3))
    def move(self, giver: str, taker: str, amount: int, rate: int, reference: int) -> None:
        self.one(trees.moved(giver, taker, amount, amount * rate, f"move-{reference}"))

    @rule(key=keys, secret=st.integers(0, 9), grace_ms=st.sampled_from((0, SECOND, HOUR)))
    def rotate(self, key: str, secret: int, grace_ms: int) -> None:
        self.one(trees.rotated(key, secret, grace_ms))

    @rule(key=keys, wait_ms=st.sampled_from((0, 0, SECOND, DAY)), allowed=st.lists(patterns, max_size=2))
    def change_key(self, key: str, wait_ms: int, allowed: list[str]) -> None:
        expires_ms = self.world.log.now_ms + wait_ms if wait_ms else 0
        self.one(trees.key_changed(key, trees.policy(expires_ms, tuple(allowed))))

    @rule(key=keys, account=accounts, on=st.booleans(), whole=st.booleans())
    def suspend(self, key: str, account: str, on: bool, whole: bool) -> None:
        if whole:
            self.one(events.account_suspended(account) if on else events.account_resumed(account))
        else:
            self.one(trees.key_suspended(key) if on else trees.key_resumed(key))

    @rule(rate=st.integers(39, 42), day=st.sampled_from(("", "monday", "tuesday")), proposed=st.booleans())
    def exchange(self, rate: int, day: str, proposed: bool) -> None:
        self.one((trees.rate_proposed if proposed else trees.rate_set)(rate, day))

    @rule(writer=writers, back=st.integers(0, 3))
    def retry(self, writer: bytes, back: int) -> None:
        self.world.retry(writer, 0, back)

    @rule(ms=st.sampled_from((1, SECOND, 30 * SECOND, MINUTE, 6 * MINUTE, HOUR, DAY, DAY + MINUTE, 31 * DAY, -MINUTE)))
    def wait(self, ms: int) -> None:
        self.world.log.now_ms += ms

    @precondition(lambda self: self.world.log.state.next_deadline_ms() is not None)
    @rule(early=st.booleans())
    def wait_for_a_deadline(self, early: bool) -> None:
        self.world.log.now_ms = (self.world.log.state.next_deadline_ms() or 0) - early
        self.world.append()

    @rule()
    def snapshot(self) -> None:
        self.world.snapshot()

    @rule()
    def check(self) -> None:
        state = self.world.log.state
        position = state.position // FINGERPRINT_EVERY * FINGERPRINT_EVERY
        self.one(events.checkpoint(position, *state.fingerprints.get(position, (b"", b""))))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.check_derived()
            self.world.replay_every_prefix()


TreeMachine.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestTreeMachine = TreeMachine.TestCase
