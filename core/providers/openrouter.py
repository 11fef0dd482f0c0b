"""OpenRouter: chat with the exact cost in the usage object, and a record of every generation.

Rules are those of its OpenAPI description. The cost it names is the total that it takes from our credits; a model's
price list is never needed to settle a call that ended well.
"""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from core.providers import usage
from core.providers.chat import ChatProtocol
from core.providers.http import HttpClient, Limits
from core.providers.port import AbortPolicy, AnswerStream, Completion, FailureKind, ProviderFailure, Usage


class OpenRouter:
    """The provider at `base_url`, by default named `openrouter`; the sandbox speaks the same protocol.

    Closing the socket stops generation and billing where the model's own provider can; what was generated until then
    is in `generation()` some moments later.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        limits: Limits | None = None,
        *,
        name: str = "openrouter",
        abort_policy: AbortPolicy = AbortPolicy.CLOSE,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.abort_policy = abort_policy
        headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self._client = HttpClient(base_url, headers, limits or Limits(), tls)
        self._chat = ChatProtocol(self._client, usage.with_cost, end_marked=True)

    async def complete(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Completion:
        """See core.providers.port.Provider."""
        return await self._chat.complete(body, headers, deadline_s)

    def stream(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> AnswerStream:
        """See core.providers.port.Provider."""
        return self._chat.stream(body, headers, deadline_s)

    async def list_models(self) -> list[dict[str, Any]]:
        """All models of every output modality: without `output_modalities` only those that put out text are listed,
        and without `limit` the list is whole.
        """
        return model_objects(await self._chat.read_back("/models?output_modalities=all"))

    async def generation(self, generation_id: str) -> Usage | None:
        """What a generation cost; None until its record exists, which takes a moment after the call."""
        try:
            record = (await self._chat.read_back(f"/generation?id={quote(generation_id, safe='')}")).get("data")
        except ProviderFailure as failure:
            if failure.status == 404:
                return None
            raise
        return usage.of_generation(record) if isinstance(record, dict) else None

    async def close(self) -> None:
        """See core.providers.port.Provider."""
        await self._client.close()


def model_objects(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a list of models. Raises ProviderFailure when it is not one."""
    models = body.get("data")
    if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
        raise ProviderFailure(FailureKind.PROTOCOL, "no_models", status=200)
    return models
