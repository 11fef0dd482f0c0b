"""`onysoft config`, `status`."""

import os

import typer
from pydantic import SecretStr

from cli.session import Session
from cli.shapes import Shape
from cli.shapes import ledger as shapes
from proto.onysoft.v1 import admin_pb2 as admin
from runtime.settings import Settings

_CONFIG_COLUMNS = ("environment", "value", "source", "description")
_MASK = "********"


def config(context: typer.Context) -> None:
    """Show every setting, its value and where it comes from. Secrets are masked."""
    session: Session = context.obj
    settings = Settings()
    session.show_all("settings", [_setting(settings, name) for name in Settings.model_fields], _CONFIG_COLUMNS)


def _setting(settings: Settings, name: str) -> Shape:
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
