"""Health: who runs, how far everybody is, and what somebody must do something about."""

import time
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import func, select
from starlette.responses import Response

from console.credits.tables import Proposal
from console.credits.tables import State as CreditState
from console.gateway import CallFailed
from console.invoices.tables import Invoice
from console.invoices.tables import State as InvoiceState
from console.payments.tables import Incident
from console.web.context import Context
from console.web.guards import Guard, Row
from console.web.reach import ask
from proto.onysoft.v1 import admin_pb2 as admin

KINDS = ("core", "edge", "projections", "analytics")
LAG_POSITIONS = 5_000
LAG_S = 30
RECONCILED_H = 24


@dataclass(frozen=True, slots=True)
class Alert:
    """What is wrong, what to do, and where."""

    what: str
    do: str
    href: str = ""


def health(context: Context) -> Response:
    """Alerts first, then every process and every stream."""
    try:
        state: admin.Status = ask(context, "GetStatus", admin.GetStatusRequest())
        found: admin.ProcessList = ask(context, "ListProcesses", admin.ListProcessesRequest())
        rates: admin.FxRateList = ask(context, "ListFxRates", admin.ListFxRatesRequest())
    except CallFailed as failure:
        do = context.translate("Start a core, or set ONYSOFT_ADMIN_ADDRESS to one that runs.")
        alerts = [Alert(context.translate("No core answers: %(reason)s", reason=failure.message), do)]
        return context.render("admin/health.html", {"alerts": alerts, "state": None})
    facts = {_key(each): orjson.loads(each.facts_json or b"{}") for each in found.processes}
    values = {
        "alerts": _alerts(context, state, found, rates, facts),
        "state": state,
        "processes": found.processes,
        "streams": found.streams,
        "facts": facts,
        "key": _key,
    }
    return context.render("admin/health.html", values)


def _key(process: admin.Process) -> str:
    return f"{process.kind} {process.name} {process.host} {process.ops_port}"


def _alerts(
    context: Context,
    state: admin.Status,
    found: admin.ProcessList,
    rates: admin.FxRateList,
    facts: dict[str, dict[str, Any]],
) -> list[Alert]:
    alerts = [*_of_processes(context, state, found), *_of_analytics(context, found, facts)]
    alerts += _of_rates(context, rates)
    waiting = sum(each.waiting for each in state.catalogue.providers)
    if waiting:
        what = context.translate("%(count)s changes of the catalogue wait for approval.", count=waiting)
        alerts.append(
            Alert(
                what,
                context.translate("Look at the difference, and approve it or take models out of sale."),
                "/admin/sync",
            )
        )
    return [*alerts, *_of_people(context)]


def _of_processes(context: Context, state: admin.Status, found: admin.ProcessList) -> list[Alert]:
    _ = context.translate
    alerts = []
    for each in found.processes:
        if each.silent:
            since = context.formats.moment(each.heard_ms)
            what = _("%(name)s on %(host)s is silent since %(since)s.", name=each.name, host=each.host, since=since)
            alerts.append(
                Alert(what, _("See whether it runs; a process that was removed for good is forgotten after a day."))
            )
        elif each.not_ready:
            what = _("%(name)s takes no work: %(reason)s", name=each.name, reason=each.not_ready)
            alerts.append(Alert(what, _("Its log says more.")))
        elif each.kind in ("projections", "core") and state.position - each.position > LAG_POSITIONS:
            what = _("%(name)s is %(count)s positions behind.", name=each.name, count=state.position - each.position)
            alerts.append(Alert(what, _("Wait while it catches up; if it does not, give it more processor time.")))
    for kind in sorted(set(KINDS) - {each.kind for each in found.processes if not each.silent}):
        alerts.append(Alert(_("No process of kind %(kind)s is heard of.", kind=kind), _("Start one.")))
    for stream in found.streams:
        if stream.problem:
            what = _("The stream %(name)s does not answer: %(reason)s", name=stream.name, reason=stream.problem)
            alerts.append(Alert(what, _("Look at the NATS servers.")))
    return alerts


def _of_analytics(context: Context, found: admin.ProcessList, facts: dict[str, dict[str, Any]]) -> list[Alert]:
    _ = context.translate
    alerts = []
    ends = {each.name: each.last_position for each in found.streams}
    for each in found.processes:
        told = facts[_key(each)]
        if each.kind != "analytics" or each.silent:
            continue
        for stream, sink in told.get("streams", {}).items():
            behind = ends.get(stream, 0) - sink["position"]
            late_s = time.time() - sink["time_ms"] / 1000
            if sink["failing"]:
                what = _(
                    "The tables of %(stream)s cannot be written: %(reason)s",
                    stream=stream,
                    reason=sink["failing"][:200],
                )
                alerts.append(Alert(what, _("Look at ClickHouse. Nothing is lost meanwhile.")))
            elif behind > LAG_POSITIONS and late_s > LAG_S:
                what = _("The tables are %(count)s positions of %(stream)s behind.", count=behind, stream=stream)
                alerts.append(Alert(what, _("Wait while they catch up.")))
        reconciled = told.get("reconciled", {})
        if reconciled.get("differences"):
            what = _("Ledger and tables differ in %(count)s places.", count=reconciled["differences"])
            alerts.append(
                Alert(what, _("Run onysoft reconcile, and rebuild the tables from the log."), "/admin/reconcile")
            )
    return alerts


def _of_rates(context: Context, rates: admin.FxRateList) -> list[Alert]:
    _ = context.translate
    alerts = []
    if not rates.rates:
        alerts.append(Alert(_("No exchange rate is set: calls are refused."), _("Set one."), "/admin/rates"))
    if any(each.stale for each in rates.rates):
        alerts.append(
            Alert(
                _("The exchange rate is old."), _("See why no bulletin was read, or set one by hand."), "/admin/rates"
            )
        )
    if rates.proposed:
        alerts.append(
            Alert(_("An exchange rate jumped too far."), _("Confirm it, or set another one."), "/admin/rates")
        )
    return alerts


def _of_people(context: Context) -> list[Alert]:
    """What waits in the console's own store."""
    _ = context.translate
    with context.services.store.transaction() as transaction:
        incidents = transaction.scalar(select(func.count()).where(Incident.closed_at.is_(None))) or 0
        waiting = select(func.count()).where(Proposal.state == CreditState.PROPOSED)
        proposed = transaction.scalar(waiting) or 0
        rejected = transaction.scalar(select(func.count()).where(Invoice.state == InvoiceState.REJECTED)) or 0
    alerts = []
    if incidents:
        alerts.append(
            Alert(
                _("%(count)s payment incidents are open.", count=incidents),
                _("Look at each, and close it with a note."),
                "/admin/incidents",
            )
        )
    if proposed:
        alerts.append(
            Alert(
                _("%(count)s credits by hand wait for a second person.", count=proposed),
                _("Approve or decline each."),
                "/admin/credits?state=proposed",
            )
        )
    if rejected:
        alerts.append(
            Alert(
                _("%(count)s invoices were rejected.", count=rejected),
                _("Read the reason, mend it, and send again."),
                "/admin/invoices",
            )
        )
    return alerts


ROWS = [Row("/admin", health, Guard.SUPPORT)]
