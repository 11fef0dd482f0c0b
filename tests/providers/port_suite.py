"""What every adapter owes the core, run over HTTP: against the sandbox, and against servers that break the protocol.

An adapter's test inherits PortSuite and says how to make it.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any

import orjson
import pytest

from core.providers.http import Limits
from core.providers.port import Chunk, FailureKind, Provider, ProviderFailure
from tests.core.http import request_json
from tests.providers.conftest import Script, until
from tests.providers.scripted import CLOSE, STALL, STREAM_END, STREAM_HEAD, answer, event, events, piece

MODEL = "openai/gpt-4o-mini"
PATIENT = Limits(connections_max=8)
SECRET = "ahududulu-pasta"
DEADLINE_S = 60.0


def request(content: str = "hello there", **fields: Any) -> bytes:
    """An upstream request."""
    return orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": content}], **fields})


def delta(content: str, finish: str | None = None) -> dict[str, Any]:
    """A chunk of a streamed answer."""
    return {"id": "gen-7", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


async def read(provider: Provider, body: bytes, deadline_s: float = DEADLINE_S) -> list[Chunk]:
    """A streamed answer to its end."""
    stream = provider.stream(body, {}, deadline_s)
    try:
        return [chunk async for chunk in stream]
    finally:
        await stream.aclose()


def text_of(chunks: list[Chunk]) -> str:
    """What the chunks say."""
    choices = [choice for chunk in chunks for choice in chunk.body.get("choices") or ()]
    return "".join(choice.get("delta", {}).get("content") or "" for choice in choices)


async def failure_of(provider: Provider, stream: bool, deadline_s: float = DEADLINE_S) -> ProviderFailure:
    """The failure of one attempt; its text must not hold what the provider said."""
    body = request(stream=stream)
    with pytest.raises(ProviderFailure) as caught:
        await (read(provider, body, deadline_s) if stream else provider.complete(body, {}, deadline_s))
    assert SECRET not in str(caught.value)
    return caught.value


both_forms = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class PortSuite(ABC):
    """Tests that every adapter inherits."""

    sandbox_path: str
    names_cost: bool

    @abstractmethod
    def make(self, url: str, limits: Limits = PATIENT) -> Provider:
        """The adapter for a base URL."""

    # --- answers

    async def test_a_whole_answer_keeps_its_json_and_its_usage(self, sandbox_url: str) -> None:
        provider = self.make(sandbox_url + self.sandbox_path)
        completion = await provider.complete(request(), {}, DEADLINE_S)
        assert completion.body["choices"][0]["message"]["content"]
        assert completion.usage is not None
        assert completion.usage.completion_tokens == completion.body["usage"]["completion_tokens"] > 0
        assert (completion.usage.cost_usd is not None) is self.names_cost
        assert completion.generation_id
        await provider.close()

    async def test_a_streamed_answer_says_the_same_and_brings_usage(self, sandbox_url: str) -> None:
        provider = self.make(sandbox_url + self.sandbox_path)
        whole = await provider.complete(request(), {}, DEADLINE_S)
        chunks = await read(provider, request(stream=True))
        assert text_of(chunks) == whole.body["choices"][0]["message"]["content"]
        assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
        await provider.close()

    async def test_the_trace_reaches_the_provider(self, sandbox_url: str) -> None:
        provider = self.make(sandbox_url + self.sandbox_path)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await provider.complete(request(), {"traceparent": trace}, DEADLINE_S)
        assert (await request_json("GET", f"{sandbox_url}/journal"))[0]["traceparent"] == trace
        await provider.close()

    async def test_models_are_listed(self, sandbox_url: str) -> None:
        provider = self.make(sandbox_url + self.sandbox_path)
        assert MODEL in {model["id"] for model in await provider.list_models()}
        await provider.close()

    @both_forms
    async def test_a_large_request_arrives_whole(self, script: Script, stream: bool) -> None:
        """A customer's picture of several megabytes would be lost."""
        server = await script([events(delta("a", "stop")) if stream else answer(b'{"choices":[]}')])
        provider = self.make(server.url, Limits())
        body = request("x" * 6_000_000, stream=stream)
        await (read(provider, body) if stream else provider.complete(body, {}, DEADLINE_S))
        sent = orjson.loads(server.requests[0].split(b"\r\n\r\n", 1)[1])
        assert sent["messages"] == orjson.loads(body)["messages"]
        await provider.close()

    # --- refusals

    @both_forms
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, FailureKind.REFUSED_INPUT),
            (401, FailureKind.OPERATOR),
            (402, FailureKind.OPERATOR),
            (403, FailureKind.OPERATOR),
            (404, FailureKind.REFUSED_INPUT),
            (408, FailureKind.TIMEOUT),
            (422, FailureKind.REFUSED_INPUT),
            (429, FailureKind.RATE_LIMITED),
            (500, FailureKind.UNAVAILABLE),
            (502, FailureKind.UNAVAILABLE),
            (503, FailureKind.UNAVAILABLE),
            (524, FailureKind.TIMEOUT),
            (529, FailureKind.UNAVAILABLE),
        ],
    )
    async def test_a_status_becomes_a_kind(self, script: Script, status: int, kind: FailureKind, stream: bool) -> None:
        """The core would try a dead route again, or blame a customer for the operator's key."""
        body = orjson.dumps({"error": {"code": status, "message": SECRET}})
        server = await script([answer(body, f"{status} X", "application/json", "retry-after: 7")])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.status, failure.retry_after_s) == (kind, status, 7)
        assert failure.began is (kind is FailureKind.TIMEOUT)
        await provider.close()

    @both_forms
    async def test_input_that_is_refused_is_named_by_a_fixed_word(self, script: Script, stream: bool) -> None:
        error = {"code": 400, "message": SECRET, "metadata": {"error_type": "context_length_exceeded"}}
        server = await script([answer(orjson.dumps({"error": error}), "400 Bad Request")])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream)
        assert (failure.client_code, failure.client_detail) == ("invalid_request", "context_length_exceeded")
        await provider.close()

    @both_forms
    async def test_an_error_page_is_not_an_answer(self, script: Script, stream: bool) -> None:
        server = await script([answer(f"<html>{SECRET}</html>".encode(), "502 Bad Gateway", "text/html")])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.status, failure.began) == (FailureKind.UNAVAILABLE, 502, True)
        await provider.close()

    @both_forms
    @pytest.mark.parametrize(
        ("body", "content_type"),
        [(b"<html>ok</html>", "text/html"), (b'{"id":"gen-7","choi', "application/json"), (b"", "application/json")],
        ids=["html", "truncated", "empty"],
    )
    async def test_a_200_without_an_answer_is_a_protocol_failure(
        self, script: Script, stream: bool, body: bytes, content_type: str
    ) -> None:
        """A customer would be charged for, or be shown, something that is no answer."""
        server = await script([answer(body, content_type=content_type)])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.began) == (FailureKind.PROTOCOL, True)
        await provider.close()

    @both_forms
    async def test_an_error_in_a_200_is_a_failure_with_its_usage(self, script: Script, stream: bool) -> None:
        """The provider billed what it generated; the house must know how much."""
        body = {
            "id": "gen-7",
            "error": {"code": "server_error", "message": SECRET},
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.00001},
        }
        server = await script([events(body) if stream else answer(orjson.dumps(body))])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.began, failure.generation_id) == (FailureKind.UNAVAILABLE, True, "gen-7")
        assert failure.usage is not None
        assert failure.usage.completion_tokens == 2
        assert failure.usage.cost_usd == (Decimal("0.00001") if self.names_cost else None)
        await provider.close()

    async def test_an_error_in_a_200_that_should_stream_is_read(self, script: Script) -> None:
        server = await script([answer(b'{"error":{"code":429,"message":"x"}}')])
        provider = self.make(server.url)
        assert (await failure_of(provider, stream=True)).kind is FailureKind.RATE_LIMITED
        await provider.close()

    @both_forms
    async def test_a_redirect_is_not_followed(self, script: Script, stream: bool) -> None:
        """Prompt and key would go wherever a misconfigured provider points."""
        server = await script([answer(b"", "307 Temporary Redirect", "text/plain", "location: http://127.0.0.1:9/")])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.reason, len(server.requests)) == (FailureKind.PROTOCOL, "redirect", 1)
        await provider.close()

    @both_forms
    async def test_not_http_is_a_protocol_failure(self, script: Script, stream: bool) -> None:
        server = await script([b"SSH-2.0-OpenSSH_9.6\r\n", STALL])
        provider = self.make(server.url)
        assert (await failure_of(provider, stream)).kind is FailureKind.PROTOCOL
        await provider.close()

    # --- broken connections

    @both_forms
    async def test_nobody_listens(self, stream: bool) -> None:
        provider = self.make("http://127.0.0.1:9")
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.began) == (FailureKind.UNAVAILABLE, False)
        await provider.close()

    @both_forms
    async def test_a_connection_lost_before_the_answer_may_have_cost_money(self, script: Script, stream: bool) -> None:
        server = await script([CLOSE])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.began) == (FailureKind.UNAVAILABLE, True)
        await provider.close()

    async def test_a_whole_answer_that_is_cut_is_broken(self, script: Script) -> None:
        whole = answer(orjson.dumps({"choices": []}), "200 OK", "application/json", "x-generation-id: gen-8")
        server = await script([whole[:-3], CLOSE])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream=False)
        assert (failure.kind, failure.began, failure.status) == (FailureKind.BROKEN, True, 200)
        await provider.close()

    async def test_a_stream_that_drops_gives_what_it_had_and_then_fails(self, script: Script) -> None:
        """The customer has seen those words; they must be charged, and the id tells what they cost."""
        server = await script([STREAM_HEAD, event(delta("a")), event(delta("b")), CLOSE])
        provider = self.make(server.url)
        stream = provider.stream(request(stream=True), {}, DEADLINE_S)
        chunks = [await anext(stream), await anext(stream)]
        with pytest.raises(ProviderFailure) as caught:
            await anext(stream)
        assert text_of(chunks) == "ab"
        assert (caught.value.kind, caught.value.generation_id) == (FailureKind.BROKEN, "gen-7")
        await provider.close()

    async def test_an_error_event_after_words_breaks_the_stream(self, script: Script) -> None:
        error = {**delta("", "error"), "error": {"code": 502, "message": SECRET}, "usage": {"completion_tokens": 1}}
        server = await script([events(delta("a"), error)])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream=True)
        assert (failure.kind, failure.began) == (FailureKind.BROKEN, True)
        assert failure.usage is not None
        await provider.close()

    @both_forms
    async def test_the_finish_reason_error_is_a_failure(self, script: Script, stream: bool) -> None:
        body = delta("", "error")
        server = await script([events(body) if stream else answer(orjson.dumps(body))])
        provider = self.make(server.url)
        assert (await failure_of(provider, stream)).kind is FailureKind.BROKEN
        await provider.close()

    async def test_a_stream_that_just_stops_is_broken(self, script: Script) -> None:
        """Half an answer would pass for a whole one."""
        server = await script([events(delta("a"), done=False)])
        provider = self.make(server.url)
        assert (await failure_of(provider, stream=True)).kind is FailureKind.BROKEN
        await provider.close()

    # --- time

    @both_forms
    async def test_silence_before_the_answer_times_out(self, script: Script, stream: bool) -> None:
        server = await script([STALL])
        provider = self.make(server.url, Limits(first_byte_s=0.3))
        failure = await failure_of(provider, stream)
        assert (failure.kind, failure.reason, failure.began) == (FailureKind.TIMEOUT, "first_byte", True)
        await until(lambda: server.open_connections == 0, "the socket is closed")
        await provider.close()

    async def test_silence_within_a_stream_times_out_and_comments_are_not_silence(self, script: Script) -> None:
        comment = piece(b": OPENROUTER PROCESSING\n\n")
        beats = [comment, 0.6] * 4
        server = await script([STREAM_HEAD, *beats, event(delta("a")), STALL])
        provider = self.make(server.url, Limits(idle_s=1.8))
        stream = provider.stream(request(stream=True), {}, 30.0)
        assert text_of([await anext(stream)]) == "a"
        with pytest.raises(ProviderFailure) as caught:
            await anext(stream)
        assert (caught.value.kind, caught.value.reason) == (FailureKind.TIMEOUT, "idle")
        await provider.close()

    @both_forms
    async def test_the_deadline_ends_a_call_that_keeps_talking(self, script: Script, stream: bool) -> None:
        """A hold has a deadline: a call that outlives it would be served for nothing."""
        server = await script([STREAM_HEAD, *[piece(b": x\n\n"), 0.1] * 50])
        provider = self.make(server.url)
        started = time.monotonic()
        failure = await failure_of(provider, stream, deadline_s=0.6)
        assert (failure.kind, failure.reason) == (FailureKind.TIMEOUT, "deadline")
        assert time.monotonic() - started < 3
        await provider.close()

    # --- sockets

    async def test_closing_a_stream_closes_its_socket_at_once(self, script: Script) -> None:
        """The provider would generate, and bill, for a client that has gone."""
        server = await script([STREAM_HEAD, event(delta("a")), STALL])
        provider = self.make(server.url, Limits())
        stream = provider.stream(request(stream=True), {}, DEADLINE_S)
        await anext(stream)
        await stream.aclose()
        await until(lambda: server.open_connections == 0, "the socket is closed")
        await stream.aclose()
        await provider.close()

    @both_forms
    async def test_a_cancelled_call_closes_its_socket(self, script: Script, stream: bool) -> None:
        server = await script([STREAM_HEAD, STALL])
        provider = self.make(server.url, Limits())
        body = request(stream=stream)
        call = read(provider, body) if stream else provider.complete(body, {}, DEADLINE_S)
        task = asyncio.ensure_future(call)
        await until(lambda: len(server.requests) == 1, "the request arrived")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: server.open_connections == 0, "the socket is closed")
        await provider.close()

    async def test_connections_are_kept_and_bounded(self, script: Script) -> None:
        body = orjson.dumps({"id": "gen-1", "choices": []})
        server = await script([0.02, answer(body)])
        provider = self.make(server.url, Limits(connections_max=3))
        for _ in range(3):
            await asyncio.gather(*(provider.complete(request(), {}, DEADLINE_S) for _ in range(12)))
        assert len(server.requests) == 36
        assert server.connections == 3
        await provider.close()
        await until(lambda: server.open_connections == 0, "the sockets are closed")

    async def test_a_stream_read_to_its_end_leaves_its_connection_for_the_next(self, script: Script) -> None:
        late_end = [STREAM_HEAD, event(delta("a", "stop")), piece(b"data: [DONE]\n\n"), 0.05, STREAM_END]
        server = await script(late_end)
        provider = self.make(server.url)
        for _ in range(3):
            assert text_of(await read(provider, request(stream=True))) == "a"
            await asyncio.sleep(0.15)
        assert server.connections == 1
        await provider.close()

    async def test_a_slow_reader_stalls_its_own_socket_only(self, script: Script) -> None:
        """Answers that nobody reads would fill the core's memory."""
        block = event(delta("x" * 50_000)) * 20
        total = 40 * len(block)
        server = await script(
            [STREAM_HEAD, *[block] * 40, piece(b"data: [DONE]\n\n"), STREAM_END], [events(delta("a"))]
        )
        provider = self.make(server.url, Limits(idle_s=1.8))
        stream = provider.stream(request(stream=True), {}, 30.0)
        await anext(stream)
        settled = -1
        while settled != server.written:
            settled = server.written
            await asyncio.sleep(1.0)
        assert server.written < total / 2
        assert text_of(await read(provider, request(stream=True))) == "a"
        count = 1 + len([chunk async for chunk in stream])
        assert count == 800
        await stream.aclose()
        await provider.close()
