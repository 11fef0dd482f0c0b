"""OpenRouter's adapter: everything the port promises, and the exact cost of every call."""

from decimal import Decimal

import orjson
import pytest

from core.providers.http import Limits
from core.providers.openrouter import OpenRouter
from core.providers.port import FailureKind, Provider, ProviderFailure
from tests.core.http import request_json
from tests.providers.conftest import Script
from tests.providers.port_suite import DEADLINE_S, MODEL, PATIENT, PortSuite, delta, failure_of, read, request, text_of
from tests.providers.scripted import CLOSE, answer, events


class TestOpenRouter(PortSuite):
    sandbox_path = "/api/v1"
    names_cost = True

    def make(self, url: str, limits: Limits = PATIENT) -> Provider:
        return OpenRouter(url, "sk-or-test", limits)

    async def test_the_cost_is_the_journal_s_to_the_last_digit(self, sandbox_url: str) -> None:
        """A cost that is off by a digit is charged to somebody."""
        provider = self.make(sandbox_url + self.sandbox_path)
        whole = (await provider.complete(request("[[tokens=37]] a b c"), {}, DEADLINE_S)).usage
        streamed = [
            chunk.usage for chunk in await read(provider, request("[[tokens=61]] a", stream=True)) if chunk.usage
        ]
        journal = await request_json("GET", f"{sandbox_url}/journal")
        assert whole is not None
        costs = {whole.cost_usd, streamed[0].cost_usd}
        assert costs == {Decimal(entry["cost_usd"]) for entry in journal}
        await provider.close()

    async def test_usage_on_an_empty_delta_counts_as_well(self, sandbox_url: str) -> None:
        await request_json("PUT", f"{sandbox_url}/control", {"usage_in_last_delta": True})
        provider = self.make(sandbox_url + self.sandbox_path)
        chunks = await read(provider, request(stream=True))
        assert [chunk.usage is not None for chunk in chunks].count(True) == 1
        await provider.close()

    async def test_missing_usage_is_not_a_cost_of_zero(self, sandbox_url: str) -> None:
        await request_json("PUT", f"{sandbox_url}/control", {"missing_usage": True})
        provider = self.make(sandbox_url + self.sandbox_path)
        assert (await provider.complete(request(), {}, DEADLINE_S)).usage is None
        await provider.close()

    async def test_a_cost_of_zero_is_passed_on_as_zero(self, sandbox_url: str) -> None:
        await request_json("PUT", f"{sandbox_url}/control", {"zero_cost": True})
        provider = self.make(sandbox_url + self.sandbox_path)
        usage = (await provider.complete(request(), {}, DEADLINE_S)).usage
        assert usage is not None
        assert usage.cost_usd == 0
        await provider.close()

    async def test_a_wrong_key_is_the_operator_s_trouble(self, sandbox_url: str) -> None:
        await request_json("PUT", f"{sandbox_url}/control", {"require_key": "another"})
        provider = self.make(sandbox_url + self.sandbox_path)
        failure = await failure_of(provider, stream=False)
        assert (failure.kind, failure.client_code) == (FailureKind.OPERATOR, "service_unavailable")
        await provider.close()

    async def test_an_aborted_generation_tells_its_cost_afterwards(self, sandbox_url: str) -> None:
        """What a client that left had generated is charged by the provider's word, not by a guess."""
        await request_json("PUT", f"{sandbox_url}/control", {"tokens_per_second": 100})
        provider = self.make(sandbox_url + self.sandbox_path)
        stream = provider.stream(request("[[tokens=2000]] go", stream=True), {}, DEADLINE_S)
        for _ in range(4):
            await anext(stream)
        await stream.aclose()
        usage = None
        while usage is None:
            usage = await provider.generation(stream.generation_id)
        entry = (await request_json("GET", f"{sandbox_url}/journal"))[0]
        assert entry["aborted"] is True
        assert usage.cost_usd == Decimal(entry["cost_usd"]) > 0
        assert usage.completion_tokens == entry["completion_tokens"] < 2000
        await provider.close()

    async def test_an_unknown_generation_is_none_and_trouble_is_not(self, sandbox_url: str, script: Script) -> None:
        provider = self.make(sandbox_url + self.sandbox_path)
        assert await provider.generation("gen-unknown") is None
        await provider.close()
        server = await script([answer(b'{"error":{"code":500,"message":"x"}}', "500 X")])
        provider = self.make(server.url)
        with pytest.raises(ProviderFailure):
            await provider.generation("gen-1")
        await provider.close()

    async def test_models_of_every_modality_are_listed(self, sandbox_url: str) -> None:
        """The default list leaves image models out."""
        provider = self.make(sandbox_url + self.sandbox_path)
        models = {model["id"]: model for model in await provider.list_models()}
        assert "image" in models["google/gemini-2.5-flash-image"]["architecture"]["output_modalities"]
        assert Decimal(models[MODEL]["pricing"]["prompt"]) > 0
        await provider.close()

    @pytest.mark.parametrize("body", [b"{}", b'{"data":{}}', b'{"data":["x"]}', b"[]"])
    async def test_a_list_of_models_that_is_none_is_refused(self, script: Script, body: bytes) -> None:
        """An empty catalogue would close the shop."""
        server = await script([answer(body)])
        provider = self.make(server.url)
        with pytest.raises(ProviderFailure, match="protocol"):
            await provider.list_models()
        await provider.close()

    async def test_the_header_names_the_generation_before_any_event(self, script: Script) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nX-Generation-Id: gen-42\r\n\r\n"
        server = await script([head, 0.05, CLOSE])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream=True)
        assert failure.generation_id == "gen-42"
        await provider.close()

    async def test_a_stream_without_its_end_mark_is_broken_even_after_a_finish_reason(self, script: Script) -> None:
        """Usage comes after the finish reason: what is cut there has an unknown cost."""
        server = await script([events(delta("a", "stop"), done=False)])
        provider = self.make(server.url)
        assert (await failure_of(provider, stream=True)).kind is FailureKind.BROKEN
        await provider.close()

    async def test_moderation_refuses_the_input_and_not_our_key(self, script: Script) -> None:
        error = {"code": 403, "message": "x", "metadata": {"reasons": ["violence"], "flagged_input": "…"}}
        server = await script([answer(orjson.dumps({"error": error}), "403 Forbidden")])
        provider = self.make(server.url)
        failure = await failure_of(provider, stream=False)
        assert (failure.kind, failure.client_code) == (FailureKind.REFUSED_INPUT, "model_not_supported")
        await provider.close()

    async def test_the_key_goes_with_every_request(self, script: Script) -> None:
        server = await script([events(delta("a"))])
        provider = self.make(server.url)
        assert text_of(await read(provider, request(stream=True))) == "a"
        assert b"authorization: Bearer sk-or-test\r\n" in server.requests[0]
        await provider.close()
