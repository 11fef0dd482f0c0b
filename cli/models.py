"""`onysoft models …`."""

from typing import Annotated

import orjson
import typer
from rich.progress import BarColumn, Progress, TextColumn

from cli.session import Session
from cli.shapes import models as shapes
from proto.onysoft.v1 import admin_pb2 as admin

models = typer.Typer(help="The catalogue of models.")
aliases = typer.Typer(help="Other names for models.")
routes = typer.Typer(help="Which providers serve a model.")
models.add_typer(aliases, name="alias")
models.add_typer(routes, name="route")

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="a model's id or an alias of it")]
AliasArgument = Annotated[str, typer.Argument(metavar="ALIAS")]

_MODEL_COLUMNS = ("id", "kind", "context_length", "usd_per_1m_prompt", "usd_per_1m_completion", "provider", "state")


@models.command("list")
def list_models(
    context: typer.Context,
    search: Annotated[str, typer.Argument(metavar="[SEARCH]", help="part of an id or a name")] = "",
    kind: Annotated[str, typer.Option(help="chat, image, video, audio, voice or music")] = "",
    provider: Annotated[str, typer.Option(help="only models with a route of it")] = "",
    free: Annotated[bool, typer.Option("--free", help="only models that cost nothing")] = False,
    everything: Annotated[bool, typer.Option("--all", help="those that cannot be called, too")] = False,
) -> None:
    """List the models that can be called, at the provider's prices."""
    session: Session = context.obj
    request = admin.ListModelsRequest(search=search, kind=kind, provider=provider, free=free, inactive=everything)
    found = session.call("ListModels", request).models
    session.show_all("models", [shapes.model(model) for model in found], _MODEL_COLUMNS)


@models.command("show")
def show(context: typer.Context, model: ModelArgument) -> None:
    """Show a model: routes, aliases, defaults, and every price that it had."""
    session: Session = context.obj
    session.show(shapes.history(session.call("ShowModel", admin.ModelRef(model_id=model))), model)


@models.command("sync")
def sync(
    context: typer.Context,
    provider: Annotated[str, typer.Option(help="whose list to read; default: the one that says what is sold")] = "",
    apply: Annotated[bool, typer.Option("--apply", help="put what is due into the ledger")] = False,
    approve_new: Annotated[bool, typer.Option("--approve-new", help="take new models")] = False,
    approve_repriced: Annotated[bool, typer.Option("--approve-repriced", help="take repricings of any size")] = False,
    approve_gone: Annotated[
        bool, typer.Option("--approve-gone", help="believe a list that lacks most of its models")
    ] = False,
    bound_bps: Annotated[
        int | None, typer.Option(min=0, help="largest repricing, in basis points, that waits for nobody")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="apply without a question")] = False,
) -> None:
    """Compare the catalogue with a provider's list, and show what is new, gone and repriced before anything changes."""
    session: Session = context.obj
    request = admin.SyncModelsRequest(
        provider=provider,
        approve_new=approve_new,
        approve_repriced=approve_repriced,
        approve_gone=approve_gone,
        bound_bps=bound_bps,
    )
    asks = apply and not yes and not session.json
    if asks or not apply:
        (seen,) = session.stream("SyncModels", request)
        found = orjson.loads(seen.difference_json)
        _show_difference(session, found, applied=None)
        if not asks or not found["due"]:
            return
        if not typer.confirm(f"put {found['due']} changes into the ledger?"):
            return
        request.expected = seen.digest
    request.apply = True
    _apply(session, request, shown=asks)


