"""What each event does: rules version 2. Partners and their customers, limits by model, keys' policies, the catalogue.

Handlers of version 1 whose meaning has not changed are used as they are. Calls and tasks are in `calls_v2`.
"""

from collections.abc import Sequence

from core.ledger import rules
from core.ledger.accounts import Account, Key
from core.ledger.calls_v2 import CALLS
from core.ledger.holds import check
from core.ledger.money import MAX_NANO
from core.ledger.outcome import Code, Outcome
from core.ledger.owners import KINDS, LIMITS_MAX, LimitKind, Owner, is_whole
from core.ledger.patterns import EVERY, is_valid
from core.ledger.records import Model, Rate
from core.ledger.state import State
from core.ledger.windows import DAY_MS
from proto.onysoft.v1 import ledger_pb2 as pb

ALLOWED_MAX = 100
"""Models, and as many address ranges, that a key's policy may name."""

GRACE_MS_MAX = 30 * DAY_MS
"""How long a key's secret may live on after a rotation."""

TEXT_CHARACTERS_MAX = 200
MODELS_MAX = 20_000
MARKUP_BPS_MAX = 1_000_000

_PARENT_KINDS: dict[int, tuple[int, ...]] = {
    pb.PROJECT: (pb.ORGANISATION,),
    pb.PARTNER_PROJECT: (pb.PARTNER,),
    pb.PARTNER_CUSTOMER: (pb.PARTNER, pb.PARTNER_PROJECT),
}
"""What an account's parent must be; kinds that are not here have none. Only a project may do without."""

_KINDS = (*rules.KINDS, pb.ORGANISATION, pb.PARTNER_PROJECT)
_REVERSED = "\0reversed\0"
_MOVED = "\0moved\0"


def _account_opened(state: State, event: pb.AccountOpened) -> Outcome:
    if event.account_id in state.accounts or event.account_id in state.keys:
        return Outcome(Code.EXISTS)
    if len(event.account_id) != 12 or event.currency not in rules.CURRENCIES or event.kind not in _KINDS:
        return Outcome(Code.INVALID)
    if event.markup_bps > MARKUP_BPS_MAX:
        return Outcome(Code.INVALID)
    parent = state.accounts.get(event.parent_id)
    if event.parent_id and parent is None:
        return Outcome(Code.NOT_FOUND)
    allowed = _PARENT_KINDS.get(event.kind, ())
    if (parent is None and allowed and event.kind != pb.PROJECT) or (parent and parent.kind not in allowed):
        return Outcome(Code.INVALID)
    account = Account(event.account_id, event.kind, event.currency, event.markup_bps)
    account.requests_per_minute = event.requests_per_minute
    account.requests_per_day = event.requests_per_day
    if parent is not None:
        account.adopt(parent)
    state.accounts[event.account_id] = account
    state.dirty_accounts.add(event.account_id)
    return Outcome(Code.APPLIED)


def _credit_reversed(state: State, event: pb.CreditReversed) -> Outcome:
    account = state.accounts.get(event.account_id)
    if account is None:
        return Outcome(Code.NOT_FOUND)
    if event.amount_nano <= 0 or not event.reference:
        return Outcome(Code.INVALID)
    reference = _REVERSED + event.reference
    if reference in account.references:
        return Outcome(Code.EXISTS)
    account.add_reference(reference)
    outcome = Outcome(Code.APPLIED)
    outcome.charged_nano = min(event.amount_nano, account.available_nano)
    outcome.shortfall_nano = event.amount_nano - outcome.charged_nano
    account.credits_nano -= outcome.charged_nano
    account.receivable_nano = min(MAX_NANO, account.receivable_nano + outcome.shortfall_nano)
    state.dirty_accounts.add(event.account_id)
    check(account)
    outcome.available_nano = account.available_nano
    return outcome


