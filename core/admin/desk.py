"""What every subject of the admin service works with: the replica, the way into the ledger, and how things are shown.

Names of accounts and keys are not facts: they go to the directory, where they may be changed or erased.
"""

import asyncio

import grpc

from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_label
from bus.errors import BusError
from core.admin.answers import Rejected
from core.admin.fields import identity
from core.catalogue import Catalogue
from core.ledger.accounts import Account, Key
from core.ledger.money import to_text
from core.ledger.outcome import Code
from core.replica import Replica
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1.directory_pb2 import LabelRecord
from runtime import ids
from runtime.log import log
from runtime.settings import Settings

APPEND_TIMEOUT_S = 10.0
FRESH_TIMEOUT_S = 2.0

_IN_DOUBT = "the ledger did not confirm in time; whether it took effect is not known yet: look before you repeat it"


class Desk:
    """One core's replica, catalogue and directory. What is written goes through the ledger alone."""

    def __init__(
        self,
        replica: Replica,
        catalogue: Catalogue,
        connection: Connection,
        mirror: DirectoryMirror,
        settings: Settings,
    ) -> None:
        self.replica = replica
        self.catalogue = catalogue
        self.connection = connection
        self.mirror = mirror
        self.core = settings.process_name or "core"
        self.archive = settings.archive_dir
        self.pepper = settings.key_pepper.get_secret_value().encode()

    async def append(self, root_id: bytes, event: ledger.Event, already: bool = False) -> Code:
        """Append and await the fold's outcome; with `already`, an event without effect is no error."""
        future = self.replica.append(root_id, event)
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                applied = await asyncio.shield(future)
        except TimeoutError:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, _IN_DOUBT) from None
        code: Code = applied.outcome.code
        if code is Code.APPLIED or (code is Code.EXISTS and already):
            return code
        if code is Code.EXISTS:
            raise Rejected(grpc.StatusCode.ALREADY_EXISTS, "exists already")
        if code is Code.NOT_FOUND:
            raise Rejected(grpc.StatusCode.NOT_FOUND, "the ledger does not know this id")
        raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, f"the ledger refused it: {code.name.lower()}")

    async def label(self, owner: bytes, label: str) -> None:
        """Keep a name. Without it the account or key works all the same, so trouble here must not lose its id."""
        try:
            await publish_label(self.connection, owner, LabelRecord(label=label))
        except (BusError, TimeoutError) as error:
            log.warning("label.not_kept", owner=owner.hex(), error=str(error))

    async def fresh(self) -> None:
        """What another core has acknowledged before this call must be seen; without the log, what is known stands."""
        try:
            async with asyncio.timeout(FRESH_TIMEOUT_S):
                await self.replica.fresh()
        except TimeoutError:
            return

    async def account(self, account_id: str) -> Account:
        key = identity("account_id", ids.ACCOUNT, account_id)
        await self.fresh()
        account = self.replica.state.accounts.get(key)
        if account is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"there is no account {account_id}")
        return account

    def show_account(self, account: Account, name: str = "") -> pb.Account:
        return pb.Account(
            account_id=ids.text(ids.ACCOUNT, account.account_id),
            kind=ledger.AccountKind.ValueType(account.kind),
            name=name or self.mirror.labels.get(account.account_id, ""),
            currency=ledger.Currency.ValueType(account.currency),
            markup_bps=account.markup_bps,
            requests_per_minute=account.requests_per_minute,
            requests_per_day=account.requests_per_day,
            suspended=account.suspended,
            balance=self.show_balance(account),
            partition=self.replica.partition_of(account.account_id),
        )

    def show_balance(self, account: Account) -> pb.Balance:
        return pb.Balance(
            account_id=ids.text(ids.ACCOUNT, account.account_id),
            balance=to_text(account.balance_nano),
            held=to_text(account.held_nano),
            available=to_text(account.available_nano),
            currency=ledger.Currency.Name(ledger.Currency.ValueType(account.currency)),
            position=self.replica.state.position,
            credits=to_text(account.credits_nano),
            charges=to_text(account.charges_nano),
            shortfall=to_text(account.shortfall_nano),
            open_holds=account.open_holds,
        )

    def show_key(self, key: Key) -> pb.Key:
        return pb.Key(
            key_id=ids.text(ids.KEY, key.key_id),
            account_id=ids.text(ids.ACCOUNT, key.account_id),
            name=self.mirror.labels.get(key.key_id, ""),
            revoked=key.revoked,
        )


class Subject:
    """One part of the admin service: the calls about one subject."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
