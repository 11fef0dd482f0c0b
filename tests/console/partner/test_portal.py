"""The partner portal on a real gateway: what a partner sees and decides is in the ledger, once, and nobody else's."""

import csv
import io
import re
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore

import pytest

from console.analytics import Analytics
from console.pages import statements
from console.people.invitations import waiting
from console.people.tables import Role, Standing
from console.services import Services
from console.web.days import today
from projections.proof.publishing import FILE, read_published
from projections.proof.statement_csv import check
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.conftest import Browser, add_person
from tests.console.partner.conftest import PARTNER_CREDIT, Family, open_below, open_family
from tests.console.test_customer import call, refusal
from tests.faults.gateway import FIXED_PRICE_MODEL, Customer, Gateway, wait_until

ANALYTICS_S = 60.0
RATE = 40


def move(browser: Browser, customer: Customer, amount: str, direction: str = "to", reference: str = "") -> str:
    """Fill in the form of the account's page; the page that follows."""
    path = f"/accounts/{customer.account_id}"
    drawn = re.search(r'name="reference" value="([^"]+)"', browser.get(path))
    assert drawn
    return browser.post(f"{path}/move", amount=amount, direction=direction, reference=reference or drawn[1])


def test_balance_moves_once_at_the_logged_rate_and_back(boss: Browser, family: Family) -> None:
    page = move(boss, family.customer, "10", reference="a" * 24)
    assert "$10.00 was moved and became ₺400.00" in page
    assert "$1 = 40" in page
    again = move(boss, family.customer, "10", reference="a" * 24)
    assert "nothing was moved again" in again
    assert family.account(family.customer.account_id).balance.balance == "400.00"
    assert family.account(family.partner_id).balance.balance == "40.00"
    move(boss, family.customer, "100,00", "back")
    assert family.account(family.customer.account_id).balance.balance == "300.00"
    assert family.account(family.partner_id).balance.balance == "42.50"
    assert "$5.00 was moved." in move(boss, family.project, "5")


def test_a_move_that_makes_no_sense_moves_nothing(boss: Browser, family: Family) -> None:
    path = f"/accounts/{family.customer.account_id}/move"
    good = {"amount": "1", "direction": "to", "reference": "b" * 24}
    assert "an amount" in boss.post(path, 400, **good | {"amount": "-1"})
    assert "an amount" in boss.post(path, 400, **good | {"amount": "1.9999"})
    assert "too old" in boss.post(path, 400, **good | {"reference": ""})
    assert "too old" in boss.post(path, 400, **good | {"direction": "up"})
    assert "does not cover it" in boss.post(path, 400, **good | {"amount": "5000"})
    assert family.account(family.partner_id).balance.balance == PARTNER_CREDIT


def test_the_overview_adds_up(boss: Browser, family: Family, gateway: Gateway) -> None:
    move(boss, family.customer, "1")
    move(boss, family.project, "1")
    for _ in range(3):
        call(gateway, family.customer.api_key)
    call(gateway, family.project.api_key)
    # 0.0025 USD a call: 50 % for the house, 30 % for the partner, 40 TL for a dollar.
    paid = {"they": "₺0.585", "you": "$0.01125", "project": "$0.00375"}
    page = wait_until(
        lambda: page if all(each in (page := boss.get("/partner")) for each in paid.values()) else "",
        ANALYTICS_S,
        "the calls in the overview",
    )
    assert "$47.98875" in page, "what is left of the partner's own balance"
    assert "Işık Şarküteri" in page.partition("Most used")[2]
    listed = boss.get("/partner/accounts")
    assert paid["they"] in listed
    assert paid["project"] in listed


def test_who_runs_dry_is_named(boss: Browser, family: Family, gateway: Gateway) -> None:
    move(boss, family.customer, "0.02")
    while family.account(family.customer.account_id).balance.available > "0.2":
        call(gateway, family.customer.api_key)
    dry = wait_until(
        lambda: boss.get("/partner").partition("About to run dry")[2].partition("Most used")[0].partition("Işık")[2],
        ANALYTICS_S,
        "the customer among those who run dry",
    )
    assert family.customer.account_id not in boss.get("/partner").partition("About to run dry")[0], dry


