"""The rate that every call is priced at: from the bank, once, and never in a leap that nobody has seen."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from core.fx.watch import CENTRAL_BANK_URL, PAIR, RateWatch, url_of
from core.ledger.money import NANO
from core.ledger.versions import NEWEST
from core.main import Core
from core.metrics import CoreCollector
from core.replica import Replica
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.settings import Settings
from tests.core.conftest import House, until
from tests.core.http import request_json

FRIDAY, MONDAY = "2040-08-17", "2040-08-20"  # days that no log of today is later than


@pytest.fixture
def cores_wanted() -> int:
    """Two of them read the bulletin at once."""
    return 2


class Bank:
    """The sandbox's bulletin, and the cores that read it."""

    def __init__(self, house: House) -> None:
        self.url = house.sandbox_url
        settings = house.settings.model_copy(update={"fx_url": f"{self.url}/kurlar/today.xml", "fx_jump_max_bps": 500})
        self.watches = [RateWatch(core.replica, settings) for core in house.cores]
        self.replica: Replica = house.core.replica

    async def publishes(self, **wanted: Any) -> None:
        """A bulletin appears, and all cores look at once."""
        await request_json("PUT", f"{self.url}/bulletin", wanted)
        await self.look()

    async def look(self) -> None:
        stop = asyncio.Event()
        looked = [watch.looks for watch in self.watches]
        running = [asyncio.create_task(watch.run(stop)) for watch in self.watches]
        await until(lambda: [watch.looks - 1 for watch in self.watches] == looked, "all cores looked")
        stop.set()
        await asyncio.gather(*running)
        await self.replica.fresh()

    @property
    def rate(self) -> float:
        return self.replica.state.fx_rates[PAIR] / NANO

    @property
    def known(self) -> Any:
        return self.replica.state.rates[PAIR]


@pytest.fixture
async def bank(house: House) -> Bank:
    await house.append(pb.Event(rules_activated=pb.RulesActivated(version=NEWEST)))
    await house.append(pb.Event(fx_rate_set=pb.FxRateSet(base=PAIR[0], quote=PAIR[1], rate_nano=40 * NANO)))
    return Bank(house)


async def test_the_banks_rate_is_set_once_by_any_number_of_cores(bank: Bank) -> None:
    """Each core would set it anew every quarter of an hour, and the log would fill with it."""
    await bank.publishes(day=FRIDAY, usd="41.0000")
    assert bank.rate == 41.0
    assert (bank.known.event.source, bank.known.event.reference) == ("tcmb", FRIDAY)
    set_ms = bank.known.set_ms
    await bank.look()
    await bank.publishes(day="2040-08-16", usd="39.0000")
    assert (bank.rate, bank.known.set_ms) == (41.0, set_ms), "an older bulletin is no news"
    await bank.publishes(day=MONDAY, usd="41.0000")
    assert bank.known.event.reference == MONDAY
    assert bank.known.set_ms > set_ms, "the same rate, but a newer one: it is not stale"


async def test_a_leap_waits_for_a_person(bank: Bank) -> None:
    """A misprint at the bank would sell every call at a tenth of its price."""
    await bank.publishes(day=FRIDAY, usd="4.1000")
    assert bank.rate == 40.0
    assert bank.known.proposed.rate_nano == 4_100_000_000
    assert bank.watches[0].is_waiting
    await bank.publishes(day=MONDAY, usd="42.0000")
    assert bank.rate == 42.0, "exactly at the bound, 5 %"
    assert not bank.watches[0].is_waiting, "a later bulletin ends the wait"


async def test_a_rate_set_by_hand_stands_until_the_next_bulletin(bank: Bank) -> None:
    """An operator's decision would be undone within minutes."""
    await bank.publishes(day="2020-01-02", usd="41.0000")
    assert bank.rate == 40.0
    await bank.publishes(day=FRIDAY, usd="41.0000")
    assert bank.rate == 41.0


@pytest.mark.parametrize("wanted", [{"text": "<html>"}, {"usd": ""}, {"usd": "x"}])
async def test_what_cannot_be_read_changes_nothing(bank: Bank, wanted: dict[str, Any]) -> None:
    """Calls would stop, or be priced at nonsense, because a web page was down."""
    await bank.publishes(**wanted)
    assert bank.rate == 40.0
    assert bank.known.proposed is None


async def test_an_old_rate_is_reported(bank: Bank, house: House) -> None:
    """In an inflation the house would pay the difference for weeks and not know."""
    watch = bank.watches[0]
    assert not watch.is_stale
    settings = watch._settings.model_copy(update={"fx_stale_h": 1e-9})
    old = RateWatch(bank.replica, settings)
    assert old.is_stale
    figures = {
        each.name: each.samples[0].value
        for each in CoreCollector(house.core.resources, house.core.worker, house.core.tasks, old).collect()
        if each.samples
    }
    assert (figures["onysoft_fx_rate_stale"], figures["onysoft_fx_rate_waits"]) == (1.0, 0.0)


def test_the_bank_is_asked_only_where_dollars_are_real() -> None:
    """Tests and demos must not call a public service."""
    assert url_of(Settings(openrouter_api_key="")) == ""
    assert url_of(Settings(openrouter_api_key="k")) == CENTRAL_BANK_URL
    assert url_of(Settings(openrouter_api_key="k", fx_url="")) == ""
    assert url_of(Settings(fx_url="http://x/y.xml")) == "http://x/y.xml"


@pytest.mark.parametrize("url", ["tcmb", "ftp://x/y", "http://", "https://x/y?z=1", "www.tcmb.gov.tr/kurlar/today.xml"])
def test_a_wrong_url_is_said_at_start(url: str) -> None:
    """A core would die on it, or read nothing for ever."""
    with pytest.raises(ValidationError, match="fx_url"):
        Settings(fx_url=url)


async def test_a_core_reads_the_bulletin_by_itself(house: House) -> None:
    """Without a person the rate would stay what it was on the first day."""
    await request_json("PUT", f"{house.sandbox_url}/bulletin", {"day": FRIDAY, "usd": "41.0000"})
    settings = house.settings.model_copy(update={"fx_url": f"{house.sandbox_url}/kurlar/today.xml"})
    core = await Core.open(settings)
    await core.start()
    await until(lambda: house.core.replica.state.fx_rates[PAIR] == 41 * NANO, "the bank's rate")
    await core.stop()
