"""Model Synchronization: what a provider's list would change, approved exactly as it was shown."""

from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from console.analytics import AnalyticsAway
from console.gateway import CallFailed
from console.web.context import Context
from console.web.guards import Guard, Row, form_of
from console.web.reach import ask, watch
from proto.onysoft.v1 import admin_pb2 as admin

APPROVALS = ("new", "repriced", "gone")
KINDS = ("new", "repriced", "gone", "back", "changed", "routed")
SHOWN_MAX = 200
"""Models of one kind that a page shows; what it does not show is counted."""

HISTORY_ROWS = 20


def sync(context: Context) -> Response:
    """The difference, as it would be put into the ledger with these approvals."""
    asked = context.request.query_params
    return _page(context, asked.get("provider", ""), {each for each in APPROVALS if asked.get(each)})


def apply(context: Context) -> Response:
    """Put into the ledger what was shown; another difference is shown instead, and nothing changes."""
    values = form_of(context)
    provider = values.get("provider", "")
    approved = {each for each in APPROVALS if values.get(each)}
    request = _request(provider, approved)
    request.apply = True
    try:
        request.expected = bytes.fromhex(values.get("expected", ""))
    except ValueError:
        request.expected = b""
    if not request.expected:
        return _page(context, provider, approved, context.translate("Look at the difference first."), 400)
    try:
        last = admin.SyncProgress()
        for progress in watch(context, "SyncModels", request):
            last = progress
    except CallFailed as failure:
        if failure.code != "failed_precondition":
            raise
        changed = context.translate(
            "The difference is not the one that you saw. Nothing was changed; this is the new one."
        )
        return _page(context, provider, approved, changed, 409)
    query = {"provider": provider, "done": last.applied}
    return context.go(f"/admin/sync?{urlencode(query)}")


def _page(context: Context, provider: str, approved: set[str], problem: str = "", status: int = 200) -> Response:
    state: admin.Status = ask(context, "GetStatus", admin.GetStatusRequest())
    providers = list(state.catalogue.providers)
    chosen = next((each for each in providers if each.name == provider), providers[0] if providers else None)
    found: dict[str, Any] | None = None
    digest = ""
    if chosen is not None:
        try:
            seen = next(iter(watch(context, "SyncModels", _request(chosen.name, approved))))
            found, digest = orjson.loads(seen.difference_json), seen.digest.hex()
        except CallFailed as failure:
            problem = problem or context.translate("The list cannot be read: %(reason)s", reason=failure.message)
    done = context.request.query_params.get("done", "")
    if done.isdecimal() and not problem:
        context.notices.append(context.translate("%(count)s changes are in the ledger.", count=done))
    values = {
        "providers": providers,
        "chosen": chosen,
        "found": found,
        "digest": digest,
        "approved": approved,
        "approvals": APPROVALS,
        "kinds": [kind for kind in KINDS if found and found.get(kind)],
        "shown_max": SHOWN_MAX,
        "catalogue": state.catalogue,
        "history": _history(context),
        "problem": problem,
    }
    return context.render("admin/sync.html", values, status)


def _request(provider: str, approved: set[str]) -> admin.SyncModelsRequest:
    return admin.SyncModelsRequest(
        provider=provider,
        approve_new="new" in approved,
        approve_repriced="repriced" in approved,
        approve_gone="gone" in approved,
    )


def _history(context: Context) -> list[dict[str, Any]] | None:
    """The last synchronisations, by minute and by whom; None while analytics is away."""
    try:
        return context.services.analytics.rows("synchronised", {"limit": HISTORY_ROWS})
    except AnalyticsAway:
        return None


ROWS = [
    Row("/admin/sync", sync, Guard.SUPPORT),
    Row("/admin/sync", apply, Guard.ADMINISTRATOR, ("POST",)),
]
