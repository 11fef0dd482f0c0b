"""Where the admin service is: an address that was named, or the instance that `./dev up` has started."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PROJECT = Path(__file__).resolve().parent.parent
_POINTER = _PROJECT / ".dev" / "current"
_HOW = "start one with ./dev up, or name it: --data DIR, ONYSOFT_DATA, or ONYSOFT_ADMIN_ADDRESS and ONYSOFT_ADMIN_TOKEN"


class NoInstance(Exception):
    """There is nothing to talk to; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Admin addresses in the order to try, the token, and dev.json where there is one."""

    addresses: tuple[str, ...]
    token: str
    document: dict[str, Any] = field(default_factory=dict)


def find(data: str | None) -> Instance:
    """`data` wins over ONYSOFT_ADMIN_ADDRESS, which wins over ONYSOFT_DATA, which wins over the instance that is up.

    Raises NoInstance.
    """
    address = os.environ.get("ONYSOFT_ADMIN_ADDRESS", "")
    if not data and address:
        return Instance(tuple(address.split(",")), os.environ.get("ONYSOFT_ADMIN_TOKEN", ""))
    folder = data or os.environ.get("ONYSOFT_DATA") or _pointed_to()
    if not folder:
        raise NoInstance(f"no instance is up; {_HOW}")
    try:
        document = json.loads((Path(folder) / "dev.json").read_bytes())
        return Instance(tuple(document["admin_addresses"]), document["admin_token"], document)
    except FileNotFoundError:
        raise NoInstance(f"no instance is up on {folder}; {_HOW}") from None
    except (ValueError, KeyError, PermissionError):
        raise NoInstance(f"{folder}/dev.json cannot be read; {_HOW}") from None


def _pointed_to() -> str | None:
    try:
        return _POINTER.read_text().strip()
    except OSError:
        return None
