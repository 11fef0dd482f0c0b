"""Exchange rates: what holds, what waits for a person, what held."""

from typing import Any

from starlette.responses import Response

from console.analytics import AnalyticsAway
from console.gateway import CallFailed
from console.web.context import Context
from console.web.guards import Guard, Row, form_of
from console.web.reach import ask
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger

HISTORY_ROWS = 60


def rates(context: Context) -> Response:
    """The rate in force, one that jumped too far, and the ones before."""
    return _page(context)


def set_rate(context: Context) -> Response:
    """By hand: it holds from its position in the ledger on."""
    rate = _decimal(form_of(context).get("rate", ""))
    return _do(context, "SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate=rate), rate)


def confirm(context: Context) -> Response:
    """The jump that was seen, and no other."""
    seen = form_of(context).get("seen", "")
    if not seen:
        return _page(context, context.translate("Look at the rate that waits first."), status=400)
    return _do(context, "ConfirmFxRate", admin.ConfirmFxRateRequest(base=ledger.USD, rate=seen))


def _decimal(text: str) -> str:
    """People write 41,25 as well as 41.25."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def _do(context: Context, method: str, request: object, typed: str = "") -> Response:
    try:
        ask(context, method, request)
    except CallFailed as failure:
        if failure.code not in ("invalid_argument", "failed_precondition"):
            raise
        return _page(context, failure.message, typed, 400)
    return context.go("/admin/rates")


def _page(context: Context, problem: str = "", typed: str = "", status: int = 200) -> Response:
    found: admin.FxRateList = ask(context, "ListFxRates", admin.ListFxRatesRequest())
    values = {
        "rates": found.rates,
        "proposed": found.proposed,
        "history": _history(context),
        "problem": problem,
        "typed": typed,
    }
    return context.render("admin/rates.html", values, status)


def _history(context: Context) -> list[dict[str, Any]] | None:
    """None while analytics is away."""
    try:
        return context.services.analytics.rows("rates", {"limit": HISTORY_ROWS})
    except AnalyticsAway:
        return None


ROWS = [
    Row("/admin/rates", rates, Guard.SUPPORT),
    Row("/admin/rates", set_rate, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/rates/confirm", confirm, Guard.ADMINISTRATOR, ("POST",)),
]
