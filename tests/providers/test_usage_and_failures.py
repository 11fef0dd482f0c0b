"""Costs to the last digit, and what a provider's words mean."""

import json
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.providers import failures
from core.providers.port import FailureKind, ProviderFailure
from core.providers.usage import TOKENS_MAX, decimal, of_generation, with_cost
from runtime.errors import CATALOGUE

NOW = 1_800_000_000.0


@given(st.integers(0, 10**15 - 1), st.integers(0, 14))
def test_a_cost_is_the_decimal_that_was_printed(digits: int, places: int) -> None:
    """A float would charge 0.1 as 0.1000000000000000055."""
    printed = Decimal(digits).scaleb(-places)
    assert decimal(orjson.loads(json.dumps(float(printed)))) == printed


@pytest.mark.parametrize("value", [None, "0.1", -0.1, -1, True, [], {}])
def test_what_is_no_cost_is_unknown_and_not_zero(value: Any) -> None:
    """An unknown cost taken for 0 is a free call."""
    assert with_cost({"cost": value}).cost_usd is None


@pytest.mark.parametrize(
    ("own_key", "upstream", "cost"),
    [
        (False, 0.5, "0.01"),
        (False, None, "0.01"),
        (True, 0.5, "0.51"),
        (True, None, None),
    ],
)
def test_upstream_cost_is_added_only_for_a_key_of_our_own(own_key: bool, upstream: Any, cost: str | None) -> None:
    """`cost` is the total otherwise: adding to it would charge every customer twice."""
    usage = with_cost({"cost": 0.01, "is_byok": own_key, "cost_details": {"upstream_inference_cost": upstream}})
    record = of_generation({"total_cost": 0.01, "is_byok": own_key, "upstream_inference_cost": upstream})
    assert usage.cost_usd == record.cost_usd == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize("count", [-1, 1.5, "7", True, None, TOKENS_MAX + 1])
def test_an_odd_count_is_no_count(count: Any) -> None:
    usage = with_cost({"prompt_tokens": count, "prompt_tokens_details": count, "completion_tokens_details": [count]})
    assert (usage.prompt_tokens, usage.cached_tokens, usage.reasoning_tokens) == (0, 0, 0)


def test_a_generation_s_native_counts_come_first() -> None:
    record = {"tokens_prompt": 10, "native_tokens_prompt": 12, "tokens_completion": 5, "native_tokens_completion": None}
    usage = of_generation(record)
    assert (usage.prompt_tokens, usage.completion_tokens) == (12, 5)


def failure(status: int, error: Any, retry_after: bytes = b"") -> ProviderFailure:
    body = orjson.dumps({"error": error})
    return failures.of_answer(status, {b"retry-after": retry_after}, body, "", NOW)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": 429, "message": "m"}, FailureKind.RATE_LIMITED),
        (400, {"code": "429", "message": "m"}, FailureKind.RATE_LIMITED),
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, FailureKind.OPERATOR),
        (400, {"type": "invalid_request_error", "code": "context_length_exceeded"}, FailureKind.REFUSED_INPUT),
        (400, {"code": 400, "metadata": {"error_type": "provider_overloaded"}}, FailureKind.UNAVAILABLE),
        (500, {"code": 700}, FailureKind.UNAVAILABLE),
        (404, {"code": "model_not_found"}, FailureKind.REFUSED_INPUT),
        (403, {"code": 403, "metadata": "x"}, FailureKind.OPERATOR),
        (500, "just text", FailureKind.UNAVAILABLE),
    ],
)
def test_words_and_numbers_of_an_error(status: int, error: Any, kind: FailureKind) -> None:
    assert failure(status, error).kind is kind


@pytest.mark.parametrize(
    ("named", "detail"),
    [
        ({"param": "messages[2].content"}, "messages[2]"),
        ({"param": "tools"}, "tools"),
        (
            {"metadata": {"raw": '{"error": {"param": "stop", "message": "m"}}', "error_type": "invalid_request"}},
            "stop",
        ),
        ({"metadata": {"raw": "not JSON", "error_type": "invalid_request"}}, "invalid_request"),
        ({"metadata": {"raw": "[1]", "error_type": "invalid_request"}}, "invalid_request"),
        ({"param": "my secret prompt"}, "invalid_request"),
        ({"param": "secret"}, "invalid_request"),
        ({"param": ["tools"]}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
def test_the_parameter_that_a_provider_blames_is_named(named: dict[str, Any], detail: str) -> None:
    """The developer would have to guess; a name of their own making would put their words into a message."""
    assert failure(400, {"code": "invalid_request", **named}).client_detail == detail


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"", 0),
        (b"7", 7),
        (b"0.2", 1),
        (b"-3", 0),
        (b"nan", 0),
        (b"inf", 3_600),
        (b"999999", 3_600),
        (b"soon", 0),
        (b"Fri, 15 Jan 2027 08:00:30 GMT", 30),
        (b"Fri, 15 Jan 2021 08:00:30 GMT", 0),
        (b"Fri, 99 Jan 2027 08:00:30 GMT", 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: bytes, seconds: int) -> None:
    assert failure(429, {"code": 429}, value).retry_after_s == seconds


@pytest.mark.parametrize("kind", list(FailureKind))
@pytest.mark.parametrize("reason", ["", "context_length_exceeded", "refusal"])
def test_every_failure_has_a_code_that_clients_know(kind: FailureKind, reason: str) -> None:
    """A code outside the catalogue would end the call with an internal error."""
    told = ProviderFailure(kind, reason)
    assert told.client_code in CATALOGUE
    assert bool(told.client_detail) is (told.client_code == "invalid_request")


odd: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 403, 429.5, "", "429", "timeout", [], ["x"], {}, {"error_type": 1}, {"reasons": []}]
)


@given(odd, odd, odd, odd, st.sampled_from([200, 302, 400, 403, 500]))
def test_any_error_object_is_understood_somehow(error: Any, code: Any, metadata: Any, kind: Any, status: int) -> None:
    """An error in an odd form would crash the call and leave its hold open."""
    assert failure(status, error).kind in FailureKind
    assert failure(status, {"code": code, "metadata": metadata, "type": kind}).kind in FailureKind
