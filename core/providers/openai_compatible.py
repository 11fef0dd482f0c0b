"""Any provider that speaks OpenAI's chat protocol and nothing more: it names tokens, never a cost."""

import ssl
from collections.abc import Mapping
from typing import Any

import orjson

from core.providers import usage
from core.providers.chat import ChatProtocol
from core.providers.http import HttpClient, Limits
from core.providers.openrouter import model_objects
from core.providers.port import AbortPolicy, AnswerStream, Completion, Usage

_INCLUDE_USAGE = b',"stream_options":{"include_usage":true}}'


class OpenAICompatible:
    """The provider at `base_url`. What was generated before an abort is our own count: it keeps no record for us."""

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str,
        limits: Limits | None = None,
        *,
        abort_policy: AbortPolicy = AbortPolicy.CLOSE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.abort_policy = abort_policy
        headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self._client = HttpClient(base_url, headers, limits or Limits(), tls)
        self._chat = ChatProtocol(self._client, usage.tokens_only, end_marked=False)

    async def complete(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Completion:
        """See core.providers.port.Provider."""
        return await self._chat.complete(body, headers, deadline_s)

    def stream(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> AnswerStream:
        """See core.providers.port.Provider. Asks for usage in the last chunk, which is not sent otherwise."""
        return self._chat.stream(with_usage(body), headers, deadline_s)

    async def list_models(self) -> list[dict[str, Any]]:
        """See core.providers.port.Provider."""
        return model_objects(await self._chat.read_back("/models"))

    async def generation(self, generation_id: str) -> Usage | None:
        """Not known here."""
        return None

    async def close(self) -> None:
        """See core.providers.port.Provider."""
        await self._client.close()


def with_usage(body: bytes) -> bytes:
    """The request with `stream_options.include_usage`. It is parsed only if it may have options already."""
    if b'"stream_options"' not in body and body.endswith(b"}") and len(body) > 2:
        return body[:-1] + _INCLUDE_USAGE
    request = orjson.loads(body)
    request["stream_options"] = {**(request.get("stream_options") or {}), "include_usage": True}
    return orjson.dumps(request)
