"""The job that brings the central bank's rate into the ledger, in any number of cores at once.

Each core reads the bulletin and appends what it finds. The rate's reference is the bulletin's day, and the fold takes a
reference once, so that two cores set one rate. A rate that jumps too far is only proposed; a person confirms it or sets
another. Whatever fails, calls go on with the last rate.
"""

import asyncio
import time

from bus.errors import BusError, Overloaded
from core.fx.bulletin import Bulletin, BulletinUnreadable, read
from core.ledger.money import to_text
from core.ledger.state import State
from core.providers.http import HttpClient, Limits
from core.providers.port import ProviderFailure
from core.replica import Replica
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.log import log
from runtime.settings import Settings

CENTRAL_BANK_URL = "https://www.tcmb.gov.tr/kurlar/today.xml"
AUTO = "auto"
SOURCE = "tcmb"
PAIR = (pb.USD, pb.TRY)
BPS = 10_000

_FETCH_TIMEOUT_S = 60.0
_LIMITS = Limits(connections_max=1, connect_s=10.0, first_byte_s=30.0, idle_s=30.0)
_HEADERS = {"user-agent": "onysoft-gateway", "accept": "application/xml, text/xml"}


def url_of(settings: Settings) -> str:
    """Where the bulletin is; empty: nowhere. `auto` is the central bank, once a real provider costs real dollars."""
    if settings.fx_url != AUTO:
        return settings.fx_url
    return CENTRAL_BANK_URL if settings.openrouter_api_key.get_secret_value() else ""


def event_for(state: State, bulletin: Bulletin, jump_max_bps: int) -> pb.Event | None:
    """What to append for the bulletin: a rate, a proposal where it jumps too far, or nothing where it is not news.

    A rate that a person has set stands until the next bulletin.
    """
    rate_nano = bulletin.rates.get("USD")
    if rate_nano is None:
        return None
    current_nano = state.fx_rates.get(PAIR)
    if current_nano is not None and not _is_news(state, bulletin):
        return None
    event = pb.Event()
    jumps = current_nano is not None and abs(rate_nano - current_nano) * BPS > jump_max_bps * current_nano
    fact = event.fx_rate_proposed if jumps else event.fx_rate_set
    fact.base, fact.quote, fact.rate_nano = *PAIR, rate_nano
    fact.source, fact.reference = SOURCE, bulletin.reference
    return event


def _is_news(state: State, bulletin: Bulletin) -> bool:
    """Is the bulletin later than the current rate and than the proposal that waits?"""
    known = state.rates.get(PAIR)
    if known is None:
        return False  # set under rules that kept no more than the rate: nobody knows what it is older than
    if known.proposed is not None and known.proposed.reference >= bulletin.reference:
        return False
    if known.event.source == SOURCE:
        return bulletin.reference > known.event.reference
    return bulletin.published_ms > known.set_ms


def age_s(state: State, now_s: float) -> float | None:
    """How long the current rate has stood; None where there is none, or nobody knows."""
    known = state.rates.get(PAIR)
    return None if known is None or not known.set_ms else max(0.0, now_s - known.set_ms / 1000)


class RateWatch:
    """Reads the bulletin now and then; where there is none to read it only watches the rate's age."""

    def __init__(self, replica: Replica, settings: Settings) -> None:
        self.looks = 0
        self.url = url_of(settings)
        self._replica = replica
        self._settings = settings
        self._client = HttpClient(self.url, _HEADERS, _LIMITS) if self.url else None

    @property
    def is_stale(self) -> bool:
        """Has the rate stood longer than the operator thinks right?"""
        age = age_s(self._replica.state, time.time())
        return age is not None and age > self._settings.fx_stale_h * 3600

    @property
    def is_waiting(self) -> bool:
        """Does a rate wait for a person?"""
        known = self._replica.state.rates.get(PAIR)
        return known is not None and known.proposed is not None

    async def run(self, stop: asyncio.Event) -> None:
        """Look now and then until `stop`; trouble is logged, and tried again."""
        while not stop.is_set():
            if self._client is not None:
                await self._look(self._client)
                self.looks += 1
            if self.is_stale:
                log.error("fx.stale", hours=self._settings.fx_stale_h)
            try:
                async with asyncio.timeout(self._settings.fx_refresh_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Close the connection to the bank."""
        if self._client is not None:
            await self._client.close()

    async def _look(self, client: HttpClient) -> None:
        try:
            reply = await client.fetch("GET", "", b"", {}, _FETCH_TIMEOUT_S)
            if reply.status != 200:
                log.warning("fx.unreadable", status=reply.status)
                return
            await self._take(read(reply.body()))
        except BulletinUnreadable as error:
            log.error("fx.unreadable", reason=str(error))
        except (ProviderFailure, BusError, Overloaded) as error:
            log.warning("fx.unreachable", reason=str(error) or type(error).__name__)

    async def _take(self, bulletin: Bulletin) -> None:
        """Append the bulletin's rate if it is news to the ledger."""
        await self._replica.fresh()
        event = event_for(self._replica.state, bulletin, self._settings.fx_jump_max_bps)
        if event is None:
            return
        await self._replica.append(b"fx", event)
        if event.HasField("fx_rate_proposed"):
            proposed = to_text(event.fx_rate_proposed.rate_nano)
            log.error("fx.jumped", rate=proposed, bulletin=bulletin.reference, confirm="onysoft fx confirm USD")
        else:
            log.info("fx.set", rate=to_text(event.fx_rate_set.rate_nano), bulletin=bulletin.reference)
