"""Calls to the gRPC admin service."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from proto.onysoft.v1.admin_pb2_grpc import AdminStub

CALL_TIMEOUT_S = 20.0
_CONNECT_TIMEOUT_S = 3.0
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class CallFailed(Exception):
    """The service refused or could not be reached. `code` is gRPC's, in lower case."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Caller:
    """In whose name calls are made; `actor` empty: the service's default.

    `access` and `reach`, both or none, say what may be done, and with which accounts: see core/admin/README.md.
    """

    actor: str = ""
    access: str | None = None
    reach: str | None = None

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """As the service reads it."""
        given = (("actor", self.actor or None), ("access", self.access), ("reach", self.reach))
        return tuple((f"x-onysoft-{name}", value) for name, value in given if value is not None)


class AdminClient:
    """A connection to the first of the addresses that answers.

    A call is sent once: after a failure nobody knows whether it took effect, so repeating it is the caller's decision.
    """

    def __init__(
        self, addresses: Sequence[str], token: str, connect_timeout_s: float = _CONNECT_TIMEOUT_S, actor: str = ""
    ) -> None:
        """`actor`: who asks where a call names no caller, for the ledger; empty: the service's default."""
        self._token = token
        self._default = Caller(actor)
        self._channel = _connect(addresses, connect_timeout_s)
        self._stub = AdminStub(self._channel)

    def call(self, method: str, request: Any, caller: Caller | None = None) -> Any:
        """The answer to one call. Raises CallFailed."""
        try:
            return getattr(self._stub, method)(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata(caller))
        except grpc.RpcError as error:
            raise _failure(error) from None

    def stream(self, method: str, request: Any, caller: Caller | None = None) -> Iterator[Any]:
        """The answers to one streaming call, as they come. Raises CallFailed."""
        try:
            yield from getattr(self._stub, method)(request, metadata=self._metadata(caller))
        except grpc.RpcError as error:
            raise _failure(error) from None

    def _metadata(self, caller: Caller | None) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token}"), *(caller or self._default).metadata())

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def _connect(addresses: Sequence[str], timeout_s: float) -> grpc.Channel:
    deadline = time.monotonic() + timeout_s
    for index, address in enumerate(addresses):
        channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX)])
        share_s = max(0.2, (deadline - time.monotonic()) / (len(addresses) - index))
        try:
            grpc.channel_ready_future(channel).result(timeout=share_s)
        except grpc.FutureTimeoutError:
            channel.close()
        else:
            return channel
    raise CallFailed("unavailable", f"no core answers at {', '.join(addresses) or '(no address)'}")


def _failure(error: grpc.RpcError) -> CallFailed:
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    details = error.details() if isinstance(error, grpc.Call) else None
    return CallFailed(code.name.lower(), details or code.name.lower().replace("_", " "))
