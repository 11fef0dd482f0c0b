"""Every call of the admin service in every role, for real: what may be done, what is refused, what stays hidden."""

import json
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from openai import OpenAI

from cli.client import AdminClient, Caller, CallFailed
from core.admin.roles import ROWS
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.faults.gateway import FIXED_PRICE_MODEL, Customer, Gateway, wait_until

METHODS = {each.name: each for each in admin.DESCRIPTOR.services_by_name["Admin"].methods}
IMAGE_MODEL = "google/imagen4-fast"
WORKS, DENIED, HIDDEN = "+", "-", "0"

ROLES = (
    *("operator", "administrator", "support", "cashier"),
    *("owner", "member", "stranger", "partner", "other_partner", "customer"),
)
"""Whose account the call is about: `owner`, `member` and `stranger` ask about the owner's, all others about the
customer's, who is below a project of `partner`."""

MATRIX = {
    #                 operator administrator support cashier | owner member stranger partner other_partner customer
    "GetStatus": "+++- ------",
    "ListProcesses": "+++- ------",
    "OpenAccount": "++-- --0+00",  # a partner customer below an account
    "ListAccounts": "+++- ++++++",  # of those within reach
    "GetAccount": "+++- ++0+0+",
    "SuspendAccount": "++-- +-0+0+",
    "ResumeAccount": "++-- --0+0-",
    "CreditAccount": "++-+ ------",
    "ReverseCredit": "++-+ ------",
    "MoveCredit": "++-- 000+00",  # from the partner's project to the account
    "GetBalance": "+++- ++0+0+",
    "SetMarkup": "++-- --0+0-",
    "ClearMarkup": "++-- --0+0-",
    "ListMarkups": "+++- ++0+0+",
    "IssueKey": "++-- ++0+0+",
    "ChangeKey": "++-- ++0+0+",
    "RotateKey": "++-- ++0+0+",
    "SuspendKey": "++-- ++0+0+",
    "ResumeKey": "++-- ++0+0+",
    "RevokeKey": "++-- ++0+0+",
    "ListKeys": "+++- ++0+0+",
    "SetLimits": "++-- --0+0-",
    "ClearLimits": "++-- --0+0-",
    "ListLimits": "+++- ++0+0+",
    "BlockModel": "++-- --0+0-",
    "UnblockModel": "++-- --0+0-",
    "SetFxRate": "++-- ------",
    "ConfirmFxRate": "++-- ------",
    "ListFxRates": "+++- ++++++",
    "ListModels": "+++- ------",
    "ListPrices": "+++- ++0+0+",
    "ShowModel": "+++- ------",
    "SyncModels": "+++- ------",
    "ActivateModel": "++-- ------",
    "DeactivateModel": "++-- ------",
    "SetAlias": "++-- ------",
    "RemoveAlias": "++-- ------",
    "SetModelDefaults": "++-- ------",
    "SetRoute": "++-- ------",
    "RemoveRoute": "++-- ------",
    "ShowRequest": "+++- ++0+0+",
    "ExplainRequest": "+++- ++0+0+",
    "GetStatement": "+++- ++0+0+",
    "ListTasks": "+++- ++0+0+",
    "ShowTask": "+++- ++0+0+",
    "RetryTask": "++-- ++0+0+",
    "TailLedger": "+++- ------",
    "VerifyLedger": "+++- ------",
}
KEY_OWNER = {
    "SetLimits": "++-- ++0+0+",
    "ClearLimits": "++-- ++0+0+",
    "ListLimits": "+++- ++0+0+",
    "BlockModel": "++-- ++0+0+",
    "UnblockModel": "++-- ++0+0+",
}
"""The same calls about a key of the account: it is the account's own matter."""