def test_accounts_are_found_in_pages(boss: Browser, family: Family, gateway: Gateway) -> None:
    for number in range(52):
        request = admin.OpenAccountRequest(
            kind=ledger.PARTNER_CUSTOMER, parent_id=family.partner_id, name=f"Customer {number}"
        )
        gateway.admin("OpenAccount", request)
    first = boss.get("/partner/accounts?kind=customer")
    assert first.count('href="/accounts/') == 50
    following = re.search(r'href="(/partner/accounts\?[^"]+after=[^"]+)"', first)
    assert following
    assert boss.get(following[1].replace("&amp;", "&")).count('href="/accounts/') == 3
    assert boss.get("/partner/accounts?kind=project").count('href="/accounts/') == 1
    found = wait_until(
        lambda: page if "Işık" in (page := boss.get("/partner/accounts?search=isik")) else "", 30, "the customer"
    )
    assert found.count('href="/accounts/') == 1


def test_a_customer_is_opened_with_everything_it_was_given(
    boss: Browser, family: Family, services: Services, gateway: Gateway
) -> None:
    page = boss.post(
        "/partner/accounts",
        kind="customer",
        name="Çınar Yazılım",
        percent="12,5",
        requests_per_minute="7",
        requests_per_day="0",
        email="cinar@example.com",
    )
    opened = re.search(r"<code>(acc_[0-9a-f]{24})</code>", page)
    assert opened
    account = family.account(opened[1])
    assert (account.kind, account.currency, account.parent_id) == (
        ledger.PARTNER_CUSTOMER,
        ledger.TRY,
        family.partner_id,
    )
    assert (account.markup_bps, account.requests_per_minute, account.requests_per_day) == (1250, 7, 0)
    with services.store.transaction() as transaction:
        assert [(each.email, each.role) for each in waiting(transaction, opened[1])] == [("cinar@example.com", "owner")]
    assert "/invitations/" in boss.last_mail()


def test_a_projects_price_is_the_houses(boss: Browser, family: Family) -> None:
    """A partner could otherwise use the gateway at the provider's price."""
    page = boss.post("/partner/accounts", kind="project", name="free ride", percent="0")
    opened = re.search(r"<code>(acc_[0-9a-f]{24})</code>", page)
    assert opened
    assert family.account(opened[1]).markup_bps == 5000
    boss.post(f"/accounts/{opened[1]}/markup", 404, pattern="*", percent="0")
    boss.post(f"/accounts/{family.partner_id}/markup", 404, pattern="*", percent="0")
    assert family.account(opened[1]).markup_bps == 5000


def test_an_account_that_makes_no_sense_is_not_opened(boss: Browser) -> None:
    assert "a name" in boss.post("/partner/accounts", 400, kind="customer", name="")
    assert "a name" in boss.post("/partner/accounts", 400, kind="organisation", name="x")
    assert "percentage" in boss.post("/partner/accounts", 400, kind="customer", name="x", percent="-1")
    assert "e-mail" in boss.post("/partner/accounts", 400, kind="customer", name="x", email="nobody")
    assert "whole number" in boss.post("/partner/accounts", 400, kind="customer", name="x", requests_per_day="many")


@pytest.mark.parametrize(("text", "bps"), [("30", 3000), ("12,5", 1250), ("0", 0), ("7.25%", 725), ("1000", 100_000)])
def test_a_markup_is_typed_in_percent(boss: Browser, family: Family, text: str, bps: int) -> None:
    boss.post(f"/accounts/{family.customer.account_id}/markup", pattern="google/*", percent=text)
    assert {each.pattern: each.markup_bps for each in family.account(family.customer.account_id).markups} == {
        "*": 3000,
        "google/*": bps,
    }
    boss.post(f"/accounts/{family.customer.account_id}/markup/clear", pattern="google/*")
    assert len(family.account(family.customer.account_id).markups) == 1


