"""The gRPC service itself, its port, and the token that keeps others out."""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from core.admin.accounts import Accounts
from core.admin.answers import Context
from core.admin.keys import Keys
from core.admin.ledger import Ledger
from core.admin.limits import Limits
from core.admin.markups import Markups
from core.admin.models import Models
from core.admin.money import Money
from core.admin.rates import Rates
from core.admin.requests import Requests
from core.admin.tasks import Tasks
from proto.onysoft.v1.admin_pb2_grpc import AdminServicer, add_AdminServicer_to_server
from runtime.errors import OperatorError
from runtime.settings import Settings

TOKEN_CHARACTERS_MIN = 16
CALLS_MAX = 64


class AdminService(Accounts, Money, Markups, Keys, Limits, Rates, Models, Requests, Tasks, Ledger, AdminServicer):
    """Serves one core's admin port on that core's own replica: the subjects, composed."""


async def serve_admin(service: AdminService, settings: Settings) -> tuple[grpc.aio.Server, int]:
    """Listen on the admin port; the server and its port. End it with `await server.stop(STOP_GRACE_S)`.

    Raises OperatorError when the address is taken, or when a secret that keeps others out is missing.
    """
    token = settings.admin_token.get_secret_value()
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise OperatorError(f"ONYSOFT_ADMIN_TOKEN must have at least {TOKEN_CHARACTERS_MIN} characters")
    if not settings.key_pepper.get_secret_value():
        raise OperatorError("ONYSOFT_KEY_PEPPER must be set, to the same value for every core and edge")
    server = grpc.aio.server(
        interceptors=[BearerGate(token)],
        maximum_concurrent_rpcs=CALLS_MAX,
        options=[("grpc.so_reuseport", 0)],
    )
    add_AdminServicer_to_server(service, server)
    address = f"{settings.admin_host}:{settings.admin_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        raise OperatorError(f"cannot listen on {address}: is it in use?") from None
    await server.start()
    return server, port


class BearerGate(grpc.aio.ServerInterceptor):
    """Lets only calls through that bring the admin token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
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
