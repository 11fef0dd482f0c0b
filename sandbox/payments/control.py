"""What goes wrong with payments: the `payments` object of the sandbox's control.

Rates are shares from 0 to 1, drawn from a seeded counter for each kind of trouble, so that a run can be repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from sandbox import readers
from sandbox.readers import BadControl


@dataclass(frozen=True, slots=True)
class PaymentFaults:
    """Everything that can be asked for. Times in milliseconds."""

    seed: int = 0
    http_error_rate: float = 0.0  # calls that get 500 and do nothing
    lose_answer_rate: float = 0.0  # calls that are done, and whose answer is cut off
    decline_rate: float = 0.0  # good cards that are declined
    close_tab_rate: float = 0.0  # customers who pay and never come back
    webhook_lost_rate: float = 0.0
    webhook_duplicates: int = 0
    webhook_delay_ms: float = 0.0
    webhook_reorder: bool = False  # each waits for the next one, and goes after it
    webhook_bad_signature_rate: float = 0.0
    webhook_retries: int = 3  # after answers that are not good
    webhook_retry_ms: float = 1_000.0
    amount_off_kurus: int = 0  # added to what is said to have been paid
    currency: str = ""  # said instead of the true one
    other_order: bool = False  # answers speak of another order
    iyzico_webhook_url: str = ""  # as set in the provider's panel; empty: beside the order's return address
    paytr_notify_url: str = ""
    integrator_error_rate: float = 0.0  # of the e-invoice integrator's calls
    integrator_lose_answer_rate: float = 0.0
    integrator_rejects: bool = False


_FIELDS = {each.name: each for each in fields(PaymentFaults)}
_READERS: dict[type, Callable[[str, Any], Any]] = {
    bool: readers.flag,
    int: readers.whole,
    float: readers.number,
    str: readers.text,
}


def _reader(name: str) -> Callable[[str, Any], Any]:
    return readers.rate if name.endswith("_rate") else _READERS[type(_FIELDS[name].default)]


def read(wanted: Any) -> PaymentFaults:
    """The defaults, and `wanted` over them. Raises BadControl when a key is unknown or a value does not fit."""
    if not isinstance(wanted, dict):
        raise BadControl("payments: an object is needed")
    unknown = sorted(set(wanted) - set(_FIELDS))
    if unknown:
        raise BadControl(f"payments.{unknown[0]}: unknown key")
    return replace(
        PaymentFaults(), **{name: _reader(name)(f"payments.{name}", value) for name, value in wanted.items()}
    )


def shown(faults: PaymentFaults) -> dict[str, Any]:
    """As JSON."""
    return {name: getattr(faults, name) for name in _FIELDS}
