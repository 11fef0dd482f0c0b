"""What a finding means for a payment: pure decisions."""

from dataclasses import dataclass

from console.payments.money import share
from console.payments.port import Finding, Standing
from console.payments.tables import WITHOUT_MONEY, State


@dataclass(frozen=True, slots=True)
class Expected:
    """What the payment was meant to be."""

    payment_id: str
    state: State
    gross_kurus: int
    currency: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state to go to, where there is one, and what a person must be told."""

    state: State | None = None
    incident: str = ""


def judge(expected: Expected, finding: Finding) -> Verdict:
    """A payment is paid only where the provider speaks of this order, this amount and this currency.

    Nothing leaves `paid`, `credited` or `refunded` by a finding; a failure never undoes a success.
    """
    if finding.payment_id != expected.payment_id:
        return Verdict(incident="other_order")
    if finding.standing is Standing.PENDING or expected.state not in WITHOUT_MONEY:
        return Verdict()
    if finding.standing is Standing.FAILED:
        return Verdict(State.FAILED if expected.state in (State.CREATED, State.PENDING) else None)
    if finding.currency != expected.currency:
        return Verdict(incident="other_currency")
    if finding.paid_kurus != expected.gross_kurus:
        return Verdict(incident="other_amount")
    return Verdict(State.PAID)


def net_returned(net_kurus: int, gross_kurus: int, returned_kurus: int) -> int:
    """The net share of a returned gross amount; all of it where all went back."""
    return share(net_kurus, min(returned_kurus, gross_kurus), gross_kurus)


def backoff_s(attempts: int, first_s: float, longest_s: float) -> float:
    """Doubles with each attempt in vain."""
    return float(min(longest_s, first_s * 2 ** min(attempts, 30)))
