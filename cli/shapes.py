"""The JSON of the CLI's answers. Other people's scripts rely on these keys."""

from decimal import Decimal
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import AccountKind, Currency

Shape = dict[str, Any]

_ID_PREFIXES = {"request_id": "req_", "account_id": "acc_", "key_id": "key_"}
_NANO = 1_000_000_000


def opened(account: admin.Account) -> Shape:
    """The answer to `account open`."""
    return {"account_id": account.account_id}


def account(message: admin.Account) -> Shape:
    """One account, its balance included."""
    return {
        "account_id": message.account_id,
        "kind": AccountKind.Name(message.kind).lower(),
        "name": message.name,
        "currency": Currency.Name(message.currency),
        "markup_bps": message.markup_bps,
        "requests_per_minute": message.requests_per_minute,
        "requests_per_day": message.requests_per_day,
        "suspended": message.suspended,
        "partition": message.partition,
        **{key: value for key, value in balance(message.balance).items() if key not in ("account_id", "currency")},
    }


def balance(message: admin.Balance) -> Shape:
    """Amounts are decimal strings; `position` is the ledger position they are true of."""
    return {
        "account_id": message.account_id,
        "balance": message.balance,
        "held": message.held,
        "available": message.available,
        "currency": message.currency,
        "position": message.position,
        "credits": message.credits,
        "charges": message.charges,
        "shortfall": message.shortfall,
        "open_holds": message.open_holds,
    }


def credit(message: admin.Credit) -> Shape:
    """`counted` is false when the reference had counted before; then nothing changed."""
    return {
        "account_id": message.account_id,
        "amount": message.amount,
        "reference": message.reference,
        "counted": message.counted,
        "balance": message.balance.balance,
        "available": message.balance.available,
        "currency": message.balance.currency,
        "position": message.balance.position,
    }


def issued(message: admin.IssuedKey) -> Shape:
    """The only time that the key itself is shown."""
    return {"key_id": message.key_id, "api_key": message.api_key}


def key(message: admin.Key) -> Shape:
    """One key."""
    return {
        "key_id": message.key_id,
        "account_id": message.account_id,
        "name": message.name,
        "revoked": message.revoked,
    }


def fx_rate(message: admin.FxRate) -> Shape:
    """One rate."""
    return {"base": message.base, "quote": message.quote, "rate": message.rate, "position": message.position}


def model(message: admin.Model) -> Shape:
    """One model of the catalogue; `pricing` is the provider's, in USD for one unit."""
    pricing = orjson.loads(message.price_json or b"{}")
    return {
        "id": message.id,
        "name": message.name,
        "provider": message.provider,
        "context_length": message.context_length,
        "max_output_tokens": message.max_output_tokens,
        "free": message.free,
        "price_version": message.price_version.hex(),
        "pricing": pricing,
        "usd_per_1m_prompt": _per_million(pricing.get("prompt")),
        "usd_per_1m_completion": _per_million(pricing.get("completion")),
    }


def _per_million(price: str | None) -> str:
    """A price for one token as people compare it."""
    return f"{Decimal(price) * 1_000_000:f}".rstrip("0").rstrip(".") if price and Decimal(price) else "0"


def status(message: admin.Status) -> Shape:
    """Where one core's copy of the ledger stands."""
    return {
        "core": message.core,
        "position": message.position,
        "chain_hash": message.chain_hash.hex(),
        "state_digest": message.state_digest.hex(),
        "time_ms": message.time_ms,
        "partitions": message.partitions,
        "rules_version": message.rules_version,
        "open_requests": message.open_requests,
        "accounts": message.accounts,
        "models": message.models,
    }


def entry(message: admin.LedgerEntry) -> Shape:
    """One event of the ledger and what the fold made of it."""
    kind = message.event.WhichOneof("event") or ""
    return {
        "position": message.position,
        "index": message.index,
        "time_ms": message.time_ms,
        "partition": message.partition,
        "type": kind,
        "outcome": message.outcome,
        "event": fields(getattr(message.event, kind)) if kind else {},
    }


def verification(message: admin.VerifyProgress) -> Shape:
    """How far a verification is, or what it found."""
    return {
        "ok": message.ok,
        "done": message.done,
        "position": message.position,
        "last_position": message.last_position,
        "events": message.events,
        "checkpoints": message.checkpoints,
        "chain_hash": message.chain_hash.hex(),
        "state_digest": message.state_digest.hex(),
        "problem": message.problem,
    }


def fields(message: Message) -> Shape:
    """An event's fields as people write them: ids with a prefix, money and rates as decimals, other bytes in hex."""
    shaped: Shape = {}
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_BYTES:
            shaped[field.name] = _ID_PREFIXES.get(field.name, "") + value.hex()
        elif field.enum_type is not None:
            shaped[field.name] = field.enum_type.values_by_number[value].name.lower()
        elif field.name.endswith("_nano"):
            shaped[field.name.removesuffix("_nano")] = _decimal(value)
        else:
            shaped[field.name] = value
    return shaped


def _decimal(nano: int) -> str:
    sign = "-" if nano < 0 else ""
    units, rest = divmod(abs(nano), _NANO)
    return f"{sign}{units}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"
