"""What goes wrong with tasks, and how long they take: the `kie` object of the sandbox's control.

Rates are shares from 0 to 1, drawn from a seeded counter for each kind of trouble, so that a run can be repeated.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sandbox import readers
from sandbox.readers import BadControl

ENDPOINTS = ("create", "query", "upload", "files", "download_url", "credit", "models")
CODES = frozenset((400, 401, 402, 404, 408, 409, 413, 422, 429, 433, 451, 455, 500, 501, 502, 503, 504, 505, 550))
DEFAULT_WEBHOOK_KEY = "sandbox-webhook-key"

Rates = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class KieFaults:
    """Everything that can be asked for. Times in milliseconds, unless the name says otherwise."""

    seed: int = 0
    time_scale: float = 1.0
    task_ms: int | None = None
    code_rates: Rates = field(default_factory=dict)
    http_error_rates: Rates = field(default_factory=dict)
    drop_rates: Mapping[str, float] = field(default_factory=dict)
    lose_answer_rates: Mapping[str, float] = field(default_factory=dict)
    http_errors: bool = False
    answer_delay_ms: float = 0.0
    fail_rate: float = 0.0
    fail_code: int = 501
    hang_rate: float = 0.0
    forget_rate: float = 0.0
    callback_exception_rate: float = 0.0
    invisible_ms: float = 0.0
    webhook_lost_rate: float = 0.0
    webhook_duplicates: int = 0
    webhook_delay_ms: float = 0.0
    webhook_reorder: bool = False
    webhook_bad_signature_rate: float = 0.0
    webhook_key: str = DEFAULT_WEBHOOK_KEY
    dead_results_rate: float = 0.0
    truncated_results_rate: float = 0.0
    result_ttl_s: float = 86_400.0
    creates_per_window: int = 20
    create_window_s: float = 10.0
    credits: int = 10_000_000
    omit_credits: bool = False
    old_gpt4o_status: bool = False
    refuse_unknown: bool = False
    fetch_sources: bool = True
    only_models: tuple[str, ...] = ()


def _by_endpoint(name: str, value: Any, read: Callable[[str, Any], Any]) -> dict[str, Any]:
    if not isinstance(value, dict) or not set(value) <= set(ENDPOINTS):
        raise BadControl(f"kie.{name}: an object with keys of {', '.join(ENDPOINTS)} is needed")
    return {endpoint: read(f"{name}.{endpoint}", each) for endpoint, each in value.items()}


def _code_rates(name: str, value: Any) -> dict[str, dict[int, float]]:
    return _by_endpoint(name, value, readers.rates)


def _shares(name: str, value: Any) -> dict[str, float]:
    return _by_endpoint(name, value, readers.rate)


def _code(name: str, value: Any) -> int:
    if value not in CODES:
        raise BadControl(f"kie.{name}: one of the provider's codes is needed")
    return int(value)


_FIELDS = {each.name: each for each in fields(KieFaults)}
_OWN_READERS: dict[str, Callable[[str, Any], Any]] = {
    "code_rates": _code_rates,
    "http_error_rates": _code_rates,
    "drop_rates": _shares,
    "lose_answer_rates": _shares,
    "fail_code": _code,
    "task_ms": readers.tokens,
    "only_models": readers.ids,
}
_READERS_BY_DEFAULT: dict[type, Callable[[str, Any], Any]] = {
    bool: readers.flag,
    int: readers.whole,
    float: readers.number,
    str: readers.text,
}


def _reader(name: str) -> Callable[[str, Any], Any]:
    if name in _OWN_READERS:
        return _OWN_READERS[name]
    return readers.rate if name.endswith("_rate") else _READERS_BY_DEFAULT[type(_FIELDS[name].default)]


def read(wanted: Any) -> KieFaults:
    """The defaults, and `wanted` over them. Raises BadControl when a key is unknown or a value does not fit."""
    if not isinstance(wanted, dict):
        raise BadControl("kie: an object is needed")
    unknown = sorted(set(wanted) - set(_FIELDS))
    if unknown:
        raise BadControl(f"kie.{unknown[0]}: unknown key")
    return replace(KieFaults(), **{name: _reader(name)(name, value) for name, value in wanted.items()})


def shown(faults: KieFaults) -> dict[str, Any]:
    """As JSON; the webhook key is only said to be set."""
    values = {name: getattr(faults, name) for name in _FIELDS}
    for name in ("code_rates", "http_error_rates"):
        values[name] = {
            endpoint: {str(code): share for code, share in rates.items()} for endpoint, rates in values[name].items()
        }
    values["webhook_key"] = "(set)" if faults.webhook_key else ""
    return values


class Draws:
    """Seeded chance, with a counter of its own for each kind of trouble."""

    def __init__(self, chance: Callable[[int, int], float]) -> None:
        self._chance = chance
        self._numbers: dict[str, int] = {}
        self.seed = 0

    def restart(self, seed: int) -> None:
        """Begin again with a seed."""
        self.seed = seed
        self._numbers.clear()

    def share(self, what: str) -> float:
        """The next number in [0, 1) for that kind of trouble."""
        number = self._numbers.get(what, 0)
        self._numbers[what] = number + 1
        return self._chance(self.seed ^ zlib.crc32(what.encode()), number)

    def hit(self, what: str, rate: float) -> bool:
        """Does it happen this time?"""
        return rate > 0 and self.share(what) < rate

    def pick(self, what: str, rates: Mapping[int, float]) -> int:
        """One of the codes by its share, or 0."""
        if not rates:
            return 0
        drawn = self.share(what)
        for code in sorted(rates):
            drawn -= rates[code]
            if drawn < 0:
                return code
        return 0
