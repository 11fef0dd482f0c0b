"""Requests that are refused by what they say."""

from datetime import UTC, datetime

import orjson
import pytest

from edge.validate import parse_chat, parse_usage
from runtime.errors import Refusal

GOOD = {"model": "a/b", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"temperature": 0},
        {"temperature": 2.0},
        {"top_p": 1},
        {"max_tokens": 1},
        {"n": 128},
        {"stream": False},
        {"stream_options": {"include_usage": True}},
        {"temperature": None, "top_p": None, "max_tokens": None, "n": None, "stream": None, "models": None},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant"}] * 300},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}] * 100},
        {"something_new": {"a": [1]}},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": ""}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "new_kind"}]}]},
        {"messages": [{"role": "user", "content": []}]},
        {"stop": "x"},
        {"stop": ["x", "y"], "seed": -1, "presence_penalty": -2, "frequency_penalty": 0.5, "logit_bias": {"1": -100}},
        {"logprobs": True, "top_logprobs": 3, "response_format": {"type": "json_object"}, "tools": []},
        {"tool_choice": "auto", "parallel_tool_calls": False, "user": "u", "metadata": {}, "modalities": ["text"]},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"stop": None, "seed": None, "tools": None, "tool_choice": None, "response_format": None, "logit_bias": None},
    ],
)
def test_what_sdks_send_passes(change: dict[str, object]) -> None:
    """A valid call would be refused."""
    assert parse_chat(orjson.dumps({**GOOD, **change})) == ("a/b", False)


def test_a_streamed_call_is_seen() -> None:
    """The client would wait for a whole answer."""
    assert parse_chat(orjson.dumps({**GOOD, "stream": True})) == ("a/b", True)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"model": "m" * 1_000_000}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "assistant"}, "hi"]}, "messages[1]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "alien", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages[0].content"),
        ({"messages": [{"role": "tool"}, {"role": "user", "content": ["hi"]}]}, "messages[1].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        ({"stop": 5}, "stop"),
        ({"seed": "1"}, "seed"),
        ({"seed": True}, "seed"),
        ({"presence_penalty": "1"}, "presence_penalty"),
        ({"frequency_penalty": []}, "frequency_penalty"),
        ({"logit_bias": []}, "logit_bias"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 1.5}, "top_logprobs"),
        ({"response_format": "json"}, "response_format"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"user": 1}, "user"),
        ({"metadata": "x"}, "metadata"),
        ({"modalities": "text"}, "modalities"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.01}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"models": ["a/b", "c/d"]}, "models"),
        ({"route": "fallback"}, "route"),
    ],
)
def test_a_wrong_parameter_is_named(change: dict[str, object], detail: str) -> None:
    """The developer would have to guess which parameter is wrong; a wrong value would be priced."""
    with pytest.raises(Refusal) as caught:
        parse_chat(orjson.dumps({**GOOD, **change}))
    assert (caught.value.error.code, caught.value.detail) == ("invalid_request", detail)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b'{"model": "a/b", "messages": [{"role": "user", "content": NaN}]}',
        b'{"model": "a\xff", "messages": []}',
        b'{"model": "\\ud800", "messages": [{"role": "user"}]}',
        b"[" * 100_000,
        b'{"model":"a/b","messages":[{"role":"user"}],"x":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """A core would fail on it, after money has been held."""
    with pytest.raises(Refusal) as caught:
        parse_chat(body)
    assert (caught.value.error.code, caught.value.detail) == ("invalid_request", "JSON")


def test_usage_asks_for_the_last_thirty_days_unless_told_otherwise() -> None:
    """At 23:00 UTC it is tomorrow in Istanbul: a customer's day must be the one on the statement."""
    late = datetime(2026, 11, 24, 23, 0, tzinfo=UTC).timestamp()
    asked = parse_usage(b"", late)
    assert (asked.first_day, asked.last_day, asked.group_by) == ("2026-10-27", "2026-11-25", "day")
    asked = parse_usage(b"from=2026-01-01&to=2026-01-31&group_by=model", late)
    assert (asked.first_day, asked.last_day, asked.group_by) == ("2026-01-01", "2026-01-31", "model")


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        (b"from=yesterday", "from"),
        (b"to=2026-13-01", "to"),
        (b"from=2026-02-01&to=2026-01-01", "from"),
        (b"from=2020-01-01&to=2026-01-01", "from"),
        (b"group_by=account", "group_by"),
        (b"group_by=day&group_by=key", "group_by"),
        (b"from=0001-01-01&to=0001-01-02", "to"),
        (b"limit=5", "query"),
        (b"from", "query"),
        (b"\xff", "query"),
    ],
)
def test_a_wrong_question_about_usage_names_the_parameter(query: bytes, detail: str) -> None:
    """Totals of days that nobody asked for would look like the right ones."""
    with pytest.raises(Refusal) as refused:
        parse_usage(query, 1_800_000_000.0)
    assert (refused.value.error.code, refused.value.detail) == ("invalid_request", detail)
