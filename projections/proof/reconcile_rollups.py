"""Roll-ups against the tables that they are made from, and batches of reports against their rows, a day at a time.

They are fed by the same inserts, so they are equal unless somebody has changed one of them by hand.
"""

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta

from projections.proof.reading import OnProgress, no_progress
from projections.proof.reconcile import Ask, Report

LOOKS = 3
PAUSE_S = 1.0
"""A roll-up's part may be seen a moment after its table's: what differs is looked at again."""

GROUPS_MAX = 1_000
BATCHES = 100_000

_CHARGED = ("account_id", "parent_id", "key_id", "model", "provider", "call_end", "currency", "parent_currency")
_TO_USD = "toInt64(intDivOrZero(toInt128({0}) * 1000000000, toInt128({1})))"
_OWN_USD = f"if(charges.currency = 'USD', charges.charge_nano, {_TO_USD.format('charge_nano', 'fx_rate_nano')})"
_PARENT_USD = (
    "if(charges.parent_currency = 'USD', charges.parent_charge_nano,"
    f" {_TO_USD.format('parent_charge_nano', 'parent_fx_rate_nano')})"
)
_CHARGE_SUMS = {
    "calls": "count()",
    "revenue_usd_nano": f"sum(if(charges.parent_currency = '', {_OWN_USD}, {_PARENT_USD}))",
    **{
        name: f"sum(charges.{name})"
        for name in (
            *("charge_nano", "shortfall_nano", "parent_charge_nano", "parent_shortfall_nano", "provider_cost_nano"),
            *("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "provider_calls"),
        )
    },
}
_ASKED = ("account_id", "key_id", "model", "provider", "route", "status", "code")
_REQUEST_SUMS = {
    "calls": "count()",
    "disconnects": "countIf(disconnected)",
    **{name: f"sum(requests.{name})" for name in ("request_bytes", "response_bytes", "first_byte_us", "duration_us")},
}
_SERVED = ("model", "provider", "route", "streamed", "succeeded")


@dataclass(frozen=True, slots=True)
class RollUp:
    """One roll-up: from which table, by what, and how each sum is made there."""

    name: str
    base: str
    groups: tuple[str, ...]
    sums: dict[str, str]

    @property
    def hourly(self) -> bool:
        """By hours of UTC; else by Istanbul's days."""
        return self.name.endswith("_hourly")

    def query(self, day: date) -> str:
        """Groups of an Istanbul day in which roll-up and table differ, and by how much: stored less made anew."""
        zone = "'Europe/Istanbul'"
        moment = "toStartOfHour(toDateTime(time, 'UTC'))" if self.hourly else f"toDate(time, {zone})"
        column = "hour" if self.hourly else "day"
        stored_day = f"toDate(hour, {zone})" if self.hourly else "day"
        made = {"call_end": "toString(call_end)", "succeeded": "status > 0 AND status < 400"}
        groups = ", ".join(self.groups)
        made_groups = ", ".join(f"{made[name]} AS {name}_" if name in made else name for name in self.groups)
        by = ", ".join(f"{name}_" if name in made else name for name in self.groups)
        anew = ", ".join(f"-toInt64({expression})" for expression in self.sums.values())
        totals = ", ".join(f"sum({name}) AS {name}_differs" for name in self.sums)
        any_of = " OR ".join(f"{name}_differs != 0" for name in self.sums)
        named = ", ".join(f"toInt64(sum(s.{name})) AS {name}" for name in self.sums)
        return (
            f"SELECT toString({column}), {groups}, {totals} FROM ("
            f" SELECT {column}, {groups}, {named} FROM {self.name} AS s"
            f" WHERE {stored_day} = toDate('{day}') GROUP BY {column}, {groups}"
            f" UNION ALL SELECT {moment} AS {column}, {made_groups}, {anew} FROM {self.base}"
            f" WHERE toDate(time, {zone}) = toDate('{day}') GROUP BY {column}, {by}"
            f") GROUP BY {column}, {groups} HAVING {any_of} LIMIT {GROUPS_MAX}"
        )


ROLL_UPS = (
    RollUp("charges_hourly", "charges", _CHARGED, _CHARGE_SUMS),
    RollUp("charges_daily", "charges", _CHARGED, _CHARGE_SUMS),
    RollUp("requests_hourly", "requests", _ASKED, _REQUEST_SUMS),
    RollUp("requests_daily", "requests", _ASKED, _REQUEST_SUMS),
    RollUp("latency_hourly", "requests", _SERVED, {"calls": "count()"}),
)


async def compare_roll_ups(
    ask: Ask, report: Report, kept_days: dict[str, int], today: date, on_progress: OnProgress = no_progress
) -> None:
    """Compare every roll-up on each day of which nothing has been dropped yet. `kept_days` says for each table how
    long its rows stay, in days; 0 or none: for ever. Raises StoreAway."""
    spans = [(each, await _days(ask, each, kept_days, today)) for each in ROLL_UPS]
    due = sum(len(days) for _, days in spans)
    done = 0
    for roll_up, days in spans:
        for day in days:
            await _compare_day(ask, report, roll_up, day)
            done += 1
            on_progress(done, due)


async def _days(ask: Ask, roll_up: RollUp, kept_days: dict[str, int], today: date) -> list[date]:
    column = "toDate(hour, 'Europe/Istanbul')" if roll_up.hourly else "day"
    [[stored_first, stored_last, made_first, made_last, count]] = await ask(
        f"SELECT toString((SELECT min({column}) FROM {roll_up.name})), toString((SELECT max({column}) FROM"
        f" {roll_up.name})), toString(toDate(min(time), 'Europe/Istanbul')),"
        f" toString(toDate(max(time), 'Europe/Istanbul')), count() FROM {roll_up.base}"
    )
    known = [each for each in (stored_first, stored_last) if each and not str(each).startswith("1970")]
    if int(count):
        known += [made_first, made_last]
    if not known:
        return []
    days = sorted(date.fromisoformat(str(each)) for each in known)
    first, last = days[0], days[-1]
    for table in (roll_up.name, roll_up.base):
        if kept_days.get(table):
            first = max(first, today - timedelta(days=kept_days[table] - 1))
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


async def _compare_day(ask: Ask, report: Report, roll_up: RollUp, day: date) -> None:
    query = roll_up.query(day)
    found = {tuple(row) for row in await ask(query)}
    for _ in range(LOOKS - 1):
        if not found:
            break
        await asyncio.sleep(PAUSE_S)
        found &= {tuple(row) for row in await ask(query)}
    report.totals["roll-up days"] += 1
    names = list(roll_up.sums)
    for row in sorted(found, key=str):
        when, *rest = row
        group = " ".join(str(each) for each in rest[: -len(names)] if each != "")
        wrong = [
            f"{name} by {value:+d}" for name, value in zip(names, map(int, rest[-len(names) :]), strict=True) if value
        ]
        told = f"{when} {group}: differs from {roll_up.base} in {', '.join(wrong)}"
        report.differs(0, roll_up.name, told)


async def compare_batches(ask: Ask, report: Report, first_ms: int) -> None:
    """Each batch of reports that was received after `first_ms` has all its rows. Raises StoreAway."""
    [[begin, end]] = await ask(
        "SELECT minOrDefault(stream_seq), maxOrDefault(stream_seq) FROM usage_batches"
        f" WHERE time >= fromUnixTimestamp64Milli({first_ms})"
    )
    first, last = int(begin), int(end)
    while first and first <= last:
        span = f"stream_seq BETWEEN {first} AND {min(last, first + BATCHES - 1)}"
        rows = await ask(
            "SELECT stream_seq, sum(events) AS reported, -sum(stored) AS stored_rows FROM ("
            f" SELECT stream_seq, toInt64(events) AS events, 0 AS stored FROM usage_batches WHERE {span}"
            f" UNION ALL SELECT stream_seq, 0, -toInt64(count()) FROM requests WHERE {span} GROUP BY stream_seq"
            f") GROUP BY stream_seq HAVING reported != stored_rows ORDER BY stream_seq LIMIT {GROUPS_MAX}"
        )
        for position, reported, stored in rows:
            report.differs(0, "requests", f"report {position} has {reported} calls, the table {stored}")
        report.totals["batches of reports"] += int((await ask(f"SELECT count() FROM usage_batches WHERE {span}"))[0][0])
        first += BATCHES
