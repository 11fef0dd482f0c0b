"""How much a call must hold, and how many output tokens it may have: pure functions on the catalogue and an account.

The hold is an upper bound of the charge. When the free balance does not cover all of the output that was asked for,
the output is lowered to what it covers; below a useful minimum the call is refused.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from core.catalogue import Entry
from core.ledger.accounts import Account
from core.ledger.outcome import Code
from core.ledger.state import State
from core.pricing import Demand, Tariff
from proto.onysoft.v1 import ledger_pb2
from runtime.errors import Refusal

NANO_RATE_ONE = 1_000_000_000
OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")
"""The request's fields that limit its output, the one that counts first."""

REFUSAL_CODES = {
    Code.KEY_REFUSED: "invalid_api_key",
    Code.SUSPENDED: "project_suspended",
    Code.MINUTE_LIMIT: "rate_limit_exceeded",
    Code.DAY_LIMIT: "daily_request_limit_exceeded",
    Code.INSUFFICIENT: "insufficient_balance",
    Code.HELD: "insufficient_balance_held",
}
"""The fold's verdicts in the words of the error catalogue."""


class Terms(NamedTuple):
    """What a call asks for: choices, output tokens for each choice, and the field that limits them."""

    choices: int
    output_tokens: int
    limit_field: str
    stated: bool


class Hold(NamedTuple):
    """What to hold and the output that it covers; `lowered` when that is less than was asked for."""

    amount_nano: int
    output_tokens: int
    lowered: bool


def terms_of(request: Mapping[str, Any], entry: Entry) -> Terms:
    """Reads the limits from a request that the edge has validated."""
    for field in OUTPUT_LIMITS:
        asked = request.get(field)
        if asked is not None:
            return Terms(request.get("n") or 1, min(asked, entry.output_tokens_max), field, True)
    return Terms(request.get("n") or 1, entry.output_tokens_max, "max_tokens", False)


def tariff_of(account: Account, state: State) -> Tariff:
    """The account's markup and the rate from USD to its currency.

    Raises Refusal(service_unavailable) while no rate has been set.
    """
    if account.currency == ledger_pb2.USD:
        return Tariff(account.markup_bps, NANO_RATE_ONE)
    rate_nano = state.fx_rates.get((ledger_pb2.USD, account.currency))
    if rate_nano is None:
        raise Refusal("service_unavailable", retry_after_s=30)
    return Tariff(account.markup_bps, rate_nano)


def size_hold(entry: Entry, demand: Demand, terms: Terms, tariff: Tariff, available_nano: int, useful: int) -> Hold:
    """The hold for a call, given what is free now.

    Where the whole is not covered and less would not be useful either, the hold of the useful minimum is returned: the
    ledger refuses it, unless the balance has grown meanwhile.
    """
    rates = entry.price.upper
    before_output = demand.cost_atto(rates)
    per_token = rates.completion_max * terms.choices
    wanted = terms.output_tokens
    whole = tariff.charge_nano(before_output + wanted * per_token)
    if whole <= available_nano or not per_token:
        return Hold(whole, wanted, False)
    affordable = (tariff.affordable_atto(max(0, available_nano)) - before_output) // per_token
    output = min(wanted, max(affordable, min(useful, wanted)))
    return Hold(tariff.charge_nano(before_output + output * per_token), output, output < wanted)
