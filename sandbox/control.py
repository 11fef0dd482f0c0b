"""What the operator asked the sandbox to do wrong, and how fast it is to answer.

A seeded counter decides which calls fail, so that a run can be repeated.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from sandbox import catalogue, readers
from sandbox.catalogue import Model
from sandbox.kie import control as kie_control
from sandbox.payments import control as payment_control
from sandbox.readers import BadControl

WrongContent = Literal["", "not_json", "truncated", "html", "empty"]

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Faults:
    """What may be restricted to some models. None: never."""

    error_rates: dict[int, float] = field(default_factory=dict)
    retry_after_s: int = 1
    drop_before_headers: float = 0.0
    error_after_tokens: int | None = None
    drop_after_tokens: int | None = None
    stall_after_tokens: int | None = None
    wrong_content: WrongContent = ""
    error_in_200: bool = False
    missing_usage: bool = False
    zero_cost: bool = False
    ignore_max_tokens: bool = False
    usage_in_last_delta: bool = False
    byok: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """What holds for every call. `tokens_per_second` 0: as fast as possible."""

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    first_token_ms: float = 0.0
    tokens_per_second: float = 0.0
    comments: bool = True
    stamp: bool = False
    seed: int = 0
    generation_404_ms: float = 0.0
    require_key: str = ""
    only_models: tuple[str, ...] = ()


_FAULT_FIELDS = {each.name: each for each in fields(Faults)}
_PACE_FIELDS = {each.name: each for each in fields(Pace)}
_NO_FAULTS = Faults()


def _splitmix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def chance(seed: int, number: int) -> float:
    """A number in [0, 1) that depends on the seed and the call's number alone."""
    return _splitmix(_splitmix(seed & _MASK) ^ number) / 2**64


def _content(name: str, value: Any) -> str:
    if value not in ("", "not_json", "truncated", "html", "empty"):
        raise BadControl(f"{name}: not_json, truncated, html, empty or an empty string is needed")
    return str(value)


def _changes(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(change is None or isinstance(change, dict) for change in value.values()):
        raise BadControl("models: an object of model ids, each with null or an object, is needed")
    return value


_READERS: dict[str, Any] = {
    "error_rates": readers.rates,
    "retry_after_s": readers.whole,
    "drop_before_headers": readers.rate,
    "error_after_tokens": readers.tokens,
    "drop_after_tokens": readers.tokens,
    "stall_after_tokens": readers.tokens,
    "wrong_content": _content,
    "seed": readers.whole,
    "require_key": readers.text,
    "only_models": readers.ids,
    "latency_ms": readers.number,
    "jitter_ms": readers.number,
    "first_token_ms": readers.number,
    "tokens_per_second": readers.number,
    "generation_404_ms": readers.number,
}


class Control:
    """The control in force, and the counter of the calls that its faults may hit.

    `models` is the catalogue in force: all that look into it see a change at once.
    """

    def __init__(self, models: dict[str, Model] | None = None) -> None:
        self.models = models or {}
        self._own_models = dict(self.models)
        self._changes: dict[str, Any] = {}
        self.kie = kie_control.KieFaults()
        self.kie_draws = kie_control.Draws(chance)
        self.payments = payment_control.PaymentFaults()
        self.payment_draws = kie_control.Draws(chance)
        self._use(Faults(), Pace())

    def _use(self, faults: Faults, pace: Pace) -> None:
        self._faults = faults
        self.pace = pace
        self._only = frozenset(pace.only_models)
        self._number = 0
        self._jitter_number = 0

    def put(self, wanted: Any) -> None:
        """Replace what is in force by the defaults and `wanted` over them.

        Raises BadControl, and changes nothing, when a key is unknown or a value does not fit.
        """
        if not isinstance(wanted, dict):
            raise BadControl("control: an object is needed")
        wanted = dict(wanted)
        changes = _changes(wanted.pop("models", {}))
        kie = kie_control.read(wanted.pop("kie", {}))
        payments = payment_control.read(wanted.pop("payments", {}))
        unknown = sorted(set(wanted) - set(_FAULT_FIELDS) - set(_PACE_FIELDS))
        if unknown:
            raise BadControl(f"{unknown[0]}: unknown key")
        values = {name: _READERS.get(name, readers.flag)(name, value) for name, value in wanted.items()}
        faults = replace(Faults(), **{name: values[name] for name in values if name in _FAULT_FIELDS})
        pace = replace(Pace(), **{name: values[name] for name in values if name in _PACE_FIELDS})
        try:
            models = catalogue.changed(self._own_models, changes)
        except ValueError as error:
            raise BadControl(f"models: {error}") from None
        self.models.clear()
        self.models.update(models)
        self._changes = changes
        self.kie = kie
        self.kie_draws.restart(kie.seed)
        self.payments = payments
        self.payment_draws.restart(payments.seed)
        self._use(faults, pace)

    def shown(self) -> dict[str, Any]:
        """What is in force; a required key is only said to be set."""
        shown = {name: getattr(self._faults, name) for name in _FAULT_FIELDS}
        shown |= {name: getattr(self.pace, name) for name in _PACE_FIELDS}
        shown["error_rates"] = {str(status): rate for status, rate in self._faults.error_rates.items()}
        shown["require_key"] = "(set)" if self.pace.require_key else ""
        shown["models"] = self._changes
        shown["kie"] = kie_control.shown(self.kie)
        shown["payments"] = payment_control.shown(self.payments)
        return shown

    def faults_for(self, model_id: str) -> Faults:
        """The faults that calls to a model meet."""
        return _NO_FAULTS if self._only and model_id not in self._only else self._faults

    def failure(self, faults: Faults) -> int:
        """Status that the next call fails with, -1 to drop it before its headers, 0 to serve it."""
        if not faults.error_rates and not faults.drop_before_headers:
            return 0
        drawn = chance(self.pace.seed, self._number)
        self._number += 1
        for status in sorted(faults.error_rates):
            drawn -= faults.error_rates[status]
            if drawn < 0:
                return status
        return -1 if drawn < faults.drop_before_headers else 0

    def delay_s(self) -> float:
        """Seconds before the next answer begins."""
        pace = self.pace
        delay_ms = pace.latency_ms
        if pace.jitter_ms:
            delay_ms += pace.jitter_ms * chance(~pace.seed, self._jitter_number)
            self._jitter_number += 1
        return delay_ms / 1000
