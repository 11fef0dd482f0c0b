"""How an act is told: who did it, and what else it says."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from console.analytics import NANO
from console.people.tables import Person
from console.web.context import Context
from console.web.words import ACT_FACTS, JOBS, ROLES, STANDINGS
from proto.onysoft.v1 import admin_pb2 as admin

TEXT_CHARACTERS_MAX = 200
HOUR_MS = 3_600_000
OPERATOR = "operator"
OWN = ""
"""The detail of an act of the console, which says no name."""
JOB = "console:"
_CODES = {**ROLES, **STANDINGS}
_PERSON = re.compile(r"\b[0-9a-f]{32}\b")
_SUBJECTS = frozenset({"account_id", "key_id", "owner_id", "from_account_id", "model_id", "alias"})
"""What an act is about; it has a column of its own."""


@dataclass(frozen=True, slots=True)
class Line:
    """One act. `position` 0: it stands in the console alone. `said`: what else is known of it."""

    at: datetime
    actor: str
    kind: str
    subject: str
    account_id: str
    said: Mapping[str, Any]
    outcome: str = "applied"
    position: int = 0
    event_index: int = 0
    act_id: str = ""


def names_in(context: Context, lines: Iterable[Line]) -> dict[str, str]:
    """The names of people whose ids stand in the lines."""
    texts = [text for line in lines for text in (line.actor, line.subject, *map(str, line.said.values()))]
    ids = {found for text in texts for found in _PERSON.findall(text)}
    with context.services.store.transaction() as transaction:
        people = transaction.execute(select(Person.id, Person.name).where(Person.id.in_(ids))).all()
    return {person_id: name or context.translate("an erased person") for person_id, name in people}


def who(context: Context, names: Mapping[str, str], actor: str) -> str:
    """A person's name; operators and jobs have none."""
    if actor == OPERATOR:
        return context.translate("operator")
    job = actor.removeprefix(JOB)
    if job != actor or actor in JOBS:
        return context.translate("console: %(job)s", job=context.translate(JOBS.get(job, job)))
    return names.get(actor, actor)


def facts(
    context: Context, names: Mapping[str, str], accounts: Mapping[str, admin.Account], line: Line
) -> list[tuple[str, str]]:
    """What else an act says: each with its name, where it has one, in the person's language."""
    account = accounts.get(line.account_id)
    currency = account.balance.currency if account is not None else ""
    return [
        (_named(context, name), _clipped(_told(context, names, currency, name, value)))
        for name, value in _flat(line.said)
        if name not in _SUBJECTS and value != ""
    ]


def _told(context: Context, names: Mapping[str, str], currency: str, name: str, value: Any) -> str:
    if name == "amount_nano":
        return context.formats.money(Decimal(value) / NANO, currency)
    if name.endswith("_nano"):
        return context.formats.plain(Decimal(value) / NANO)
    if name == "expires_ms":
        return context.formats.moment(int(value))
    if name == "grace_ms":
        return context.translate("%(count)s hours", count=context.formats.number(Decimal(value) / HOUR_MS))
    if name.endswith("account_id") or name == "parent_id":
        return f"acc_{value}"
    if name in (OWN, "approved_by"):
        return _sentence(context, names, str(value))
    return str(value)


def _named(context: Context, name: str) -> str:
    name = name.removesuffix("_nano")
    return context.translate(ACT_FACTS[name]) if name in ACT_FACTS else name


def _sentence(context: Context, names: Mapping[str, str], text: str) -> str:
    """Names for ids, and words for codes where there is nothing else: what somebody wrote stays as it is."""
    words = text.split()
    told = _CODES if all(word in _CODES or word in names for word in words) else {}
    return " ".join(context.translate(told[word]) if word in told else names.get(word, word) for word in words)


def _flat(said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in said.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value))
        else:
            yield name, value


def _clipped(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[:TEXT_CHARACTERS_MAX] + "…"