def _credit_moved(state: State, event: pb.CreditMoved) -> Outcome:
    giver, taker = state.accounts.get(event.from_account_id), state.accounts.get(event.to_account_id)
    if giver is None or taker is None:
        return Outcome(Code.NOT_FOUND)
    if giver is taker or giver.root_id != taker.root_id or not event.reference:
        return Outcome(Code.INVALID)
    if giver.currency == taker.currency and event.amount_nano != event.to_amount_nano:
        return Outcome(Code.INVALID)  # would make money, or lose it
    if min(event.amount_nano, event.to_amount_nano) <= 0 or taker.credits_nano + event.to_amount_nano > MAX_NANO:
        return Outcome(Code.INVALID)
    reference = _MOVED + event.reference
    if reference in giver.references:
        return Outcome(Code.EXISTS)
    if event.amount_nano > giver.available_nano:
        return Outcome(Code.HELD if event.amount_nano <= giver.balance_nano else Code.INSUFFICIENT)
    giver.add_reference(reference)
    giver.credits_nano -= event.amount_nano
    taker.credits_nano += event.to_amount_nano
    state.dirty_accounts.update((event.from_account_id, event.to_account_id))
    check(giver)
    return Outcome(Code.APPLIED)


def _is_policy_valid(policy: pb.KeyPolicy) -> bool:
    return (
        len(policy.allowed_models) <= ALLOWED_MAX
        and len(policy.allowed_ips) <= ALLOWED_MAX
        and all(is_valid(pattern) for pattern in policy.allowed_models)
        and all(0 < len(each) <= TEXT_CHARACTERS_MAX for each in policy.allowed_ips)
    )


def _key_issued(state: State, event: pb.KeyIssued) -> Outcome:
    if not _is_policy_valid(event.policy):
        return Outcome(Code.INVALID)
    if event.key_id in state.accounts:
        return Outcome(Code.EXISTS)  # a limit on this id would be the account's
    outcome = rules.VERSION_1["key_issued"](state, event)
    if outcome.code is Code.APPLIED:
        state.keys[event.key_id].adopt_policy(event.policy)
    return outcome


def _key_changed(state: State, event: pb.KeyChanged) -> Outcome:
    key = state.keys.get(event.key_id)
    if key is None:
        return Outcome(Code.NOT_FOUND)
    if not _is_policy_valid(event.policy):
        return Outcome(Code.INVALID)
    key.adopt_policy(event.policy)
    state.dirty_keys.add(event.key_id)
    return Outcome(Code.APPLIED)


def _key_rotated(state: State, event: pb.KeyRotated) -> Outcome:
    key = state.keys.get(event.key_id)
    if key is None:
        return Outcome(Code.NOT_FOUND)
    if event.key_hash in state.keys_by_hash:
        return Outcome(Code.EXISTS)
    if len(event.key_hash) != 32 or key.revoked or event.grace_ms > GRACE_MS_MAX:
        return Outcome(Code.INVALID)
    if key.old_hash:
        del state.keys_by_hash[key.old_hash]
    key.old_hash, key.key_hash = key.key_hash, event.key_hash
    key.old_until_ms = state.time_ms + event.grace_ms
    key.secret += 1
    state.keys_by_hash[event.key_hash] = key
    state.dirty_keys.add(event.key_id)
    return Outcome(Code.APPLIED)


def _set_key_suspended(state: State, key_id: bytes, suspended: bool) -> Outcome:
    key = state.keys.get(key_id)
    if key is None:
        return Outcome(Code.NOT_FOUND)
    if key.suspended == suspended:
        return Outcome(Code.EXISTS)
    key.suspended = suspended
    state.dirty_keys.add(key_id)
    return Outcome(Code.APPLIED)


def _key_suspended(state: State, event: pb.KeySuspended) -> Outcome:
    return _set_key_suspended(state, event.key_id, True)


def _key_resumed(state: State, event: pb.KeyResumed) -> Outcome:
    return _set_key_suspended(state, event.key_id, False)


def find_owner(state: State, owner_id: bytes) -> Account | Key | None:
    """The account or key of this id."""
    return state.accounts.get(owner_id) or state.keys.get(owner_id)


def _touch(state: State, owner: Account | Key) -> None:
    if isinstance(owner, Account):
        state.dirty_accounts.add(owner.account_id)
    else:
        state.dirty_keys.add(owner.key_id)


