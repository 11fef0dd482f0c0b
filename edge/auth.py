"""Whose key is this: from the mirror, else from a core.

The mirror may lag behind a key that was issued a moment ago, so an unknown key is asked for once, within bounds.
Trouble on the way is `service_unavailable`, never `invalid_api_key`. Whether a key still counts is the ledger's
decision; here only keys that the mirror knows as revoked are refused at once. One that is expired by the mirror is
asked for again: its expiry may have been put off a moment ago.
"""

import asyncio
import hmac
import re
import time
from typing import NamedTuple

from bus.connection import Connection
from bus.directory import DirectoryMirror
from bus.errors import BusError
from proto.onysoft.v1 import work_pb2
from runtime.errors import Refusal

ASKS_IN_FLIGHT_MAX = 64
ASKS_PER_SECOND_MAX = 256
ASK_TIMEOUT_S = 2.0
LEARNT_MAX = 4_096
LEARNT_S = 60.0

_BEARER = re.compile(rb"(?i:bearer)[ \t]+(sk-ony-[0-9a-f]{48})[ \t]*")  # the parser leaves space at a field's end


class Identity(NamedTuple):
    """The account that a call is for, and the key's secret that the caller showed: 0 the first, 1 after a rotation …"""

    key_id: bytes
    account_id: bytes
    partition: int
    secret: int = 0
    allowed_ips: tuple[str, ...] = ()
    expires_ms: int = 0

    def has_expired(self) -> bool:
        """By this edge's clock; the ledger decides by its own."""
        return self.expires_ms != 0 and time.time() * 1000 >= self.expires_ms


class Authenticator:
    """Turns an Authorization header into an Identity."""

    def __init__(self, connection: Connection, mirror: DirectoryMirror, pepper: bytes) -> None:
        self._connection = connection
        self._mirror = mirror
        self._hmac = hmac.new(pepper, digestmod="sha256")
        self._learnt: dict[bytes, tuple[float, Identity]] = {}
        self._asking: dict[bytes, asyncio.Future[Identity]] = {}
        self._second = 0
        self._asked = 0

    async def identify(self, authorization: bytes) -> Identity:
        """Raises Refusal `invalid_api_key`, or `service_unavailable` when nobody can tell now."""
        match = _BEARER.fullmatch(authorization)
        if match is None:
            raise Refusal("invalid_api_key")
        keyed = self._hmac.copy()
        keyed.update(match[1])
        key_hash = keyed.digest()
        known = self._mirror.keys.get(key_hash)
        if known is None:
            return await self._learn(key_hash)
        if known.revoked:
            raise Refusal("invalid_api_key")
        identity = Identity(
            known.key_id, known.account_id, known.partition, known.secret, known.allowed_ips, known.expires_ms
        )
        return await self._learn(key_hash) if identity.has_expired() else identity

    async def _learn(self, key_hash: bytes) -> Identity:
        learnt = self._learnt.get(key_hash)
        if learnt is not None and time.monotonic() - learnt[0] < LEARNT_S and not learnt[1].has_expired():
            return learnt[1]
        asking = self._asking.get(key_hash)
        if asking is None:
            if not self._may_ask():
                if self._mirror.is_loaded and self._connection.connected:
                    raise Refusal("invalid_api_key")
                raise Refusal("service_unavailable", retry_after_s=1)
            asking = self._asking[key_hash] = asyncio.ensure_future(self._ask(key_hash))
            asking.add_done_callback(lambda _: self._asking.pop(key_hash, None))
        identity = await asyncio.shield(asking)  # a caller that leaves must not end the question of the others
        self._learnt.pop(key_hash, None)
        if len(self._learnt) >= LEARNT_MAX:
            del self._learnt[next(iter(self._learnt))]
        self._learnt[key_hash] = (time.monotonic(), identity)
        return identity

    def _may_ask(self) -> bool:
        """Guessing keys must not become a load on the cores."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._asked = second, 0
        self._asked += 1
        return self._asked <= ASKS_PER_SECOND_MAX and len(self._asking) < ASKS_IN_FLIGHT_MAX

    async def _ask(self, key_hash: bytes) -> Identity:
        ask = work_pb2.Ask(key_hash=key_hash).SerializeToString()
        try:
            reply = await self._connection.request("ask.key", ask, ASK_TIMEOUT_S)
        except BusError:
            raise Refusal("service_unavailable", retry_after_s=1) from None
        answer = work_pb2.Answer.FromString(reply)
        if answer.code:
            raise Refusal(answer.code)
        return Identity(
            answer.key_id,
            answer.account_id,
            answer.partition,
            answer.key_secret,
            tuple(answer.allowed_ips),
            answer.expires_ms,
        )
