"""Audit: what was done in somebody's name, out of the ledger and out of the console's own list, as one list."""

import heapq
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import NamedTuple
from urllib.parse import urlencode

import orjson
from sqlalchemy import select
from starlette.responses import Response

from console.analytics import Acts, AnalyticsAway
from console.pages.admin.told_acts import OWN, Line, facts, names_in, who
from console.people import acts as own_acts
from console.people.tables import Act, Person
from console.web.context import Context
from console.web.days import midnight
from console.web.guards import Guard, Row
from console.web.reach import ask
from proto.onysoft.v1 import admin_pb2 as admin

ACTS_A_PAGE = 50
POSITION_MAX = 2**63 - 1
FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(2100, 1, 1)

_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,5})\.([0-9a-f]{0,32})")


class Cursor(NamedTuple):
    """The last event and the last act that were shown."""

    position: int = POSITION_MAX
    event_index: int = 0
    act_id: str = ""

    def __str__(self) -> str:
        return f"{self.position}.{self.event_index}.{self.act_id}"


@dataclass(frozen=True, slots=True)
class Filters:
    """What the form asks for."""

    who: str
    account: str
    kind: str
    day: str

    @property
    def query(self) -> str:
        """For a link."""
        given = (("who", self.who), ("account", self.account), ("kind", self.kind), ("day", self.day))
        return urlencode({name: value for name, value in given if value})


def acts(context: Context) -> Response:
    """The latest acts first, a page at a time."""
    asked = context.request.query_params
    filters = Filters(*(asked.get(name, "").strip()[:100] for name in ("who", "account", "kind", "day")))
    cursor, day = _cursor(asked.get("before", "")), _day(filters.day)
    first, end = (day, day + timedelta(days=1)) if day else (FIRST_DAY, LAST_DAY)
    actor = _actor(context, filters.who)
    try:
        logged = _logged(context, filters, actor, cursor, midnight(first), midnight(end))
    except AnalyticsAway:
        logged = None
    own = _own(context, filters, actor, cursor, midnight(first), midnight(end))
    merged = list(heapq.merge(logged or (), own, key=lambda line: line.at, reverse=True))
    lines = merged[:ACTS_A_PAGE]
    values = {
        "filters": filters,
        "lines": lines,
        "away": logged is None,
        "older": _after(lines, cursor) if len(merged) > ACTS_A_PAGE else None,
        "accounts": _accounts(context, lines),
        "names": names_in(context, lines),
        "who": partial(who, context),
        "facts": partial(facts, context),
    }
    return context.render("admin/acts.html", values)


def _logged(
    context: Context, filters: Filters, actor: str, cursor: Cursor, first: datetime, end: datetime
) -> list[Line]:
    """Events of the ledger that bear an actor. Raises AnalyticsAway."""
    if "." in filters.kind:
        return []
    wanted = Acts(
        before_position=cursor.position,
        before_index=cursor.event_index,
        from_ms=int(first.timestamp() * 1000),
        to_ms=int(end.timestamp() * 1000),
        limit=ACTS_A_PAGE + 1,
        actor=actor,
        event=filters.kind,
        account=filters.account,
    )
    return [
        Line(
            at=datetime.fromtimestamp(row["time_ms"] / 1000, UTC),
            actor=row["actor"],
            kind=row["event"],
            subject=row["subject"],
            account_id=row["account_id"],
            said=orjson.loads(row["details"]),
            outcome=row["outcome"],
            position=row["position"],
            event_index=row["event_index"],
        )
        for row in context.services.analytics.acts(wanted)
    ]


def _own(context: Context, filters: Filters, actor: str, cursor: Cursor, first: datetime, end: datetime) -> list[Line]:
    """What the console has kept by itself."""
    wanted = own_acts.Wanted(
        first=first,
        end=end,
        limit=ACTS_A_PAGE + 1,
        before=cursor.act_id,
        person_id=actor,
        what=filters.kind,
        subject=filters.account,
    )
    with context.services.store.transaction() as transaction:
        return [_own_line(each) for each in own_acts.newest(transaction, wanted)]


def _own_line(act: Act) -> Line:
    account_id = act.subject if act.subject.startswith("acc_") else ""
    return Line(act.at, act.person_id, act.what, act.subject, account_id, {OWN: act.detail}, act_id=act.id)


def _after(lines: Iterable[Line], cursor: Cursor) -> Cursor:
    """Where the next page goes on, in each of the two lists."""
    for line in lines:
        if line.position:
            cursor = cursor._replace(position=line.position, event_index=line.event_index)
        else:
            cursor = cursor._replace(act_id=line.act_id)
    return cursor


def _cursor(text: str) -> Cursor:
    found = _CURSOR.fullmatch(text)
    return Cursor(int(found[1]), int(found[2]), found[3]) if found else Cursor()


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST_DAY <= day < LAST_DAY else None


def _actor(context: Context, who: str) -> str:
    """The id that an e-mail address stands for; everything else is an id already."""
    if "@" not in who:
        return who
    with context.services.store.transaction() as transaction:
        found = transaction.scalar(select(Person.id).where(Person.email == who.lower()))
    return found or who


def _accounts(context: Context, lines: list[Line]) -> dict[str, admin.Account]:
    """The accounts that the page names."""
    ids = sorted({line.account_id for line in lines} - {""})
    if not ids:
        return {}
    request = admin.ListAccountsRequest(account_ids=ids, limit=len(ids))
    return {each.account_id: each for each in ask(context, "ListAccounts", request).accounts}


ROWS = [Row("/admin/acts", acts, Guard.SUPPORT)]