@pytest.mark.parametrize("text", ["", "a", "-1", "1001", "1.005", "NaN", "Infinity"])
def test_a_markup_that_makes_no_sense_is_refused(boss: Browser, family: Family, text: str) -> None:
    assert "percentage" in boss.post(f"/accounts/{family.customer.account_id}/markup", 400, pattern="*", percent=text)


def test_a_customer_sees_its_account_but_not_the_markup(boss: Browser, shop: Browser, family: Family) -> None:
    path = f"/accounts/{family.customer.account_id}"
    boss.post(f"{path}/markup", pattern="google/*", percent="77")
    boss.post(f"{path}/block", pattern="xai/*")
    own, above = shop.get(path), boss.get(path)
    assert "77%" in above
    for secret in ("77%", "30%", "Markup", "/move", "/suspend", "$1 ="):
        assert secret not in own, secret
    assert "xai/*" in own
    assert "₺0.00" in own
    shop.get(f"/accounts/{family.partner_id}", 404)
    shop.get("/partner", 404)


def test_a_suspended_customer_is_refused_until_it_is_resumed(boss: Browser, family: Family, gateway: Gateway) -> None:
    move(boss, family.customer, "1")
    path = f"/accounts/{family.customer.account_id}"
    assert "Calls of this account are refused" in boss.post(f"{path}/suspend")
    assert refusal(gateway, family.customer.api_key) == 403
    boss.post(f"{path}/resume")
    call(gateway, family.customer.api_key)
    boss.post(f"{path}/block", pattern="sandbox/*")
    assert refusal(gateway, family.customer.api_key) == 403
    boss.post(f"{path}/unblock", pattern="sandbox/*")
    call(gateway, family.customer.api_key)


def test_limits_are_set_shown_and_taken_away(boss: Browser, family: Family, gateway: Gateway) -> None:
    move(boss, family.customer, "1")
    account_id, key_id = family.customer.account_id, family.customer.key_id
    path = f"/accounts/{account_id}/limits"
    boss.post(path, owner_id=account_id, pattern="sandbox/*", daily_requests="1", daily_tokens="1000", blocked="")
    call(gateway, family.customer.api_key)
    assert refusal(gateway, family.customer.api_key) == 429
    page = boss.get(f"{path}?pattern=sandbox/*")
    assert 'name="daily_requests" type="number" value="1"' in page
    shown = {"shown_owner": account_id, "shown_pattern": "sandbox/*"}
    changed = {"daily_requests": "", "daily_tokens": "2000"}
    boss.post(path, owner_id=account_id, pattern="sandbox/*", **changed, **shown)
    assert {each: most for each, most in family.limits(account_id).items() if each[0] != "*"} == {
        ("sandbox/*", "daily_tokens"): 2000
    }
    call(gateway, family.customer.api_key)
    boss.post(path, owner_id=key_id, pattern="*", monthly_tokens="", requests_per_minute="5", **shown)
    assert family.limits(key_id) == {("*", "requests_per_minute"): 5}
    boss.post(f"{path}/clear", owner_id=account_id, pattern="sandbox/*")
    assert not [each for each in family.limits(account_id) if each[0] != "*"]


def test_what_a_form_did_not_show_it_does_not_take_away(boss: Browser, family: Family) -> None:
    account_id = family.customer.account_id
    path = f"/accounts/{account_id}/limits"
    boss.post(path, owner_id=account_id, pattern="google/*", monthly_tokens="500")
    shown = {"shown_owner": account_id, "shown_pattern": "*"}
    boss.post(path, owner_id=account_id, pattern="google/*", monthly_tokens="", daily_tokens="7", **shown)
    kept = family.limits(account_id)
    assert (kept["google/*", "monthly_tokens"], kept["google/*", "daily_tokens"]) == (500, 7)


def test_a_block_of_the_dialog_comes_and_goes(boss: Browser, family: Family) -> None:
    account_id = family.customer.account_id
    path = f"/accounts/{account_id}/limits"
    boss.post(path, owner_id=account_id, pattern="xai/*", blocked="1")
    assert list(family.account(account_id).blocked_models) == ["xai/*"]
    shown = {"shown_owner": account_id, "shown_pattern": "xai/*", "shown_blocked": "1"}
    boss.post(path, owner_id=account_id, pattern="xai/*", **shown)
    assert list(family.account(account_id).blocked_models) == []


