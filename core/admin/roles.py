"""What each call of the admin service needs: one row a call. `gate.py` holds every call against its row.

A row says which access the call needs, and which fields of the request lead to accounts that must be within reach.
Some accounts must be reached from above: nobody sets what binds themselves. A key is its own account's matter.
"""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any, NamedTuple, NoReturn

import grpc
import orjson

from core.admin.accounts import KINDS, kind_text
from core.admin.answers import Rejected
from core.admin.callers import Access, Caller, Near
from core.admin.desk import Desk, absent
from core.admin.requests import story_of
from core.admin.tasks import stored_task
from core.ledger.accounts import Account
from proto.onysoft.v1 import admin_pb2 as pb
from proto.onysoft.v1 import ledger_pb2 as ledger
from runtime import ids

Find = Callable[[Desk, str, str], Awaitable[Account | None]]
"""The account that a field's text leads to. Raises Rejected as the call itself would."""


class Scope(Enum):
    """Which accounts a call is about."""

    NAMED = auto()  # those that its fields lead to
    NONE = auto()  # none at all
    ALL = auto()  # all, or the house itself: only for those who reach everything
    REACHED = auto()  # it answers with what is within reach, and leaves out the rest


class Subject(NamedTuple):
    """A field that leads to an account, and how that must be reached."""

    field: str
    what: str
    find: Find
    near: Near = Near.MEMBER


class Row(NamedTuple):
    """What a call needs. `check` looks at the rest of the request."""

    needs: Access
    subjects: tuple[Subject, ...] = ()
    scope: Scope = Scope.NAMED
    check: Callable[[Desk, Caller, Any], Awaitable[None]] | None = None

    async def admit(self, desk: Desk, caller: Caller, request: Any) -> None:
        """Raises Rejected: PERMISSION_DENIED, and for what is out of reach the NOT_FOUND of what does not exist."""
        if caller.access is None:
            return
        if not caller.may(self.needs):
            denied(f"this needs access to {self.needs}; {caller.actor} has access to {caller.access}")
        if self.scope is Scope.ALL and not caller.everywhere:
            denied("this is about all accounts, and only for those who reach all of them")
        for subject in self.subjects:
            await _admit(desk, caller, subject, getattr(request, subject.field))
        if self.check is not None:
            await self.check(desk, caller, request)


def denied(message: str) -> NoReturn:
    """Reject the call for what its caller may not do."""
    raise Rejected(grpc.StatusCode.PERMISSION_DENIED, message)


async def _admit(desk: Desk, caller: Caller, subject: Subject, value: str) -> None:
    if caller.everywhere:
        return  # what does not exist, the call itself will find
    account = await subject.find(desk, subject.field, value)
    is_key = value.startswith(ids.KEY)
    if account is None or not caller.reaches(account):
        raise absent("key" if is_key else subject.what, value)
    if not is_key and caller.near(account) < subject.near:
        whose = value if subject.near is Near.OWN else f"the account above {value}"
        denied(f"only who looks after {whose} may do this")


async def _by_account(desk: Desk, field: str, value: str) -> Account:
    return await desk.account(value, field, known=True)


async def _by_key(desk: Desk, field: str, value: str) -> Account:
    return desk.replica.state.accounts[(await desk.key(value, field, known=True)).account_id]


async def _by_owner(desk: Desk, _field: str, value: str) -> Account:
    owner_id, _ = await desk.owner(value)
    state = desk.replica.state
    key = state.keys.get(owner_id)
    return state.accounts[owner_id if key is None else key.account_id]


async def _by_request(desk: Desk, _field: str, value: str) -> Account | None:
    story = orjson.loads(await story_of(desk, value, prices=False))
    account_id = story.get("account_id")
    return desk.replica.state.accounts.get(ids.parse(ids.ACCOUNT, account_id)) if account_id else None


async def _by_task(desk: Desk, _field: str, value: str) -> Account | None:
    return desk.replica.state.accounts.get((await stored_task(desk, value)).record.account_id)


async def _by_account_if_given(desk: Desk, caller: Caller, request: pb.ListTasksRequest) -> None:
    if request.account_id:
        await _admit(desk, caller, ACCOUNT, request.account_id)


async def _opens_below(desk: Desk, caller: Caller, request: pb.OpenAccountRequest) -> None:
    """Anybody may open an account as it comes; partners and organisations also below their own.

    A project's markup is the house's margin, a partner customer's is the partner's.
    """
    if caller.may(Access.ADMINISTER):
        return
    if request.parent_id:
        await _admit(desk, caller, Subject("parent_id", "account", _by_account, Near.TOP), request.parent_id)
    elif request.kind != ledger.USER or request.HasField("requests_per_minute") or request.HasField("requests_per_day"):
        denied("only an administrator opens a billing root other than a user's with the usual limits")
    if request.HasField("markup_bps") and request.kind != ledger.PARTNER_CUSTOMER:
        denied("only an administrator sets a markup other than a partner customer's")
    kind = KINDS.get(request.kind)
    if kind is not None and request.currency not in (ledger.CURRENCY_UNSPECIFIED, kind.currency):
        denied(f"only an administrator opens a {kind_text(request.kind)} in another currency")


