"""`onysoft limits …`, and `models block|unblock`."""

from typing import Annotated

import typer

from cli.patterns import OwnerArgument, PatternOption
from cli.session import Session
from cli.shapes import limits as shapes
from proto.onysoft.v1 import admin_pb2 as admin

limits = typer.Typer(help="Limits of accounts and keys, for all models or those of a pattern.")

_COLUMNS = ("pattern", "limit", "most", "used", "held", "left", "turns")

Most = Annotated[int | None, typer.Option(min=0, help="0 removes this limit")]


@limits.command("set")
def set_limits(
    context: typer.Context,
    owner: OwnerArgument,
    model: PatternOption = "*",
    requests_per_minute: Most = None,
    requests_per_day: Most = None,
    daily_requests: Most = None,
    daily_tokens: Most = None,
    monthly_tokens: Most = None,
) -> None:
    """Set limits. Those that are not named stay; what was used is never reset. Days and months are Istanbul's."""
    session: Session = context.obj
    request = admin.SetLimitsRequest(
        owner_id=owner,
        pattern=model,
        requests_per_minute=requests_per_minute,
        requests_per_day=requests_per_day,
        daily_requests=daily_requests,
        daily_tokens=daily_tokens,
        monthly_tokens=monthly_tokens,
    )
    _show(session, session.call("SetLimits", request))


@limits.command("clear")
def clear_limits(context: typer.Context, owner: OwnerArgument, model: PatternOption = "*") -> None:
    """Remove all limits of a pattern."""
    session: Session = context.obj
    _show(session, session.call("ClearLimits", admin.PatternRef(owner_id=owner, pattern=model)))


@limits.command("show")
def show_limits(context: typer.Context, owner: OwnerArgument) -> None:
    """Show each limit: used, held by running calls, left, and when it turns."""
    session: Session = context.obj
    _show(session, session.call("ListLimits", admin.OwnerRef(owner_id=owner)))


def block(context: typer.Context, owner: OwnerArgument, model: PatternOption) -> None:
    """Refuse an account's or a key's calls of these models from now on; an account's holds for all below it."""
    session: Session = context.obj
    session.show(shapes.blocks(session.call("BlockModel", admin.PatternRef(owner_id=owner, pattern=model))), "blocked")


def unblock(context: typer.Context, owner: OwnerArgument, model: PatternOption) -> None:
    """Take a block away."""
    session: Session = context.obj
    request = admin.PatternRef(owner_id=owner, pattern=model)
    session.show(shapes.blocks(session.call("UnblockModel", request)), "unblocked")


def _show(session: Session, found: admin.LimitList) -> None:
    shape = shapes.limits(found)
    if session.json:
        session.write(shape)
    else:
        session.show_all("limits", shape["limits"], _COLUMNS)
