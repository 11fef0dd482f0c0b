"""What every subject of the admin service works with: the replica, the way into the ledger, and how things are shown.

Names of accounts and keys are not facts: they go to the directory, where they may be changed or erased.
"""

import asyncio
import time

import grpc

from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_label
from bus.errors import BusError, NoCore
from bus.presence import Presences
from core.admin.answers import Rejected
from core.admin.callers import caller_now
from core.admin.families import Families
from core.admin.fields import identity, invalid
from core.catalogue import Catalogue
from core.ledger.accounts import Account, Key
from core.ledger.money import NANO, to_text
from core.ledger.outcome import Code
from core.ledger.patterns import EVERY
from core.price_list import PriceLists
from core.replica import Replica
from core.sync import Sync
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1.directory_pb2 import LabelRecord
from proto.onysoft.v1.work_pb2 import Answer, Ask
from runtime import ids
from runtime.log import log
from runtime.settings import Settings

APPEND_TIMEOUT_S = 10.0
FRESH_TIMEOUT_S = 2.0
ASK_TIMEOUT_S = 5.0

_REFUSED = "the ledger refused it"
_REFUSALS = {
    Code.EXISTS: (grpc.StatusCode.ALREADY_EXISTS, "exists already"),
    Code.NOT_FOUND: (grpc.StatusCode.NOT_FOUND, "the ledger does not know this id"),
    Code.INSUFFICIENT: (grpc.StatusCode.FAILED_PRECONDITION, "the balance does not cover it"),
    Code.HELD: (grpc.StatusCode.FAILED_PRECONDITION, "running calls hold a part of the balance that it needs"),
}
_OLD_RULES = "the ledger still runs under older rules, which do not know this; activate the newest first"
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
        sync: Sync,
        price_lists: PriceLists,
        presences: Presences,
    ) -> None:
        self.replica = replica
        self.catalogue = catalogue
        self.connection = connection
        self.mirror = mirror
        self.sync = sync
        self.price_lists = price_lists
        self.presences = presences
        self.families = Families()
        self.core = settings.process_name or "core"
        self.archive = settings.archive_dir
        self.public_url = settings.public_url
        self.pepper = settings.key_pepper.get_secret_value().encode()
        self.manual_credit_bound_nano = settings.manual_credit_bound * NANO
        self.fx_stale_s = settings.fx_stale_h * 3600
        self.catalogue_refresh_s = settings.catalogue_refresh_s

    async def append(self, root_id: bytes, event: ledger.Event, already: bool = False) -> Code:
        """Append and await the fold's outcome; with `already`, an event without effect is no error.

        `root_id` is the billing root of what the event is about.
        """
        event.actor = caller_now.get().actor
        future = self.replica.append(root_id, event)
        try:
            async with asyncio.timeout(APPEND_TIMEOUT_S):
                applied = await asyncio.shield(future)
        except TimeoutError:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, _IN_DOUBT) from None
        code: Code = applied.outcome.code
        if code is Code.APPLIED or (code is Code.EXISTS and already):
            return code
        status, message = _REFUSALS.get(code, (grpc.StatusCode.FAILED_PRECONDITION, f"{_REFUSED}: {code.name.lower()}"))
        raise Rejected(status, message)

    def require_rules(self, version: int) -> None:
        """Reject what the ledger would take for something else under older rules."""
        if self.replica.state.rules_version < version:
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, _OLD_RULES)

    async def label(self, owner: bytes, label: str) -> None:
        """Keep a name. Without it the account or key works all the same, so trouble here must not lose its id."""
        try:
            await publish_label(self.connection, owner, LabelRecord(label=label))
        except (BusError, TimeoutError) as error:
            log.warning("label.not_kept", owner=owner.hex(), error=str(error))

    async def ask_projections(self, what: str, ask: Ask, named: tuple[str, str]) -> Answer:
        """What a projections process answers. `named` is what is asked about, and its name."""
        try:
            payload = await self.connection.request(f"ask.{what}", ask.SerializeToString(), ASK_TIMEOUT_S)
        except NoCore:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, "no projections process is running") from None
        except TimeoutError:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, "the projections did not answer in time") from None
        answer = Answer.FromString(payload)
        if answer.code == "not_found":
            raise absent(*named)
        if answer.code == "invalid_request":
            raise Rejected(grpc.StatusCode.FAILED_PRECONDITION, answer.json.decode())
        if answer.code:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, f"the projections answered {answer.code}")
        return answer

    async def fresh(self) -> None:
        """What another core has acknowledged before this call must be seen; without the log, what is known stands."""
        try:
            async with asyncio.timeout(FRESH_TIMEOUT_S):
                await self.replica.fresh()
        except TimeoutError:
            return

    async def account(self, account_id: str, field: str = "account_id", known: bool = False) -> Account:
        """The account of an id's text, as the log now has it; one that is `known` here already, as it is known."""
        accounts, wanted = self.replica.state.accounts, identity(field, ids.ACCOUNT, account_id)
        if not known or wanted not in accounts:
            await self.fresh()
        account = accounts.get(wanted)
        if account is None:
            raise absent("account", account_id)
        return account

    async def key(self, key_id: str, field: str = "key_id", known: bool = False) -> Key:
        """The key of an id's text, as the log now has it; one that is `known` here already, as it is known."""
        keys, wanted = self.replica.state.keys, identity(field, ids.KEY, key_id)
        if not known or wanted not in keys:
            await self.fresh()
        key = keys.get(wanted)
        if key is None:
            raise absent("key", key_id)
        return key

    async def owner(self, owner_id: str) -> tuple[bytes, bytes]:
        """Of an account or a key: its id, and that of its billing root."""
        if owner_id.startswith(ids.KEY):
            key = await self.key(owner_id, "owner_id")
            return key.key_id, self.root_of(key)
        if not owner_id.startswith(ids.ACCOUNT):
            invalid(f"owner_id must be {ids.ACCOUNT} or {ids.KEY} and 24 hex digits")
        account = await self.account(owner_id, "owner_id")
        return account.account_id, account.root_id

    def root_of(self, key: Key) -> bytes:
        """The billing root that a key's calls are charged to."""
        return self.replica.state.accounts[key.account_id].root_id

    def blocks(self, owner_id: bytes) -> list[str]:
        """The patterns of models that an account or key may not call."""
        state = self.replica.state
        return sorted((state.accounts.get(owner_id) or state.keys[owner_id]).blocks)

    def show_account(self, account: Account, name: str = "") -> pb.Account:
        """An account, whole; `name` where the directory cannot know it yet."""
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
            partition=self.replica.partition_of(account.root_id),
            parent_id=ids.text(ids.ACCOUNT, account.parent_id) if account.parent_id else "",
            root_id=ids.text(ids.ACCOUNT, account.root_id),
            markups=show_markups(account),
            blocked_models=sorted(account.blocks),
        )

    def show_balance(self, account: Account) -> pb.Balance:
        """What an account has, holds and owes."""
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
            receivable=to_text(account.receivable_nano),
        )

    def show_key(self, key: Key, name: str = "") -> pb.Key:
        """A key, without its secret."""
        now_ms = int(time.time() * 1000)
        return pb.Key(
            key_id=ids.text(ids.KEY, key.key_id),
            account_id=ids.text(ids.ACCOUNT, key.account_id),
            name=name or self.mirror.labels.get(key.key_id, ""),
            revoked=key.revoked,
            suspended=key.suspended,
            state=key_state(key, now_ms),
            policy=ledger.KeyPolicy(
                expires_ms=key.expires_ms, allowed_models=key.allowed_models, allowed_ips=key.allowed_ips
            ),
            last_used_ms=key.last_used_ms,
            rotations=key.secret,
            old_secret_until_ms=key.old_until_ms if key.old_until_ms > now_ms else 0,
            blocked_models=sorted(key.blocks),
        )


def absent(what: str, name: str) -> Rejected:
    """What does not exist, and what is out of the caller's reach: the two read alike."""
    return Rejected(grpc.StatusCode.NOT_FOUND, f"there is no {what} {name}")


def show_markups(account: Account) -> list[pb.Markup]:
    """The account's own markup first, then those of patterns."""
    own = pb.Markup(pattern=EVERY, markup_bps=account.markup_bps)
    return [own, *(pb.Markup(pattern=each, markup_bps=bps) for each, bps in sorted(account.markups.items()))]


def key_state(key: Key, now_ms: int) -> str:
    """In one word what becomes of a call with this key, as far as the key alone decides it."""
    if key.revoked:
        return "revoked"
    if key.expires_ms and now_ms >= key.expires_ms:
        return "expired"
    return "suspended" if key.suspended else "active"


class Subject:
    """One part of the admin service: the calls about one subject."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
