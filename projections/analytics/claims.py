"""Which range of a stream a sink sends next: written into JetStream before anything is sent, so that a sink that dies
is followed by one that sends exactly the same range again.

A claim takes the place of the one before it, or fails: JetStream compares. So two sinks on one set of tables can never
send two different ranges. Whoever finds another's claim stops.
"""

import os
from dataclasses import dataclass

import orjson

from bus import jetstream
from bus.connection import Connection
from bus.errors import ApiRefused, NoSuchPosition
from bus.streams import SNAPSHOTS


class ClaimLost(Exception):
    """Another sink writes to the same tables."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The range of stream positions that is sent, or was sent last."""

    first: int
    last: int


class Claims:
    """The claims of one stream on one set of tables."""

    def __init__(self, connection: Connection, home_id: str, stream: str) -> None:
        self._connection = connection
        self._subject = f"snapshot.sink.{home_id}.{stream}"
        self._owner = os.urandom(8).hex()
        self._sequence = 0

    async def read(self) -> Claim | None:
        """The newest claim, whoever made it; None when there never was one. Raises BusError."""
        try:
            entry = await jetstream.read_last(self._connection, SNAPSHOTS, self._subject)
        except NoSuchPosition:
            self._sequence = 0
            return None
        self._sequence = entry.position
        claim = orjson.loads(entry.payload)
        return Claim(claim["first"], claim["last"])

    async def make(self, claim: Claim) -> None:
        """Claim the next range; `read` or `make` came before. Raises ClaimLost, BusError: then it may be made again."""
        body = orjson.dumps({"first": claim.first, "last": claim.last, "owner": self._owner})
        try:
            message_id = f"{self._subject}:{self._owner}:{claim.first}-{claim.last}"
            position = await jetstream.append(self._connection, self._subject, body, message_id, self._sequence)
        except ApiRefused as error:
            if error.err_code != jetstream.WRONG_LAST_SEQUENCE:
                raise
            position = await self._own_position(body)
        self._sequence = position

    async def _own_position(self, body: bytes) -> int:
        """The position of a claim that was stored though its acknowledgement was lost."""
        entry = await jetstream.read_last(self._connection, SNAPSHOTS, self._subject)
        if entry.payload != body:
            raise ClaimLost("another sink writes to these tables")
        return entry.position
