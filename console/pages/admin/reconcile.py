"""Runs of the reconciliation between ledger and tables."""

from typing import Any

from starlette.responses import Response

from console.analytics import AnalyticsAway
from console.web.context import Context
from console.web.guards import Guard, Row

RUNS_SHOWN = 50


def reconcile(context: Context) -> Response:
    """The last runs of the job, the latest first, with what each found."""
    runs: list[dict[str, Any]] | None
    try:
        runs = context.services.analytics.rows("reconciliations", {"limit": RUNS_SHOWN})
    except AnalyticsAway:
        runs = None
    values = {"runs": runs, "every_s": context.services.settings.reconcile_every_s}
    return context.render("admin/reconcile.html", values)


ROWS = [Row("/admin/reconcile", reconcile, Guard.SUPPORT)]
