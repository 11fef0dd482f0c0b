"""Reads the fields of an operator's call; a wrong one is rejected by name."""

import time
from collections.abc import Iterable
from typing import NoReturn

import grpc

from core.admin.answers import Rejected
from core.ledger.money import from_text
from core.ledger.patterns import EVERY, is_valid
from proto.onysoft.v1.ledger_pb2 import KeyPolicy
from runtime import ids
from runtime.addresses import range_of

TEXT_CHARACTERS_MAX = 200
LIST_ITEMS_MAX = 100


def invalid(message: str) -> NoReturn:
    """Reject the call for one of its fields, which the message names."""
    raise Rejected(grpc.StatusCode.INVALID_ARGUMENT, message)


def text(field: str, value: str) -> str:
    """`value` without space around it, 1 to 200 characters."""
    value = value.strip()
    if not 1 <= len(value) <= TEXT_CHARACTERS_MAX:
        invalid(f"{field} must have 1 to {TEXT_CHARACTERS_MAX} characters")
    return value


def identity(field: str, prefix: str, value: str) -> bytes:
    """The bytes of an id's text."""
    try:
        return ids.parse(prefix, value)
    except ValueError:
        invalid(f"{field} must be {prefix} and 24 hex digits")


def amount(field: str, value: str) -> int:
    """Nano-units of a positive decimal."""
    try:
        nano = from_text(value)
    except ValueError as error:
        invalid(f"{field} must be a positive decimal: {error}")
    if nano <= 0:
        invalid(f"{field} must be more than 0")
    return nano


def pattern(field: str, value: str) -> str:
    """A pattern of model ids; nothing stands for all models."""
    value = value.strip() or EVERY
    if not is_valid(value):
        invalid(f"{field} must be a model's id, a prefix and * at its end, or *")
    return value


def patterns(field: str, values: Iterable[str]) -> list[str]:
    """A list of patterns, each once."""
    return _few(field, [pattern(field, value) for value in values if value.strip() or invalid(f"{field} is empty")])


def ranges(field: str, values: Iterable[str]) -> list[str]:
    """A list of addresses and ranges in their usual spelling, each once."""
    found = []
    for value in values:
        try:
            found.append(str(range_of(value)))
        except ValueError:
            invalid(f"{field} must be IPv4 or IPv6 addresses, or ranges of them such as 192.0.2.0/24: {value}")
    return _few(field, found)


def expiry(field: str, value: int) -> int:
    """Unix milliseconds in the future; 0 for never."""
    if value and value <= time.time() * 1000:
        invalid(f"{field} must be in the future")
    return value


def policy(value: KeyPolicy) -> KeyPolicy:
    """What a new key may be used for."""
    return KeyPolicy(
        expires_ms=expiry("expires_ms", value.expires_ms),
        allowed_models=patterns("allowed_models", value.allowed_models),
        allowed_ips=ranges("allowed_ips", value.allowed_ips),
    )


def _few(field: str, values: list[str]) -> list[str]:
    once = list(dict.fromkeys(values))
    if len(once) > LIST_ITEMS_MAX:
        invalid(f"{field} must have at most {LIST_ITEMS_MAX} items")
    return once
