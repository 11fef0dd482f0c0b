"""How a call of the admin service ends: an answer, or a status with a message that says what to change."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from bus.errors import Overloaded, WriterClosed
from core.replica import RulesTooOld

Answered = TypeVar("Answered")
Served = TypeVar("Served")
Context = grpc.aio.ServicerContext[Any, Any]


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
            return await method(self, request)
        except Rejected as rejected:
            await context.abort(rejected.code, rejected.message)
        except RulesTooOld as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except (Overloaded, WriterClosed) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    return call
