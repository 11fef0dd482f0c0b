"""The whole state as a message, and back."""

import heapq
from collections import deque
from typing import TYPE_CHECKING

from core.ledger import holds
from core.ledger.accounts import Account, Key
from core.ledger.owners import LimitKind, Owner, Use
from core.ledger.records import Model, Rate, Writer
from core.ledger.requests import Request
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import snapshot_pb2

if TYPE_CHECKING:
    from core.ledger.state import State

_ACCOUNT_FIELDS = (
    "account_id",
    "kind",
    "currency",
    "markup_bps",
    "requests_per_minute",
    "requests_per_day",
    "suspended",
    "credits_nano",
    "charges_nano",
    "shortfall_nano",
    "minute",
    "minute_requests",
    "day",
    "day_requests",
    "requests_settled",
    "parent_id",
    "receivable_nano",
)
_KEY_FIELDS = (
    "key_id",
    "account_id",
    "key_hash",
    "revoked",
    "suspended",
    "secret",
    "old_hash",
    "old_until_ms",
    "last_used_ms",
    "requests_per_minute",
    "requests_per_day",
    "minute",
    "minute_requests",
    "day",
    "day_requests",
)
_USE_FIELDS = ("minute", "minute_requests", "day", "day_requests", "day_tokens", "month", "month_tokens")


def written(state: "State") -> snapshot_pb2.Snapshot:
    """The state as a message."""
    message = snapshot_pb2.Snapshot(
        position=state.position,
        chain_hash=state.chain_hash,
        state_digest=state.digest(),
        time_ms=state.time_ms,
        rules_version=state.rules_version,
    )
    for account in state.accounts.values():
        message.accounts.append(_account_to_message(account))
    for key in state.keys.values():
        message.keys.append(_key_to_message(key))
    for request in state.requests.values():
        message.requests.add(**{name: getattr(request, name) for name in Request.__slots__})
    for minute, request_ids in state.ended.buckets():
        attempts = bytes(state.ended.last_attempt(request_id) for request_id in request_ids)
        message.ended.add(minute=minute, request_ids=b"".join(request_ids), attempts=attempts)
    for (writer_id, partition), writer in state.writers.items():
        message.writers.add(writer=writer_id, partition=partition, number=writer.number, seen_ms=writer.seen_ms)
    for (base, quote), rate_nano in state.fx_rates.items():
        currencies = {"base": pb.Currency.ValueType(base), "quote": pb.Currency.ValueType(quote)}
        message.fx_rates.add(rate_nano=rate_nano, **currencies)
    for position, (chain_hash, digest) in state.fingerprints.items():
        message.fingerprints.add(position=position, chain_hash=chain_hash, state_digest=digest)
    _write_catalogue(state, message)
    return message


def _write_catalogue(state: "State", message: snapshot_pb2.Snapshot) -> None:
    for rate in state.rates.values():
        message.fx_states.add(rate=rate.event, set_ms=rate.set_ms, proposed=rate.proposed)
    for model in state.models.values():
        message.models.add(set=model.set, active=model.active)
    for alias, model_id in state.aliases.items():
        message.aliases.add(alias=alias, model_id=model_id)


def _account_to_message(account: Account) -> snapshot_pb2.AccountState:
    message = snapshot_pb2.AccountState(**{name: getattr(account, name) for name in _ACCOUNT_FIELDS})
    message.references.extend(account.references)
    message.free_times_ms.extend(account.free_times_ms)
    for pattern, bps in account.markups.items():
        message.markups.add(pattern=pattern, bps=bps)
    _owner_to_message(account, message.owner)
    return message


def _key_to_message(key: Key) -> snapshot_pb2.KeyState:
    message = snapshot_pb2.KeyState(**{name: getattr(key, name) for name in _KEY_FIELDS})
    message.policy.expires_ms = key.expires_ms
    message.policy.allowed_models.extend(key.allowed_models)
    message.policy.allowed_ips.extend(key.allowed_ips)
    _owner_to_message(key, message.owner)
    return message


def _owner_to_message(owner: Owner, message: snapshot_pb2.OwnerState) -> None:
    for (kind, pattern), most in owner.limits.items():
        message.limits.add(kind=kind, pattern=pattern, most=most)
    message.blocks.extend(sorted(owner.blocks))
    for model, use in owner.uses.items():
        message.uses.add(model=model, **{name: getattr(use, name) for name in _USE_FIELDS})


