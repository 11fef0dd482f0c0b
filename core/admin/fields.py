"""Reads the fields of an operator's call; a wrong one is rejected by name."""

from typing import Literal, NoReturn

import grpc

from core.admin.answers import Rejected
from core.ledger.money import from_text
from proto.onysoft.v1 import admin_pb2 as pb
from runtime import ids

TEXT_CHARACTERS_MAX = 200


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


def limit(
    request: pb.OpenAccountRequest, field: Literal["requests_per_minute", "requests_per_day"], default: int
) -> int:
    """An optional limit of a new account; 0 is a value of its own."""
    return int(getattr(request, field)) if request.HasField(field) else default
