"""The account's calls, and the whole story of what one of them was charged."""

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response

from cli.client import CallFailed
from console.analytics import REQUESTS_A_PAGE, AnalyticsAway
from console.pages.keys import keys_of
from console.web.context import Context, NotFound
from console.web.guards import Guard, Row
from console.web.reach import account_of, ask, current_account
from proto.onysoft.v1 import admin_pb2 as admin

FAR_FUTURE_MS = 4_000_000_000_000


def requests(context: Context) -> Response:
    """The latest calls, a page at a time."""
    account = current_account(context)
    asked = context.request.query_params
    filters = {"model": asked.get("model", "")[:200], "key_id": asked.get("key", "")[:40]}
    failed = asked.get("failed") == "1"
    rows: list[dict[str, Any]] | None
    try:
        rows = context.services.analytics.requests(account.account_id, _before(context), **filters, failed=failed)
    except AnalyticsAway:
        rows = None
    keys = {key.key_id: key.name for key in keys_of(context, account)}
    values = {
        "account": account,
        "currency": account.balance.currency,
        "rows": rows,
        "keys": keys,
        "filters": {**filters, "failed": failed},
        "time_of": time_of,
        "older": rows[-1]["time_ms"] if rows and len(rows) == REQUESTS_A_PAGE else 0,
    }
    return context.render("requests/list.html", values)


def _before(context: Context) -> datetime:
    text = context.request.query_params.get("before", "")
    before_ms = int(text) if text.isdecimal() and len(text) <= 13 else FAR_FUTURE_MS
    return time_of(min(before_ms, FAR_FUTURE_MS))


def time_of(time_ms: int) -> datetime:
    """A moment of the log or of analytics."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def request(context: Context) -> Response:
    """Why was this charged: what was held, tried, settled and given back, and the sum computed once more."""
    reference = admin.RequestRef(request_id=context.request.path_params["request_id"])
    try:
        story = orjson.loads(ask(context, "ShowRequest", reference).json)
    except CallFailed as failure:
        if failure.code in ("not_found", "invalid_argument"):
            raise NotFound from None
        raise
    account = account_of(context, story.get("account_id", ""))
    explained = orjson.loads(ask(context, "ExplainRequest", reference).json)
    values = {
        "account": account,
        "story": story,
        "explained": explained,
        "settlements": {each["attempt"]: each for each in explained["settlements"]},
        "key": next((key for key in keys_of(context, account) if key.key_id == story["key_id"]), None),
        "moment": datetime.fromisoformat,
    }
    return context.render("requests/story.html", values)


ROWS = [
    Row("/requests", requests, Guard.PERSON),
    Row("/requests/{request_id}", request, Guard.PERSON),
]
