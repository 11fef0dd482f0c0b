"""Events of rules version 2 for tests, and a log with a tree of accounts.

    pam (partner, USD) ── pia (partner project, USD) ── cem (partner customer, TRY)
                       └─ can (partner customer, TRY)
    org (organisation) ── pro, pri (projects)            ann (user)

Each account below which no other is has a key `key-<account>`; `pro` has a second one, `key2-pro`.
"""

from core.ledger.outcome import Outcome
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import LEASE_MS, START_MS, TRY, Log, credit_added, key_issued, name, rules_activated

USD = TRY
"""Nano-units of one dollar."""

KINDS = {
    "pam": (pb.PARTNER, pb.USD, ""),
    "pia": (pb.PARTNER_PROJECT, pb.USD, "pam"),
    "cem": (pb.PARTNER_CUSTOMER, pb.TRY, "pia"),
    "can": (pb.PARTNER_CUSTOMER, pb.TRY, "pam"),
    "org": (pb.ORGANISATION, pb.TRY, ""),
    "pro": (pb.PROJECT, pb.TRY, "org"),
    "pri": (pb.PROJECT, pb.TRY, "org"),
    "ann": (pb.USER, pb.TRY, ""),
}
"""Account → kind, currency, the account above."""

KEYS = {f"key-{account}": account for account in ("pia", "cem", "can", "pro", "pri", "ann")} | {"key2-pro": "pro"}
"""Key → its account."""

PAYERS = {"cem": "pia", "can": "pam"}
"""Partner customer → the account whose balance its calls move too."""


def placed(account: str, kind: int = pb.USER, currency: int = pb.TRY, above: str = "", markup_bps: int = 0) -> pb.Event:
    """An account is opened, perhaps under another."""
    event = pb.AccountOpened(account_id=name(account), markup_bps=markup_bps)
    event.kind, event.currency = pb.AccountKind.ValueType(kind), pb.Currency.ValueType(currency)
    event.parent_id = name(above) if above else b""
    return pb.Event(account_opened=event)


def reversed_(amount_nano: int, reference: str = "back-1", account: str = "ann") -> pb.Event:
    event = pb.CreditReversed(account_id=name(account), amount_nano=amount_nano, reference=reference)
    return pb.Event(credit_reversed=event)


def moved(giver: str, taker: str, amount_nano: int, to_amount_nano: int, reference: str = "move-1") -> pb.Event:
    event = pb.CreditMoved(from_account_id=name(giver), to_account_id=name(taker), reference=reference)
    event.amount_nano, event.to_amount_nano = amount_nano, to_amount_nano
    return pb.Event(credit_moved=event)


def policy(expires_ms: int = 0, models: tuple[str, ...] = (), ips: tuple[str, ...] = ()) -> pb.KeyPolicy:
    return pb.KeyPolicy(expires_ms=expires_ms, allowed_models=models, allowed_ips=ips)


def issued(key: str, account: str, its: pb.KeyPolicy | None = None) -> pb.Event:
    """A key with a policy."""
    event = key_issued(key, account)
    if its is not None:
        event.key_issued.policy.CopyFrom(its)
    return event


def key_changed(key: str, its: pb.KeyPolicy) -> pb.Event:
    return pb.Event(key_changed=pb.KeyChanged(key_id=name(key), policy=its))


def secret_hash(label: str | int) -> bytes:
    return str(label).encode().rjust(32, b"@")


def rotated(key: str, secret: str | int, grace_ms: int = 0) -> pb.Event:
    event = pb.KeyRotated(key_id=name(key), key_hash=secret_hash(secret), grace_ms=grace_ms)
    return pb.Event(key_rotated=event)


def key_suspended(key: str) -> pb.Event:
    return pb.Event(key_suspended=pb.KeySuspended(key_id=name(key)))


def key_resumed(key: str) -> pb.Event:
    return pb.Event(key_resumed=pb.KeyResumed(key_id=name(key)))


def limited(owner: str, pattern: str = "*", **limits: int) -> pb.Event:
    """`limits`: fields of LimitSet."""
    event = pb.LimitSet(owner_id=name(owner), pattern=pattern)
    for field, most in limits.items():
        setattr(event, field, most)
    return pb.Event(limit_set=event)


def unlimited(owner: str, pattern: str = "*") -> pb.Event:
    return pb.Event(limit_cleared=pb.LimitCleared(owner_id=name(owner), pattern=pattern))


def blocked(owner: str, pattern: str = "*") -> pb.Event:
    return pb.Event(model_blocked=pb.ModelBlocked(owner_id=name(owner), pattern=pattern))


def unblocked(owner: str, pattern: str = "*") -> pb.Event:
    return pb.Event(model_unblocked=pb.ModelUnblocked(owner_id=name(owner), pattern=pattern))


def markup_set(account: str, pattern: str, markup_bps: int) -> pb.Event:
    event = pb.MarkupSet(account_id=name(account), pattern=pattern, markup_bps=markup_bps)
    return pb.Event(markup_set=event)


