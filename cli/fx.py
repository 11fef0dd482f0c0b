"""`onysoft fx …`."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.session import Session
from cli.shapes import rates as shapes
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import Currency

fx = typer.Typer(help="Exchange rates.")


_COLUMNS = ("base", "quote", "rate", "source", "reference", "set", "stale")


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


@fx.command("confirm")
def confirm_rate(
    context: typer.Context,
    base: Annotated[Base, typer.Argument(help="the currency whose rate has jumped")],
    rate: Annotated[str, typer.Option(help="only if it is this rate that waits")] = "",
) -> None:
    """Let the rate hold that waits because it jumped too far."""
    session: Session = context.obj
    request = admin.ConfirmFxRateRequest(base=Currency.Value(base.value), rate=rate)
    session.show(shapes.fx_rate(session.call("ConfirmFxRate", request)), "rate set")


@fx.command("show")
def show_rates(context: typer.Context) -> None:
    """Show the rate that holds, and the one that waits to be confirmed."""
    session: Session = context.obj
    shape = shapes.fx_rates(session.call("ListFxRates", admin.ListFxRatesRequest()))
    if session.json:
        session.write(shape)
        return
    session.show_all("rates", shape["rates"], _COLUMNS)
    if shape["proposed"]:
        session.show_all("waiting: onysoft fx confirm USD", shape["proposed"], _COLUMNS)
