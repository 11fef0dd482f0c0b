"""A gRPC server in place of a core, and the CLI in front of it."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from cli.app import run
from proto.onysoft.v1 import admin_pb2_grpc

TOKEN = "the admin token"


class FakeAdmin(admin_pb2_grpc.AdminServicer):
    """Answers each method with what the test has set, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        self.address = ""

    def __getattribute__(self, name: str) -> Any:
        if name[0].isupper():
            return lambda request, context: self.answer(name, request, context)
        return super().__getattribute__(name)

    def answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        if ("authorization", f"Bearer {TOKEN}") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the admin token is missing or wrong")
        self.asked.append((method, request))
        answer = self.answers[method]
        if isinstance(answer, tuple):
            context.abort(*answer)
        return iter(answer) if isinstance(answer, list) else answer


@pytest.fixture
def admin_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAdmin]:
    """Listens, and is what ONYSOFT_ADMIN_ADDRESS names."""
    fake = FakeAdmin()
    server = grpc.server(ThreadPoolExecutor(2))
    admin_pb2_grpc.add_AdminServicer_to_server(fake, server)
    fake.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    monkeypatch.setenv("ONYSOFT_ADMIN_ADDRESS", fake.address)
    monkeypatch.setenv("ONYSOFT_ADMIN_TOKEN", TOKEN)
    yield fake
    server.stop(0).wait()


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


Onysoft = Callable[..., Done]


@pytest.fixture
def onysoft(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Onysoft:
    """Runs the CLI's words in this process, on a terminal of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def call(*words: str) -> Done:
        capfd.readouterr()
        code = run(list(words))
        out, err = capfd.readouterr()
        return Done(code, out, err)

    return call
