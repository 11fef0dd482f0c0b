"""Signing up and in: nobody gets in without proof, and nobody learns who has an account."""

import re
import time
from types import SimpleNamespace

import pyotp
import pytest
from openai import APIStatusError, OpenAI
from sqlalchemy import inspect

from console.identity import throttle
from console.identity.throttle import FAILURES_MAX
from console.people.tables import Standing, Table
from console.services import Services
from tests.console.conftest import PASSWORD, TOTP_SECRET, Browser, add_person
from tests.faults.gateway import Gateway


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Everything here must hold on both stores."""
    if request.param == "sqlite":
        return ""
    uri: str = request.getfixturevalue("postgres")
    return uri


@pytest.fixture(autouse=True)
def _empty(services: Services) -> None:
    with services.store.transaction() as transaction:
        for table in reversed(Table.metadata.sorted_tables):
            transaction.execute(table.delete())


def test_a_new_customer_signs_up_verifies_signs_in_and_gets_a_key(browser: Browser, gateway: Gateway) -> None:
    browser.post("/sign-up", name="Ada", email="Ada@example.com", password=PASSWORD)
    assert "wrong, or the address is not verified" in browser.post(
        "/sign-in", 400, email="ada@example.com", password=PASSWORD
    )
    assert "verified" in browser.follow_link()
    assert "₺0.00" in browser.sign_in("ada@example.com")
    page = browser.post("/keys", name="laptop")
    key = re.search(r"sk-ony-[0-9a-f]{48}", page)
    assert key
    assert key[0] not in browser.get("/keys")
    client = OpenAI(base_url=gateway.base_urls[0], api_key=key[0], max_retries=0)
    with pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(model="sandbox/fixed-price", messages=[{"role": "user", "content": "hi"}])
    assert refused.value.status_code == 402


def test_an_address_that_is_known_is_not_told(browser: Browser, services: Services) -> None:
    add_person(services, "ada@example.com")
    known = browser.post("/sign-up", name="Eve", email="ada@example.com", password=PASSWORD)
    unknown = browser.post("/sign-up", name="Eve", email="eve@example.com", password=PASSWORD)
    assert known.replace("ada@", "eve@") == unknown
    wrong = browser.post("/sign-in", 400, email="ada@example.com", password="wrong password")
    nobody = browser.post("/sign-in", 400, email="bob@example.com", password="wrong password")
    assert wrong.replace("ada@", "bob@") == nobody


def test_a_password_is_guessed_a_few_times_only(
    browser: Browser, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = time.time()
    monkeypatch.setattr(throttle, "time", SimpleNamespace(time=lambda: moment))  # all in one window
    add_person(services, "ada@example.com")
    for _ in range(FAILURES_MAX["email"]):
        browser.post("/sign-in", 400, email="ada@example.com", password="wrong password")
    browser.post("/sign-in", 429, email="ada@example.com", password=PASSWORD)


def test_staff_needs_a_second_factor_and_a_code_counts_once(browser: Browser, services: Services) -> None:
    add_person(services, "root@example.com", Standing.ADMINISTRATOR)
    browser.post("/sign-in", email="root@example.com", password=PASSWORD)
    assert 'action="/second-factor"' in browser.get("/sign-ins")
    code = pyotp.TOTP(TOTP_SECRET).now()
    assert "Health" in browser.post("/second-factor", code=code)
    other = Browser(services)
    other.post("/sign-in", email="root@example.com", password=PASSWORD)
    assert "used before" in other.post("/second-factor", 400, code=code)


def test_a_reset_ends_every_session_and_a_link_works_once(browser: Browser, services: Services) -> None:
    add_person(services, "ada@example.com")
    thief = Browser(services)
    thief.sign_in("ada@example.com")
    browser.post("/forgot", email="ada@example.com")
    browser.follow_link()
    link = re.search(r"http://testserver(/reset/\S+)", browser.last_mail())
    assert link
    browser.post(link[1], password="another good password")
    assert 'action="/sign-in"' in thief.get("/sign-ins")
    browser.post(link[1], 410, password="a third good password")
    assert "Overview" in browser.sign_in("ada@example.com", "another good password")


def test_a_form_of_another_site_is_refused(browser: Browser, services: Services) -> None:
    add_person(services, "ada@example.com")
    foreign = browser.http.post(
        "/sign-in", data={"email": "ada@example.com", "password": PASSWORD}, headers={"origin": "https://evil.example"}
    )
    assert foreign.status_code == 403
    browser.sign_in("ada@example.com")
    assert browser.http.post("/keys", data={"name": "k"}).status_code == 403


def test_every_response_carries_the_security_headers(browser: Browser) -> None:
    for path in ("/sign-in", "/nowhere", "/static/console.css"):
        headers = browser.http.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_migrations_make_the_tables_of_the_models(services: Services) -> None:
    """A column that only the models know would break the first statement in production."""
    found = inspect(services.store.engine)
    for name, table in Table.metadata.tables.items():
        assert {column["name"] for column in found.get_columns(name)} == {column.name for column in table.columns}
