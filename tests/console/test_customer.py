"""A customer's pages on a real gateway: keys that work, limits that hold, usage that adds up, charges explained."""

import csv
import io
import re
from datetime import date
from decimal import Decimal

import pytest
from openai import APIStatusError, OpenAI

from console.analytics import Analytics, AnalyticsAway
from console.pages.home import empty_on
from console.people.tables import Role
from console.services import Services
from console.web.days import today
from tests.console.conftest import Browser, add_person
from tests.faults.gateway import FIXED_PRICE_MODEL, Customer, Gateway, wait_until

MESSAGES = [{"role": "user", "content": "hi"}]
SECRET = re.compile(r"sk-ony-[0-9a-f]{48}")
ANALYTICS_S = 60.0


@pytest.fixture
def customer(gateway: Gateway, services: Services) -> Customer:
    """An account with money, whose owner is ada@example.com."""
    customer = gateway.open_account("10.00")
    add_person(services, "ada@example.com", memberships={customer.account_id: Role.OWNER})
    return customer


@pytest.fixture
def ada(browser: Browser, customer: Customer) -> Browser:
    """Its owner, signed in."""
    browser.sign_in("ada@example.com")
    return browser


def call(gateway: Gateway, api_key: str, model: str = FIXED_PRICE_MODEL) -> str:
    """One call's id."""
    client = OpenAI(base_url=gateway.base_urls[0], api_key=api_key, max_retries=0)
    return client.chat.completions.create(model=model, messages=MESSAGES).id  # type: ignore[arg-type]


def refusal(gateway: Gateway, api_key: str) -> int:
    """The status with which a call is refused."""
    with pytest.raises(APIStatusError) as refused:
        call(gateway, api_key)
    return refused.value.status_code


def test_a_keys_whole_life(ada: Browser, gateway: Gateway) -> None:
    page = ada.post("/keys", name="till", daily_requests="1", models="sandbox/*")
    first = SECRET.search(page)
    assert first
    path = re.search(r'href="(/keys/key_[0-9a-f]{24})\?[^"]*">till<', page)
    assert path
    call(gateway, first[0])
    assert refusal(gateway, first[0]) == 429
    ada.post(f"{path[1]}/change", name="cash desk", daily_requests="", models="sandbox/*")
    call(gateway, first[0])
    second = SECRET.search(ada.post(f"{path[1]}/rotate", grace="1"))
    assert second
    call(gateway, first[0])
    call(gateway, second[0])
    assert "suspended" in ada.post(f"{path[1]}/suspend")
    assert refusal(gateway, second[0]) == 403
    ada.post(f"{path[1]}/resume")
    call(gateway, second[0])
    assert "revoked" in ada.post(f"{path[1]}/revoke")
    assert refusal(gateway, second[0]) == 401
    assert not SECRET.search(ada.get("/keys")), "a secret is shown once"


def test_what_a_key_is_given_must_make_sense(ada: Browser) -> None:
    assert "not an IP address" in ada.post("/keys", 400, name="k", ips="300.1.1.1")
    assert "future" in ada.post("/keys", 400, name="k", expires="2020-01-01")
    assert "whole number" in ada.post("/keys", 400, name="k", daily_tokens="-5")
    assert "a name" in ada.post("/keys", 400, name="")
    assert "No key" not in ada.get("/keys"), "the key that the account was opened with"


def test_usage_adds_up_and_every_charge_is_explained(ada: Browser, customer: Customer, gateway: Gateway) -> None:
    calls = [call(gateway, customer.api_key) for _ in range(3)]

    def rows() -> list[dict[str, str]]:
        found = list(csv.DictReader(io.StringIO(ada.get("/usage.csv?group_by=model"))))
        return found if found and found[0]["calls"] == "3" else []

    row = wait_until(rows, ANALYTICS_S, "usage of three calls")[0]
    story = ada.get(f"/requests/{calls[0]}")
    assert "the same amount" in story
    charged = re.search(r"<strong>₺([\d.]+)</strong>", story)
    assert charged
    assert Decimal(row["charge"]) == 3 * Decimal(charged[1])
    assert f"₺{Decimal(row['charge']).normalize():f}" in ada.get("/home")
    for group in ("day", "model", "key"):
        assert row["charge"].rstrip("0") in ada.get(f"/usage?group_by={group}")
    listed = wait_until(
        lambda: page if all(each in (page := ada.get("/requests")) for each in calls) else "", ANALYTICS_S, "requests"
    )
    assert FIXED_PRICE_MODEL in listed
    assert "No calls here" in ada.get("/requests?failed=1")


def test_somebody_elses_numbers_are_not_found(ada: Browser, gateway: Gateway) -> None:
    other = gateway.open_account("1.00")
    request_id = call(gateway, other.api_key)
    for path in ("/keys", "/usage", "/usage.csv", "/requests", "/limits"):
        ada.get(f"{path}?account={other.account_id}", 404)
    ada.get(f"/keys/{other.key_id}", 404)
    ada.get(f"/requests/{request_id}", 404)
    ada.get("/requests/req_zz", 404)
    ada.post(f"/keys/{other.key_id}/revoke", 404)
    call(gateway, other.api_key)


def test_pages_stand_without_analytics(ada: Browser, services: Services) -> None:
    object.__setattr__(services, "analytics", Analytics(""))
    assert "cannot be read right now" in ada.get("/usage")
    assert "cannot be read right now" in ada.get("/requests")
    assert "Balances are up to date" in ada.get("/home")
    ada.get("/usage.csv", 503)
    with pytest.raises(AnalyticsAway):
        Analytics("http://127.0.0.1:9").usage("acc_" + "0" * 24, "day", today(), today())


@pytest.mark.parametrize(
    ("available", "week", "expected"),
    [("7", "7", date(2026, 1, 8)), ("0", "7", date(2026, 1, 1)), ("7", "0", None), ("100000", "7", None)],
)
def test_how_long_a_balance_lasts(available: str, week: str, expected: date | None) -> None:
    assert empty_on(Decimal(available), Decimal(week), date(2026, 1, 1)) == expected