async def _marks_up_a_customer(desk: Desk, caller: Caller, request: Any) -> None:
    """What a project pays is the house's to say, even where a partner looks after the project."""
    if caller.may(Access.ADMINISTER):
        return
    account = await _by_account(desk, "account_id", request.account_id)
    if account.kind != ledger.PARTNER_CUSTOMER:
        denied(f"only an administrator sets the markup of a {kind_text(account.kind)}")


async def _looks_or_administers(_desk: Desk, caller: Caller, request: pb.SyncModelsRequest) -> None:
    if request.apply and not caller.may(Access.ADMINISTER):
        denied(f"to apply it needs access to {Access.ADMINISTER}; {caller.actor} has access to {caller.access}")


READ, WRITE, CREDIT, ADMINISTER = Access
ACCOUNT = Subject("account_id", "account", _by_account)
ACCOUNT_OWN = ACCOUNT._replace(near=Near.OWN)
ACCOUNT_UNDER = ACCOUNT._replace(near=Near.UNDER)
KEY = Subject("key_id", "key", _by_key)
OWNER = Subject("owner_id", "account", _by_owner)
OWNER_UNDER = OWNER._replace(near=Near.UNDER)
REQUEST = Subject("request_id", "request", _by_request)
TASK = Subject("task_id", "task", _by_task)
GIVER = Subject("from_account_id", "account", _by_account, Near.TOP)
TAKER = Subject("to_account_id", "account", _by_account, Near.TOP)

ROWS: Mapping[str, Row] = {
    "GetStatus": Row(READ, scope=Scope.ALL),
    "ListProcesses": Row(READ, scope=Scope.ALL),
    "OpenAccount": Row(WRITE, scope=Scope.REACHED, check=_opens_below),
    "ListAccounts": Row(READ, scope=Scope.REACHED),
    "GetAccount": Row(READ, (ACCOUNT,)),
    "SuspendAccount": Row(WRITE, (ACCOUNT_OWN,)),  # a person who leaves closes the account behind them
    "ResumeAccount": Row(WRITE, (ACCOUNT_UNDER,)),
    "CreditAccount": Row(CREDIT, (ACCOUNT,)),
    "ReverseCredit": Row(CREDIT, (ACCOUNT,)),
    "MoveCredit": Row(WRITE, (GIVER, TAKER)),
    "GetBalance": Row(READ, (ACCOUNT,)),
    "SetMarkup": Row(WRITE, (ACCOUNT_UNDER,), check=_marks_up_a_customer),
    "ClearMarkup": Row(WRITE, (ACCOUNT_UNDER,), check=_marks_up_a_customer),
    "ListMarkups": Row(READ, (ACCOUNT,)),
    "IssueKey": Row(WRITE, (ACCOUNT,)),
    "ChangeKey": Row(WRITE, (KEY,)),
    "RotateKey": Row(WRITE, (KEY,)),
    "SuspendKey": Row(WRITE, (KEY,)),
    "ResumeKey": Row(WRITE, (KEY,)),
    "RevokeKey": Row(WRITE, (KEY,)),
    "ListKeys": Row(READ, (ACCOUNT,)),
    "SetLimits": Row(WRITE, (OWNER_UNDER,)),
    "ClearLimits": Row(WRITE, (OWNER_UNDER,)),
    "ListLimits": Row(READ, (OWNER,)),
    "BlockModel": Row(WRITE, (OWNER_UNDER,)),
    "UnblockModel": Row(WRITE, (OWNER_UNDER,)),
    "SetFxRate": Row(ADMINISTER, scope=Scope.ALL),
    "ConfirmFxRate": Row(ADMINISTER, scope=Scope.ALL),
    "ListFxRates": Row(READ, scope=Scope.NONE),
    "ListModels": Row(READ, scope=Scope.ALL),  # with what the house pays
    "ListPrices": Row(READ, (ACCOUNT,)),
    "ShowModel": Row(READ, scope=Scope.ALL),
    "SyncModels": Row(READ, scope=Scope.ALL, check=_looks_or_administers),
    "ActivateModel": Row(ADMINISTER, scope=Scope.ALL),
    "DeactivateModel": Row(ADMINISTER, scope=Scope.ALL),
    "SetAlias": Row(ADMINISTER, scope=Scope.ALL),
    "RemoveAlias": Row(ADMINISTER, scope=Scope.ALL),
    "SetModelDefaults": Row(ADMINISTER, scope=Scope.ALL),
    "SetRoute": Row(ADMINISTER, scope=Scope.ALL),
    "RemoveRoute": Row(ADMINISTER, scope=Scope.ALL),
    "ShowRequest": Row(READ, (REQUEST,)),
    "ExplainRequest": Row(READ, (REQUEST,)),
    "GetStatement": Row(READ, (ACCOUNT,)),
    "ListTasks": Row(READ, scope=Scope.REACHED, check=_by_account_if_given),
    "ShowTask": Row(READ, (TASK,)),
    "RetryTask": Row(WRITE, (TASK,)),
    "TailLedger": Row(READ, scope=Scope.ALL),
    "VerifyLedger": Row(READ, scope=Scope.ALL),
}
