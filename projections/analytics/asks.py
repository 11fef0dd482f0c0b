"""Answers `GET /v1/usage`: an account's calls, tokens and costs, from the daily roll-ups."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bus.connection import Connection
from bus.transport import Message
from core.ledger.money import to_text
from projections.analytics.readers import Busy, Readers
from projections.analytics.sink import StreamSink
from projections.analytics.store import StoreFailed
from proto.onysoft.v1 import work_pb2
from runtime.ids import ACCOUNT, text
from runtime.log import log

ASKS_MAX = 64

_SQL = (Path(__file__).parent / "usage.sql").read_text()
_GROUPS = {"day": "toString(day)", "model": "model", "key": "key_id"}
_COUNTS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


class UsageAsks:
    """Listens on `ask.usage`."""

    def __init__(self, connection: Connection, readers: Readers, ledger: StreamSink) -> None:
        self._connection = connection
        self._readers = readers
        self._ledger = ledger
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Join the queue group."""
        await self._connection.subscribe_direct("ask.usage", self._on_ask, "analytics")

    def _on_ask(self, message: Message) -> None:
        if len(self._tasks) < ASKS_MAX:
            task = asyncio.create_task(self._reply(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _reply(self, message: Message) -> None:
        ask = work_pb2.Ask.FromString(message.data)
        try:
            answer = work_pb2.Answer(json=await self._usage(ask.account_id, ask.usage))
        except (StoreFailed, Busy) as error:
            log.warning("analytics.usage_unanswered", error=str(error)[:200])
            answer = work_pb2.Answer(code="service_unavailable")
        answer.position = self._ledger.progress.last
        self._connection.send(message.reply, answer.SerializeToString())

    async def _usage(self, account_id: bytes, question: work_pb2.UsageQuestion) -> bytes:
        as_of_ms = self._ledger.progress.last_time_ms
        rows = await self._readers.rows(
            _SQL.replace("$group", _GROUPS.get(question.group_by, _GROUPS["day"])),
            {"account": text(ACCOUNT, account_id), "first": question.first_day, "last": question.last_day},
        )
        return orjson.dumps(usage_of(question, rows, as_of_ms))


def usage_of(question: work_pb2.UsageQuestion, rows: Sequence[Sequence[Any]], as_of_ms: int) -> dict[str, Any]:
    """The body. Rows are group, currency, nano-units charged, then the counts. Amounts are exact decimals."""
    found = [
        {question.group_by: group, "currency": currency, "cost": _money(nano), **_counts(counts)}
        for group, currency, nano, *counts in rows
    ]
    currencies = sorted({currency for _group, currency, *_rest in rows})
    totals = [
        {
            "currency": currency,
            "cost": _money(sum(row[2] for row in rows if row[1] == currency)),
            **_counts([sum(row[3 + place] for row in rows if row[1] == currency) for place in range(len(_COUNTS))]),
        }
        for currency in currencies
    ]
    return {
        "object": "usage",
        "from": question.first_day,
        "to": question.last_day,
        "group_by": question.group_by,
        "as_of": datetime.fromtimestamp(as_of_ms / 1000, UTC).isoformat(timespec="milliseconds") if as_of_ms else None,
        "data": found,
        "total": totals[0] if totals else {"cost": _money(0), **_counts([0] * len(_COUNTS))},
    }


def _money(nano: int) -> orjson.Fragment:
    return orjson.Fragment(to_text(nano))


def _counts(counts: Sequence[int]) -> dict[str, int]:
    return dict(zip(_COUNTS, counts, strict=True))
