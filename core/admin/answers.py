"""How a call of the admin service ends: an answer, or a status with a message that says what to change."""

import functools
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import grpc

from bus.errors import Overloaded, WriterClosed
from core.replica import RulesTooOld

ACTOR_METADATA = "x-onysoft-actor"
ACTOR_DEFAULT = "operator"
ACTOR_CHARACTERS_MAX = 100

Answered = TypeVar("Answered")
Served = TypeVar("Served")
Context = grpc.aio.ServicerContext[Any, Any]

actor_now: ContextVar[str] = ContextVar("actor_now", default=ACTOR_DEFAULT)
"""Who asks for what is being served; it stands on every event that the call appends."""


class Rejected(Exception):
    """An operator's call that cannot be served; the message says what to change."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def answers(
    method: Callable[[Served, Any], Awaitable[Answered]],
) -> Callable[[Served, Any, Context], Awaitable[Answered]]:
    """A method of the service as gRPC calls it: what it rejects becomes the call's status."""

    @functools.wraps(method)
    async def call(self: Served, request: Any, context: Context) -> Answered:
        try:
            actor_now.set(actor_of(context))
            return await method(self, request)
        except Rejected as rejected:
            await context.abort(rejected.code, rejected.message)
        except RulesTooOld as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except (Overloaded, WriterClosed) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    return call


def actor_of(context: Context) -> str:
    given = dict(context.invocation_metadata() or ()).get(ACTOR_METADATA, "")
    actor = given.decode("utf-8", "replace") if isinstance(given, bytes) else given
    if len(actor) > ACTOR_CHARACTERS_MAX or not actor.isprintable():
        message = f"{ACTOR_METADATA} must have at most {ACTOR_CHARACTERS_MAX} printable characters"
        raise Rejected(grpc.StatusCode.INVALID_ARGUMENT, message)
    return actor or ACTOR_DEFAULT
