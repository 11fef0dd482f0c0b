"""The edges' reports of a simulated month, published into USAGE as edges publish them."""

import asyncio
import random
from collections.abc import Iterator

from bus import jetstream
from bus.connection import Connection
from proto.onysoft.v1.usage_pb2 import UsageBatch, UsageEvent

EDGES = 3
BATCH_EVENTS = 500
WINDOW = 8


class Reports:
    """Spreads events over a few edges, in batches that are numbered as edges number theirs."""

    def __init__(self, connection: Connection, rng: random.Random) -> None:
        self.events = 0
        self._connection = connection
        self._epochs = [rng.randbytes(8) for _ in range(EDGES)]
        self._numbers = [0] * EDGES

    async def publish(self, events: list[UsageEvent], whole: bool) -> list[UsageEvent]:
        """Publish full batches, with `whole` the rest as well; what is left. Raises ApiRefused and the like."""
        batches = list(self._batches(events, whole))
        for start in range(0, len(batches), WINDOW):
            await asyncio.gather(*(self._publish(batch) for batch in batches[start : start + WINDOW]))
        taken = sum(len(batch.events) for batch in batches)
        self.events += taken
        return events[taken:]

    def _batches(self, events: list[UsageEvent], whole: bool) -> Iterator[UsageBatch]:
        for start in range(0, len(events), BATCH_EVENTS):
            part = events[start : start + BATCH_EVENTS]
            if len(part) == BATCH_EVENTS or whole:
                edge = min(range(EDGES), key=lambda each: self._numbers[each])
                self._numbers[edge] += 1
                name = f"edge-{edge + 1}"
                yield UsageBatch(edge=name, epoch=self._epochs[edge], number=self._numbers[edge], events=part)

    async def _publish(self, batch: UsageBatch) -> None:
        identity = f"{batch.epoch.hex()}:{batch.number}"
        await jetstream.append(self._connection, f"usage.{batch.edge}", batch.SerializeToString(), identity)
