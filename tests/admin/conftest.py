"""One core's admin port on a real log, and an operator with a connection to it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from pydantic import SecretStr

from bus.connection import Connection
from bus.directory import DirectoryMirror
from bus.presence import Presences
from bus.streams import provision
from cli.client import AdminClient, Caller, CallFailed
from core.admin import AdminService, Desk, serve_admin
from core.catalogue import Catalogue
from core.price_list import PriceLists
from core.replica import Replica
from core.sync import Sync
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime.settings import Settings
from tests.conftest import NatsServer

TOKEN = "a token that nobody guesses"
PEPPER = "pepper"
UNKNOWN_ACCOUNT = "acc_" + "0" * 24


class Operator:
    """An operator with a connection of their own to one core's admin port."""

    def __init__(self, replica: Replica, connection: Connection, port: int) -> None:
        self.replica = replica
        self.connection = connection
        self.address = f"127.0.0.1:{port}"
        self.client = AdminClient([self.address], TOKEN)

    async def call(self, method: str, request: Any, caller: Caller | None = None) -> Any:
        return await asyncio.to_thread(self.client.call, method, request, caller)

    async def stream(self, method: str, request: Any, caller: Caller | None = None) -> list[Any]:
        return await asyncio.to_thread(lambda: list(self.client.stream(method, request, caller)))

    async def refused(self, method: str, request: Any, caller: Caller | None = None) -> CallFailed:
        with pytest.raises(CallFailed) as failure:
            await self.call(method, request, caller)
        return failure.value

    async def open(self, **fields: Any) -> admin.Account:
        request = admin.OpenAccountRequest(**{"kind": ledger.USER, "name": "Ayşe", **fields})
        return cast(admin.Account, await self.call("OpenAccount", request))

    async def credit(self, account_id: str, amount: str, reference: str) -> admin.Credit:
        request = admin.CreditAccountRequest(account_id=account_id, amount=amount, reference=reference)
        return cast(admin.Credit, await self.call("CreditAccount", request))

    def act_as(self, actor: str) -> None:
        """From now on under this name."""
        self.client.close()
        self.client = AdminClient([self.address], TOKEN, actor=actor)

    def close(self) -> None:
        self.client.close()


@pytest.fixture
def settings(nats_server: NatsServer) -> Settings:
    """A core's settings, secrets included."""
    return Settings(nats_url=nats_server.url, admin_token=SecretStr(TOKEN), key_pepper=SecretStr(PEPPER))


async def start_core(connection: Connection, settings: Settings) -> tuple[Replica, grpc.aio.Server, Operator]:
    replica = Replica(connection, await provision(connection, settings))
    await replica.start()
    await replica.activate_rules(False)
    mirror = DirectoryMirror(connection)
    await mirror.start()
    catalogue = cast(Catalogue, SimpleNamespace(entries={}))
    sync = cast(
        Sync,
        SimpleNamespace(providers={}, compared={}, waiting=Counter(), unsold=Counter(), automatic=False, bound_bps=0),
    )
    presences = Presences(connection)
    await presences.start()
    service = AdminService(
        Desk(replica, catalogue, connection, mirror, settings, sync, PriceLists(catalogue, None), presences)
    )
    server, port = await serve_admin(service, settings)
    return replica, server, await asyncio.to_thread(Operator, replica, connection, port)


@pytest.fixture
async def operator(connection: Connection, settings: Settings) -> AsyncIterator[Operator]:
    replica, server, operator = await start_core(connection, settings)
    yield operator
    operator.close()
    await server.stop(0)
    await replica.close()
