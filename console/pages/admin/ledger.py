"""The ledger, event by event: around a position, of an account, and as it grows."""

from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from cli.shapes import ledger as shapes
from console.analytics import AnalyticsAway
from console.gateway import CallFailed
from console.web.context import Context
from console.web.guards import Guard, Row
from console.web.reach import ask, watch
from proto.onysoft.v1 import admin_pb2 as admin

EVENTS_A_PAGE = 50
FOLLOWED_AT_ONCE = 100
"""Events that one look of a follower takes; the next one goes on behind them."""

FOLD_MOST = 2_000
"""Positions that a core folds, unasked, to say what events did; ledgers of more accounts than FOLDED_ACCOUNTS_MAX are
first shown as they were written."""

FOLD_MOST_ASKED = 100_000
FOLDED_ACCOUNTS_MAX = 300

POSITION_DIGITS_MAX = 18


def ledger(context: Context) -> Response:
    """Looks up what was typed: a position, a request, an account or a key. Nothing typed: the newest events."""
    asked = context.request.query_params
    wanted = (asked.get("q") or asked.get("position") or "").strip()[:100]
    if wanted.startswith("req_"):
        return context.go(f"/requests/{wanted}")
    if wanted.startswith(("acc_", "key_")):
        return _of_owner(context, wanted)
    position = _position(wanted)
    if wanted and position is None:
        problem = context.translate("Type a position, or an id that begins with req_, acc_ or key_.")
        return _page(context, wanted, None, problem, 400)
    return _page(context, wanted, position)


def follow(context: Context) -> Response:
    """The events behind the last one that was shown; the page asks for them again and again."""
    after = _position(context.request.query_params.get("after", "")) or 0
    events: list[dict[str, Any]] = []
    away = False
    try:
        state: admin.Status = ask(context, "GetStatus", admin.GetStatusRequest())
        last = int(state.position)
        if last > after:
            first = after + 1 if after else last
            events = _events(context, first, FOLLOWED_AT_ONCE, _fold_most(state, False))
            after = max((each["position"] for each in events), default=after)
    except CallFailed:
        away = True
    values = {"events": list(reversed(events)), "after": after, "away": away}
    return context.render("admin/ledger_follow.html", values)


def _page(context: Context, wanted: str, position: int | None, problem: str = "", status: int = 200) -> Response:
    state: admin.Status = ask(context, "GetStatus", admin.GetStatusRequest())
    last = int(state.position)
    first = 0 if position is None else max(1, min(position, last))  # 0: the newest
    events: list[dict[str, Any]] = []
    try:
        asked = bool(context.request.query_params.get("outcomes"))
        events = _events(context, first, EVENTS_A_PAGE, _fold_most(state, asked))
    except CallFailed as failure:
        problem = problem or failure.message
    earliest = min((each["position"] for each in events), default=1)
    if position is None:
        events.reverse()
    values = {
        "wanted": wanted,
        "position": position,
        "events": events,
        "state": state,
        "earlier": max(1, earliest - EVENTS_A_PAGE) if earliest > 1 else None,
        "later": _after(events) if position is not None and _after(events) <= last else None,
        "problem": problem,
        "unfolded": any(not each["outcome"] for each in events),
    }
    return context.render("admin/ledger.html", values, status)


def _fold_most(state: admin.Status, asked: bool) -> int:
    if asked:
        return FOLD_MOST_ASKED
    return FOLD_MOST if state.accounts <= FOLDED_ACCOUNTS_MAX else 0


def _events(context: Context, first: int, count: int, fold_most: int) -> list[dict[str, Any]]:
    """At most so many events, from a position on; 0: the newest. Raises CallFailed."""
    request = admin.TailLedgerRequest(from_position=first, limit=count, fold_most=fold_most)
    return [shapes.entry(each) for each in islice(watch(context, "TailLedger", request), count)]


def _after(events: list[dict[str, Any]]) -> int:
    return max((each["position"] for each in events), default=0) + 1


def _of_owner(context: Context, owner_id: str) -> Response:
    """What analytics knows of an account or a key, each with its position."""
    before = _position(context.request.query_params.get("before", "")) or 2**62
    parameters = {"owner": owner_id, "before": before, "limit": EVENTS_A_PAGE + 1}
    rows: list[dict[str, Any]] | None
    try:
        rows = context.services.analytics.rows("owner_events", parameters)
    except AnalyticsAway:
        rows = None
    shown = (rows or [])[:EVENTS_A_PAGE]
    older = ""
    if rows and len(rows) > EVENTS_A_PAGE:
        older = urlencode({"q": owner_id, "before": shown[-1]["position"]})
    values = {"wanted": owner_id, "rows": shown, "away": rows is None, "older": older}
    return context.render("admin/ledger_owner.html", values)


def _position(text: str) -> int | None:
    return int(text) if text.isdecimal() and 0 < len(text) <= POSITION_DIGITS_MAX else None


ROWS = [
    Row("/admin/ledger", ledger, Guard.SUPPORT),
    Row("/admin/ledger/follow", follow, Guard.SUPPORT),
]
