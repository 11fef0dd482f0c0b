"""Accounts as the house sees them: found, opened, with their people; support looks and changes nothing."""

import re
from pathlib import Path

import pytest

from console.people.tables import Act, Membership, Person, Role
from console.services import Services
from console.web.paging import ROWS_A_PAGE
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.admin.conftest import rows_of
from tests.console.conftest import Browser, add_person
from tests.console.partner.conftest import Family, open_family
from tests.faults.gateway import Gateway, wait_until


@pytest.fixture
def family(gateway: Gateway) -> Family:
    """A partner with a customer and a project."""
    return open_family(gateway)


def _roles(services: Services, account_id: str) -> dict[str, str]:
    with services.store.transaction() as transaction:
        found = transaction.query(Person.email, Membership.role).join(Membership).filter_by(account_id=account_id)
        return {email: str(role) for email, role in found.all()}


def _acts(services: Services, subject: str) -> list[str]:
    with services.store.transaction() as transaction:
        return [each.what for each in transaction.query(Act).filter_by(subject=subject).order_by(Act.at)]


def test_an_account_is_found_by_name_id_kind_state_and_parent(sue: Browser, gateway: Gateway, family: Family) -> None:
    """Support would not find the account that somebody calls about."""
    shop, partner = family.customer.account_id, family.partner_id

    def found() -> str:
        (row,) = rows_of(sue.get(f"/admin/accounts?search={shop}"))
        return row

    wait_until(lambda: "Işık Şarküteri" in found() and "Reseller" in found(), 20, "names to arrive")
    row = found()
    for text in ("Işık Şarküteri", "partner's customer", "active", "₺0.00", "TRY", "Reseller", shop):
        assert text in row
    below = f"/admin/accounts?parent={partner}"
    assert len(rows_of(sue.get(below))) == 2
    assert shop in sue.get(f"{below}&search=isik")
    assert shop not in sue.get(f"{below}&kind=partner-project")
    gateway.admin("SuspendAccount", admin.AccountRef(account_id=shop))
    assert len(rows_of(sue.get(f"{below}&state=suspended"))) == 1
    assert shop in sue.get(f"{below}&state=suspended")
    assert shop not in sue.get(f"{below}&state=active")
    assert "No account here." in sue.get("/admin/accounts?search=nobody-is-called-so")


def test_a_long_list_is_shown_by_fifty(sue: Browser, gateway: Gateway) -> None:
    parent = gateway.admin("OpenAccount", admin.OpenAccountRequest(kind=ledger.ORGANISATION, name="many")).account_id
    for number in range(ROWS_A_PAGE + 1):
        request = admin.OpenAccountRequest(kind=ledger.PROJECT, name=f"many {number}", parent_id=parent)
        gateway.admin("OpenAccount", request)
    page = sue.get(f"/admin/accounts?parent={parent}&kind=project")
    assert len(rows_of(page)) == ROWS_A_PAGE
    link = re.search(r'href="(/admin/accounts\?[^"]*after=[^"]*)"', page)
    assert link
    assert len(rows_of(sue.get(link[1].replace("&amp;", "&")))) == 1


@pytest.mark.parametrize(
    ("kind", "parent", "role"),
    [
        ("user", "", "owner"),
        ("organisation", "", "owner"),
        ("project", "", "owner"),
        ("partner", "", "partner"),
        ("partner-project", "partner", "owner"),
        ("partner-customer", "partner", "owner"),
    ],
)
def test_an_account_of_any_kind_is_opened_with_its_owner_invited(
    root: Browser, services: Services, gateway: Gateway, family: Family, kind: str, parent: str, role: str
) -> None:
    parent_id = family.partner_id if parent else ""
    form = {"kind": kind, "name": "Yeni Hesap", "parent_id": parent_id, "email": "new@example.com"}
    page = root.post("/admin/accounts", **form)
    account_id = re.search(r"<dd><code>(acc_\w+)</code>", page)
    assert account_id
    opened = gateway.admin("GetAccount", admin.AccountRef(account_id=account_id[1]))
    assert (opened.name, opened.parent_id) == ("Yeni Hesap", parent_id)
    assert ledger.AccountKind.Name(opened.kind).lower().replace("_", "-") == kind
    add_person(services, "new@example.com")
    invited = Browser(services)
    invited.sign_in("new@example.com")
    assert "You are invited" in invited.follow_link()
    token = re.search(r"/invitations/(\S+)", invited.last_mail())
    assert token
    invited.post(f"/invitations/{token[1]}")
    assert _roles(services, account_id[1]) == {"new@example.com": role}


