"""`onysoft fx set`, `models list`, `config`, `status`."""

import os
from enum import StrEnum
from typing import Annotated

import typer
from pydantic import SecretStr

from cli import shapes
from cli.session import Session
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import Currency
from runtime.settings import Settings

fx = typer.Typer(help="Exchange rates.")
models = typer.Typer(help="The catalogue of models.")

_MODEL_COLUMNS = ("id", "context_length", "max_output_tokens", "usd_per_1m_prompt", "usd_per_1m_completion")
_CONFIG_COLUMNS = ("environment", "value", "source", "description")
_MASK = "********"


class Base(StrEnum):
    """Currencies that have a rate in TRY."""

    USD = "USD"


@fx.command("set")
def set_rate(
    context: typer.Context,
    base: Annotated[Base, typer.Argument(help="the currency that is priced")],
    rate: Annotated[str, typer.Argument(metavar="RATE", help="TRY for one unit of it, a decimal")],
) -> None:
    """Log an exchange rate; it holds from its position in the ledger on."""
    session: Session = context.obj
    request = admin.SetFxRateRequest(base=Currency.Value(base.value), rate=rate)
    session.show(shapes.fx_rate(session.call("SetFxRate", request)), "rate set")


@models.command("list")
def list_models(context: typer.Context) -> None:
    """List the models that can be called, at the provider's prices."""
    session: Session = context.obj
    found = session.call("ListModels", admin.ListModelsRequest()).models
    session.show_all("models", [shapes.model(model) for model in found], _MODEL_COLUMNS)


def config(context: typer.Context) -> None:
    """Show every setting, its value and where it comes from. Secrets are masked."""
    session: Session = context.obj
    settings = Settings()
    session.show_all("settings", [_setting(settings, name) for name in Settings.model_fields], _CONFIG_COLUMNS)


def _setting(settings: Settings, name: str) -> shapes.Shape:
    value = getattr(settings, name)
    if isinstance(value, SecretStr):
        value = _MASK if value.get_secret_value() else ""
    variable = f"ONYSOFT_{name.upper()}"
    return {
        "name": name,
        "environment": variable,
        "value": value if isinstance(value, bool | int | float | str) else str(value),
        "source": "environment" if name in settings.model_fields_set or variable in os.environ else "default",
        "description": Settings.model_fields[name].description or "",
    }


def status(context: typer.Context) -> None:
    """Show where the ledger stands, and the instance's processes."""
    session: Session = context.obj
    shape = shapes.status(session.call("GetStatus", admin.GetStatusRequest()))
    document = session.instance().document
    if document:
        names = ("ready", "base_urls", "account_id", "sandbox_url", "readyz_url", "pids", "data")
        shape["instance"] = {name: document.get(name) for name in names}
    session.show(shape)
