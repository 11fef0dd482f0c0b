"""Money's text and its one rounding."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger.money import MAX_NANO, ceil_div, from_text, to_text


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.00"),
        (1, "0.000000001"),
        (10, "0.00000001"),
        (10**7, "0.01"),
        (10**8, "0.10"),
        (1_500_000_000, "1.50"),
        (1_234_000_000, "1.234"),
        (100 * 10**9, "100.00"),
        (-1, "-0.000000001"),
        (-1_500_000_000, "-1.50"),
        (MAX_NANO, "9223372036.854775807"),
    ],
)
def test_money_reads_as_people_write_it(nano: int, text: str) -> None:
    """A statement would show a wrong amount."""
    assert to_text(nano) == text
    assert from_text(text) == nano


@given(st.integers(-MAX_NANO, MAX_NANO))
def test_text_loses_nothing(nano: int) -> None:
    """An amount would change by being shown and typed in again."""
    text = to_text(nano)
    assert from_text(text) == nano
    assert Decimal(text) * 10**9 == nano
    assert len(text.partition(".")[2]) >= 2


@pytest.mark.parametrize(
    ("text", "nano"),
    [("5", 5 * 10**9), ("+5.1", 5_100_000_000), ("007.50", 7_500_000_000), ("1.0000000000", 10**9), ("-0.00", 0)],
)
def test_other_plain_decimals_are_read(text: str, nano: int) -> None:
    """An operator would have to guess how many zeros to type."""
    assert from_text(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "abc",
        "1,50",
        "1.",
        ".5",
        "1e3",
        "1E-2",
        "1_000",
        " 1",
        "1 ",
        "1\n",
        "--1",
        "0x10",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "١",
        "1.0000000001",
        "1.00000000000000000000000000000000001",
        "0.99999999999999999999999999999",
        "1" * 100_000,
        "9223372036.854775808",
        "-9223372036.854775808",
        "99999999999",
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """A typing error would credit another amount than was meant, or be rounded without a word."""
    with pytest.raises(ValueError, match=r"decimal|too large"):
        from_text(text)


@given(st.integers(0, 2**80), st.integers(1, 2**70))
def test_a_charge_is_rounded_up_once(numerator: int, denominator: int) -> None:
    """The house would give away fractions, or a customer would pay more than a nano-unit too much."""
    assert ceil_div(numerator, denominator) == ceil(Fraction(numerator, denominator))


def test_a_whole_charge_is_not_rounded() -> None:
    """Each call would cost a nano-unit too much."""
    assert [ceil_div(n, 3) for n in (0, 1, 2, 3, 4)] == [0, 1, 1, 1, 2]
