"""`onysoft key …`."""

import time
from typing import Annotated

import typer

from cli.accounts import AccountArgument
from cli.session import Session
from cli.shapes import keys as shapes
from cli.times import duration_ms, moment_ms
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1.ledger_pb2 import KeyPolicy

keys = typer.Typer(help="API keys: what they may be used for, and how long.")

_KEY_COLUMNS = ("key_id", "name", "state", "expires", "last_used", "allowed_models", "allowed_ips")
_EXPIRES = "ISO date or time (Istanbul's where it names no offset), or from now: 30d, 24h"
_ALLOW_MODEL = "a pattern of models that it may call; may be repeated"
_ALLOW_IP = "an address or range that it may be used from; may be repeated"

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="key_ and 24 hex digits")]


@keys.command("issue")
def issue(
    context: typer.Context,
    account: AccountArgument,
    name: Annotated[str, typer.Option(help="what people call the key; not part of the ledger")],
    expires: Annotated[str | None, typer.Option(help=_EXPIRES)] = None,
    allow_model: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help=_ALLOW_MODEL)] = None,
    allow_ip: Annotated[list[str] | None, typer.Option(metavar="CIDR", help=_ALLOW_IP)] = None,
) -> None:
    """Make an API key. It is shown this once."""
    session: Session = context.obj
    policy = KeyPolicy(
        expires_ms=_moment(expires) if expires else 0, allowed_models=allow_model or [], allowed_ips=allow_ip or []
    )
    request = admin.IssueKeyRequest(account_id=account, name=name, policy=policy)
    session.show(shapes.issued(session.call("IssueKey", request)), "keep this key now: it is not shown again")


@keys.command("change")
def change(
    context: typer.Context,
    key: KeyArgument,
    name: Annotated[str | None, typer.Option(help="what people call the key")] = None,
    expires: Annotated[str | None, typer.Option(help=f"{_EXPIRES}; or never")] = None,
    allow_model: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help=_ALLOW_MODEL)] = None,
    allow_ip: Annotated[list[str] | None, typer.Option(metavar="CIDR", help=_ALLOW_IP)] = None,
    any_model: Annotated[bool, typer.Option("--any-model", help="allow every model again")] = False,
    any_ip: Annotated[bool, typer.Option("--any-ip", help="allow every address again")] = False,
) -> None:
    """Change what a key may be used for. What is not named stays; a list replaces the one before."""
    session: Session = context.obj
    if (any_model and allow_model) or (any_ip and allow_ip):
        raise typer.BadParameter("allow everything, or something: not both")
    request = admin.ChangeKeyRequest(key_id=key, name=name)
    if expires:
        request.expires_ms = 0 if expires == "never" else _moment(expires)
    if allow_model or any_model:
        request.allowed_models.CopyFrom(admin.Patterns(patterns=allow_model or []))
    if allow_ip or any_ip:
        request.allowed_ips.CopyFrom(admin.Ranges(ranges=allow_ip or []))
    session.show(shapes.key(session.call("ChangeKey", request)), "changed")


@keys.command("rotate")
def rotate(
    context: typer.Context,
    key: KeyArgument,
    grace: Annotated[str, typer.Option(help="how long the secret so far goes on working, such as 24h")] = "24h",
) -> None:
    """Give a key a new secret. It is shown this once; limits, use and policy stay."""
    session: Session = context.obj
    request = admin.RotateKeyRequest(key_id=key, grace_ms=duration_ms(grace))
    session.show(shapes.issued(session.call("RotateKey", request)), "keep this key now: it is not shown again")


@keys.command("suspend")
def suspend(context: typer.Context, key: KeyArgument) -> None:
    """Refuse a key from now on, until it is resumed."""
    session: Session = context.obj
    session.show(shapes.key(session.call("SuspendKey", admin.KeyRef(key_id=key))), "suspended")


@keys.command("resume")
def resume(context: typer.Context, key: KeyArgument) -> None:
    """Accept a suspended key again."""
    session: Session = context.obj
    session.show(shapes.key(session.call("ResumeKey", admin.KeyRef(key_id=key))), "resumed")


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


def _moment(text: str) -> int:
    return moment_ms(text, time.time_ns() // 1_000_000)
