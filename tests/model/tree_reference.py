"""What the ledger should say under rules version 2, worked out naively: facts in lists, and sums over them.

Written apart from core/ledger, from the contract in words; it shares nothing with it but the event messages. Windows
come from the time zone database. No counter is kept: what a limit has used is counted anew for every question, so a
limit that changes cannot lose any of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.reference import DAY, Attempt, Verdict
from tests.model.tree_records import TreeRecords
from tests.model.tree_windows import DAILY, MINUTE, MONTHLY, closest, fits, sound, turns, window

FIELDS = {
    "requests_per_minute": ("MINUTE_LIMIT", MINUTE),
    "requests_per_day": ("DAY_LIMIT", DAILY),
    "daily_requests": ("DAILY_REQUESTS", DAILY),
    "daily_tokens": ("DAILY_TOKENS", DAILY),
    "monthly_tokens": ("MONTHLY_TOKENS", MONTHLY),
}
"""Limits in the order of the questions: the refusal, and the window."""

WHOLE = ("requests_per_minute", "requests_per_day")
TOKENS = ("daily_tokens", "monthly_tokens")
MOST_TOKENS = 2**40
LONGEST_TASK = 7 * DAY
FREE_A_DAY = 5


@dataclass
class Call(Attempt):
    """One admitted attempt, with what it holds beside its account's money."""

    key: bytes = b""
    model: str = ""
    parent_holds: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    task: bool = False


@dataclass(frozen=True)
class Use:
    """Something that counts: one request (no tokens), or the tokens of a settlement."""

    at: int
    owners: tuple[bytes, ...]
    model: str
    tokens: int | None


