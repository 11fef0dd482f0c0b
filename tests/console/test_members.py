"""People of an account: invited, changed, removed; and a person's data taken along and erased."""

import io
import re
import zipfile

import orjson
import pytest

from console.people.tables import Person, Role, Table
from console.services import Services
from proto.onysoft.v1 import admin_pb2 as admin
from tests.console.conftest import PASSWORD, Browser, add_person
from tests.faults.gateway import Customer, Gateway


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Everything here must hold on both stores."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture(autouse=True)
def _empty(services: Services) -> None:
    with services.store.transaction() as transaction:
        for table in reversed(Table.metadata.sorted_tables):
            transaction.execute(table.delete())


@pytest.fixture
def customer(gateway: Gateway, services: Services) -> Customer:
    """An account whose owner is ada@example.com."""
    customer = gateway.open_account("3.00")
    add_person(services, "ada@example.com", memberships={customer.account_id: Role.OWNER})
    return customer


def _link(browser: Browser) -> str:
    found = re.search(r"http://testserver(/invitations/\S+)", browser.last_mail())
    assert found
    return found[1]


def test_an_invitation_is_good_once_for_its_address(browser: Browser, services: Services, customer: Customer) -> None:
    browser.sign_in("ada@example.com")
    browser.post("/members/invite", email="Bob@example.com", role="member")
    link = _link(browser)
    bob_id = add_person(services, "bob@example.com")
    add_person(services, "eve@example.com")
    eve = Browser(services)
    assert "Sign in, or sign up" in eve.get(link)
    eve.sign_in("eve@example.com")
    eve.get(link, 404)
    eve.post(link, 404)
    bob = Browser(services)
    bob.sign_in("bob@example.com")
    assert customer.account_id in bob.get(link)
    bob.post(link)
    assert customer.key_id in bob.get(f"/keys?account={customer.account_id}")
    bob.post(link, 404)
    bob.post(f"/members/invite?account={customer.account_id}", 404, email="eve@example.com", role="member")
    browser.post("/members/remove", person_id=bob_id)
    bob.get(f"/keys?account={customer.account_id}", 404)


def test_a_withdrawn_invitation_is_no_good(browser: Browser, services: Services, customer: Customer) -> None:
    browser.sign_in("ada@example.com")
    page = browser.post("/members/invite", email="bob@example.com", role="owner")
    named = re.search(r'name="invitation_id" value="([0-9a-f]+)"', page)
    assert named
    browser.post("/members/withdraw", invitation_id=named[1])
    add_person(services, "bob@example.com")
    bob = Browser(services)
    bob.sign_in("bob@example.com")
    bob.get(_link(browser), 404)


def test_an_account_keeps_an_owner(browser: Browser, services: Services, customer: Customer) -> None:
    with services.store.transaction() as transaction:
        ada_id = transaction.query(Person.id).filter_by(email="ada@example.com").scalar()
    browser.sign_in("ada@example.com")
    assert "Somebody must look after" in browser.post("/members/remove", 400, person_id=ada_id)
    assert "Somebody must look after" in browser.post("/members/role", 400, person_id=ada_id, role="member")
    assert "Ada" in browser.get("/members") or "ada" in browser.get("/members")


def test_what_is_kept_can_be_taken_along(browser: Browser, services: Services, customer: Customer) -> None:
    browser.sign_in("ada@example.com")
    archive = zipfile.ZipFile(io.BytesIO(browser.http.get("/privacy/data.zip").content))
    people = orjson.loads(archive.read("people.json"))
    assert people["person"][0]["email"] == "ada@example.com"
    assert people["session"]
    assert people["membership"][0]["account_id"] == customer.account_id
    assert orjson.loads(archive.read("accounts.json"))[0]["keys"][0]["key_id"] == customer.key_id
    whole = archive.read("people.json").decode()
    assert not re.search(r"hash|secret|csrf", whole), "a secret would let a reader of the file in"


def test_erasure_leaves_an_id_and_closes_the_account(
    browser: Browser, services: Services, customer: Customer, gateway: Gateway
) -> None:
    browser.sign_in("ada@example.com")
    assert "wrong" in browser.post("/privacy/erase", 400, password="not it", sure="1")
    assert "confirm" in browser.post("/privacy/erase", 400, password=PASSWORD)
    assert "erased" in browser.post("/privacy/erase", password=PASSWORD, sure="1")
    assert 'action="/sign-in"' in browser.get("/home")
    browser.post("/sign-in", 400, email="ada@example.com", password=PASSWORD)
    with services.store.transaction() as transaction:
        person = transaction.query(Person).one()
        assert (person.name, person.memberships) == ("", [])
        assert "ada" not in person.email
    account = gateway.admin("GetAccount", admin.AccountRef(account_id=customer.account_id))
    assert account.suspended
    keys = gateway.admin("ListKeys", admin.AccountRef(account_id=customer.account_id)).keys
    assert {(key.state, key.name) for key in keys} == {("revoked", "erased")}
    add_person(services, "ada@example.com")  # the address is free again


def test_the_models_page_finds_and_prices(browser: Browser, services: Services, customer: Customer) -> None:
    browser.sign_in("ada@example.com")
    page = browser.get("/models?search=gpt-4o-mini&kind=chat")
    assert "openai/gpt-4o-mini" in page
    assert "anthropic" not in page.split("<tbody>")[1]
    assert "₺6.00" in page  # 0.15 USD a million at 40 TL, without a markup
    assert "No such model" in browser.get("/models?search=nothing-like-it")
    assert "data-api" in browser.get("/playground")
