"""The gRPC admin service: what operators do. Every core serves it; what it writes goes through the ledger alone.

Names of accounts and keys are not facts: they go to the directory, where they may be changed or erased.
"""

import asyncio
import functools
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal, NoReturn, TypeVar

import grpc
import orjson

from bus.connection import Connection
from bus.directory import DirectoryMirror, publish_label
from bus.errors import BusError, NoCore, Overloaded, WriterClosed
from core import audit
from core.catalogue import Catalogue
from core.ledger.money import MAX_NANO, from_text, to_text
from core.ledger.outcome import Code, FoldStopped
from core.ledger.state import Account, Key
from core.replica import Replica
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from proto.onysoft.v1.admin_pb2_grpc import AdminServicer, add_AdminServicer_to_server
from proto.onysoft.v1.directory_pb2 import LabelRecord
from proto.onysoft.v1.work_pb2 import Answer, Ask
from runtime import ids
from runtime.errors import OperatorError
from runtime.log import log
from runtime.settings import Settings

KEY_PREFIX = "sk-ony-"
KEY_RANDOM_BYTES = 24
MARKUP_BPS_DEFAULT = 5_000
MARKUP_BPS_MAX = 100_000
REQUESTS_PER_MINUTE_DEFAULT = 60
REQUESTS_PER_DAY_DEFAULT = 10_000
TEXT_CHARACTERS_MAX = 200
PAGE_DEFAULT = 100
PAGE_MAX = 1_000
TAIL_EVENTS_MAX = 100_000
TOKEN_CHARACTERS_MIN = 16
APPEND_TIMEOUT_S = 10.0
FRESH_TIMEOUT_S = 2.0
ASK_TIMEOUT_S = 5.0
CALLS_MAX = 64
STOP_GRACE_S = 1.0

_OPENABLE = (ledger.USER, ledger.PROJECT)
_IN_DOUBT = "the ledger did not confirm in time; whether it took effect is not known yet: look before you repeat it"

Answered = TypeVar("Answered")
Context = grpc.aio.ServicerContext[Any, Any]


class Rejected(Exception):
    """An operator's call that cannot be served; the message says what to change."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def answers(
    method: Callable[["AdminService", Any], Awaitable[Answered]],
) -> Callable[["AdminService", Any, Context], Awaitable[Answered]]:
    """A method of the service as gRPC calls it: what it rejects becomes the call's status."""

    @functools.wraps(method)
    async def call(self: "AdminService", request: Any, context: Context) -> Answered:
        try:
            return await method(self, request)
        except Rejected as rejected:
            await context.abort(rejected.code, rejected.message)
        except (Overloaded, WriterClosed) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    return call


