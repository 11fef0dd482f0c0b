"""The world of rules version 2: a tree of accounts, keys with policies, limits, blocks, rates and tasks."""

from core.ledger.accounts import Account, Key
from core.ledger.limits import FREE_CALLS_KIND, describe
from core.ledger.outcome import Outcome
from core.ledger.state import State
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import Log, credit_added, fold, key_issued, name
from tests.model.tree_log import KEYS, KINDS, PAYERS, limited, placed, rate_set
from tests.model.tree_reference import DAY, FREE_A_DAY, TreeReference
from tests.model.world import FINGERPRINT_EVERY, World

PER_MINUTE = {"org": 5, "pam": 4, "ann": 3}
MODELS = ("g/a", "g/b", "x")
BALANCE = 100


class TreeWorld(World):
    """Two replicas and the naive reference, under rules version 2."""

    reference: TreeReference

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self.busy: tuple[str, ...] = tuple(KEYS)  # keys that a schedule calls with most
        super().__init__(rules_version=2)

    def _new_reference(self) -> TreeReference:
        self.log = Log(now_ms=self.start_ms)
        return TreeReference(FINGERPRINT_EVERY)

    def _populate(self) -> None:
        accounts = [placed(label, kind, currency, above, 5000) for label, (kind, currency, above) in KINDS.items()]
        self.append(*accounts)
        self.append(*(key_issued(key, account) for key, account in KEYS.items()))
        self.append(*(credit_added(BALANCE, "first", account) for account in KINDS))
        self.append(*(limited(account, requests_per_minute=most) for account, most in PER_MINUTE.items()))
        self.append(rate_set(40 * 10**9, "monday"))

    def secret(self, key: str) -> int:
        """The number of the key's secret now."""
        return self.log.state.keys[name(key)].secret

    def parent_available(self, account: str) -> int:
        """What is free of the account that pays too; 0 where none does."""
        return self.available(PAYERS[account]) if account in PAYERS else 0

    def _count_charge(self, account_id: bytes, event: pb.Event, outcome: Outcome) -> None:
        super()._count_charge(account_id, event, outcome)
        payer = self.reference.payer(account_id)
        if payer:
            self.charged[payer] += outcome.parent_charged_nano
        else:
            assert outcome.parent_charged_nano == outcome.parent_shortfall_nano == 0
        if event.WhichOneof("event") == "request_settled":
            asked = event.request_settled
            assert outcome.charged_nano + outcome.shortfall_nano == asked.charge_nano, "the legs do not sum"
            assert outcome.parent_charged_nano + outcome.parent_shortfall_nano == asked.parent_charge_nano

    def _count_credit(self, event: pb.Event, outcome: Outcome) -> None:
        super()._count_credit(event, outcome)
        kind = event.WhichOneof("event")
        if kind == "credit_reversed":
            self.credited[event.credit_reversed.account_id] -= outcome.charged_nano
        elif kind == "credit_moved":
            self.credited[event.credit_moved.from_account_id] -= event.credit_moved.amount_nano
            self.credited[event.credit_moved.to_account_id] += event.credit_moved.to_amount_nano

    def _room(self, batch: pb.LedgerBatch) -> int | None:
        """For a batch of one settlement: the call's hold and what is free beside all others, were it applied now."""
        if len(batch.events) != 1 or batch.events[0].WhichOneof("event") != "request_settled":
            return None
        request = self.log.state.requests.get(batch.events[0].request_settled.request_id)
        if request is None:
            return None
        state, time_ms = self.log.state, max(self.log.state.time_ms, self.log.now_ms)
        account = state.accounts[request.account_id]
        others = [r for r in state.requests.values() if r is not request and r.deadline_ms > time_ms]
        held = sum(r.hold_nano for r in others if r.account_id == request.account_id)
        held += sum(r.parent_hold_nano for r in others if self.reference.payer(r.account_id) == request.account_id)
        return account.balance_nano - held

    def _balances_hold(self) -> None:
        """Invariant 1 on every account, and that what is held is what open requests hold, on both legs."""
        state = self.log.state
        running = [request for request in state.requests.values() if not request.expired]
        for account_id, account in state.accounts.items():
            own = [request for request in running if request.account_id == account_id]
            below = [request for request in running if self.reference.payer(request.account_id) == account_id]
            assert account.available_nano >= 0, "invariant 1"
            held = sum(request.hold_nano for request in own) + sum(request.parent_hold_nano for request in below)
            assert account.held_nano == held == self.reference.held(account_id)
            assert account.open_holds == len(own)
            assert account.balance_nano == self.reference.balance(account_id)
            assert account.shortfall_nano == self.reference.loss(account_id)
            assert account.receivable_nano == self.reference.receivable(account_id)
            assert (account.credits_nano, account.charges_nano) == (self.credited[account_id], self.charged[account_id])
        assert all(request.deadline_ms > state.time_ms for request in running), "invariant 6"
        assert state.next_deadline_ms() == min((request.deadline_ms for request in running), default=None)

    def check_derived(self) -> None:
        """What no digest has: gauges of two replicas and of a replay, against sums of facts; and records."""
        replayed = State()
        for message in self.log.messages:
            fold(replayed, message)
        for state in (self.log.state, self.twin, replayed):
            owners: list[Account | Key] = [*state.accounts.values(), *state.keys.values()]
            for owner in owners:
                self._check_owner(state, owner)
            for account_id, account in state.accounts.items():
                markups = [account.markup_for(model) for model in MODELS]
                assert markups == [self.reference.markup(account_id, model) for model in MODELS]
            self._check_catalogue(state)

    def _check_owner(self, state: State, owner: Account | Key) -> None:
        reference, owner_id = self.reference, owner.account_id if isinstance(owner, Account) else owner.key_id
        for row in describe(state, owner_id, state.time_ms):
            if row.kind == FREE_CALLS_KIND:
                recent = [at for who, at in reference.free_calls if who == owner_id and at > reference.now - DAY]
                assert (row.used, row.most) == (len(recent), FREE_A_DAY)
                continue
            whole = row.pattern == "*" and row.kind in ("requests_per_minute", "requests_per_day")
            used = reference.used(owner_id, row.kind, row.pattern, whole)
            held = reference.held_tokens(owner_id, row.kind, row.pattern)
            assert (row.used, row.held) == (used, held), row
            assert row.most == reference.limit(owner_id, row.pattern, row.kind)

    def _check_catalogue(self, state: State) -> None:
        reference = self.reference
        assert {model: entry.set for model, entry in state.models.items()} == reference.models
        assert {model for model, entry in state.models.items() if not entry.active} == reference.off
        assert state.aliases == reference.aliases
        for pair, rate in state.rates.items():
            current = reference.rate(*pair)
            assert state.fx_rates.get(pair) == (current and current.rate_nano)
            assert current is None or rate.event == current
            assert rate.proposed == reference.waiting.get(pair)
