"""How much a call must hold, and how many output tokens it may have: pure functions on the catalogue and an account.

The hold is an upper bound of the charge. When the free balance does not cover all of the output that was asked for,
the output is lowered to what it covers; below a useful minimum the call is refused.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from core.catalogue import Entry
from core.ledger.accounts import Account
from core.ledger.outcome import Code, Outcome
from core.ledger.state import State
from core.pricing import Demand, Tariff
from proto.onysoft.v1 import ledger_pb2
from runtime.errors import Refusal

NANO_RATE_ONE = 1_000_000_000
OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")
"""The request's fields that limit its output, the one that counts first."""

REASONING = ("reasoning", "reasoning_effort", "include_reasoning")
"""The request's fields that make a model think."""

REFUSAL_CODES = {
    Code.KEY_REFUSED: "invalid_api_key",
    Code.KEY_SUSPENDED: "access_denied",
    Code.SUSPENDED: "project_suspended",
    Code.MODEL_BLOCKED: "model_blocked",
    Code.KEY_MODEL_REFUSED: "model_blocked",
    Code.FREE_LIMIT: "free_model_rate_limit",
    Code.MINUTE_LIMIT: "rate_limit_exceeded",
    Code.DAY_LIMIT: "daily_request_limit_exceeded",
    Code.DAILY_REQUESTS: "daily_request_limit_exceeded",
    Code.DAILY_TOKENS: "daily_token_limit_exceeded",
    Code.MONTHLY_TOKENS: "monthly_token_limit_exceeded",
    Code.INSUFFICIENT: "insufficient_balance",
    Code.HELD: "insufficient_balance_held",
    Code.PARENT_INSUFFICIENT: "insufficient_balance_partner",
    Code.PARENT_HELD: "insufficient_balance_partner_held",
}
"""The fold's verdicts in the words of the error catalogue."""

MONEY = frozenset({Code.INSUFFICIENT, Code.HELD, Code.PARENT_INSUFFICIENT, Code.PARENT_HELD})
"""Refusals that a smaller hold may not meet."""

_PASSES_SOON = {Code.HELD: 2, Code.PARENT_HELD: 2}
_LASTS = frozenset({Code.DAY_LIMIT, Code.DAILY_REQUESTS, Code.DAILY_TOKENS, Code.MONTHLY_TOKENS, Code.FREE_LIMIT})


class Terms(NamedTuple):
    """What a call asks for: choices, output tokens for each choice, and the field that limits them.

    `grows`: the hold may begin with a part of the output, for the answer comes in pieces and no limit was stated.
    """

    choices: int
    output_tokens: int
    limit_field: str
    stated: bool
    grows: bool


class Hold(NamedTuple):
    """What to hold, and the output for each choice that it covers.

    `output_tokens` is what the answer may have at most, `lowered` when that is less than was asked for; `held_output`
    is the part of it that the hold covers so far. `parent_nano` is the parent's leg; `tokens` counts against token
    limits.
    """

    amount_nano: int
    parent_nano: int
    tokens: int
    output_tokens: int
    held_output: int
    lowered: bool


class Purse(NamedTuple):
    """What is free: of the account, and of a partner customer's parent."""

    available_nano: int
    parent_available_nano: int

    @classmethod
    def of(cls, account: Account) -> "Purse":
        """As it is in the ledger now."""
        payer = account.payer
        return cls(account.available_nano, 0 if payer is None else payer.available_nano)


def terms_of(request: Mapping[str, Any], entry: Entry, streamed: bool = False) -> Terms:
    """Reads the limits from a request that the edge has validated."""
    for field in OUTPUT_LIMITS:
        asked = request.get(field)
        if asked is not None:
            return Terms(request.get("n") or 1, min(asked, entry.output_tokens_max), field, True, False)
    # What a model thinks unseen, or draws, does not show in a stream's text, so a hold cannot grow with it.
    draws_or_thinks = entry.image_output or entry.reasons_always or entry.price.upper.internal_reasoning
    grows = streamed and not draws_or_thinks and not any(request.get(asked) for asked in REASONING)
    return Terms(request.get("n") or 1, entry.output_tokens_max, "max_tokens", False, grows)


def tariff_of(account: Account, state: State, model: str) -> Tariff:
    """What the account pays for calls of a model: markups and rates from USD, its parent's too where that pays as well.

    Raises Refusal(service_unavailable) while a rate is missing.
    """
    payer = account.payer
    own = _rate(state, account.currency)
    if payer is None:
        return Tariff(account.markup_for(model), own)
    return Tariff(account.markup_for(model), own, payer.markup_for(model), _rate(state, payer.currency))


def _rate(state: State, currency: int) -> int:
    if currency == ledger_pb2.USD:
        return NANO_RATE_ONE
    rate_nano = state.fx_rates.get((ledger_pb2.USD, currency))
    if rate_nano is None:
        raise Refusal("service_unavailable", retry_after_s=30)
    return rate_nano


def size_hold(
    entry: Entry, demand: Demand, terms: Terms, tariff: Tariff, purse: Purse, useful: int, first_output: int
) -> Hold:
    """The hold for a call, given what is free now.

    Where the whole is not covered and less would not be useful either, the hold of the useful minimum is returned: the
    ledger refuses it, unless the balance has grown meanwhile. A hold that may grow begins with `first_output` tokens.
    """
    rates = entry.price.upper
    before_output = demand.cost_atto(rates)
    per_token = rates.completion_max * terms.choices
    wanted = output = terms.output_tokens
    if per_token:
        affordable = (tariff.affordable_atto(*(max(0, free) for free in purse)) - before_output) // per_token
        output = min(wanted, max(affordable, min(useful, wanted)))
    held_output = min(output, first_output) if terms.grows and per_token else output
    cost_atto = before_output + held_output * per_token
    return Hold(
        tariff.charge_nano(cost_atto),
        tariff.parent_charge_nano(cost_atto),
        demand.prompt_tokens + held_output * terms.choices,
        output,
        held_output,
        output < wanted,
    )


def affordable_output(entry: Entry, terms: Terms, tariff: Tariff, purse: Purse) -> int:
    """How many more output tokens of each choice the free balances cover; the model's output must have a price."""
    affordable_atto = tariff.affordable_atto(*(max(0, free) for free in purse))
    return affordable_atto // (entry.price.upper.completion_max * terms.choices)


def grown(entry: Entry, demand: Demand, terms: Terms, tariff: Tariff, hold: Hold, held_output: int) -> Hold:
    """The same hold with `held_output` tokens of output covered."""
    rates = entry.price.upper
    cost_atto = demand.cost_atto(rates) + held_output * rates.completion_max * terms.choices
    return hold._replace(
        amount_nano=tariff.charge_nano(cost_atto),
        parent_nano=tariff.parent_charge_nano(cost_atto),
        tokens=demand.prompt_tokens + held_output * terms.choices,
        held_output=held_output,
    )


def refusal_of(outcome: Outcome, now_s: int) -> Refusal:
    """The refusal of a call that the ledger did not admit, with the hint when to try again."""
    code = REFUSAL_CODES.get(outcome.code, "service_unavailable")
    if outcome.code is Code.MINUTE_LIMIT:
        return Refusal(code, retry_after_s=min(60, max(1, outcome.reset_s - now_s)))
    if outcome.code in _LASTS:
        return Refusal(code, do_not_retry=True)
    fallback_s = 1 if code == "service_unavailable" else 0
    return Refusal(code, retry_after_s=_PASSES_SOON.get(outcome.code, fallback_s))