class AdminService(AdminServicer):
    """Serves one core's admin port on that core's own replica."""

    def __init__(
        self,
        replica: Replica,
        catalogue: Catalogue,
        connection: Connection,
        mirror: DirectoryMirror,
        settings: Settings,
    ) -> None:
        self._replica = replica
        self._catalogue = catalogue
        self._connection = connection
        self._mirror = mirror
        self._core = settings.process_name or "core"
        self._pepper = settings.key_pepper.get_secret_value().encode()

    # Accounts

    @answers
    async def OpenAccount(self, request: pb.OpenAccountRequest) -> pb.Account:
        name = _text("name", request.name)
        if request.kind not in _OPENABLE:
            _invalid("kind must be user or project")
        event = ledger.AccountOpened(
            account_id=ids.mint(),
            kind=request.kind,
            currency=request.currency or ledger.TRY,
            markup_bps=request.markup_bps if request.HasField("markup_bps") else MARKUP_BPS_DEFAULT,
            requests_per_minute=_limit(request, "requests_per_minute", REQUESTS_PER_MINUTE_DEFAULT),
            requests_per_day=_limit(request, "requests_per_day", REQUESTS_PER_DAY_DEFAULT),
        )
        if event.currency not in (ledger.TRY, ledger.USD):
            _invalid("currency must be TRY or USD")
        if event.markup_bps > MARKUP_BPS_MAX:
            _invalid(f"markup_bps must be at most {MARKUP_BPS_MAX}")
        await self._append(event.account_id, ledger.Event(account_opened=event))
        await self._label(event.account_id, name)
        return self._describe(self._replica.state.accounts[event.account_id], name)

    @answers
    async def ListAccounts(self, request: pb.ListAccountsRequest) -> pb.AccountList:
        await self._fresh()
        after = _id("after", ids.ACCOUNT, request.after) if request.after else b""
        limit = min(request.limit or PAGE_DEFAULT, PAGE_MAX)
        found = sorted(account_id for account_id in self._replica.state.accounts if account_id > after)[:limit]
        return pb.AccountList(accounts=[self._describe(self._replica.state.accounts[one]) for one in found])

    @answers
    async def GetAccount(self, request: pb.AccountRef) -> pb.Account:
        return self._describe(await self._account(request.account_id))

    @answers
    async def SuspendAccount(self, request: pb.AccountRef) -> pb.Account:
        account = await self._account(request.account_id)
        event = ledger.AccountSuspended(account_id=account.account_id)
        await self._append(account.account_id, ledger.Event(account_suspended=event), already=True)
        return self._describe(account)

    @answers
    async def ResumeAccount(self, request: pb.AccountRef) -> pb.Account:
        account = await self._account(request.account_id)
        event = ledger.AccountResumed(account_id=account.account_id)
        await self._append(account.account_id, ledger.Event(account_resumed=event), already=True)
        return self._describe(account)

    @answers
    async def CreditAccount(self, request: pb.CreditAccountRequest) -> pb.Credit:
        amount_nano = _amount("amount", request.amount)
        reference = _text("reference", request.reference)
        account = await self._account(request.account_id)
        if account.credits_nano + amount_nano > MAX_NANO:
            _invalid("amount is too large: the account's credits would exceed what can be counted")
        event = ledger.CreditAdded(account_id=account.account_id, amount_nano=amount_nano, reference=reference)
        code = await self._append(account.account_id, ledger.Event(credit_added=event), already=True)
        return pb.Credit(
            account_id=request.account_id,
            amount=to_text(amount_nano),
            reference=reference,
            counted=code is not Code.EXISTS,
            balance=self._balance(account),
        )

    @answers
    async def GetBalance(self, request: pb.AccountRef) -> pb.Balance:
        return self._balance(await self._account(request.account_id))

    # Keys

    @answers
    async def IssueKey(self, request: pb.IssueKeyRequest) -> pb.IssuedKey:
        name = _text("name", request.name)
        account = await self._account(request.account_id)
        api_key = KEY_PREFIX + secrets.token_hex(KEY_RANDOM_BYTES)
        key_hash = hmac.new(self._pepper, api_key.encode(), hashlib.sha256).digest()
        event = ledger.KeyIssued(key_id=ids.mint(), account_id=account.account_id, key_hash=key_hash)
        await self._append(account.account_id, ledger.Event(key_issued=event))
        await self._label(event.key_id, name)
        return pb.IssuedKey(key_id=ids.text(ids.KEY, event.key_id), api_key=api_key)

    @answers
    async def RevokeKey(self, request: pb.KeyRef) -> pb.Key:
        key_id = _id("key_id", ids.KEY, request.key_id)
        await self._fresh()
        key = self._replica.state.keys.get(key_id)
        if key is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"there is no key {request.key_id}")
        event = ledger.Event(key_revoked=ledger.KeyRevoked(key_id=key_id))
        await self._append(key.account_id, event, already=True)
        return self._describe_key(key)

    @answers
    async def ListKeys(self, request: pb.AccountRef) -> pb.KeyList:
        account = await self._account(request.account_id)
        keys = (key for key in self._replica.state.keys.values() if key.account_id == account.account_id)
        return pb.KeyList(keys=[self._describe_key(key) for key in sorted(keys, key=lambda key: key.key_id)])

    # Rates, models, requests

    @answers
    async def SetFxRate(self, request: pb.SetFxRateRequest) -> pb.FxRate:
        if request.base != ledger.USD:
            _invalid("base must be USD")
        rate_nano = _amount("rate", request.rate)
        event = ledger.FxRateSet(base=ledger.USD, quote=ledger.TRY, rate_nano=rate_nano)
        await self._append(b"fx", ledger.Event(fx_rate_set=event))
        return pb.FxRate(base="USD", quote="TRY", rate=to_text(rate_nano), position=self._replica.state.position)

    @answers
    async def ListModels(self, request: pb.ListModelsRequest) -> pb.ModelList:
        entries = sorted(self._catalogue.entries.values(), key=lambda entry: entry.id)
        return pb.ModelList(
            models=[
                pb.Model(
                    id=entry.id,
                    name=entry.name,
                    provider=", ".join(route.provider.name for route in entry.routes),
                    context_length=entry.context_length,
                    max_output_tokens=entry.output_tokens_max,
                    price_json=orjson.dumps(entry.pricing),
                    price_version=entry.price.version,
                    free=entry.price.free,
                )
                for entry in entries
            ]
        )

    @answers
    async def ShowRequest(self, request: pb.RequestRef) -> pb.RequestStory:
        request_id = _id("request_id", ids.REQUEST, request.request_id)
        ask = Ask(request_id=request_id, min_position=self._replica.state.position)
        try:
            payload = await self._connection.request("ask.request", ask.SerializeToString(), ASK_TIMEOUT_S)
        except NoCore:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, "no projections process is running") from None
        except TimeoutError:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, "the projections did not answer in time") from None
        answer = Answer.FromString(payload)
        if answer.code == "not_found":
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"there is no request {request.request_id}")
        if answer.code:
            raise Rejected(grpc.StatusCode.UNAVAILABLE, f"the projections answered {answer.code}")
        return pb.RequestStory(json=answer.json)

    # The ledger itself

    @answers
    async def GetStatus(self, request: pb.GetStatusRequest) -> pb.Status:
        await self._fresh()
        state = self._replica.state
        return pb.Status(
            core=self._core,
            position=state.position,
            chain_hash=state.chain_hash,
            time_ms=state.time_ms,
            partitions=self._replica.partitions,
            rules_version=state.rules_version,
            open_requests=sum(not request.expired for request in state.requests.values()),
            accounts=len(state.accounts),
            models=len(self._catalogue.entries),
            state_digest=state.digest(),
        )

    async def TailLedger(self, request: pb.TailLedgerRequest, context: Context) -> AsyncIterator[pb.LedgerEntry]:
        """With a limit: events that are there now, from `from_position` on (0: the newest). Without: for ever."""
        if request.limit > TAIL_EVENTS_MAX:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"limit must be at most {TAIL_EVENTS_MAX}")
        if not request.limit:
            entries = audit.follow(self._connection, request.from_position)
        elif request.from_position:
            entries = audit.entries_from(self._connection, request.from_position, request.limit)
        else:
            entries = audit.newest_entries(self._connection, request.limit)
        try:
            async for entry in entries:
                yield entry
        except audit.ReaderTooSlow:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "more came than was read")
        except FoldStopped as error:
            await context.abort(grpc.StatusCode.DATA_LOSS, str(error))
        except (BusError, TimeoutError) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    async def VerifyLedger(self, request: pb.VerifyLedgerRequest, context: Context) -> AsyncIterator[pb.VerifyProgress]:
        """Progress while it runs; the last message has `done` and the verdict."""
        try:
            async for progress in audit.verify(self._connection):
                yield progress
        except (BusError, TimeoutError) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    # What they share

    async def _append(self, root_id: bytes, event: ledger.Event, already: bool = False) -> Code:
        """Append and await the fold's outcome; with `already`, an event without effect is no error."""
        future = self._replica.append(root_id, event)
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

    async def _label(self, owner: bytes, label: str) -> None:
        """Keep a name. Without it the account or key works all the same, so trouble here must not lose its id."""
        try:
            await publish_label(self._connection, owner, LabelRecord(label=label))
        except (BusError, TimeoutError) as error:
            log.warning("label.not_kept", owner=owner.hex(), error=str(error))

    async def _fresh(self) -> None:
        """What another core has acknowledged before this call must be seen; without the log, what is known stands."""
        try:
            async with asyncio.timeout(FRESH_TIMEOUT_S):
                await self._replica.fresh()
        except TimeoutError:
            return

    async def _account(self, account_id: str) -> Account:
        key = _id("account_id", ids.ACCOUNT, account_id)
        await self._fresh()
        account = self._replica.state.accounts.get(key)
        if account is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"there is no account {account_id}")
        return account

    def _describe(self, account: Account, name: str = "") -> pb.Account:
        return pb.Account(
            account_id=ids.text(ids.ACCOUNT, account.account_id),
            kind=ledger.AccountKind.ValueType(account.kind),
            name=name or self._mirror.labels.get(account.account_id, ""),
            currency=ledger.Currency.ValueType(account.currency),
            markup_bps=account.markup_bps,
            requests_per_minute=account.requests_per_minute,
            requests_per_day=account.requests_per_day,
            suspended=account.suspended,
            balance=self._balance(account),
            partition=self._replica.partition_of(account.account_id),
        )

    def _balance(self, account: Account) -> pb.Balance:
        return pb.Balance(
            account_id=ids.text(ids.ACCOUNT, account.account_id),
            balance=to_text(account.balance_nano),
            held=to_text(account.held_nano),
            available=to_text(account.available_nano),
            currency=ledger.Currency.Name(ledger.Currency.ValueType(account.currency)),
            position=self._replica.state.position,
            credits=to_text(account.credits_nano),
            charges=to_text(account.charges_nano),
            shortfall=to_text(account.shortfall_nano),
            open_holds=account.open_holds,
        )

    def _describe_key(self, key: Key) -> pb.Key:
        return pb.Key(
            key_id=ids.text(ids.KEY, key.key_id),
            account_id=ids.text(ids.ACCOUNT, key.account_id),
            name=self._mirror.labels.get(key.key_id, ""),
            revoked=key.revoked,
        )


