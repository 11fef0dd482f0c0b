"""`onysoft fx …`."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.session import Session
from cli.shapes import rates as shapes
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import Currency

fx = typer.Typer(help="Exchange rates.")


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