def test_an_account_is_not_opened_twice_because_a_message_failed(
    root: Browser, services: Services, tmp_path: Path
) -> None:
    """Whoever saw an error page would open it again."""
    (tmp_path / "mail").rmdir()
    page = root.post("/admin/accounts", kind="user", name="alone", email="new@example.com")
    assert "The account was opened, but nobody was invited." in page
    assert re.search(r"<dd><code>acc_\w+</code>", page)


def test_people_of_an_account_are_added_changed_and_removed(root: Browser, services: Services, family: Family) -> None:
    account_id = family.customer.account_id
    here = f"/admin/accounts/{account_id}"
    ada, bob = add_person(services, "ada@example.com"), add_person(services, "bob@example.com")
    page = root.post(f"{here}/members", email="Ada@example.com", role="owner")
    assert "ada@example.com" in page
    root.post(f"{here}/members", email="bob@example.com", role="member")
    assert "a member already" in root.post(f"{here}/members", 400, email="bob@example.com", role="member")
    assert "invite them instead" in root.post(f"{here}/members", 400, email="eve@example.com", role="member")
    root.post(f"{here}/members", 400, email="eve@example.com", role="partner")
    account = {"account": account_id, "back": here}
    page = root.post(f"/members/role?account={account_id}", person_id=bob, role="owner", **account)
    assert "Charged in all" in page, "the form leads back to the administrator's page"
    root.post(f"/members/remove?account={account_id}", person_id=ada, **account)
    root.post(f"/members/invite?account={account_id}", email="cem@example.com", role="member", **account)
    assert _roles(services, account_id) == {"bob@example.com": Role.OWNER}
    assert "cem@example.com" in root.get(here)
    assert _acts(services, account_id) == [
        "member.added",
        "member.added",
        "member.role",
        "member.removed",
        "member.invited",
    ]


def test_support_sees_an_account_and_finds_no_form(sue: Browser, services: Services, family: Family) -> None:
    account_id = family.customer.account_id
    add_person(services, "shop@example.com", memberships={account_id: Role.OWNER})
    page = sue.get(f"/admin/accounts/{account_id}")
    assert "shop@example.com" in page
    for link in (f"/keys?account={account_id}", f"/usage?account={account_id}", f"/accounts/{account_id}"):
        assert f'href="{link}"' in page
        sue.get(link)
    main = page.partition("<main")[2]
    assert "<form" not in main
    sue.post(f"/admin/accounts/{account_id}/members", 404, email="sue@example.com", role="owner")
    sue.post("/admin/accounts", 404, kind="user", name="mine")
    sue.get("/admin/accounts/acc_nothing", 404)
    assert _roles(services, account_id) == {"shop@example.com": Role.OWNER}


@pytest.mark.parametrize("path", ["payments", "invoices", "billing"])
def test_support_sees_payments_and_pays_nothing(sue: Browser, gateway: Gateway, path: str) -> None:
    """It must answer what became of a payment; it must not begin one."""
    account_id = gateway.open_account("1.00").account_id
    page = sue.get(f"/{path}?account={account_id}")
    assert "/top-up" not in page.partition("<main")[2]
    assert "<button" not in page.partition("<main")[2]
    sue.get(f"/top-up?account={account_id}", 404)
    sue.post(f"/top-up?account={account_id}", 404, amount="100")
    sue.post(f"/billing?account={account_id}", 404, name="x")