async def serve_admin(service: AdminService, settings: Settings) -> tuple[grpc.aio.Server, int]:
    """Listen on the admin port; the server and its port. End it with `await server.stop(STOP_GRACE_S)`.

    Raises OperatorError when the address is taken, or when a secret that keeps others out is missing.
    """
    token = settings.admin_token.get_secret_value()
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise OperatorError(f"ONYSOFT_ADMIN_TOKEN must have at least {TOKEN_CHARACTERS_MIN} characters")
    if not settings.key_pepper.get_secret_value():
        raise OperatorError("ONYSOFT_KEY_PEPPER must be set, to the same value for every core and edge")
    server = grpc.aio.server(
        interceptors=[BearerGate(token)],
        maximum_concurrent_rpcs=CALLS_MAX,
        options=[("grpc.so_reuseport", 0)],
    )
    add_AdminServicer_to_server(service, server)
    address = f"{settings.admin_host}:{settings.admin_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        raise OperatorError(f"cannot listen on {address}: is it in use?") from None
    await server.start()
    return server, port


class BearerGate(grpc.aio.ServerInterceptor):
    """Lets only calls through that bring the admin token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or self._is_allowed(handler_call_details):
            return handler
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(_refuse_stream)
        return grpc.unary_unary_rpc_method_handler(_refuse)

    def _is_allowed(self, details: grpc.HandlerCallDetails) -> bool:
        given = dict(details.invocation_metadata or ()).get("authorization", "")
        return hmac.compare_digest(given if isinstance(given, bytes) else given.encode(), self._expected)


async def _refuse(_request: Any, context: Context) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the admin token is missing or wrong")


async def _refuse_stream(_request: Any, context: Context) -> AsyncIterator[Any]:
    await _refuse(_request, context)
    yield None


def _invalid(message: str) -> NoReturn:
    raise Rejected(grpc.StatusCode.INVALID_ARGUMENT, message)


def _text(field: str, value: str) -> str:
    """`value` without space around it, 1 to 200 characters."""
    value = value.strip()
    if not 1 <= len(value) <= TEXT_CHARACTERS_MAX:
        _invalid(f"{field} must have 1 to {TEXT_CHARACTERS_MAX} characters")
    return value


def _id(field: str, prefix: str, value: str) -> bytes:
    try:
        return ids.parse(prefix, value)
    except ValueError:
        _invalid(f"{field} must be {prefix} and 24 hex digits")


def _amount(field: str, value: str) -> int:
    """Nano-units of a positive decimal."""
    try:
        nano = from_text(value)
    except ValueError as error:
        _invalid(f"{field} must be a positive decimal: {error}")
    if nano <= 0:
        _invalid(f"{field} must be more than 0")
    return nano


def _limit(
    request: pb.OpenAccountRequest, field: Literal["requests_per_minute", "requests_per_day"], default: int
) -> int:
    return int(getattr(request, field)) if request.HasField(field) else default