class TreeReference(TreeRecords):
    """The ledger in words, rules version 2."""

    def __init__(self, fingerprint_every: int) -> None:
        super().__init__(fingerprint_every)
        self.calls: list[Call] = []
        self.uses: list[Use] = []
        self.free_calls: list[tuple[bytes, int]] = []
        self.limits: dict[tuple[bytes, str], dict[str, int]] = {}  # owner and limit → pattern → as it was set last
        self.blocks: list[tuple[bytes, str]] = []
        self.attempts = self.calls  # type: ignore[assignment]

    def running(self) -> list[Call]:
        return [call for call in self.calls if call.ended_ms is None and call.deadline > self.now]

    def held(self, account: bytes) -> int:
        own = sum(call.hold for call in self.running() if call.account == account)
        return own + sum(sum(call.parent_holds) for call in self.running() if self.payer(call.account) == account)

    def owners(self, call: Call) -> tuple[bytes, ...]:
        return (call.key, *self.chain(call.account))

    def known_owner(self, owner: bytes) -> bool:
        return owner in self.accounts or owner in self.keys

    def opened_with(self, it: pb.AccountOpened) -> None:
        for each in WHOLE:
            self.set_limit(it.account_id, "*", each, getattr(it, each))

    def limit(self, owner: bytes, pattern: str, name: str) -> int:
        """As it was set last; 0: none."""
        return self.limits.get((owner, name), {}).get(pattern, 0)

    def set_limit(self, owner: bytes, pattern: str, name: str, most: int) -> None:
        self.limits.setdefault((owner, name), {})[pattern] = most

    def patterns(self, owner: bytes, name: str) -> list[str]:
        """Patterns under which the owner has this limit; those on all calls together stand apart."""
        named = self.limits.get((owner, name), {})
        return [p for p, most in named.items() if most and not (p == "*" and name in WHOLE)]

    def limit_set(self, it: pb.LimitSet) -> Verdict:
        if not self.known_owner(it.owner_id):
            return Verdict("NOT_FOUND")
        named = [each for each in FIELDS if it.HasField(each)]  # type: ignore[arg-type]
        if not sound(it.pattern) or not named:
            return Verdict("INVALID")
        for each in named:
            self.set_limit(it.owner_id, it.pattern, each, getattr(it, each))
        return Verdict("APPLIED")

    def limit_cleared(self, it: pb.LimitCleared) -> Verdict:
        if not self.known_owner(it.owner_id):
            return Verdict("NOT_FOUND")
        if not sound(it.pattern):
            return Verdict("INVALID")
        for each in FIELDS:
            self.set_limit(it.owner_id, it.pattern, each, 0)
        return Verdict("APPLIED")

    def used(self, owner: bytes, name: str, pattern: str, whole: bool = False) -> int:
        """What counts in this window under a limit: of the models that its pattern governs, or of all."""
        kind = FIELDS[name][1]
        patterns = self.patterns(owner, name)
        facts = [use for use in self.uses if owner in use.owners and window(kind, use.at) == window(kind, self.now)]
        facts = [use for use in facts if (use.tokens is not None) == (name in TOKENS)]
        return sum(
            1 if use.tokens is None else use.tokens for use in facts if whole or closest(patterns, use.model) == pattern
        )

    def held_tokens(self, owner: bytes, name: str, pattern: str) -> int:
        if name not in TOKENS:
            return 0
        patterns = self.patterns(owner, name)
        mine = [call for call in self.running() if owner in self.owners(call)]
        return sum(sum(call.tokens) for call in mine if closest(patterns, call.model) == pattern)

    def exceeded(self, owners: Iterable[bytes], model: str) -> str | None:
        """The first limit that is reached, in the order of fields."""
        owners = tuple(owners)
        for name in FIELDS:
            for owner in owners:
                whole = self.limit(owner, "*", name) if name in WHOLE else 0
                if whole and self.used(owner, name, "*", whole=True) >= whole:
                    return name
                pattern = closest(self.patterns(owner, name), model)
                if pattern is not None:
                    so_far = self.used(owner, name, pattern) + self.held_tokens(owner, name, pattern)
                    if so_far >= self.limit(owner, pattern, name):
                        return name
        return None

    def others_are_at_the_limit(self, call: Call) -> bool:
        for owner in self.owners(call):
            for name in TOKENS:
                pattern = closest(self.patterns(owner, name), call.model)
                if pattern is not None:
                    so_far = self.used(owner, name, pattern) + self.held_tokens(owner, name, pattern)
                    if so_far - sum(call.tokens) >= self.limit(owner, pattern, name):
                        return True
        return False

    def block(self, owner: bytes, pattern: str, on: bool) -> Verdict:
        if not self.known_owner(owner):
            return Verdict("NOT_FOUND")
        if not sound(pattern):
            return Verdict("INVALID")
        if ((owner, pattern) in self.blocks) == on:
            return Verdict("EXISTS")
        if on:
            self.blocks.append((owner, pattern))
        else:
            self.blocks.remove((owner, pattern))
        return Verdict("APPLIED")

    def model_blocked(self, it: pb.ModelBlocked) -> Verdict:
        return self.block(it.owner_id, it.pattern, True)

    def model_unblocked(self, it: pb.ModelUnblocked) -> Verdict:
        return self.block(it.owner_id, it.pattern, False)

    # Calls

    def contradicts(self, it: pb.RequestOpened) -> bool:
        if it.account_id not in self.accounts or min(it.hold_nano, it.parent_hold_nano) < 0:
            return True
        if not 1 <= it.attempt <= 254 or it.lease_ms == 0 or it.hold_tokens > MOST_TOKENS:
            return True
        if self.payer(it.account_id):
            return (it.hold_nano > 0) != (it.parent_hold_nano > 0)
        return it.parent_hold_nano > 0

    def stands_against(self, it: pb.RequestOpened) -> str | None:
        """Why this caller may not call this model at all."""
        its = self.policies[it.key_id]
        expired = its.expires_ms != 0 and self.now >= its.expires_ms
        if it.key_id in self.revoked or expired or not self.secret_counts(it.key_id, it.key_secret):
            return "KEY_REFUSED"
        if it.key_id in self.resting:
            return "KEY_SUSPENDED"
        if self.suspended & set(self.chain(it.account_id)):
            return "SUSPENDED"
        if its.allowed_models and closest(its.allowed_models, it.model) is None:
            return "KEY_MODEL_REFUSED"
        owners = (it.key_id, *self.chain(it.account_id))
        if any(owner in owners and fits(pattern, it.model) for owner, pattern in self.blocks):
            return "MODEL_BLOCKED"
        return None

    def uncovered(self, account: bytes, nano: int, parent_nano: int) -> str | None:
        if nano > self.free(account):
            return "INSUFFICIENT" if nano > self.balance(account) else "HELD"
        payer = self.payer(account)
        if parent_nano and parent_nano > self.free(payer):
            return "PARENT_INSUFFICIENT" if parent_nano > self.balance(payer) else "PARENT_HELD"
        return None

    def request_opened(self, it: pb.RequestOpened) -> Verdict:
        if self.contradicts(it):
            return Verdict("INVALID")
        if it.attempt <= self.shut(it.request_id):
            return Verdict("ALREADY_ENDED")
        before = self.pending(it.request_id)
        assert before is None or isinstance(before, Call)
        if before is not None and (it.attempt <= before.number or it.account_id != before.account or before.task):
            return Verdict("STALE_ATTEMPT")
        if before is not None:
            before.ended_ms = self.now
        verdict = self.decided(it, counts=before is None)
        return verdict._replace(superseded=before.number if before else 0)

    def decided(self, it: pb.RequestOpened, counts: bool) -> Verdict:
        chain = self.chain(it.account_id)
        if it.key_id not in self.keys or self.keys[it.key_id].account_id != it.account_id:
            return self.shown("KEY_REFUSED", it.account_id, chain, it.model)
        owners = (it.key_id, *chain)
        refusal = self.stands_against(it)
        if refusal is not None:
            return self.shown(refusal, it.account_id, owners, it.model)
        free_at = sorted(at for who, at in self.free_calls if who == it.account_id and at > self.now - DAY)
        if counts and it.free and len(free_at) >= FREE_A_DAY:
            reset = (free_at[0] + DAY + 999) // 1000
            return self.shown("FREE_LIMIT", it.account_id, owners, it.model)._replace(reset_s=reset)
        name = self.exceeded(owners, it.model) if counts else None
        if name is not None:
            code, kind = FIELDS[name]
            return self.shown(code, it.account_id, owners, it.model)._replace(reset_s=turns(kind, self.now))
        refusal = self.uncovered(it.account_id, it.hold_nano, it.parent_hold_nano)
        if refusal is None:
            self.admit(it, owners, counts)
        return self.shown(refusal or "ADMITTED", it.account_id, owners, it.model)

    def admit(self, it: pb.RequestOpened, owners: tuple[bytes, ...], counts: bool) -> None:
        if counts:
            self.uses.append(Use(self.now, owners, it.model, None))
            if it.free:
                self.free_calls.append((it.account_id, self.now))
        call = Call(it.request_id, it.attempt, it.account_id, [it.hold_nano], [self.now + it.lease_ms])
        call.key, call.model = it.key_id, it.model
        call.parent_holds.append(it.parent_hold_nano)
        call.tokens.append(it.hold_tokens)
        self.calls.append(call)

    def shown(self, code: str, account: bytes, owners: tuple[bytes, ...], model: str) -> Verdict:
        """With the limit per minute that has the least left: the first such, the caller's own before those above."""
        name, rows = "requests_per_minute", []
        for owner in owners:
            whole = self.limit(owner, "*", name)
            if whole:
                rows.append((whole, max(0, whole - self.used(owner, name, "*", whole=True))))
            pattern = closest(self.patterns(owner, name), model)
            if pattern is not None:
                most = self.limit(owner, pattern, name)
                rows.append((most, max(0, most - self.used(owner, name, pattern))))
        limit, remaining = min(rows, key=lambda row: row[1], default=(0, 0))
        return Verdict(
            code,
            available_nano=self.free(account),
            limit=limit,
            remaining=remaining,
            reset_s=turns(MINUTE, self.now),
        )

    def hold_extended(self, it: pb.HoldExtended) -> Verdict:
        call = self.ongoing(it.request_id, it.attempt)
        if call is None:
            return Verdict("NOT_OPEN")
        if min(it.add_nano, it.add_parent_nano) < 0 or it.lease_ms == 0:
            return Verdict("INVALID")
        if sum(call.tokens) + it.add_tokens > MOST_TOKENS or (it.add_parent_nano and not self.payer(call.account)):
            return Verdict("INVALID")
        if self.uncovered(call.account, it.add_nano, it.add_parent_nano) is not None:
            return Verdict("EXTENSION_REFUSED")
        if it.add_tokens and self.others_are_at_the_limit(call):
            return Verdict("EXTENSION_REFUSED")
        call.holds.append(it.add_nano)
        call.parent_holds.append(it.add_parent_nano)
        call.tokens.append(it.add_tokens)
        call.deadlines.append(self.now + it.lease_ms)
        return Verdict("EXTENDED")

    def ongoing(self, request: bytes, number: int) -> Call | None:
        """The attempt, if it runs."""
        return next((c for c in self.running() if (c.request, c.number) == (request, number)), None)

    def task_submitted(self, it: pb.TaskSubmitted) -> Verdict:
        call = self.ongoing(it.request_id, it.attempt)
        if call is None:
            return Verdict("NOT_OPEN")
        if it.provider == "" or it.provider_task_id == "" or not 1 <= it.lease_ms <= LONGEST_TASK:
            return Verdict("INVALID")
        if call.task:
            return Verdict("EXISTS")
        call.task = True
        call.deadlines.append(self.now + it.lease_ms)
        return Verdict("SUBMITTED")

    def request_settled(self, it: pb.RequestSettled) -> Verdict:
        call = self.pending(it.request_id)
        if call is None or call.number != it.attempt:
            return Verdict("NOT_OPEN")
        assert isinstance(call, Call)
        payer = self.payer(call.account)
        if min(it.charge_nano, it.parent_charge_nano) < 0 or (it.parent_charge_nano and not payer):
            return Verdict("INVALID")
        late = call.deadline <= self.now
        call.ended_ms, call.settled = self.now, True
        charged = 0 if late and call.task else min(it.charge_nano, self.free(call.account))
        self.charges.append((call.account, charged))
        self.losses.append((call.account, it.charge_nano - charged))
        parent_charged = 0
        if payer:
            parent_charged = 0 if late and call.task else min(it.parent_charge_nano, self.free(payer))
            self.charges.append((payer, parent_charged))
            self.losses.append((payer, it.parent_charge_nano - parent_charged))
        owners = self.owners(call)
        self.uses.append(Use(self.now, owners, call.model, it.prompt_tokens + it.completion_tokens))
        return self.shown("SETTLED_LATE" if late else "SETTLED", call.account, owners, call.model)._replace(
            charged_nano=charged,
            shortfall_nano=it.charge_nano - charged,
            parent_charged_nano=parent_charged,
            parent_shortfall_nano=it.parent_charge_nano - parent_charged,
        )
