"""What edges saw, for analytics: one event for each response, refusals too, published in batches.

A batch is retried with the same id until JetStream has it, so it counts once. When the stream is away for long the
oldest events are kept and new ones dropped; the count of dropped ones travels with the next batch.
"""

import asyncio
import os
from collections import deque

from bus import jetstream
from bus.connection import Connection
from bus.errors import BusError
from proto.onysoft.v1 import usage_pb2
from runtime.log import log

EVENTS_MAX = 50_000
BATCH_EVENTS_MAX = 500  # below 1 MiB even with the longest names
PERIOD_S = 0.25


class UsageReporter:
    """A bounded buffer of events and the task that empties it."""

    def __init__(self, connection: Connection, edge: str) -> None:
        self.dropped = 0
        self._connection = connection
        self._edge = edge
        self._epoch = os.urandom(8)
        self._number = 0
        self._events: deque[usage_pb2.UsageEvent] = deque()
        self._unsent: usage_pb2.UsageBatch | None = None
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to publish."""
        self.task = asyncio.create_task(self._run())

    def add(self, event: usage_pb2.UsageEvent) -> None:
        """Report one response."""
        if len(self._events) < EVENTS_MAX:
            self._events.append(event)
        else:
            self.dropped += 1

    def __len__(self) -> int:
        """Events that JetStream does not have yet."""
        return len(self._events) + (len(self._unsent.events) if self._unsent is not None else 0)

    async def close(self, timeout_s: float) -> None:
        """Publish what is left, for at most `timeout_s`."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        try:
            async with asyncio.timeout(timeout_s):
                while len(self):
                    await self._publish()
        except (TimeoutError, BusError):
            log.error("usage.lost", events=len(self), dropped=self.dropped)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                while len(self):
                    await self._publish()
            except BusError as error:
                log.warning("usage.unpublished", events=len(self), error=type(error).__name__)

    async def _publish(self) -> None:
        """Publish one batch; the same one again until it is acknowledged."""
        batch = self._unsent
        if batch is None:
            count = min(len(self._events), BATCH_EVENTS_MAX)
            self._number += 1
            batch = self._unsent = usage_pb2.UsageBatch(
                edge=self._edge,
                epoch=self._epoch,
                number=self._number,
                events=[self._events.popleft() for _ in range(count)],
                dropped=self.dropped,
            )
        message_id = f"{self._epoch.hex()}:{batch.number}"
        await jetstream.append(self._connection, f"usage.{self._edge}", batch.SerializeToString(), message_id)
        self._unsent = None
