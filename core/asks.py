"""Answers edges' questions from the replica: whose key is this, what is my balance, what do models cost me."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import orjson

from bus.connection import Connection
from bus.transport import Message
from core.ledger.accounts import Account
from core.ledger.money import to_text
from core.ledger.outcome import Code, Outcome
from core.ledger.verdicts import describe_limit
from core.ledger.windows import windows_of
from core.price_list import PriceLists
from core.replica import Replica
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1 import work_pb2
from runtime.errors import Refusal

ASKS_MAX = 1_024
"""Questions in work at a time; one more is not answered, and its asker tries another core or gives up."""


class Asks:
    """Listens on `ask.key`, `ask.balance` and `ask.models`."""

    def __init__(self, connection: Connection, replica: Replica, price_lists: PriceLists) -> None:
        self._connection = connection
        self._replica = replica
        self._price_lists = price_lists
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Join the queue group."""
        for what, answer in (("key", self._key), ("balance", self._balance), ("models", self._models)):
            await self._connection.subscribe_direct(f"ask.{what}", self._on_ask(answer), "core")

    def _on_ask(self, answer: Any) -> Any:
        def on_message(message: Message) -> None:
            if len(self._tasks) < ASKS_MAX:
                self._spawn(self._reply(message, answer))

        return on_message

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reply(self, message: Message, answer: Any) -> None:
        ask = work_pb2.Ask.FromString(message.data)
        try:
            reply = await answer(ask)
        except Refusal as refusal:
            reply = work_pb2.Answer(code=refusal.error.code)
        reply.position = self._replica.state.position
        self._connection.send(message.reply, reply.SerializeToString())

    async def _key(self, ask: work_pb2.Ask) -> work_pb2.Answer:
        await self._replica.fresh()
        state = self._replica.state
        key = state.keys_by_hash.get(ask.key_hash)
        if key is None or key.revoked:
            raise Refusal("invalid_api_key")
        secret, expires_ms = key.secret_of(ask.key_hash)
        if expires_ms and expires_ms <= max(state.time_ms, time.time_ns() // 1_000_000):
            raise Refusal("invalid_api_key")
        return work_pb2.Answer(
            key_id=key.key_id,
            account_id=key.account_id,
            partition=self._replica.partition_of(state.accounts[key.account_id].root_id),
            allowed_ips=key.allowed_ips,
            expires_ms=expires_ms,
            key_secret=secret,
        )

    async def _account(self, ask: work_pb2.Ask) -> Account:
        await self._replica.fresh()
        account = self._replica.state.accounts.get(ask.account_id)
        if account is None:
            raise Refusal("not_found")
        return account

    async def _balance(self, ask: work_pb2.Ask) -> work_pb2.Answer:
        account = await self._account(ask)
        body = {
            "balance": orjson.Fragment(to_text(account.balance_nano)),
            "held": orjson.Fragment(to_text(account.held_nano)),
            "available": orjson.Fragment(to_text(account.available_nano)),
            "currency": pb.Currency.Name(pb.Currency.ValueType(account.currency)),
        }
        return self._with_limit(account, orjson.dumps(body))

    async def _models(self, ask: work_pb2.Ask) -> work_pb2.Answer:
        account = await self._account(ask)
        state = self._replica.state
        key = state.keys.get(ask.key_id)
        if not ask.model:
            return self._with_limit(account, self._price_lists.every(state, account, key))
        return self._with_limit(account, self._price_lists.one(state, account, key, ask.model))

    def _with_limit(self, account: Account, body: bytes) -> work_pb2.Answer:
        now_ms = max(self._replica.state.time_ms, time.time_ns() // 1_000_000)
        outcome = describe_limit(Outcome(Code.APPLIED), account, account.lineage, "", windows_of(now_ms))
        limit = work_pb2.RateLimit(limit=outcome.limit, remaining=outcome.remaining, reset_s=outcome.reset_s)
        return work_pb2.Answer(json=body, rate_limit=limit)