def test_limits_that_make_no_sense_are_refused(boss: Browser, family: Family, gateway: Gateway) -> None:
    account_id = family.customer.account_id
    path = f"/accounts/{account_id}/limits"
    assert "whole number" in boss.post(path, 400, owner_id=account_id, pattern="*", daily_tokens="many")
    boss.post(path, 400, owner_id=account_id, pattern="a*b", daily_tokens="1")
    stranger = open_family(gateway).customer
    for owner_id in (stranger.account_id, stranger.key_id):
        boss.post(path, 404, owner_id=owner_id, pattern="*", daily_tokens="1")
        boss.get(f"{path}?owner={owner_id}", 404)


def test_the_dialog_leads_back_within_the_site_only(boss: Browser, family: Family) -> None:
    account_id = family.customer.account_id
    path = f"/accounts/{account_id}/limits"
    token = re.search(r'data-csrf="([^"]*)"', boss.get(path))
    assert token
    form = {"csrf_token": token[1], "owner_id": account_id, "pattern": "*", "daily_tokens": "9"}
    for back, place in (("/partner/accounts", "/partner/accounts"), ("//evil.example", path), ("https://e.x", path)):
        answer = boss.http.post(path, data={**form, "back": back}, follow_redirects=False)
        assert answer.headers["location"].startswith(place)


def test_an_account_is_shown_to_whoever_reaches_it(boss: Browser, family: Family, gateway: Gateway) -> None:
    below = open_below(gateway, family.project.account_id, ledger.PARTNER_CUSTOMER, "Below the project")
    assert "Below the project" in boss.get(f"/accounts/{below.account_id}")
    stranger = open_family(gateway)
    for account_id in (stranger.partner_id, stranger.customer.account_id, "acc_" + "0" * 24, "acc_zz"):
        boss.get(f"/accounts/{account_id}", 404)
        boss.get(f"/partner?account={account_id}", 404)
        boss.get(f"/partner/accounts?account={account_id}", 404)
    boss.get(f"/partner?account={family.customer.account_id}", 404)


def test_the_portal_stands_without_analytics(boss: Browser, services: Services) -> None:
    object.__setattr__(services, "analytics", Analytics(""))
    assert "Balances are up to date" in boss.get("/partner")
    assert "Işık" in boss.get("/partner/accounts")
    assert "cannot be read right now" in boss.get("/partner/usage")
    boss.get("/partner/usage.csv", 503)
    assert "cannot be read right now" in boss.get("/partner/margins")
    boss.get("/partner/margins.csv", 503)


def usage_rows(browser: Browser, query: str) -> dict[str, dict[str, str]]:
    """The CSV of Usage Analysis, by the first column."""
    rows = csv.DictReader(io.StringIO(browser.get(f"/partner/usage.csv?{query}")))
    return {next(iter(row.values())): row for row in rows}


def _row_with(browser: Browser, group: str, name: str, wanted: dict[str, str]) -> dict[str, str]:
    """The row of a name, once it has what is wanted of it."""

    def found() -> dict[str, str] | None:
        row = usage_rows(browser, f"group_by={group}").get(name)
        return row if row is not None and wanted.items() <= row.items() else None

    row: dict[str, str] = wait_until(found, ANALYTICS_S, f"{wanted} by {group}")
    return row


