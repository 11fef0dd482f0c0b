"""`onysoft markup …`."""

from typing import Annotated

import typer

from cli.accounts import AccountArgument
from cli.patterns import PatternOption
from cli.session import Session
from cli.shapes import accounts as shapes
from proto.onysoft.v1 import admin_pb2 as admin

markups = typer.Typer(help="Markups on the provider's price: of an account, and for models of a pattern.")


@markups.command("set")
def set_markup(
    context: typer.Context,
    account: AccountArgument,
    bps: Annotated[int, typer.Option(min=0, help="basis points: 5000 is 50 %")],
    model: PatternOption = "*",
) -> None:
    """Set what an account pays on top; the most specific pattern counts."""
    session: Session = context.obj
    request = admin.SetMarkupRequest(account_id=account, pattern=model, markup_bps=bps)
    session.show(shapes.markups(session.call("SetMarkup", request)), "markup set")


@markups.command("clear")
def clear_markup(
    context: typer.Context,
    account: AccountArgument,
    model: Annotated[str, typer.Option(metavar="PATTERN", help="the pattern whose markup goes")],
) -> None:
    """Remove the markup of a pattern."""
    session: Session = context.obj
    request = admin.ClearMarkupRequest(account_id=account, pattern=model)
    session.show(shapes.markups(session.call("ClearMarkup", request)), "markup cleared")


@markups.command("show")
def show_markups(context: typer.Context, account: AccountArgument) -> None:
    """Show an account's markups."""
    session: Session = context.obj
    session.show(shapes.markups(session.call("ListMarkups", admin.AccountRef(account_id=account))))
