"""What can be called and what it costs this very account; and trying it out with one's own key."""

from typing import Any

import orjson
from starlette.responses import Response

from cli.client import CallFailed
from console.web.context import Context, Problem
from console.web.guards import Guard, Row
from console.web.reach import ask, current_account
from console.web.words import KINDS
from proto.onysoft.v1 import admin_pb2 as admin

MODELS_A_PAGE = 100
MILLION = 1_000_000
ORDERS = ("name", "price", "newest")


def models(context: Context) -> Response:
    """The list with search and filters; a filter changes only the table."""
    account = current_account(context)
    asked = context.request.query_params
    filters = {name: asked.get(name, "")[:100] for name in ("search", "kind", "owner", "order")}
    everything = _prices(context, account)
    found = [model for model in everything if _is_wanted(model, filters)]
    found.sort(key=_ORDERS.get(filters["order"], _ORDERS["name"]))
    first = int(asked["first"]) if asked.get("first", "").isdecimal() and len(asked["first"]) < 6 else 0
    values = {
        "account": account,
        "currency": account.balance.currency,
        "models": found[first : first + MODELS_A_PAGE],
        "count": len(found),
        "next": first + MODELS_A_PAGE if first + MODELS_A_PAGE < len(found) else 0,
        "filters": filters,
        "kinds": [kind for kind in KINDS if any(model["type"] == kind for model in everything)],
        "owners": sorted({model["owned_by"] for model in everything}),
        "orders": ORDERS,
        "million": MILLION,
    }
    return context.render("models/list.html", values)


def _prices(context: Context, account: admin.Account) -> list[dict[str, Any]]:
    try:
        answer = ask(context, "ListPrices", admin.AccountRef(account_id=account.account_id))
    except CallFailed as failure:
        if failure.code == "unavailable":
            raise Problem(
                context.translate("Prices cannot be shown right now. Please try again shortly."), 503
            ) from None
        raise
    listed: list[dict[str, Any]] = orjson.loads(answer.json)["data"]
    return listed


def _is_wanted(model: dict[str, Any], filters: dict[str, str]) -> bool:
    words = filters["search"].lower().split()
    text = f"{model['id']} {model['name']}".lower()
    return (
        all(word in text for word in words)
        and filters["kind"] in ("", model["type"])
        and filters["owner"] in ("", model["owned_by"])
    )


def _price_of(model: dict[str, Any]) -> float:
    """For an order only."""
    pricing = model["pricing"]
    if "prices" in pricing:
        return min((float(each["price"]) for each in pricing["prices"]), default=0.0)
    return float(pricing["prompt"]) + float(pricing["completion"])


_ORDERS = {
    "name": lambda model: (model["type"] != "chat", model["id"]),
    "price": lambda model: (model["type"] != "chat", _price_of(model), model["id"]),
    "newest": lambda model: (-model["created"], model["id"]),
}


def playground(context: Context) -> Response:
    """Calls the API from the browser with a key that the person pastes. The key never comes to the console."""
    settings = context.services.settings
    return context.render("models/playground.html", {"api_url": settings.api_url})


ROWS = [
    Row("/models", models, Guard.PERSON),
    Row("/playground", playground, Guard.PERSON),
]
