"""Every page in a real browser: no serious barrier, small, within a phone's width, quiet, in both languages."""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from openai import OpenAI

from console.pages import ROWS
from console.pages.docs import SLUGS
from console.web.guards import Guard
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.partner.conftest import open_below
from tests.console.ui.conftest import Visitor, Visits
from tests.console.ui.staff import fill
from tests.faults.gateway import Gateway

PAGE_BYTES_MAX = 300_000
SERIOUS = ("serious", "critical")
LOOKS = [pytest.param("tr", False, id="tr-light"), pytest.param("en", True, id="en-dark")]


def _paths(name: str) -> list[str]:
    """Pages without ids that this person may see."""
    guards = {
        "": {Guard.ANYONE},
        "user": {Guard.PERSON},
        "partner": {Guard.PERSON},
        "administrator": {Guard.SUPPORT, Guard.ADMINISTRATOR},
    }[name]
    found = [row.path for row in ROWS if "GET" in row.methods and row.guard in guards and "{" not in row.path]
    if name == "partner":
        found = [path for path in found if path.startswith("/partner")]
    return found + ([f"/docs/{slug}" for slug in SLUGS] if not name else [])


@pytest.fixture(scope="module")
def ids(site: Gateway) -> list[str]:
    """Pages about one thing: a key, a call, a task."""
    document = site.document
    client = OpenAI(base_url=document["base_urls"][0], api_key=document["api_key"], max_retries=2)
    answer = client.chat.completions.create(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    body = {"model": "google/nano-banana", "prompt": "cat"}
    task: dict[str, str] = client.post("/image/generate", body=body, cast_to=object)  # type: ignore[assignment]
    story: dict[str, str] = client.get(f"/requests/{answer.id}", cast_to=object)  # type: ignore[assignment]
    return [f"/requests/{answer.id}", f"/tasks/{task['task_id']}", f"/keys/{story['key_id']}"]


@pytest.fixture(scope="module")
def below(site: Gateway) -> list[str]:
    """Pages about a customer of the demo's partner, with everything on them that there can be."""
    found = site.admin("ListAccounts", admin.ListAccountsRequest(kind=ledger.PARTNER))
    partner_id = found.accounts[0].account_id
    customer = open_below(site, partner_id, ledger.PARTNER_CUSTOMER, "Işık Şarküteri")
    account_id, key_id = customer.account_id, customer.key_id
    move = admin.MoveCreditRequest(from_account_id=partner_id, to_account_id=account_id, amount="1", reference="ui")
    site.admin("MoveCredit", move)
    site.admin("SetMarkup", admin.SetMarkupRequest(account_id=account_id, pattern="google/*", markup_bps=1250))
    site.admin("BlockModel", admin.PatternRef(owner_id=account_id, pattern="xai/*"))
    site.admin("SetLimits", admin.SetLimitsRequest(owner_id=key_id, pattern="openai/*", daily_requests=5))
    client = OpenAI(base_url=site.base_urls[0], api_key=customer.api_key, max_retries=2)
    client.chat.completions.create(model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "hi"}])
    path = f"/accounts/{account_id}"
    queries = [f"?group_by={group}" for group in ("day", "model", "key")] + [f"?of={account_id}&group_by=key"]
    return [
        path,
        f"{path}/limits",
        f"{path}/limits?owner={key_id}&pattern=openai/*",
        f"/limits?account={account_id}",
        f"/statements?account={account_id}",
        "/partner/margins?group_by=month",
        *(f"/partner/usage{query}" for query in queries),
    ]


@pytest.fixture(scope="module")
def staff(site: Gateway) -> list[str]:
    """Pages about one thing for staff."""
    return fill(site)


def _pages(visitor: Visitor, paths: list[str]) -> Iterator[str]:
    """Those of the paths that are pages; files and parts of pages are passed over."""
    for path in paths:
        answer = visitor.page.context.request.get(visitor.url + path, max_redirects=0)
        if answer.status == 200 and answer.body()[:15].decode("utf-8", "replace").lower().startswith("<!doctype html"):
            yield path


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["", "user", "partner", "administrator"])
@pytest.mark.parametrize(("language", "dark"), LOOKS)
def test_nobody_meets_a_serious_barrier(
    visits: Visits, ids: list[str], below: list[str], staff: list[str], name: str, language: str, dark: bool
) -> None:
    visitor = visits.visitor(name, language, dark)
    of_one = {"user": ids, "partner": below, "administrator": staff}.get(name, [])
    axe = Axe()
    found = []
    for path in _pages(visitor, _paths(name) + of_one):
        page = visitor.go(path)
        assert page.locator("html").get_attribute("lang") == language
        for violation in axe.run(page).response["violations"]:
            if violation["impact"] in SERIOUS:
                places = [node["html"][:160] for node in violation["nodes"][:3]]
                found.append((path, violation["id"], places))
    assert not found, found
    assert not visitor.troubles, visitor.troubles


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["", "user", "partner", "administrator"])
def test_pages_fit_a_phone_and_are_small(
    visits: Visits, ids: list[str], below: list[str], staff: list[str], name: str
) -> None:
    visitor = visits.visitor(name, "tr", phone=True)
    of_one = {"user": ids, "partner": below, "administrator": staff}.get(name, [])
    sizes: list[int] = []
    own = visits.url

    def count(response: object) -> None:
        if response.url.startswith(own) and response.status == 200:  # type: ignore[attr-defined]
            sizes.append(len(response.body()))  # type: ignore[attr-defined]

    for path in _pages(visitor, _paths(name) + of_one):
        sizes.clear()
        visitor.page.on("response", count)
        page = visitor.go(path)
        visitor.page.remove_listener("response", count)
        assert sum(sizes) < PAGE_BYTES_MAX, (path, sizes)
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, (path, wide)


@pytest.mark.parametrize(("language", "dark"), LOOKS)
def test_the_limits_dialog_has_no_serious_barrier(visits: Visits, below: list[str], language: str, dark: bool) -> None:
    visitor = visits.visitor("partner", language, dark, phone=True)
    page = visitor.go(next(path for path in below if path.startswith("/limits")))
    link = page.locator("a[data-dialog]").first
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    found = [each for each in Axe().run(page).response["violations"] if each["impact"] in SERIOUS]
    assert not found, found
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= window.innerWidth")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate("document.activeElement.hasAttribute('data-dialog')"), "where one was before"
    assert not visitor.troubles, visitor.troubles


def test_the_keyboard_is_enough(visits: Visits, site: Gateway) -> None:
    """Sign in, skip the menu, open a menu's page: without a mouse."""
    person = site.document["console_people"]["user"]
    page = visits.visitor("", "en").go("/sign-in")
    page.locator("[name=email]").focus()
    page.keyboard.type(person["email"])
    page.keyboard.press("Tab")
    page.keyboard.type(person["password"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/home")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0, "it shows itself when it is reached"  # type: ignore[index]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.locator("nav a", has_text="API keys").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/keys")
