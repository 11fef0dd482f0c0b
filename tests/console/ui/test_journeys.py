"""What people come for, in a real browser: from signing up to seeing what a call cost; trying a model out; and as a
partner from opening a customer to seeing its limit hold."""

import re
from email import message_from_bytes
from pathlib import Path

import pytest
from openai import NotFoundError, OpenAI, RateLimitError
from playwright.sync_api import Page, expect

from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.ui.conftest import Visits
from tests.faults.gateway import FIXED_PRICE_MODEL, Gateway, wait_until

PASSWORD = "correct horse battery"
WAIT_S = 60.0
BUYER = {
    "name": "Deniz Deneme",
    "email": "deniz@example.com",
    "phone": "0216 555 11 22",
    "address": "Bağdat Cad. 1",
    "district": "Kadıköy",
    "city": "İstanbul",
}
WAIT_MS = 60_000
CALLS_A_DAY = 2


def _link(site: Gateway, recipient: str) -> str:
    """The path of the link in the newest message to somebody."""

    def found() -> str:
        for path in sorted((site.data / "console" / "mail").glob("*.eml"), reverse=True):
            if link := _link_in(path, recipient):
                return link
        return ""

    return str(wait_until(found, WAIT_S, f"a message to {recipient}"))


def _link_in(path: Path, recipient: str) -> str:
    message = message_from_bytes(path.read_bytes())
    text = message.get_payload(decode=True)
    if message["To"] != recipient or not isinstance(text, bytes):
        return ""
    link = re.search(r"http://[^/\s]+(/\S+)", text.decode())
    return link[1] if link else ""


def test_from_signing_up_to_seeing_what_a_call_cost(visits: Visits, site: Gateway) -> None:
    visitor = visits.visitor("", "en")
    page = visitor.go("/sign-up")
    page.fill("[name=name]", "Deniz")
    page.fill("[name=email]", "deniz@example.com")
    page.fill("[name=password]", PASSWORD)
    page.click("main button")
    visitor.go(_link(site, "deniz@example.com"))
    page.goto(f"{visits.url}/sign-in")
    page.fill("[name=email]", "deniz@example.com")
    page.fill("[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_url("**/home")
    _top_up(page, visits.url)
    page.goto(f"{visits.url}/keys")
    page.fill("[name=name]", "laptop")
    page.get_by_role("button", name="Issue").click()
    key = page.locator("#fresh-key").inner_text()
    client = OpenAI(base_url=site.base_urls[0], api_key=key, max_retries=2)
    answer = client.chat.completions.create(model="sandbox/fixed-price", messages=[{"role": "user", "content": "hi"}])

    def is_listed() -> bool:
        page.goto(f"{visits.url}/requests")
        return page.locator(f"a[href*='{answer.id}']").count() == 1

    wait_until(is_listed, WAIT_S, "the call in the list", poll_s=0.5)
    page.locator(f"a[href*='{answer.id}']").click()
    expect(page.get_by_text("the same amount")).to_be_visible()
    page.goto(f"{visits.url}/usage")
    expect(page.locator("#chart canvas")).to_be_visible()
    expect(page.locator("tfoot")).to_contain_text("₺0.15")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "0.15" in Path(download.value.path()).read_text()

    def is_invoiced() -> bool:
        page.goto(f"{visits.url}/payments")
        return page.get_by_role("link", name="PDF").count() == 1

    wait_until(is_invoiced, WAIT_S, "the invoice", poll_s=0.5)
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
    assert not visitor.troubles, visitor.troubles


def _top_up(page: Page, url: str) -> None:
    """A hundred lira with the sandbox's good card, on the payment provider's own page."""
    page.goto(f"{url}/top-up")
    for name, value in BUYER.items():
        page.fill(f"[name={name}]", value)
    page.locator("main form button").first.click()
    page.fill("[name=amount]", "100")
    expect(page.locator("#price-of")).to_contain_text("120")
    page.get_by_role("button", name="Continue").click()
    page.click("#pay")
    page.get_by_role("button", name="Pay").click()
    page.wait_for_url("**/payments/*")
    expect(page.get_by_text("in your balance")).to_be_visible(timeout=WAIT_MS)
    page.goto(f"{url}/home")
    expect(page.locator(".figure").first).to_have_text("₺100.00")


def test_the_playground_streams_a_chat_and_makes_an_image(visits: Visits, site: Gateway) -> None:
    visitor = visits.visitor("user", "en")
    page = visitor.go("/playground")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(f"{request.url} {request.headers} {request.post_data}"))
    page.fill("#api-key", site.document["api_key"])
    page.click("#load")
    expect(page.locator("#status")).to_have_text("Done", timeout=WAIT_MS)
    page.click("#chat button")
    expect(page.locator("#chat-cost")).to_contain_text("₺", timeout=WAIT_MS)
    assert page.locator("#answer").inner_text().strip()
    page.click("#image button")
    expect(page.locator("#pictures img")).to_be_visible(timeout=WAIT_MS)
    width = "document.querySelector('#pictures img').naturalWidth"
    wait_until(lambda: page.evaluate(width) > 0, WAIT_S, "the picture")
    own = [each for each in requests if each.startswith(visits.url)]
    assert not [each for each in own if site.document["api_key"] in each], "the key goes to the API only"
    page.click("#forget")
    assert site.document["api_key"] not in page.evaluate("JSON.stringify(sessionStorage)")
    assert not visitor.troubles, visitor.troubles


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


def test_an_administrator_approves_a_new_model_and_an_sdk_calls_it(visits: Visits, site: Gateway) -> None:
    """Signed in with password and TOTP (`Visits._sign_in`)."""
    model = "acme/from-the-list-1"
    site.control(models={model: {"context_length": 8000, "pricing": {"prompt": "0.000001", "completion": "0.000002"}}})
    visitor = visits.visitor("administrator", "tr")
    page = visitor.go("/admin/sync")
    expect(page.locator("main")).to_contain_text(model)
    expect(page.get_by_role("button", name="deftere yaz")).to_have_count(0)
    page.check("#approve-new")
    page.get_by_role("button", name="Farkı göster").click()
    page.get_by_role("button", name="deftere yaz").click()
    expect(page.get_by_role("status")).to_contain_text("değişiklik deftere yazıldı")
    client = OpenAI(base_url=site.base_urls[0], api_key=site.document["api_key"], max_retries=2)

    def answer() -> str:
        try:
            called = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
        except NotFoundError:
            return ""
        return str(called.model)

    assert wait_until(answer, WAIT_S, "an answer of the new model", poll_s=0.3) == model

    def is_told() -> bool:
        return model in visitor.go("/admin/acts?kind=model_set").locator("tbody").inner_text()

    wait_until(is_told, WAIT_S, "the act in the audit", poll_s=0.5)
    page.goto(f"{visits.url}/admin/catalogue/model?id={model}")
    expect(page.locator("main")).to_contain_text("0.000001")
    assert not visitor.troubles, visitor.troubles
