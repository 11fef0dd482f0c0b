"""The ledger: where it stands, its events, its verification."""

from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cli.shapes import Shape
from proto.onysoft.v1 import admin_pb2 as admin

_ID_PREFIXES = {
    "request_id": "req_",
    "key_id": "key_",
    **dict.fromkeys(("account_id", "parent_id", "from_account_id", "to_account_id"), "acc_"),
}
_JSON = ("price", "defaults")
_SINGLE = (str, bytes, int, float, Message)
_NANO = 1_000_000_000


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
        "actor": message.event.actor,
        "event": fields(getattr(message.event, kind)) if kind else {},
    }


def verification(message: admin.VerifyProgress) -> Shape:
    """How far a verification is, or what it found."""
    return {
        "ok": message.ok,
        "done": message.done,
        "position": message.position,
        "from_position": message.from_position,
        "last_position": message.last_position,
        "events": message.events,
        "checkpoints": message.checkpoints,
        "chain_hash": message.chain_hash.hex(),
        "state_digest": message.state_digest.hex(),
        "problem": message.problem,
    }


def fields(message: Message) -> Shape:
    """An event's fields as people write them: ids with a prefix, money and rates as decimals, other bytes in hex."""
    return {field.name.removesuffix("_nano"): _field(field, value) for field, value in message.ListFields()}


def _field(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, _SINGLE):
        return _value(field, value)
    return [_value(field, each) for each in value]


def _value(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Message):
        return fields(value)
    if field.name in _JSON:
        return orjson.loads(value)
    if isinstance(value, bytes):
        return _ID_PREFIXES.get(field.name, "") + value.hex()
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name.lower()
    return _decimal(value) if field.name.endswith("_nano") else value


def _decimal(nano: int) -> str:
    sign = "-" if nano < 0 else ""
    units, rest = divmod(abs(nano), _NANO)
    return f"{sign}{units}.{f'{rest:09d}'.rstrip('0').ljust(2, '0')}"