def _set_limits(state: State, owner: Account | Key, pattern: str, limits: Sequence[tuple[LimitKind, int]]) -> Outcome:
    wanted = {(kind, pattern) for kind, most in limits if most and not is_whole(kind, pattern)}
    if len(owner.limits.keys() | wanted) > LIMITS_MAX:
        return Outcome(Code.INVALID)
    for kind, most in limits:
        owner.set_limit(kind, pattern, most)
    owner.regauge(state.windows)
    _touch(state, owner)
    return Outcome(Code.APPLIED)


def _limit_set(state: State, event: pb.LimitSet) -> Outcome:
    owner = find_owner(state, event.owner_id)
    if owner is None:
        return Outcome(Code.NOT_FOUND)
    limits = [(kind, getattr(event, name)) for name, kind in KINDS.items() if event.HasField(name)]  # type: ignore[arg-type]
    if not is_valid(event.pattern) or not limits:
        return Outcome(Code.INVALID)
    return _set_limits(state, owner, event.pattern, limits)


def _limit_cleared(state: State, event: pb.LimitCleared) -> Outcome:
    owner = find_owner(state, event.owner_id)
    if owner is None:
        return Outcome(Code.NOT_FOUND)
    if not is_valid(event.pattern):
        return Outcome(Code.INVALID)
    return _set_limits(state, owner, event.pattern, [(kind, 0) for kind in LimitKind])


def _change_blocks(state: State, owner_id: bytes, pattern: str, blocked: bool) -> Outcome:
    owner: Owner | None = find_owner(state, owner_id)
    if owner is None:
        return Outcome(Code.NOT_FOUND)
    if not is_valid(pattern) or (blocked and len(owner.blocks) >= LIMITS_MAX):
        return Outcome(Code.INVALID)
    if (pattern in owner.blocks) == blocked:
        return Outcome(Code.EXISTS)
    owner.change_blocks(pattern, blocked)
    _touch(state, owner)  # type: ignore[arg-type]
    return Outcome(Code.APPLIED)


def _model_blocked(state: State, event: pb.ModelBlocked) -> Outcome:
    return _change_blocks(state, event.owner_id, event.pattern, True)


def _model_unblocked(state: State, event: pb.ModelUnblocked) -> Outcome:
    return _change_blocks(state, event.owner_id, event.pattern, False)


def _markup_set(state: State, event: pb.MarkupSet) -> Outcome:
    account = state.accounts.get(event.account_id)
    if account is None:
        return Outcome(Code.NOT_FOUND)
    full = len(account.markups) >= LIMITS_MAX and event.pattern not in (EVERY, *account.markups)
    if not is_valid(event.pattern) or event.markup_bps > MARKUP_BPS_MAX or full:
        return Outcome(Code.INVALID)
    account.set_markup(event.pattern, event.markup_bps)
    state.dirty_accounts.add(event.account_id)
    return Outcome(Code.APPLIED)


def _markup_cleared(state: State, event: pb.MarkupCleared) -> Outcome:
    account = state.accounts.get(event.account_id)
    if account is None or event.pattern not in account.markups:
        return Outcome(Code.NOT_FOUND)
    account.set_markup(event.pattern, None)
    state.dirty_accounts.add(event.account_id)
    return Outcome(Code.APPLIED)


def _rate(state: State, base: int, quote: int) -> Rate:
    rate = state.rates.get((base, quote))
    if rate is None:
        rate = state.rates[base, quote] = Rate()
        rate.event.base, rate.event.quote = pb.Currency.ValueType(base), pb.Currency.ValueType(quote)
    return rate


def _is_rate_valid(event: pb.FxRateSet | pb.FxRateProposed) -> bool:
    known = event.base in rules.CURRENCIES and event.quote in rules.CURRENCIES
    return known and event.rate_nano > 0 and event.base != event.quote


