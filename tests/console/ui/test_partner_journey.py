"""A partner in a real browser: from an empty customer to a limit that holds, and to seeing it hold."""

import re

import pytest
from openai import OpenAI, RateLimitError
from playwright.sync_api import expect

from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.ui.conftest import Visits
from tests.faults.gateway import FIXED_PRICE_MODEL, Gateway, wait_until

WAIT_S = 60.0
CALLS_A_DAY = 2


def test_a_partner_opens_a_customer_and_limits_it(visits: Visits, site: Gateway) -> None:
    visitor = visits.visitor("partner", "en")
    page = visitor.go("/partner")
    page.get_by_role("link", name="Customers and projects").first.click()
    page.fill("#name", "Çınar Yazılım")
    page.fill("#percent", "20")
    page.get_by_role("button", name="Open the account").click()
    expect(page.locator("h1")).to_contain_text("Çınar Yazılım")
    account_url = page.url
    page.fill("#amount", "2.50")
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.locator(".notice")).to_have_text("$2.50 was moved and became ₺100.00.")
    page.goto(account_url)
    expect(page.locator(".figure")).to_have_text("₺100.00")
    page.get_by_role("link", name="API keys").last.click()
    page.fill("#name", "production")
    page.get_by_role("button", name="Issue").click()
    client = OpenAI(base_url=site.base_urls[0], api_key=page.locator("#fresh-key").inner_text(), max_retries=0)
    account_id = account_url.rpartition("/")[2]
    page.goto(f"{visits.url}/limits?account={account_id}")
    page.get_by_role("link", name="Change the limits production").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("link", name="Change the limits production").click()
    dialog.get_by_label("Models").first.fill("sandbox/*")
    dialog.get_by_label("Requests a day").fill(str(CALLS_A_DAY))
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("main")).to_contain_text("sandbox/*")
    _use_up(client)

    def is_seen() -> bool:
        page.goto(f"{visits.url}/partner/usage?of={account_id}&group_by=key")
        return page.locator("tbody tr", has_text="production").locator("td").last.is_visible() and (
            page.locator("tbody tr td:nth-of-type(6)").inner_text() == "1"
        )

    wait_until(is_seen, WAIT_S, "the refused call in Usage Analysis", poll_s=0.5)
    row = page.locator("tbody tr", has_text="production")
    expect(row).to_contain_text("₺0.36")  # two calls at 0.10 TL, 50 % for the house, 20 % for the partner
    expect(page.locator("#chart canvas")).to_be_visible()
    row.get_by_role("link", name="Limits").click()
    limit = dialog.locator("tbody tr", has_text="sandbox/*")
    assert re.findall(r"\d+", limit.inner_text())[:4] == [str(CALLS_A_DAY), str(CALLS_A_DAY), "0", "0"]
    assert not visitor.troubles, visitor.troubles


def _use_up(client: OpenAI) -> None:
    messages = [{"role": "user", "content": "hi"}]
    for _ in range(CALLS_A_DAY):
        client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=messages)  # type: ignore[arg-type]
    with pytest.raises(RateLimitError) as refused:
        client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=messages)  # type: ignore[arg-type]
    assert refused.value.code == "daily_request_limit_exceeded"


def test_the_limits_dialog_is_a_page_where_scripts_are_off(visits: Visits, site: Gateway) -> None:
    """Whoever cannot run scripts could otherwise not limit anybody."""
    partner_id = _partner_of(site)
    request = admin.OpenAccountRequest(kind=ledger.PARTNER_CUSTOMER, parent_id=partner_id, name="No scripts")
    account_id = site.admin("OpenAccount", request).account_id
    page = visits.visitor("partner", "en", scripts=False).go(f"/limits?account={account_id}")
    page.get_by_role("link", name="Change the limits").first.click()
    expect(page.locator("h1")).to_contain_text("No scripts")
    page.fill("#daily_tokens", "5000")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text("Limits in force")
    expect(page.locator("main")).to_contain_text("5,000")


def _partner_of(site: Gateway) -> str:
    """The demo's partner."""
    found = site.admin("ListAccounts", admin.ListAccountsRequest(kind=ledger.PARTNER))
    return str(found.accounts[0].account_id)
