"""The generic adapter."""

import orjson
import pytest

from core.providers.http import Limits
from core.providers.openai_compatible import OpenAICompatible, with_usage
from core.providers.port import Provider
from tests.providers.conftest import Script
from tests.providers.port_suite import PATIENT, PortSuite, delta, read, request, text_of
from tests.providers.scripted import events


class TestOpenAICompatible(PortSuite):
    sandbox_path = "/openai/v1"
    names_cost = False

    def make(self, url: str, limits: Limits = PATIENT) -> Provider:
        return OpenAICompatible("generic", url, "sk-generic", limits)

    async def test_a_stream_that_named_its_finish_reason_may_just_end(self, script: Script) -> None:
        """Some servers never send `[DONE]`; their answers are whole all the same."""
        server = await script([events(delta("a"), delta("b", "stop"), done=False)])
        provider = self.make(server.url)
        assert text_of(await read(provider, request(stream=True))) == "ab"
        await provider.close()

    async def test_a_generation_is_not_known(self) -> None:
        provider = self.make("http://127.0.0.1:9")
        assert await provider.generation("gen-1") is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"stream_options": {"include_obfuscation": False}}, {"stream_options": None}, {"user": '"stream_options"'}],
)
def test_usage_is_asked_for_whatever_the_client_asked(fields: dict[str, object]) -> None:
    """Without it a streamed call would be charged by estimate."""
    asked = orjson.loads(with_usage(orjson.dumps({"model": "m", **fields})))
    assert asked["stream_options"]["include_usage"] is True
    assert asked["model"] == "m"
    assert asked.get("user") == fields.get("user")


def test_an_empty_request_stays_json() -> None:
    assert orjson.loads(with_usage(b"{}")) == {"stream_options": {"include_usage": True}}