def _fx_rate_set(state: State, event: pb.FxRateSet) -> Outcome:
    if not _is_rate_valid(event):
        return Outcome(Code.INVALID)
    rate = _rate(state, event.base, event.quote)
    if event.reference and event.reference == rate.event.reference:
        return Outcome(Code.EXISTS)
    rate.event.CopyFrom(event)
    rate.set_ms = state.time_ms
    rate.proposed = None
    state.fx_rates[event.base, event.quote] = event.rate_nano
    return Outcome(Code.APPLIED)


def _fx_rate_proposed(state: State, event: pb.FxRateProposed) -> Outcome:
    if not _is_rate_valid(event):
        return Outcome(Code.INVALID)
    rate = _rate(state, event.base, event.quote)
    if rate.proposed == event or (event.reference and event.reference == rate.event.reference):
        return Outcome(Code.EXISTS)
    rate.proposed = pb.FxRateProposed()
    rate.proposed.CopyFrom(event)
    return Outcome(Code.APPLIED)


def _model_set(state: State, event: pb.ModelSet) -> Outcome:
    full = event.model_id not in state.models and len(state.models) >= MODELS_MAX
    if not event.model_id or len(event.model_id) > TEXT_CHARACTERS_MAX or EVERY in event.model_id or full:
        return Outcome(Code.INVALID)
    if not event.kind or not event.price or not event.price_version or event.model_id in state.aliases:
        return Outcome(Code.INVALID)
    known = state.models.get(event.model_id)
    if known is not None and known.set == event:
        return Outcome(Code.EXISTS)
    entry = pb.ModelSet()
    entry.CopyFrom(event)
    if known is None:
        known = state.models[event.model_id] = Model(entry)
    known.set = entry
    state.touch_model(known)
    return Outcome(Code.APPLIED)


def _set_model_active(state: State, model_id: str, active: bool) -> Outcome:
    model = state.models.get(model_id)
    if model is None:
        return Outcome(Code.NOT_FOUND)
    if model.active == active:
        return Outcome(Code.EXISTS)
    model.active = active
    state.touch_model(model)
    return Outcome(Code.APPLIED)


def _model_activated(state: State, event: pb.ModelActivated) -> Outcome:
    return _set_model_active(state, event.model_id, True)


def _model_deactivated(state: State, event: pb.ModelDeactivated) -> Outcome:
    return _set_model_active(state, event.model_id, False)


def _alias_set(state: State, event: pb.AliasSet) -> Outcome:
    if event.model_id not in state.models:
        return Outcome(Code.NOT_FOUND)
    full = event.alias not in state.aliases and len(state.aliases) >= MODELS_MAX
    if not event.alias or len(event.alias) > TEXT_CHARACTERS_MAX or event.alias in state.models or full:
        return Outcome(Code.INVALID)
    if state.aliases.get(event.alias) == event.model_id:
        return Outcome(Code.EXISTS)
    state.aliases[event.alias] = event.model_id
    state.models_version += 1
    return Outcome(Code.APPLIED)


def _alias_removed(state: State, event: pb.AliasRemoved) -> Outcome:
    if state.aliases.pop(event.alias, None) is None:
        return Outcome(Code.NOT_FOUND)
    state.models_version += 1
    return Outcome(Code.APPLIED)


VERSION_2: dict[str, rules.Handler] = {
    **rules.VERSION_1,
    **CALLS,
    "account_opened": _account_opened,
    "credit_reversed": _credit_reversed,
    "credit_moved": _credit_moved,
    "key_issued": _key_issued,
    "key_changed": _key_changed,
    "key_rotated": _key_rotated,
    "key_suspended": _key_suspended,
    "key_resumed": _key_resumed,
    "limit_set": _limit_set,
    "limit_cleared": _limit_cleared,
    "model_blocked": _model_blocked,
    "model_unblocked": _model_unblocked,
    "markup_set": _markup_set,
    "markup_cleared": _markup_cleared,
    "fx_rate_set": _fx_rate_set,
    "fx_rate_proposed": _fx_rate_proposed,
    "model_set": _model_set,
    "model_activated": _model_activated,
    "model_deactivated": _model_deactivated,
    "alias_set": _alias_set,
    "alias_removed": _alias_removed,
}