def markup_cleared(account: str, pattern: str) -> pb.Event:
    return pb.Event(markup_cleared=pb.MarkupCleared(account_id=name(account), pattern=pattern))


def rate_set(rate_nano: int, reference: str = "", base: int = pb.USD, quote: int = pb.TRY) -> pb.Event:
    event = pb.FxRateSet(rate_nano=rate_nano, reference=reference, source="manual")
    event.base, event.quote = pb.Currency.ValueType(base), pb.Currency.ValueType(quote)
    return pb.Event(fx_rate_set=event)


def rate_proposed(rate_nano: int, reference: str = "", base: int = pb.USD, quote: int = pb.TRY) -> pb.Event:
    event = pb.FxRateProposed(rate_nano=rate_nano, reference=reference, source="tcmb")
    event.base, event.quote = pb.Currency.ValueType(base), pb.Currency.ValueType(quote)
    return pb.Event(fx_rate_proposed=event)


def model_set(model: str, price: bytes = b"{}", kind: str = "chat") -> pb.Event:
    return pb.Event(model_set=pb.ModelSet(model_id=model, kind=kind, price=price, price_version=b"12345678"))


def model_activated(model: str) -> pb.Event:
    return pb.Event(model_activated=pb.ModelActivated(model_id=model))


def model_deactivated(model: str) -> pb.Event:
    return pb.Event(model_deactivated=pb.ModelDeactivated(model_id=model))


def alias_set(alias: str, model: str) -> pb.Event:
    return pb.Event(alias_set=pb.AliasSet(alias=alias, model_id=model))


def alias_removed(alias: str) -> pb.Event:
    return pb.Event(alias_removed=pb.AliasRemoved(alias=alias))


def call(
    request: str | int,
    hold_nano: int = 0,
    parent_nano: int = 0,
    tokens: int = 0,
    key: str = "key-ann",
    model: str = "m",
    attempt: int = 1,
    lease_ms: int = LEASE_MS,
    free: bool = False,
    secret: int = 0,
    account: str | None = None,
) -> pb.Event:
    """A request is opened by a key, for its account unless another is named."""
    event = pb.RequestOpened(request_id=name(request), attempt=attempt, model=model, free=free, key_secret=secret)
    event.account_id, event.key_id = name(account or KEYS.get(key, "ann")), name(key)
    event.hold_nano, event.parent_hold_nano, event.hold_tokens = hold_nano, parent_nano, tokens
    event.lease_ms = lease_ms
    return pb.Event(request_opened=event)


def grown(
    request: str | int, nano: int = 0, parent_nano: int = 0, tokens: int = 0, attempt: int = 1, lease_ms: int = LEASE_MS
) -> pb.Event:
    event = pb.HoldExtended(request_id=name(request), attempt=attempt, add_nano=nano, lease_ms=lease_ms)
    event.add_parent_nano, event.add_tokens = parent_nano, tokens
    return pb.Event(hold_extended=event)


def submitted(request: str | int, lease_ms: int = 3_600_000, attempt: int = 1, task: str = "t-1") -> pb.Event:
    event = pb.TaskSubmitted(request_id=name(request), attempt=attempt, provider="kie", provider_task_id=task)
    event.lease_ms = lease_ms
    return pb.Event(task_submitted=event)


def paid(
    request: str | int, charge_nano: int = 0, parent_nano: int = 0, tokens: tuple[int, int] = (0, 0), attempt: int = 1
) -> pb.Event:
    """A request is settled; `tokens` are those of prompt and completion."""
    event = pb.RequestSettled(request_id=name(request), attempt=attempt, charge_nano=charge_nano)
    event.parent_charge_nano = parent_nano
    event.prompt_tokens, event.completion_tokens = tokens
    return pb.Event(request_settled=event)


class TreeLog(Log):
    """A log that takes the digest anew after each message: what a handler forgot to mark would show only later."""

    def put(self, payload: bytes, partition: int = 0, position: int | None = None) -> list[Outcome]:
        outcomes = super().put(payload, partition, position)
        state = self.state
        digest, changed = state.digest(), set(state._changed_accounts)
        state.dirty_accounts.update(state.accounts)
        state.dirty_keys.update(state.keys)
        for owner in (*state.accounts.values(), *state.keys.values()):
            owner.dirty_uses.update(owner.uses)
        assert state.digest() == digest, "a change is in no digest"
        state._changed_accounts = changed
        return outcomes


def tree(balance_nano: int = 100 * TRY, now_ms: int = START_MS) -> Log:
    """A log under rules version 2 with the accounts and keys above, each account with the same balance."""
    log = TreeLog(now_ms=now_ms)
    log.append(rules_activated(2))
    for account, (kind, currency, above) in KINDS.items():
        log.append(placed(account, kind, currency, above))
        if balance_nano:
            log.append(credit_added(balance_nano, account=account))
    log.append(*(key_issued(key, account) for key, account in KEYS.items()))
    return log
