"""What a task costs in credits, by `prices.txt`. Exact decimals."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.kie.notation import Spec

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Price:
    """One line of the list."""

    name: str
    count: str
    fields: tuple[str, ...]
    options: tuple[tuple[tuple[str, ...], Decimal], ...]
    extra: tuple[str, int, Decimal] | None

    def credits(self, given: Mapping[str, Any]) -> Decimal:
        """The credits for an input, defaults included. Raises LookupError for a combination that has no price."""
        total = _count(self.count, given) * self._unit(given)
        if self.extra is not None:
            field, free, each = self.extra
            total += max(0, len(given.get(field) or ()) - free) * each
        return total.quantize(Decimal("0.0001"), ROUND_HALF_UP).normalize()

    def _unit(self, given: Mapping[str, Any]) -> Decimal:
        for wanted, credits in self.options:
            if all(_fits(want, given.get(name)) for want, name in zip(wanted, self.fields, strict=False)):
                return credits
        raise LookupError(self.name)

    def prose(self) -> str:
        """As the provider's list tells it, in words and not in numbers for machines."""
        parts = [f"{'/'.join(wanted)}: {credits} credits".removeprefix(": ") for wanted, credits in self.options]
        text = "; ".join(parts) + (f" per {self.count}" if self.count else "") + "."
        if self.extra is not None:
            text += f" Each further {self.extra[0]} costs {self.extra[2]} credits."
        if not any(credits for _, credits in self.options):
            text = "It is free."
        return text + "\nHigh-tier top-ups (+10% bonus) bring the effective price down."


def _fits(wanted: str, value: Any) -> bool:
    if wanted in "+-":
        return bool(value) == (wanted == "+")
    return wanted == "*" or wanted == str(value)


def _count(count: str, given: Mapping[str, Any]) -> Decimal:
    if not count:
        return Decimal(1)
    count, _, more = count.partition("+")
    if more:
        each, _, field = more.partition("@")
        return _count(count, given) + Decimal(each) * len(given.get(field) or ())
    name, _, per = count.partition("/")
    name, _, otherwise = name.partition("|")
    number = _value(name, given, otherwise)
    return number / _value(per, given, "") if per else number


def _value(name: str, given: Mapping[str, Any], otherwise: str) -> Decimal:
    if _NUMBER.fullmatch(name):
        return Decimal(name)
    value = given.get(name)
    if value is None:
        return Decimal(otherwise or 1)
    if isinstance(value, list):
        return Decimal(sum(len(turn["text"]) for turn in value))
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return Decimal(len(value))
    return Decimal(str(value)) if name != "text" else Decimal(len(value))


@cache
def prices() -> tuple[Price, ...]:
    """All lines, in the order in which they are tried."""
    text = Path(__file__).with_name("prices.txt").read_text("utf-8")
    return tuple(_price(line) for line in text.splitlines() if line and not line.startswith("#"))


def price_of(spec: Spec) -> Price:
    """The price of a model or an endpoint. Raises LookupError when there is none."""
    for price in prices():
        if fnmatchcase(spec.name, price.name):
            return price
    raise LookupError(spec.name)


def _price(line: str) -> Price:
    name, _, rest = line.partition(" = ")
    count, times, terms = rest.partition(" × ")
    if not times:
        count, terms = "", rest
    fields: tuple[str, ...] = ()
    options = []
    extra = None
    for term in terms.split(" "):
        values, _, credits = term.rpartition(":")
        if term.startswith("+") and term.count(":") == 2:
            field, free, each = term[1:].split(":")
            extra = (field, int(free), Decimal(each))
        elif _NUMBER.fullmatch(credits):
            options.append((tuple(values.split(",")) if values else (), Decimal(credits)))
        else:
            fields = tuple(term.split(","))
    return Price(name, count, fields, tuple(options), extra)
