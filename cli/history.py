"""`onysoft balance --at`: what an account had, read from the log."""

from datetime import datetime

from bus.connection import Connection
from cli.client import CallFailed
from cli.offline import Bar, run_connected
from cli.session import Session
from cli.shapes import Shape
from core.ledger.money import to_text
from projections.proof.books import Books, moment
from projections.proof.statement import ISTANBUL
from projections.proof.time_travel import books_at_position, books_at_time
from proto.onysoft.v1.ledger_pb2 import Currency
from runtime.ids import ACCOUNT, parse
from runtime.settings import Settings


def account_of(text: str) -> bytes:
    """An account's id. Raises CallFailed."""
    try:
        return parse(ACCOUNT, text)
    except ValueError as error:
        raise CallFailed("invalid_argument", f"account_id: {error}") from None


def balance_at(session: Session, account: str, at: str) -> Shape:
    """The balance after a position (`1234`), or at a moment (`2026-11-03`, `2026-11-03T12:00`: Istanbul's, unless it
    names an offset). Raises CallFailed."""
    account_id = account_of(account)
    time_ms = 0 if at.isdecimal() else moment_ms(at, "--at")

    async def work(connection: Connection, settings: Settings) -> Books:
        with Bar(session, "folding the ledger") as bar:
            if at.isdecimal():
                return await books_at_position(connection, settings.archive_dir, int(at), bar)
            return await books_at_time(connection, settings.archive_dir, time_ms, bar)

    state = run_connected(session, work).state
    found = state.accounts.get(account_id)
    if found is None:
        raise CallFailed("not_found", f"there was no account {account} at position {state.position}")
    return {
        "account_id": account,
        "balance": to_text(found.balance_nano),
        "held": to_text(found.held_nano),
        "available": to_text(found.available_nano),
        "currency": Currency.Name(Currency.ValueType(found.currency)),
        "position": state.position,
        "time": moment(state.time_ms),
        "credits": to_text(found.credits_nano),
        "charges": to_text(found.charges_nano),
        "shortfall": to_text(found.shortfall_nano),
        "open_holds": found.open_holds,
        "chain_hash": state.chain_hash.hex(),
    }


def moment_ms(text: str, option: str) -> int:
    """Unix milliseconds of an ISO date or time, Istanbul's unless it names an offset. Raises CallFailed."""
    try:
        moment_of = datetime.fromisoformat(text)
    except ValueError:
        message = f"{option} must be a ledger position or a time like 2026-11-03T12:00"
        raise CallFailed("invalid_argument", message) from None
    if moment_of.tzinfo is None:
        moment_of = moment_of.replace(tzinfo=ISTANBUL)
    return int(moment_of.timestamp() * 1000)