def test_usage_analysis_adds_up_and_shows_what_limits_refused(boss: Browser, family: Family, gateway: Gateway) -> None:
    customer, project = family.customer, family.project
    move(boss, customer, "1")
    move(boss, project, "1")
    boss.post(f"/accounts/{customer.account_id}/limits", owner_id=customer.key_id, pattern="*", daily_requests="2")
    for _ in range(2):
        call(gateway, customer.api_key)
    assert refusal(gateway, customer.api_key) == 429
    call(gateway, project.api_key)
    names = {"account": customer.account_id, "model": FIXED_PRICE_MODEL, "key": customer.key_id}
    names["day"] = today().isoformat()
    for group, name in names.items():
        row = _row_with(boss, group, name, {"calls": "2", "refused": "1"})
        assert (row["charge"], row["partner_charge_USD"], row["currency"]) == ("0.39", "0.0075", "TRY")
        page = boss.get(f"/partner/usage?group_by={group}")
        assert "₺0.39" in page
        assert "$0.0075" in page
    rows = usage_rows(boss, "group_by=account&currency=USD")
    assert {name: row["charge"] for name, row in rows.items()} == {project.account_id: "0.00375"}
    of_one = boss.get(f"/partner/usage?of={customer.account_id}&group_by=key")
    assert f"/accounts/{customer.account_id}/limits?owner={customer.key_id}" in of_one
    assert usage_rows(boss, f"group_by=model&of={customer.account_id}&model=nothing") == {}
    limits = boss.get(f"/accounts/{customer.account_id}/limits?owner={customer.key_id}")
    assert re.search(r'requests a day</td>\s*<td class="number">2</td><td class="number">2</td>', limits)


def test_usage_of_another_partner_is_not_shown(boss: Browser, family: Family, gateway: Gateway) -> None:
    stranger = open_family(gateway)
    request = admin.MoveCreditRequest(
        from_account_id=stranger.partner_id, to_account_id=stranger.customer.account_id, amount="1", reference="r"
    )
    gateway.admin("MoveCredit", request)
    call(gateway, stranger.customer.api_key)
    move(boss, family.customer, "1")
    call(gateway, family.customer.api_key)
    wait_until(lambda: usage_rows(boss, "group_by=account"), ANALYTICS_S, "the own call")
    for query in ("", f"&of={stranger.customer.account_id}"):
        for group in ("account", "key", "day", "model"):
            rows = usage_rows(boss, f"group_by={group}{query}")
            assert [row["calls"] for row in rows.values()] == ["1"]
            assert stranger.customer.account_id not in boss.get(f"/partner/usage?group_by={group}{query}").replace(
                query, ""
            )
    boss.get(f"/partner/usage?account={stranger.partner_id}", 404)
    boss.get(f"/partner/usage.csv?account={stranger.partner_id}", 404)


