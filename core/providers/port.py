"""The port between the core and a provider: what a call gives back, and every way in which it can fail.

An adapter makes exactly one attempt. Which route is tried next, how often and with what hold is the core's decision,
so a failure carries what that decision needs: its kind, and whether the provider may have begun to generate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, Protocol, Self


class AbortPolicy(Enum):
    """What to do with a provider's answer when its client has gone."""

    CLOSE = "close"
    """Close the socket: the provider stops generating and bills what it generated."""
    READ_TO_END = "read_to_end"
    """Read on: the provider generates and bills to the end anyway, and only the end names the cost."""


class FailureKind(Enum):
    """Why an attempt failed, in the words of the decision that follows."""

    REFUSED_INPUT = "refused_input"
    """The provider refuses this model or this input; another attempt would be refused too. See `client_code`."""
    UNAVAILABLE = "unavailable"
    """Not reachable, overloaded or broken; try the next route."""
    RATE_LIMITED = "rate_limited"
    """The provider limits our account; try the next route, come back after `retry_after_s`."""
    OPERATOR = "operator"
    """Our key, our credit or our permissions at the provider; alert, try the next route, never blame the customer."""
    TIMEOUT = "timeout"
    """A time limit passed: connecting, first byte, pause within the answer, or the call's deadline."""
    BROKEN = "broken"
    """The answer ended early after its first byte: an error event, or the connection was lost."""
    PROTOCOL = "protocol"
    """The answer is not what the protocol promises: not JSON, truncated, HTML, or too large."""


INPUT_REASONS = frozenset(
    {
        "context_length_exceeded",
        "image_download_failed",
        "image_not_found",
        "image_too_large",
        "image_too_small",
        "invalid_image",
        "invalid_prompt",
        "invalid_request",
        "max_tokens_exceeded",
        "payload_too_large",
        "string_too_long",
        "token_limit_exceeded",
        "unsupported_image_format",
    }
)
"""Reasons that blame the caller's input, safe to name to the caller."""


class Usage(NamedTuple):
    """What a call consumed, as the provider says it."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    cost_usd: Decimal | None
    """Exact total in USD. None: the provider named no cost, which is not a cost of 0."""


@dataclass(slots=True)
class Completion:
    """A whole answer: its parsed JSON, untouched."""

    body: dict[str, Any]
    usage: Usage | None
    generation_id: str


@dataclass(slots=True)
class Chunk:
    """One event of a streamed answer: its parsed JSON, untouched. Comments and `[DONE]` never arrive here."""

    body: dict[str, Any]
    usage: Usage | None


class ProviderFailure(Exception):
    """The only exception that an adapter raises for an attempt that failed.

    Its text holds kind, status and a reason of a fixed vocabulary: never the provider's words, which may quote a
    prompt or a key. `status` is 0 when no HTTP status was read. `retry_after_s` is 0 when no time was named.
    """

    def __init__(
        self,
        kind: FailureKind,
        reason: str = "",
        *,
        began: bool = False,
        status: int = 0,
        retry_after_s: int = 0,
        generation_id: str = "",
        usage: Usage | None = None,
        parameter: str = "",
    ) -> None:
        super().__init__(f"{kind.value} {status} {reason}".rstrip())
        self.kind = kind
        self.reason = reason
        self.began = began
        """May generation have begun, so that the attempt may have cost money?"""
        self.status = status
        self.retry_after_s = retry_after_s
        self.generation_id = generation_id
        self.parameter = parameter
        """The request's parameter that the provider blames, where it names one of the protocol's own."""
        self.usage = usage
        """What was consumed until the failure, where the provider said so."""

    @property
    def client_code(self) -> str:
        """Code of the error catalogue (`runtime.errors`) for a client, when no route is left."""
        if self.kind is FailureKind.REFUSED_INPUT:
            return "invalid_request" if self.reason in INPUT_REASONS else "model_not_supported"
        return _CLIENT_CODES[self.kind]

    @property
    def client_detail(self) -> str:
        """Detail for the client's message: a fixed word, and only where it is the client's to repair."""
        return (self.parameter or self.reason) if self.client_code == "invalid_request" else ""


_CLIENT_CODES = {
    FailureKind.UNAVAILABLE: "provider_error",
    FailureKind.RATE_LIMITED: "service_unavailable",
    FailureKind.OPERATOR: "service_unavailable",
    FailureKind.TIMEOUT: "provider_timeout",
    FailureKind.BROKEN: "provider_error",
    FailureKind.PROTOCOL: "provider_error",
}


class AnswerStream(Protocol):
    """A streamed answer. The request is sent by the first `__anext__`; all failures are raised from there."""

    generation_id: str
    """The provider's id of this generation; empty until it is known."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Chunk:
        """The next event. Raises ProviderFailure; StopAsyncIteration only after the provider's own end mark."""
        ...

    async def aclose(self) -> None:
        """Close the socket at once, unless the answer was read to its end. Safe to call twice."""
        ...


class Provider(Protocol):
    """One provider. `body` is the ready upstream JSON: model id mapped, token limit clamped, `stream` set."""

    name: str
    abort_policy: AbortPolicy

    async def complete(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Completion:
        """One attempt at a whole answer, `deadline_s` seconds at most. Raises ProviderFailure."""
        ...

    def stream(self, body: bytes, headers: Mapping[str, str], deadline_s: float) -> AnswerStream:
        """One attempt at a streamed answer, `deadline_s` seconds at most. Always `aclose()` it."""
        ...

    async def list_models(self) -> list[dict[str, Any]]:
        """The provider's model objects as it gives them. Raises ProviderFailure."""
        ...

    async def generation(self, generation_id: str) -> Usage | None:
        """What a generation cost, asked afterwards; None when the provider does not know (yet, or at all)."""
        ...

    async def close(self) -> None:
        """Close all connections. Calls still running fail."""
        ...
