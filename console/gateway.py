"""The console's way to the gateway: the gRPC admin service, always in somebody's name and within their reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from cli.client import AdminClient, Caller, CallFailed

__all__ = ["CallFailed", "Caller", "Gateway"]

CONNECT_TIMEOUT_S = 3.0


class Gateway:
    """Calls in the name of a `caller`, connected at the first one and again after a failure. Safe for many threads."""

    def __init__(self, address: str, token: str) -> None:
        self._addresses = [each.strip() for each in address.split(",") if each.strip()]
        self._token = token
        self._client: AdminClient | None = None
        self._lock = Lock()

    def call(self, method: str, request: Any, caller: Caller) -> Any:
        """The answer. Raises CallFailed."""
        with self._connected() as client:
            return client.call(method, request, caller)

    def stream(self, method: str, request: Any, caller: Caller) -> Iterator[Any]:
        """The answers of a streaming call. Raises CallFailed."""
        with self._connected() as client:
            yield from client.stream(method, request, caller)

    @contextmanager
    def _connected(self) -> Iterator[AdminClient]:
        with self._lock:
            if self._client is None:
                self._client = AdminClient(self._addresses, self._token, CONNECT_TIMEOUT_S)
            client = self._client
        try:
            yield client
        except CallFailed as failure:
            if failure.code == "unavailable":
                self._drop(client)
            raise

    def _drop(self, client: AdminClient) -> None:
        with self._lock:
            if self._client is client:
                self._client = None

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