def _apply(session: Session, request: admin.SyncModelsRequest, shown: bool) -> None:
    found: shapes.Shape = {}
    last = admin.SyncProgress()
    columns = (TextColumn("writing the catalogue"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=session.out, disable=session.json) as progress:
        task = progress.add_task("apply", total=None)
        for last in session.stream("SyncModels", request):
            found = orjson.loads(last.difference_json) if last.difference_json else found
            progress.update(task, completed=last.done, total=last.due)
    if shown:
        session.out.print(f"{last.applied} of {last.due} changes had an effect", style="green")
    else:
        _show_difference(session, found, applied=last.applied)


def _show_difference(session: Session, found: shapes.Shape, applied: int | None) -> None:
    if session.json:
        session.write(found | {"applied": applied or 0})
        return
    rows = shapes.difference_rows(found)
    if rows:
        session.show_all(f"changes at {found['provider']}", rows, ("model", "change", "what", "by", "approval"))
    session.out.print(f"{found['listed']} listed, {found['unchanged']} unchanged, {found['waiting']} wait for approval")
    if applied is not None:
        session.out.print(f"{applied} of {found['due']} changes had an effect", style="green")


@models.command("activate")
def activate(context: typer.Context, model: ModelArgument) -> None:
    """Put a model on sale (again)."""
    session: Session = context.obj
    session.show(shapes.model(session.call("ActivateModel", admin.ModelRef(model_id=model))), "active")


@models.command("deactivate")
def deactivate(context: typer.Context, model: ModelArgument) -> None:
    """Take a model out of sale; a synchronisation does not bring it back."""
    session: Session = context.obj
    session.show(shapes.model(session.call("DeactivateModel", admin.ModelRef(model_id=model))), "not active")


@models.command("defaults")
def defaults(
    context: typer.Context,
    model: ModelArgument,
    parameters: Annotated[str, typer.Argument(metavar="JSON", help='such as {"temperature": 0.7}; {}: none')],
) -> None:
    """Set the parameters that a request gets where it leaves them out."""
    session: Session = context.obj
    request = admin.SetModelDefaultsRequest(model_id=model, defaults_json=parameters.encode())
    session.show(shapes.model(session.call("SetModelDefaults", request)), "defaults set")


@aliases.command("set")
def set_alias(context: typer.Context, alias: AliasArgument, model: ModelArgument) -> None:
    """Give a model another name, or turn a name to another model."""
    session: Session = context.obj
    answer = session.call("SetAlias", admin.Alias(alias=alias, model_id=model))
    session.show({"alias": answer.alias, "model": answer.model_id}, "alias set")


@aliases.command("remove")
def remove_alias(context: typer.Context, alias: AliasArgument) -> None:
    """Take a name away; calls under it are refused from now on."""
    session: Session = context.obj
    session.call("RemoveAlias", admin.Alias(alias=alias))
    session.show({"alias": alias, "removed": True}, "alias removed")


@routes.command("set")
def set_route(
    context: typer.Context,
    model: ModelArgument,
    provider: Annotated[str, typer.Option(help="a provider that is set up, such as openrouter or fallback")],
    upstream_id: Annotated[str, typer.Option("--upstream", help="the provider's id; default: the model's")] = "",
    order: Annotated[int, typer.Option(min=0, help="lower ones are tried first")] = 0,
    weight: Annotated[int, typer.Option(min=1, help="share among routes of one order")] = 1,
    price: Annotated[str, typer.Option(metavar="JSON", help="where it differs from the model's price")] = "",
) -> None:
    """Let a provider serve a model, or change how it does."""
    session: Session = context.obj
    request = admin.SetRouteRequest(
        model_id=model,
        provider=provider,
        upstream_id=upstream_id or model,
        order=order,
        weight=weight,
        price_json=price.encode(),
    )
    session.show(shapes.model(session.call("SetRoute", request)), "route set")


@routes.command("remove")
def remove_route(
    context: typer.Context,
    model: ModelArgument,
    provider: Annotated[str, typer.Option(help="whose route")],
    upstream_id: Annotated[str, typer.Option("--upstream", help="the provider's id; default: all of its routes")] = "",
) -> None:
    """Let a provider serve a model no longer."""
    session: Session = context.obj
    request = admin.RemoveRouteRequest(model_id=model, provider=provider, upstream_id=upstream_id)
    session.show(shapes.model(session.call("RemoveRoute", request)), "route removed")
