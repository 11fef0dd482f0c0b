"""What stands before every call of the admin service: the token that keeps others out, and each caller's rights."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

from core.admin.answers import Context, Rejected
from core.admin.callers import caller_now, caller_of
from core.admin.desk import Desk
from core.admin.roles import ROWS, denied
from runtime.log import log

Continue = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


class BearerGate(grpc.aio.ServerInterceptor):
    """Lets only calls through that bring the admin token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(self, continuation: Continue, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or self._is_allowed(handler_call_details):
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_refuse_stream)
        return grpc.unary_unary_rpc_method_handler(_refuse)

    def _is_allowed(self, details: grpc.HandlerCallDetails) -> bool:
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        return hmac.compare_digest(given if isinstance(given, bytes) else given.encode(), self._expected)


async def _refuse(_request: Any, context: Context) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the admin token is missing or wrong")


async def _refuse_stream(_request: Any, context: Context) -> AsyncIterator[Any]:
    await _refuse(_request, context)
    yield None


class RoleGate(grpc.aio.ServerInterceptor):
    """Holds every call against its row in `roles.ROWS` before anything else happens. A call without one is nobody's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def intercept_service(self, continuation: Continue, handler_call_details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        name = handler_call_details.method.rpartition("/")[2]

        async def call(request: Any, context: Context) -> Any:
            await self._admit(name, request, context)
            return await handler.unary_unary(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            await self._admit(name, request, context)
            async with aclosing(handler.unary_stream(request, context)) as answers:
                async for answer in answers:
                    yield answer

        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, *codec)
        return grpc.unary_unary_rpc_method_handler(call, *codec)

    async def _admit(self, name: str, request: Any, context: Context) -> None:
        try:
            caller = caller_of(context.invocation_metadata() or ())
            caller_now.set(caller)
            row = ROWS.get(name)
            if row is None:
                denied(f"nobody may call {name}")
            await row.admit(self._desk, caller, request)
        except Rejected as rejected:
            if rejected.code is grpc.StatusCode.PERMISSION_DENIED:  # whoever called should have known: a page's mistake
                log.warning("admin.denied", call=name, actor=caller_now.get().actor)
            await context.abort(rejected.code, rejected.message)
