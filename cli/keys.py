"""`onysoft key …`."""

from typing import Annotated

import typer

from cli.accounts import AccountArgument
from cli.session import Session
from cli.shapes import keys as shapes
from proto.onysoft.v1 import admin_pb2 as admin

keys = typer.Typer(help="API keys: issue, revoke, list.")

_KEY_COLUMNS = ("key_id", "name", "revoked")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="key_ and 24 hex digits")]


@keys.command("issue")
def issue(
    context: typer.Context,
    account: AccountArgument,
    name: Annotated[str, typer.Option(help="what people call the key; not part of the ledger")],
) -> None:
    """Make an API key. It is shown this once."""
    session: Session = context.obj
    request = admin.IssueKeyRequest(account_id=account, name=name)
    session.show(shapes.issued(session.call("IssueKey", request)), "keep this key now: it is not shown again")


@keys.command("revoke")
def revoke(context: typer.Context, key: KeyArgument) -> None:
    """Refuse a key from now on, for good."""
    session: Session = context.obj
    session.show(shapes.key(session.call("RevokeKey", admin.KeyRef(key_id=key))), "revoked")


@keys.command("list")
def list_keys(context: typer.Context, account: AccountArgument) -> None:
    """List the keys of an account."""
    session: Session = context.obj
    found = session.call("ListKeys", admin.AccountRef(account_id=account)).keys
    session.show_all("keys", [shapes.key(key) for key in found], _KEY_COLUMNS)
