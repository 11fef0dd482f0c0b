"""Parts of the edge that need no server: languages, headers, trace context, CORS, figures."""

import time

import orjson
import pytest

from edge.cors import Cors
from edge.errors import ENGLISH, TURKISH, body_of, error_of, event_of, language_of
from edge.metrics import EdgeMetrics
from edge.responses import UNLIMITED, common_fields, refusal_fields
from edge.trace import trace_context
from runtime.errors import CATALOGUE, bilingual

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (b"", "tr"),
        (b"*", "tr"),
        (b"de", "tr"),
        (b"en", "en"),
        (b"en-US,en;q=0.9", "en"),
        (b"EN-gb", "en"),
        (b"tr-TR,tr;q=0.9,en;q=0.8", "tr"),
        (b"tr;q=0.5, en;q=0.6", "en"),
        (b"en;q=0", "tr"),
        (b"en;q=0.5,tr;q=0.5", "tr"),
        (b"en;q=nonsense", "tr"),
        (b"en;q=1.5", "en"),
        (b";;;===,,,", "tr"),
        (b"en" * 5_000, "tr"),
        ("é".encode(), "tr"),
    ],
)
def test_errors_are_in_the_readers_language(header: bytes, language: str) -> None:
    """A Turkish customer would get English, or a header of nonsense a 500."""
    assert language_of(header) == language


def test_every_error_has_a_body_in_both_languages() -> None:
    """A refusal without a text."""
    for code in CATALOGUE:
        for language in ("tr", "en"):
            error = orjson.loads(body_of(code, "x", language))["error"]
            assert error["message"]
            assert "{detail}" not in error["message"]


def test_a_balance_that_is_held_is_still_the_public_code() -> None:
    """Clients know `insufficient_balance` alone."""
    held, plain = (
        orjson.loads(body_of(code, "", "en")) for code in ("insufficient_balance_held", "insufficient_balance")
    )
    assert held["error"]["code"] == plain["error"]["code"] == "insufficient_balance"
    assert held["error"]["message"] != plain["error"]["message"]
    assert b'"insufficient_balance"' in event_of("insufficient_balance_held", "", "tr")


def test_a_detail_may_be_a_phrase_in_either_language() -> None:
    detail = bilingual("prompt: zorunludur", "prompt: is required")
    assert error_of("invalid_request", detail, TURKISH)["message"] == "Geçersiz istek: prompt: zorunludur."
    assert error_of("invalid_request", detail, ENGLISH)["message"] == "Invalid request: prompt: is required."


def test_a_detail_with_braces_is_text() -> None:
    """A parameter's name could break the response."""
    assert "{0.__class__}" in orjson.loads(body_of("invalid_request", "{0.__class__}", "en"))["error"]["message"]


def test_rate_limit_headers_are_always_there() -> None:
    """Clients that pace themselves by them would fail."""
    fields = dict(common_fields(b"req_1", None))
    assert (fields[b"x-ratelimit-limit"], fields[b"x-ratelimit-remaining"]) == (b"60", b"60")
    assert 0 < int(fields[b"x-ratelimit-reset"]) - time.time() <= 60
    assert int(fields[b"x-ratelimit-reset"]) % 60 == 0
    unlimited = dict(common_fields(b"req_1", (0, 0, 7)))
    assert unlimited[b"x-ratelimit-limit"] == unlimited[b"x-ratelimit-remaining"] == b"%d" % UNLIMITED


def test_clients_are_told_whether_waiting_helps() -> None:
    """SDKs would hammer a limit that lasts until midnight, or give up on one that passes in a second."""
    assert refusal_fields(429, 3, False) == [(b"retry-after", b"3")]
    assert refusal_fields(429, 0, False) == [(b"x-should-retry", b"false")]
    assert refusal_fields(429, 9, True) == [(b"x-should-retry", b"false")]
    assert refusal_fields(503, 0, False) == [(b"retry-after", b"1")]
    assert refusal_fields(402, 5, False) == [(b"retry-after", b"5")]
    assert refusal_fields(400, 0, False) == []


def test_a_valid_trace_is_passed_on() -> None:
    """A customer could not follow a call through the gateway."""
    assert trace_context(PARENT, b"a=1") == (PARENT.decode(), "a=1")


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"x",
        PARENT + b"-x",
        PARENT.upper(),
        PARENT.replace(b"00-", b"ff-", 1),
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        PARENT + b"\n",
    ],
)
def test_an_invalid_trace_is_replaced(parent: bytes) -> None:
    """Garbage would travel to the provider."""
    minted, state = trace_context(parent, b"a=1")
    assert state == ""
    assert trace_context(minted.encode(), b"")[0] == minted
    assert trace_context(PARENT, b"\xff" * 10)[1] == ""
    assert trace_context(PARENT, b"x" * 513)[1] == ""


def test_only_named_origins_may_call() -> None:
    """Any web page could spend a visitor's balance."""
    cors = Cors("https://a.example, https://b.example")
    assert (b"access-control-allow-origin", b"https://b.example") in cors.fields({b"origin": b"https://b.example"})
    assert cors.fields({b"origin": b"https://evil.example"}) == []
    assert cors.fields({}) == []
    assert Cors("").fields({b"origin": b"https://a.example"}) == []
    assert cors.preflight_fields({b"origin": b"https://a.example"}) == []
    asked = {b"origin": b"https://a.example", b"access-control-request-method": b"POST"}
    assert cors.preflight_fields(asked)


def test_figures_add_up() -> None:
    """An operator would see wrong latencies."""
    metrics = EdgeMetrics()
    for duration_s in (0.001, 0.002, 0.3, 1_000.0):
        metrics.add("chat", 200, "", duration_s, duration_s)
    metrics.add("chat", 402, "insufficient_balance", 0, 0)
    buckets = dict(metrics.duration.buckets())
    assert (buckets["0.002"], buckets["0.25"], buckets["0.5"], buckets["+Inf"]) == (2, 2, 3, 4)
    families = {family.name: family for family in metrics.collect()}
    assert sum(sample.value for sample in families["onysoft_edge_responses"].samples) == 5
