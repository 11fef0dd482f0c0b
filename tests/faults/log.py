"""The ledger's raw messages, read with nats-py's own pull consumer: nothing of the gateway's bus is trusted here."""

from dataclasses import dataclass

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

FETCH = 1_000
FETCH_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Raw:
    """One message of the stream LEDGER; `time_ms` is the stream's timestamp of it."""

    position: int
    time_ms: int
    partition: int
    payload: bytes


async def read_ledger(nats_url: str, first: int = 1) -> list[Raw]:
    """Everything from position `first` to the newest message at the time of the call, in the order of the stream."""
    client = await nats.connect(nats_url, connect_timeout=CONNECT_TIMEOUT_S, max_reconnect_attempts=3)
    try:
        stream = client.jetstream()
        last = (await stream.stream_info("LEDGER")).state.last_seq
        if last < first:
            return []
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=first,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=30.0,
            mem_storage=True,
        )
        consumer = await stream.pull_subscribe("", stream="LEDGER", config=config)
        messages: list[Raw] = []
        while not messages or messages[-1].position < last:
            for message in await consumer.fetch(min(FETCH, last - first + 1 - len(messages)), FETCH_TIMEOUT_S):
                words = message.reply.split(".")
                position, time_ns = int(words[-4]), int(words[-2])
                messages.append(Raw(position, time_ns // 1_000_000, int(message.subject[7:]), message.data))
        return messages
    finally:
        await client.close()
