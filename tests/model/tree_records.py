"""The naive reference's accounts, money, keys, markups, rates and models under rules version 2."""

from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.reference import DAY, Reference, Verdict
from tests.model.tree_windows import closest, sound

MOST_MARKUP = 1_000_000
LONGEST_GRACE = 30 * DAY

PARENTS = {
    pb.USER: {0},
    pb.PARTNER: {0},
    pb.ORGANISATION: {0},
    pb.PROJECT: {0, pb.ORGANISATION},
    pb.PARTNER_PROJECT: {pb.PARTNER},
    pb.PARTNER_CUSTOMER: {pb.PARTNER, pb.PARTNER_PROJECT},
}
"""Kind of account → kinds that may stand above it; 0: none."""


class TreeRecords(Reference):
    """What people set down; the calls are in `tree_reference`."""

    def __init__(self, fingerprint_every: int) -> None:
        super().__init__(fingerprint_every)
        self.markups: dict[tuple[bytes, str], int] = {}
        self.reversals: list[tuple[pb.CreditReversed, int]] = []
        self.moves: list[pb.CreditMoved] = []
        self.policies: dict[bytes, pb.KeyPolicy] = {}
        self.rotations: list[tuple[pb.KeyRotated, int]] = []
        self.resting: set[bytes] = set()  # suspended keys
        self.rates: list[pb.FxRateSet] = []
        self.waiting: dict[tuple[int, int], pb.FxRateProposed] = {}
        self.models: dict[str, pb.ModelSet] = {}
        self.off: set[str] = set()
        self.aliases: dict[str, str] = {}

    def chain(self, account: bytes) -> tuple[bytes, ...]:
        """The account and all above it."""
        above = self.accounts[account].parent_id
        return (account, *self.chain(above)) if above else (account,)

    def payer(self, account: bytes) -> bytes:
        """Who pays too; empty where nobody does."""
        opened = self.accounts[account]
        return opened.parent_id if opened.kind == pb.PARTNER_CUSTOMER else b""

    def balance(self, account: bytes) -> int:
        back = sum(taken for it, taken in self.reversals if it.account_id == account)
        given = sum(it.amount_nano for it in self.moves if it.from_account_id == account)
        got = sum(it.to_amount_nano for it in self.moves if it.to_account_id == account)
        return super().balance(account) - back - given + got

    def receivable(self, account: bytes) -> int:
        return sum(it.amount_nano - taken for it, taken in self.reversals if it.account_id == account)

    def opened_with(self, it: pb.AccountOpened) -> None:
        """Limits that come with an account."""

    def account_opened(self, it: pb.AccountOpened) -> Verdict:
        if it.account_id in self.accounts or it.account_id in self.keys:
            return Verdict("EXISTS")
        if it.currency not in (pb.TRY, pb.USD) or it.kind not in PARENTS:
            return Verdict("INVALID")
        if it.markup_bps > MOST_MARKUP:
            return Verdict("INVALID")
        if it.parent_id and it.parent_id not in self.accounts:
            return Verdict("NOT_FOUND")
        above = self.accounts[it.parent_id].kind if it.parent_id else 0
        if above not in PARENTS[it.kind]:
            return Verdict("INVALID")
        self.accounts[it.account_id] = it
        self.opened_with(it)
        self.markups[it.account_id, "*"] = it.markup_bps
        return Verdict("APPLIED")

    def credit_reversed(self, it: pb.CreditReversed) -> Verdict:
        if it.account_id not in self.accounts:
            return Verdict("NOT_FOUND")
        if it.amount_nano < 1 or it.reference == "":
            return Verdict("INVALID")
        if any((b.account_id, b.reference) == (it.account_id, it.reference) for b, _ in self.reversals):
            return Verdict("EXISTS")
        taken = min(it.amount_nano, self.free(it.account_id))
        self.reversals.append((it, taken))
        rest = it.amount_nano - taken
        return Verdict("APPLIED", charged_nano=taken, shortfall_nano=rest, available_nano=self.free(it.account_id))

    def credit_moved(self, it: pb.CreditMoved) -> Verdict:
        if not {it.from_account_id, it.to_account_id} <= self.accounts.keys():
            return Verdict("NOT_FOUND")
        one_tree = self.chain(it.from_account_id)[-1] == self.chain(it.to_account_id)[-1]
        if it.from_account_id == it.to_account_id or not one_tree or it.reference == "":
            return Verdict("INVALID")
        if it.amount_nano < 1 or it.to_amount_nano < 1:
            return Verdict("INVALID")
        currencies = {self.accounts[each].currency for each in (it.from_account_id, it.to_account_id)}
        if len(currencies) == 1 and it.amount_nano != it.to_amount_nano:
            return Verdict("INVALID")
        if any((b.from_account_id, b.reference) == (it.from_account_id, it.reference) for b in self.moves):
            return Verdict("EXISTS")
        if it.amount_nano > self.free(it.from_account_id):
            return Verdict("INSUFFICIENT" if it.amount_nano > self.balance(it.from_account_id) else "HELD")
        self.moves.append(it)
        return Verdict("APPLIED")

    # Keys

    def sound_policy(self, its: pb.KeyPolicy) -> bool:
        few = len(its.allowed_models) <= 100 and len(its.allowed_ips) <= 100
        return few and all(map(sound, its.allowed_models)) and all(1 <= len(ip) <= 200 for ip in its.allowed_ips)

    def key_issued(self, it: pb.KeyIssued) -> Verdict:
        if not self.sound_policy(it.policy):
            return Verdict("INVALID")
        if it.key_id in self.accounts:
            return Verdict("EXISTS")
        if it.account_id in self.accounts and it.key_hash in self.hashes():
            return Verdict("EXISTS")
        verdict = super().key_issued(it)
        if verdict.code == "APPLIED":
            self.policies[it.key_id] = it.policy
        return verdict

    def hashes(self) -> set[bytes]:
        """Of the current secret of each key and the one before."""
        found = set()
        for key, it in self.keys.items():
            found.update(([it.key_hash] + [r.key_hash for r, _ in self.rotations if r.key_id == key])[-2:])
        return found

    def key_changed(self, it: pb.KeyChanged) -> Verdict:
        if it.key_id not in self.keys:
            return Verdict("NOT_FOUND")
        if not self.sound_policy(it.policy):
            return Verdict("INVALID")
        self.policies[it.key_id] = it.policy
        return Verdict("APPLIED")

    def key_rotated(self, it: pb.KeyRotated) -> Verdict:
        if it.key_id not in self.keys:
            return Verdict("NOT_FOUND")
        if it.key_hash in self.hashes():
            return Verdict("EXISTS")
        if len(it.key_hash) != 32 or it.key_id in self.revoked or it.grace_ms > LONGEST_GRACE:
            return Verdict("INVALID")
        self.rotations.append((it, self.now))
        return Verdict("APPLIED")

    def secret_counts(self, key: bytes, secret: int) -> bool:
        turned = [(it, at) for it, at in self.rotations if it.key_id == key]
        if secret == len(turned):
            return True
        return secret == len(turned) - 1 and self.now < turned[-1][1] + turned[-1][0].grace_ms

    def rested(self, key: bytes, rest: bool) -> Verdict:
        if key not in self.keys:
            return Verdict("NOT_FOUND")
        if (key in self.resting) == rest:
            return Verdict("EXISTS")
        self.resting ^= {key}
        return Verdict("APPLIED")

    def key_suspended(self, it: pb.KeySuspended) -> Verdict:
        return self.rested(it.key_id, True)

    def key_resumed(self, it: pb.KeyResumed) -> Verdict:
        return self.rested(it.key_id, False)

    # Markups, rates, models

    def markup_set(self, it: pb.MarkupSet) -> Verdict:
        if it.account_id not in self.accounts:
            return Verdict("NOT_FOUND")
        if not sound(it.pattern) or it.markup_bps > MOST_MARKUP:
            return Verdict("INVALID")
        self.markups[it.account_id, it.pattern] = it.markup_bps
        return Verdict("APPLIED")

    def markup_cleared(self, it: pb.MarkupCleared) -> Verdict:
        if it.pattern == "*" or (it.account_id, it.pattern) not in self.markups:
            return Verdict("NOT_FOUND")
        del self.markups[it.account_id, it.pattern]
        return Verdict("APPLIED")

    def markup(self, account: bytes, model: str) -> int:
        pattern = closest([p for who, p in self.markups if who == account], model)
        assert pattern is not None
        return self.markups[account, pattern]

    def sound_rate(self, it: pb.FxRateSet | pb.FxRateProposed) -> bool:
        return {it.base, it.quote} == {pb.TRY, pb.USD} and it.rate_nano > 0

    def rate(self, base: int, quote: int) -> pb.FxRateSet | None:
        return ([it for it in self.rates if (it.base, it.quote) == (base, quote)] or [None])[-1]

    def fx_rate_set(self, it: pb.FxRateSet) -> Verdict:
        if not self.sound_rate(it):
            return Verdict("INVALID")
        current = self.rate(it.base, it.quote)
        if current is not None and it.reference != "" and it.reference == current.reference:
            return Verdict("EXISTS")
        self.rates.append(it)
        self.waiting.pop((it.base, it.quote), None)
        return Verdict("APPLIED")

    def fx_rate_proposed(self, it: pb.FxRateProposed) -> Verdict:
        if not self.sound_rate(it):
            return Verdict("INVALID")
        current = self.rate(it.base, it.quote)
        taken = current is not None and it.reference != "" and it.reference == current.reference
        if taken or self.waiting.get((it.base, it.quote)) == it:
            return Verdict("EXISTS")
        self.waiting[it.base, it.quote] = it
        return Verdict("APPLIED")

    def model_set(self, it: pb.ModelSet) -> Verdict:
        if not it.price or it.model_id in self.aliases:
            return Verdict("INVALID")
        if self.models.get(it.model_id) == it:
            return Verdict("EXISTS")
        self.models[it.model_id] = it
        return Verdict("APPLIED")

    def switched(self, model: str, on: bool) -> Verdict:
        if model not in self.models:
            return Verdict("NOT_FOUND")
        if (model not in self.off) == on:
            return Verdict("EXISTS")
        self.off ^= {model}
        return Verdict("APPLIED")

    def model_activated(self, it: pb.ModelActivated) -> Verdict:
        return self.switched(it.model_id, True)

    def model_deactivated(self, it: pb.ModelDeactivated) -> Verdict:
        return self.switched(it.model_id, False)

    def alias_set(self, it: pb.AliasSet) -> Verdict:
        if it.model_id not in self.models:
            return Verdict("NOT_FOUND")
        if it.alias in self.models:
            return Verdict("INVALID")
        if self.aliases.get(it.alias) == it.model_id:
            return Verdict("EXISTS")
        self.aliases[it.alias] = it.model_id
        return Verdict("APPLIED")

    def alias_removed(self, it: pb.AliasRemoved) -> Verdict:
        return Verdict("NOT_FOUND" if self.aliases.pop(it.alias, None) is None else "APPLIED")
