"""The catalogue: what is sold, at which price over which routes, and every price that it had."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from cli.shapes import models as shapes
from console.gateway import CallFailed
from console.web.context import Context, NotFound
from console.web.guards import Guard, Row, form_of
from console.web.reach import ask
from proto.onysoft.v1 import admin_pb2 as admin

A_PAGE = 50
STATES = ("", "on", "off")
ORDER_MAX = 1_000
WEIGHT_MAX = 1_000_000
DIGITS_MAX = 9


def catalogue(context: Context) -> Response:
    """Fifty models a page, those that cannot be called included."""
    asked = context.request.query_params
    filters = {name: asked.get(name, "").strip()[:200] for name in ("search", "kind", "provider", "state")}
    request = admin.ListModelsRequest(
        search=filters["search"],
        kind=filters["kind"],
        provider=filters["provider"],
        inactive=filters["state"] != "on",
    )
    found = [shapes.model(each) for each in ask(context, "ListModels", request).models]
    if filters["state"] == "off":
        found = [each for each in found if not each["callable"]]
    page = _whole(asked.get("page", "")) or 0
    shown = found[page * A_PAGE : (page + 1) * A_PAGE]
    query = urlencode({name: value for name, value in filters.items() if value})
    values = {
        "filters": filters,
        "models": shown,
        "count": len(found),
        "page": page,
        "more": len(found) > (page + 1) * A_PAGE,
        "query": query,
    }
    return context.render("admin/catalogue.html", values)


def model(context: Context) -> Response:
    """One model; none named: the list."""
    model_id = context.request.query_params.get("id", "")
    return _page(context, model_id) if model_id else context.go("/admin/catalogue")


def activate(context: Context) -> Response:
    """On sale again."""
    return _do(context, "ActivateModel", lambda values: admin.ModelRef(model_id=values["id"]))


def deactivate(context: Context) -> Response:
    """Out of sale, until somebody activates it."""
    return _do(context, "DeactivateModel", lambda values: admin.ModelRef(model_id=values["id"]))


def set_alias(context: Context) -> Response:
    """Another name for the model, or one that was another model's."""
    return _do(context, "SetAlias", lambda values: admin.Alias(alias=values.get("alias", ""), model_id=values["id"]))


def remove_alias(context: Context) -> Response:
    """Calls under that name are refused from now on."""
    return _do(context, "RemoveAlias", lambda values: admin.Alias(alias=values.get("alias", "")))


def set_defaults(context: Context) -> Response:
    """Parameters that a request gets where it leaves them out."""

    def request(values: dict[str, str]) -> admin.SetModelDefaultsRequest:
        text = values.get("defaults", "") or "{}"
        return admin.SetModelDefaultsRequest(model_id=values["id"], defaults_json=text.encode())

    return _do(context, "SetModelDefaults", request)


def set_route(context: Context) -> Response:
    """A provider that serves the model, or other figures of one that does."""

    def request(values: dict[str, str]) -> admin.SetRouteRequest:
        return admin.SetRouteRequest(
            model_id=values["id"],
            provider=values.get("provider", ""),
            upstream_id=values.get("upstream_id", ""),
            order=_number(context, values.get("order", ""), ORDER_MAX),
            weight=_number(context, values.get("weight", ""), WEIGHT_MAX),
            price_json=values.get("price", "").encode(),
        )

    return _do(context, "SetRoute", request)


def remove_route(context: Context) -> Response:
    """The provider no longer serves the model."""

    def request(values: dict[str, str]) -> admin.RemoveRouteRequest:
        route = {name: values.get(name, "") for name in ("provider", "upstream_id")}
        return admin.RemoveRouteRequest(model_id=values["id"], **route)

    return _do(context, "RemoveRoute", request)


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX else None


class _Wrong(Exception):
    """A field that cannot be sent; the message is for people."""


def _number(context: Context, text: str, most: int) -> int:
    if not text:
        return 0
    number = _whole(text)
    if number is None or number > most:
        raise _Wrong(context.translate("Order and weight are whole numbers up to %(most)s.", most=most))
    return int(text)


def _do(context: Context, method: str, request_of: Any) -> Response:
    """Make the call and show the model again; what is wrong stands beside what was typed."""
    values = form_of(context)
    model_id = values.setdefault("id", "")
    try:
        ask(context, method, request_of(values))
    except _Wrong as wrong:
        return _page(context, model_id, str(wrong), values, 400)
    except CallFailed as failure:
        if failure.code not in ("invalid_argument", "failed_precondition", "not_found", "already_exists"):
            raise
        return _page(context, model_id, failure.message, values, 400)
    return context.go(f"/admin/catalogue/model?{urlencode({'id': model_id})}")


def _page(
    context: Context, model_id: str, problem: str = "", typed: dict[str, str] | None = None, status: int = 200
) -> Response:
    try:
        told: admin.ModelHistory = ask(context, "ShowModel", admin.ModelRef(model_id=model_id))
    except CallFailed as failure:
        if failure.code in ("not_found", "invalid_argument"):
            raise NotFound from None
        raise
    found = shapes.history(told)
    for shown, version in zip(found["versions"], told.versions, strict=True):
        shown["time_ms"] = version.time_ms
    found["versions"].reverse()
    values = {"model": found, "problem": problem, "typed": typed or {}}
    return context.render("admin/model.html", values, status)


ROWS = [
    Row("/admin/catalogue", catalogue, Guard.SUPPORT),
    Row("/admin/catalogue/model", model, Guard.SUPPORT),
    Row("/admin/catalogue/activate", activate, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/catalogue/deactivate", deactivate, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/catalogue/alias", set_alias, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/catalogue/alias/remove", remove_alias, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/catalogue/defaults", set_defaults, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/catalogue/route", set_route, Guard.ADMINISTRATOR, ("POST",)),
    Row("/admin/catalogue/route/remove", remove_route, Guard.ADMINISTRATOR, ("POST",)),
]
