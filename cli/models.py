"""`onysoft models …`."""

import typer

from cli.session import Session
from cli.shapes import models as shapes
from proto.onysoft.v1 import admin_pb2 as admin

models = typer.Typer(help="The catalogue of models.")

_MODEL_COLUMNS = ("id", "context_length", "max_output_tokens", "usd_per_1m_prompt", "usd_per_1m_completion")


@models.command("list")
def list_models(context: typer.Context) -> None:
    """List the models that can be called, at the provider's prices."""
    session: Session = context.obj
    found = session.call("ListModels", admin.ListModelsRequest()).models
    session.show_all("models", [shapes.model(model) for model in found], _MODEL_COLUMNS)
