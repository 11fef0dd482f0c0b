"""The admin service keeps people to what they may do, even where a page forgot to ask."""

import ast
from pathlib import Path
from typing import Any

import pytest

from console.gateway import CallFailed
from console.people.tables import Person, Role, Standing
from console.services import Services
from console.web.reach import caller_of
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.conftest import add_person
from tests.faults.gateway import Gateway

WORKS = "works"
CONSOLE = Path(__file__).parents[2] / "console"


JOBS = {"payments/cashier.py", "low_balance.py", "credits/proposals.py"}


def test_every_call_is_in_somebodys_name() -> None:
    """A page that called the service by itself would be an operator to it, for whom everything is allowed."""
    found = set()
    for path in CONSOLE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                if name == "Caller":
                    assert len(node.args) == 3, f"{path}: without access and reach it is an operator's"
                if ast.unparse(node.func).endswith(("gateway.call", "gateway.stream")):
                    found.add(str(path.relative_to(CONSOLE)))
    assert found == {"web/reach.py", *JOBS}


@pytest.fixture(scope="module")
def family(gateway: Gateway) -> dict[str, str]:
    """A partner, its customer, and somebody else."""

    def open_account(kind: int, parent_id: str = "") -> str:
        request = admin.OpenAccountRequest(kind=kind, name="x", parent_id=parent_id)  # type: ignore[arg-type]
        return str(gateway.admin("OpenAccount", request).account_id)

    partner = open_account(ledger.PARTNER)
    return {
        "partner": partner,
        "customer": open_account(ledger.PARTNER_CUSTOMER, partner),
        "user": open_account(ledger.USER),
    }


@pytest.mark.parametrize(
    ("standing", "memberships", "reads", "issues_a_key", "sets_limits", "credits"),
    [
        (Standing.CUSTOMER, {}, "not_found", "not_found", "not_found", "permission_denied"),
        (Standing.CUSTOMER, {"user": Role.OWNER}, "not_found", "not_found", "not_found", "permission_denied"),
        (Standing.CUSTOMER, {"customer": Role.OWNER}, WORKS, WORKS, "permission_denied", "permission_denied"),
        (Standing.CUSTOMER, {"customer": Role.MEMBER}, WORKS, WORKS, "permission_denied", "permission_denied"),
        (Standing.CUSTOMER, {"partner": Role.PARTNER}, WORKS, WORKS, WORKS, "permission_denied"),
        (Standing.CUSTOMER, {"partner": Role.MEMBER}, "not_found", "not_found", "not_found", "permission_denied"),
        (
            Standing.SUPPORT,
            {"customer": Role.OWNER},
            WORKS,
            "permission_denied",
            "permission_denied",
            "permission_denied",
        ),
        (Standing.ADMINISTRATOR, {}, WORKS, WORKS, WORKS, WORKS),
    ],
)
def test_the_service_knows_what_a_person_may_do(
    services: Services,
    family: dict[str, str],
    standing: Standing,
    memberships: dict[str, Role],
    reads: str,
    issues_a_key: str,
    sets_limits: str,
    credits: str,
) -> None:
    """One page that forgets whose account is whose would be enough."""
    held = {family[name]: role for name, role in memberships.items()}
    person_id = add_person(services, "eve@example.com", standing, memberships=held)
    with services.store.transaction() as transaction:
        caller = caller_of(transaction.get_one(Person, person_id))

    def outcome(method: str, request: Any) -> str:
        try:
            services.gateway.call(method, request, caller)
        except CallFailed as failure:
            return failure.code
        return WORKS

    account_id = family["customer"]
    limits = admin.SetLimitsRequest(owner_id=account_id, requests_per_day=10)
    credit = admin.CreditAccountRequest(account_id=account_id, amount="1", reference=person_id, reason="outage")
    assert outcome("GetAccount", admin.AccountRef(account_id=account_id)) == reads
    assert outcome("IssueKey", admin.IssueKeyRequest(account_id=account_id, name="k")) == issues_a_key
    assert outcome("SetLimits", limits) == sets_limits
    assert outcome("CreditAccount", credit) == credits
