"""The central bank's bulletin: a wrong reading would price every call wrongly."""

from datetime import date

import pytest

from core.fx.bulletin import BULLETIN_BYTES_MAX, BulletinUnreadable, read
from core.ledger.money import NANO
from sandbox.bulletin import Bulletin


def served(**wanted: object) -> bytes:
    bulletin = Bulletin()
    bulletin.put(wanted)
    return bulletin.xml()


def test_a_rate_is_for_one_unit_and_empty_ones_are_left_out() -> None:
    """The yen's rate is for a hundred; a missing rate is unknown, never 0."""
    found = read(served(day="2026-08-14", usd="41.2345"))
    assert found.day == date(2026, 8, 14)
    assert found.reference == "2026-08-14"
    assert found.rates == {"USD": 41_234_500_000, "JPY": 271_234_000}


def test_a_unit_that_does_not_divide_is_rounded_up() -> None:
    """Never below what the dollar costs the house."""
    assert read(served(usd="1.0000", unit=3)).rates["USD"] == NANO // 3 + 1


def test_it_is_due_at_half_past_three_in_istanbul() -> None:
    """A rate set by hand after it would be overwritten by it."""
    assert read(served(day="2026-08-14")).published_ms == 1_786_710_600_000


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (b"<html><body>Bakim</body></html>", "Tarih_Date"),
        (b"", "not XML"),
        (b"<Tarih_Date Date='2026-08-14'/>", "MM/DD/YYYY"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><Tarih_Date Date='08/14/2026'/>", "entities"),
        (b" " * (BULLETIN_BYTES_MAX + 1), "large"),
        (served(usd="41,23"), "rate of USD"),
        (served(usd="0.0000"), "not above 0"),
        (served(usd="-1"), "not above 0"),
        (served(usd="NaN"), "rate of USD"),
        (served(unit=0), "Unit of USD"),
    ],
)
def test_what_is_no_bulletin_is_said_and_not_used(xml: bytes, reason: str) -> None:
    with pytest.raises(BulletinUnreadable, match=reason):
        read(xml)