class World:
    """A gateway with the accounts that matter, each with a key, a request and a task of its own."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.client = AdminClient(gateway.admin_addresses, gateway.document["admin_token"])
        self.numbers = count()
        self.owner = gateway.open_account("100.00")
        self.stranger = gateway.open_account("1.00")
        self.partner = self.open(ledger.PARTNER)
        self.project = self.open(ledger.PARTNER_PROJECT, self.partner)
        self.other_partner = self.open(ledger.PARTNER)
        for account_id in (self.partner, self.project):
            gateway.credit(account_id, "100.00", "first")
        below = self.open(ledger.PARTNER_CUSTOMER, self.project)
        gateway.credit(below, "100.00", "first")
        key = gateway.admin("IssueKey", admin.IssueKeyRequest(account_id=below, name="key"))
        self.customer = Customer(below, key.key_id, key.api_key)
        self.requests = {each.account_id: self._chat(each) for each in (self.owner, self.customer)}
        self.tasks = {each.account_id: self._image(each) for each in (self.owner, self.customer)}

    def open(self, kind: int, parent_id: str = "") -> str:
        request = admin.OpenAccountRequest(kind=kind, name="x", parent_id=parent_id)  # type: ignore[arg-type]
        return str(self.gateway.admin("OpenAccount", request).account_id)

    def _chat(self, customer: Customer) -> str:
        client = OpenAI(base_url=self.gateway.base_urls[0], api_key=customer.api_key, max_retries=0)
        answer = client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=[{"role": "user", "content": "hi"}])
        return answer.id

    def _image(self, customer: Customer) -> str:
        body = json.dumps({"model": IMAGE_MODEL, "prompt": "a"}).encode()
        headers = {"authorization": f"Bearer {customer.api_key}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.gateway.base_urls[0]}/image/generate", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            task_id = str(json.load(answer)["task_id"])

        tasks = admin.ListTasksRequest(account_id=customer.account_id)
        wait_until(lambda: self.gateway.admin("ListTasks", tasks).tasks, 30, "the task")
        return task_id

    def caller(self, role: str, actor: str) -> Caller:
        """As the console would call in this role."""
        own = {"owner": self.owner, "stranger": self.stranger, "customer": self.customer}
        if role == "member":
            return Caller(actor, "write", f"{self.owner.account_id}/keys")
        if role in own:
            return Caller(actor, "write", own[role].account_id)
        return {
            "operator": Caller(actor),
            "administrator": Caller(actor, "administer", "*"),
            "support": Caller(actor, "read", "*"),
            "cashier": Caller(actor, "credit", "*"),
            "partner": Caller(actor, "write", f"{self.stranger.account_id},{self.partner}/*"),
            "other_partner": Caller(actor, "write", f"{self.other_partner}/*"),
        }[role]

    def outcome(self, method: str, request: Any, caller: Caller) -> tuple[str, str]:
        """`+`, `-` or `0`, and the message."""
        try:
            if METHODS[method].server_streaming:
                list(self.client.stream(method, request, caller))
            else:
                self.client.call(method, request, caller)
        except CallFailed as failure:
            if method == "ConfirmFxRate" and failure.message == "no rate waits to be confirmed":
                return WORKS, ""
            return {"permission_denied": DENIED, "not_found": HIDDEN}.get(failure.code, failure.code), failure.message
        return WORKS, ""

    def actors(self) -> set[str]:
        """Everybody whose name stands in the ledger."""
        return {entry.event.actor for entry in self.entries()}

    def entries(self) -> Iterator[admin.LedgerEntry]:
        yield from self.client.stream("TailLedger", admin.TailLedgerRequest(from_position=1, limit=100_000))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    gateway = Gateway(tmp_path_factory.mktemp("roles") / "data", edges=1, cores=1)
    try:
        gateway.start()
        world = World(gateway)
        yield world
        world.client.close()
    finally:
        code = gateway.stop()
    assert code == 0, gateway.screen_tail()


def _requests(world: World, about: Customer) -> dict[str, Callable[[], Any]]:
    """For each call a request that an operator's call succeeds with, however often."""
    account_id = about.account_id
    name = f"n{next(world.numbers)}"
    account = admin.AccountRef(account_id=account_id)
    owner = admin.PatternRef(owner_id=account_id)
    model = admin.ModelRef(model_id=FIXED_PRICE_MODEL)
    alias = admin.Alias(alias=name, model_id=FIXED_PRICE_MODEL)
    route = {"model_id": FIXED_PRICE_MODEL, "provider": "openrouter", "upstream_id": name}
    operator = world.gateway.admin

    def key() -> admin.KeyRef:
        return admin.KeyRef(key_id=operator("IssueKey", admin.IssueKeyRequest(account_id=account_id, name="k")).key_id)

    def unmarked() -> admin.ClearMarkupRequest:
        operator("SetMarkup", admin.SetMarkupRequest(account_id=account_id, pattern="x/*", markup_bps=1))
        return admin.ClearMarkupRequest(account_id=account_id, pattern="x/*")

    def aliased() -> admin.Alias:
        operator("SetAlias", alias)
        return admin.Alias(alias=name)

    def routed() -> admin.RemoveRouteRequest:
        operator("SetRoute", admin.SetRouteRequest(**route))
        return admin.RemoveRouteRequest(**route)

    money = {"account_id": account_id, "amount": "0.10", "reference": name}
    return {
        "GetStatus": admin.GetStatusRequest,
        "ListProcesses": admin.ListProcessesRequest,
        "OpenAccount": lambda: admin.OpenAccountRequest(
            kind=ledger.PARTNER_CUSTOMER,
            name="x",
            markup_bps=7,
            parent_id=world.project if about is world.customer else account_id,
        ),
        "ListAccounts": admin.ListAccountsRequest,
        "CreditAccount": lambda: admin.CreditAccountRequest(**money, reason="outage"),
        "ReverseCredit": lambda: admin.ReverseCreditRequest(**money),
        "MoveCredit": lambda: admin.MoveCreditRequest(
            from_account_id=world.project, to_account_id=account_id, amount="0.01", reference=name
        ),
        "SetMarkup": lambda: admin.SetMarkupRequest(account_id=account_id, markup_bps=100 + next(world.numbers)),
        "ClearMarkup": unmarked,
        "IssueKey": lambda: admin.IssueKeyRequest(account_id=account_id, name="k"),
        "ChangeKey": lambda: admin.ChangeKeyRequest(key_id=key().key_id, allowed_models=admin.Patterns(patterns=["a"])),
        "RotateKey": lambda: admin.RotateKeyRequest(key_id=key().key_id),
        **dict.fromkeys(("SuspendKey", "ResumeKey", "RevokeKey"), key),
        "SetLimits": lambda: admin.SetLimitsRequest(owner_id=account_id, requests_per_day=10_000),
        "ListLimits": lambda: admin.OwnerRef(owner_id=account_id),
        **dict.fromkeys(("ClearLimits", "BlockModel", "UnblockModel"), lambda: owner),
        "SetFxRate": lambda: admin.SetFxRateRequest(base=ledger.USD, rate="40"),
        "ConfirmFxRate": lambda: admin.ConfirmFxRateRequest(base=ledger.USD),
        "ListFxRates": admin.ListFxRatesRequest,
        "ListModels": admin.ListModelsRequest,
        **dict.fromkeys(("ShowModel", "ActivateModel", "DeactivateModel"), lambda: model),
        "SyncModels": admin.SyncModelsRequest,
        "SetAlias": lambda: alias,
        "RemoveAlias": aliased,
        "SetModelDefaults": lambda: admin.SetModelDefaultsRequest(model_id=FIXED_PRICE_MODEL, defaults_json=b"{}"),
        "SetRoute": lambda: admin.SetRouteRequest(**route, order=9),
        "RemoveRoute": routed,
        **dict.fromkeys(
            ("ShowRequest", "ExplainRequest"), lambda: admin.RequestRef(request_id=world.requests[account_id])
        ),
        "GetStatement": lambda: admin.GetStatementRequest(account_id=account_id, month="2026-01"),
        "ListTasks": lambda: admin.ListTasksRequest(account_id=account_id),
        **dict.fromkeys(("ShowTask", "RetryTask"), lambda: admin.TaskRef(task_id=world.tasks[account_id])),
        "TailLedger": lambda: admin.TailLedgerRequest(limit=1),
        "VerifyLedger": admin.VerifyLedgerRequest,
        **dict.fromkeys(
            ("GetAccount", "SuspendAccount", "ResumeAccount", "GetBalance", "ListMarkups", "ListKeys", "ListPrices"),
            lambda: account,
        ),
    }


