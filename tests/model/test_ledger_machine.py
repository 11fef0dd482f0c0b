"""The same world driven by hypothesis, which looks for the shortest history that breaks an invariant."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from proto.onysoft.v1.ledger_pb2 import Event
from tests.model import ledger_log as events
from tests.model.world import FINGERPRINT_EVERY, LIMITS, World

SECOND, MINUTE, DAY = 1000, 60_000, 86_400_000

accounts = st.sampled_from(tuple(LIMITS))
requests = st.integers(0, 4)
attempts = st.integers(1, 3)
amounts = st.one_of(st.integers(-2, 120), st.integers(0, 10**20 // 100))
around_free = st.integers(-2, 1)
leases = st.sampled_from((1, SECOND, MINUTE, 15 * MINUTE))
writers = st.sampled_from((b"writer-1", b"writer-2"))
partitions = st.integers(0, 1)


class LedgerMachine(RuleBasedStateMachine):
    """Each rule puts one batch, or a retry of one, into the log."""

    @initialize(wait_ms=st.integers(0, DAY), rules_version=st.sampled_from((1, 2)))
    def begin(self, wait_ms: int, rules_version: int) -> None:
        self.world = World(rules_version)
        self.world.log.now_ms += wait_ms

    def one(self, event: Event, writer: bytes = b"writer-1") -> None:
        self.world.append(event, writer=writer)

    @rule(request=requests, attempt=attempts, account=accounts, amount=amounts, lease_ms=leases, writer=writers)
    def open(self, request: int, attempt: int, account: str, amount: int, lease_ms: int, writer: bytes) -> None:
        amount = max(-1, min(amount, 10**18))
        self.one(events.opened(request, amount, attempt, account, lease_ms=lease_ms), writer)

    @rule(request=requests, attempt=attempts, account=accounts, near=around_free, lease_ms=leases, writer=writers)
    def open_all(self, request: int, attempt: int, account: str, near: int, lease_ms: int, writer: bytes) -> None:
        amount = self.world.available(account) + near
        self.one(events.opened(request, amount, attempt, account, lease_ms=lease_ms), writer)

    @rule(request=requests, attempt=attempts, amount=amounts, writer=writers)
    def settle(self, request: int, attempt: int, amount: int, writer: bytes) -> None:
        self.one(events.settled(request, min(amount, 10**18), attempt), writer)

    @rule(request=requests, attempt=attempts, writer=writers)
    def release(self, request: int, attempt: int, writer: bytes) -> None:
        self.one(events.released(request, attempt), writer)

    @rule(request=requests, attempt=attempts, add=st.integers(-1, 60), lease_ms=leases, writer=writers)
    def extend(self, request: int, attempt: int, add: int, lease_ms: int, writer: bytes) -> None:
        self.one(events.extended(request, add, attempt, lease_ms), writer)

    @rule(account=accounts, amount=st.integers(-1, 500), reference=st.integers(0, 5), writer=writers)
    def credit(self, account: str, amount: int, reference: int, writer: bytes) -> None:
        self.one(events.credit_added(amount, f"pay-{reference}", account), writer)

    @rule(account=accounts, suspend=st.booleans())
    def suspend(self, account: str, suspend: bool) -> None:
        self.one(events.account_suspended(account) if suspend else events.account_resumed(account))

    @rule(account=accounts)
    def revoke(self, account: str) -> None:
        self.one(events.key_revoked(f"key-{account}"))

    @rule(drawn=st.lists(st.tuples(requests, attempts, accounts, st.integers(0, 120)), max_size=6), writer=writers)
    def many(self, drawn: list[tuple[int, int, str, int]], writer: bytes) -> None:
        batch = []
        for request, attempt, account, amount in drawn:
            batch.append(events.opened(request, amount, attempt, account))
            if amount % 2:
                batch.append(events.settled(request, amount // 2, attempt))
        self.world.append(*batch, writer=writer, partition=1)

    @rule(writer=writers, partition=partitions, back=st.integers(0, 3))
    def retry(self, writer: bytes, partition: int, back: int) -> None:
        self.world.retry(writer, partition, back)

    @rule(ms=st.sampled_from((1, SECOND, 30 * SECOND, MINUTE, 6 * MINUTE, DAY, DAY + MINUTE, -MINUTE)))
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
            self.world.replay_every_prefix()


LedgerMachine.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestLedgerMachine = LedgerMachine.TestCase