def test_margins_are_what_is_left_at_the_logged_rate(boss: Browser, family: Family, gateway: Gateway) -> None:
    """A rate that moves between two calls would otherwise turn a loss into a gain."""
    move(boss, family.customer, "5")
    call(gateway, family.customer.api_key)
    gateway.admin("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate="60.00"))
    try:
        call(gateway, family.customer.api_key)
    finally:
        gateway.admin("SetFxRate", admin.SetFxRateRequest(base=ledger.USD, rate=str(RATE)))

    def of(query: str) -> dict[str, str]:
        rows = list(csv.DictReader(io.StringIO(boss.get(f"/partner/margins.csv?{query}"))))
        return rows[0] if rows and rows[0]["calls"] == "2" else {}

    row = wait_until(lambda: of("group_by=customer"), ANALYTICS_S, "the calls among margins")
    # 0.0025 USD and 50 % for the house, twice; 30 % more at 40 and at 60 TL for a dollar.
    assert row == {
        "customer": family.customer.account_id,
        "calls": "2",
        "paid_TRY": "0.4875",
        "cost_USD": "0.0075",
        "cost_TRY": "0.375",
        "margin_TRY": "0.1125",
    }
    assert of("group_by=month")["margin_TRY"] == "0.1125"
    page = boss.get("/partner/margins")
    for text in ("₺0.49", "$0.0075", "₺0.38", "₺0.11", "30%"):
        assert text in page
    assert "₺0.11" in boss.get("/partner/margins?group_by=month")
    assert "Nothing was used" in boss.get("/partner/margins?month=2025-01")
    stranger = open_family(gateway)
    boss.get(f"/partner/margins?account={stranger.partner_id}", 404)
    boss.get(f"/partner/margins.csv?account={stranger.partner_id}", 404)


def test_a_statement_is_whole_and_proven(
    boss: Browser, shop: Browser, family: Family, gateway: Gateway, services: Services
) -> None:
    """A customer who cannot check a statement has to believe it."""
    move(boss, family.customer, "1")
    calls = [call(gateway, family.customer.api_key) for _ in range(2)]
    month = f"{today():%Y-%m}"
    assert f"/accounts/{family.customer.account_id}/statement.csv?month={month}" in boss.get("/partner/statements")
    assert f"/accounts/{family.customer.account_id}/statement.pdf?month={month}" in shop.get("/statements")
    text = shop.get(f"/accounts/{family.customer.account_id}/statement.csv?month={month}")
    for request_id in calls:
        assert request_id in text
    published = read_published(gateway.data / "archive" / FILE)
    checked = check(text, published)
    assert checked.ok, checked.problems
    assert checked.closing_balance == family.account(family.customer.account_id).balance.balance
    assert not check(text.replace("moved_in,40.00", "moved_in,41.00"), published).ok
    answer = boss.http.get(f"/accounts/{family.partner_id}/statement.pdf?month={month}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.content.startswith(b"%PDF")
    assert len(answer.content) == int(answer.headers["content-length"])
    shop.get(f"/accounts/{family.partner_id}/statement.pdf?month={month}", 404)
    boss.get(f"/accounts/{family.customer.account_id}/statement.doc", 404)


def test_statements_leave_threads_for_others(shop: Browser, family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a hundred statements would otherwise stop the console for everybody."""
    monkeypatch.setattr(statements, "_waiting", BoundedSemaphore(1))
    path = f"/accounts/{family.customer.account_id}/statement.csv"
    with statements._waiting:
        assert "try again" in shop.get(path, 503)
    assert family.customer.account_id in shop.get(path)
    assert family.customer.account_id in shop.get(path), "its place is free again"


def test_a_form_that_is_sent_twice_at_once_moves_once(family: Family, boss: Browser, services: Services) -> None:
    """An impatient double click, or two windows, would pay a customer twice."""
    others = [Browser(services) for _ in range(3)]
    for each in others:
        each.sign_in("boss@example.com")
    with ThreadPoolExecutor(len(others)) as pool:
        pages = list(pool.map(lambda each: move(each, family.customer, "3", reference="d" * 24), others))
    assert sum("$3.00 was moved" in page for page in pages) == 1
    assert sum("nothing was moved again" in page for page in pages) == len(others) - 1
    assert family.account(family.partner_id).balance.balance == "47.00"


def test_staff_reaches_every_account_as_far_as_it_may(services: Services, family: Family, gateway: Gateway) -> None:
    user = gateway.open_account("1.00", markup_bps=5000)
    owned = {gateway.open_account("0").account_id: Role.OWNER}
    add_person(services, "root@example.com", Standing.ADMINISTRATOR, owned)
    add_person(services, "help@example.com", Standing.SUPPORT, owned)
    root, support = Browser(services), Browser(services)
    root.sign_in("root@example.com")
    support.sign_in("help@example.com")
    for account_id in (user.account_id, family.project.account_id, family.partner_id):
        path = f"/accounts/{account_id}"
        assert "50%" in support.get(path)
        support.post(f"{path}/markup", 404, pattern="*", percent="20")
        support.get(f"{path}/limits", 404)
        root.post(f"{path}/markup", pattern="*", percent="20")
        assert family.account(account_id).markup_bps == 2000
        root.post(f"{path}/limits", owner_id=account_id, pattern="*", daily_tokens="77")
        assert family.limits(account_id)["*", "daily_tokens"] == 77
    for page in ("", "/accounts", "/usage", "/margins", "/statements"):
        for browser in (root, support):
            assert family.partner_id in browser.get(f"/partner{page}?account={family.partner_id}")
    assert "Open an account" not in support.get(f"/partner/accounts?account={family.partner_id}")
    support.post(f"/partner/accounts?account={family.partner_id}", 404, kind="customer", name="x")