def _unknown(request: Any) -> Any:
    """The same request about what does not exist."""
    other = type(request)()
    other.CopyFrom(request)
    for field, value in request.ListFields():
        prefix = field.name in {"account_id", "parent_id", "from_account_id", "to_account_id", "owner_id", "key_id"}
        if prefix or field.name in {"request_id", "task_id"}:
            setattr(other, field.name, value.partition("_")[0] + "_" + "0" * 24)
    return other


def _expected(table: dict[str, str]) -> list[tuple[str, str, str]]:
    cells = {method: row.replace(" ", "") for method, row in table.items()}
    return [(method, role, cells[method][ROLES.index(role)]) for method in table for role in ROLES]


def test_no_call_is_without_a_row() -> None:
    """A new call would be open to whoever finds it, or to nobody."""
    assert set(ROWS) == set(METHODS)
    assert set(MATRIX) == set(METHODS), "say here who may make the new call"


def _check(world: World, expected: Sequence[tuple[str, str, str]], owner_is_key: bool) -> None:
    refused, wrong = set(), []
    for method, role, cell in expected:
        about = world.owner if role in ("owner", "member", "stranger") else world.customer
        request = _requests(world, about)[method]()
        if owner_is_key:
            request.owner_id = about.key_id
        caller = world.caller(role, f"{role}:{method}:{owner_is_key}")
        found, message = world.outcome(method, request, caller)
        if found != cell:
            wrong.append((method, role, found, message))
        elif found == HIDDEN:
            unknown = _unknown(request)
            _, other = world.outcome(method, unknown, caller)
            assert other, (method, role)
            texts = [str(value) for _, value in request.ListFields()]
            assert any(message.endswith(text) for text in texts), message
            assert message.rpartition(" ")[0] == other.rpartition(" ")[0], (method, role)
        if found != WORKS:
            refused.add(caller.actor)
        world.gateway.admin("ResumeAccount", admin.AccountRef(account_id=about.account_id))
    assert not wrong
    left = refused & world.actors()
    assert not left, f"refused, and in the ledger all the same: {left}"


def test_every_call_in_every_role(world: World) -> None:
    """A mistake in one page of the console would be enough to touch somebody else's money."""
    _check(world, _expected(MATRIX), owner_is_key=False)
    assert "partner:SetMarkup:False" in world.actors(), "nothing proves that the roles act at all"


def test_a_keys_limits_are_its_accounts_own_matter(world: World) -> None:
    """A customer could not bound a key that is given to a colleague."""
    _check(world, _expected(KEY_OWNER), owner_is_key=True)
