"""The port between the core and a provider of media tasks: begin one, ask how it is, fetch nothing.

An adapter makes exactly one attempt. A failure is a ProviderFailure whose `began` says whether a task may have come
into being all the same: KieAI knows no idempotency key, so such a create is never repeated.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple, Protocol


class TaskState(Enum):
    """How a task is, in words that all families share."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The provider does not know it: not yet, or not any more."""


class Progress(NamedTuple):
    """What a provider says of a task. `percent` 1–100, 0: not said; `urls` and `text` when it has succeeded.

    `ids` are the provider's names of the results, where later operations need them, one for each URL; `credits` what it
    says to have taken for the task. `reason` is a word of a fixed list, for logs and metrics; the provider's own words
    go no further.
    """

    state: TaskState
    percent: int = 0
    urls: tuple[str, ...] = ()
    text: str = ""
    reason: str = ""
    ids: tuple[str, ...] = ()
    credits: str | None = None


class Begun(NamedTuple):
    """A task that the provider has taken. `at_once`: it has ended already, and has no id to ask for."""

    task_id: str
    at_once: Progress | None = None


class TaskProvider(Protocol):
    """One provider of media tasks."""

    name: str

    async def create(self, path: str, body: Mapping[str, Any], at_once: bool) -> Begun:
        """Begin a task. `at_once`: the answer is its result. Raises ProviderFailure."""
        ...

    async def look(self, family: str, path: str, task_id: str) -> Progress:
        """How a task is, asked at `path`. Raises ProviderFailure when nobody can tell now."""
        ...

    async def upload(self, content: bytes, name: str, content_type: str) -> str:
        """Hand over a source file; its public address at the provider. Raises ProviderFailure."""
        ...

    async def list_models(self) -> list[dict[str, Any]]:
        """The provider's model objects as it gives them. Raises ProviderFailure."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