def restore(state: "State", message: snapshot_pb2.Snapshot) -> None:
    """Fill a new state. Raises LookupError when the message contradicts itself."""
    state.position = message.position
    state.chain_hash = message.chain_hash
    state.enter(message.time_ms)
    state.rules_version = message.rules_version
    _restore_accounts(state, message)
    for key_message in message.keys:
        key = _key_from_message(key_message)
        state.keys[key.key_id] = state.keys_by_hash[key.key_hash] = key
        if key.old_hash:
            state.keys_by_hash[key.old_hash] = key
    _restore_requests(state, message)
    for owner in (*state.accounts.values(), *state.keys.values()):
        owner.regauge(state.windows)
    for bucket in message.ended:
        minute, request_ids = bucket.minute, bucket.request_ids  # each access copies all of them
        for index, attempt in enumerate(bucket.attempts):
            state.ended.add(request_ids[12 * index : 12 * index + 12], attempt, minute)
    for writer in message.writers:
        state.writers[writer.writer, writer.partition] = Writer(writer.number, writer.seen_ms)
    for rate in message.fx_rates:
        state.fx_rates[rate.base, rate.quote] = rate.rate_nano
    for fingerprint in message.fingerprints:
        state.fingerprints[fingerprint.position] = (fingerprint.chain_hash, fingerprint.state_digest)
    _restore_catalogue(state, message)
    state.dirty_accounts.update(state.accounts)
    state.dirty_keys.update(state.keys)


def _restore_accounts(state: "State", message: snapshot_pb2.Snapshot) -> None:
    for each in message.accounts:
        account = Account(each.account_id, each.kind, each.currency, each.markup_bps)
        for name in _ACCOUNT_FIELDS[4:]:
            setattr(account, name, getattr(each, name))
        for reference in each.references:
            account.add_reference(reference)
        for markup in each.markups:
            account.set_markup(markup.pattern, markup.bps)
        account.free_times_ms = list(each.free_times_ms)
        if account.parent_id:
            account.adopt(state.accounts[account.parent_id])
        _owner_from_message(account, each.owner)
        state.accounts[account.account_id] = account


def _key_from_message(message: snapshot_pb2.KeyState) -> Key:
    key = Key(message.key_id, message.account_id, message.key_hash)
    for name in _KEY_FIELDS[3:]:
        setattr(key, name, getattr(message, name))
    key.adopt_policy(message.policy)
    _owner_from_message(key, message.owner)
    return key


def _owner_from_message(owner: Owner, message: snapshot_pb2.OwnerState) -> None:
    for limit in message.limits:
        owner.set_limit(LimitKind(limit.kind), limit.pattern, limit.most)
    owner.blocks.update(message.blocks)
    for each in message.uses:
        use = owner.uses[each.model] = Use()
        for name in _USE_FIELDS:
            setattr(use, name, getattr(each, name))
        owner.dirty_uses.add(each.model)


def _restore_requests(state: "State", message: snapshot_pb2.Snapshot) -> None:
    for each in message.requests:
        request = Request(each.request_id, each.attempt, each.account_id, each.hold_nano, each.deadline_ms)
        for name in ("expired", "expired_ms", "key_id", "model", "parent_hold_nano", "hold_tokens", "task"):
            setattr(request, name, getattr(each, name))
        state.requests[request.request_id] = request
        if request.expired:
            state.expired.append((request.expired_ms, request.request_id))
        else:
            state.deadlines.append((request.deadline_ms, request.request_id))
            holds.take(state, request)
    heapq.heapify(state.deadlines)
    state.expired = deque(sorted(state.expired))


def _restore_catalogue(state: "State", message: snapshot_pb2.Snapshot) -> None:
    for each in message.fx_states:
        rate = state.rates[each.rate.base, each.rate.quote] = Rate()
        rate.event.CopyFrom(each.rate)
        rate.set_ms = each.set_ms
        if each.HasField("proposed"):
            rate.proposed = each.proposed
    for stored in message.models:
        model = state.models[stored.set.model_id] = Model(stored.set)
        model.active = stored.active
        state.touch_model(model)
    for alias in message.aliases:
        state.aliases[alias.alias] = alias.model_id
