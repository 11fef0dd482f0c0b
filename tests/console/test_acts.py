"""Audit: who did what, whose, when; nothing missing, nothing twice, and names instead of ids."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import delete

from cli.client import Caller
from console.identity import sessions
from console.pages.admin.acts import ACTS_A_PAGE
from console.people import acts
from console.people.tables import Act, Person, Role, Session, Standing, now
from console.services import Services
from console.web.days import today
from console.web.guards import SESSION_COOKIE
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.conftest import Browser, add_person
from tests.faults.gateway import Customer, Gateway, wait_until


@pytest.fixture
def customer(gateway: Gateway, services: Services) -> Customer:
    """An account whose owner is ada@example.com; sue and root are staff."""
    customer = gateway.open_account("3.00")
    add_person(services, "ada@example.com", memberships={customer.account_id: Role.OWNER})
    add_person(services, "sue@example.com", Standing.SUPPORT)
    add_person(services, "root@example.com", Standing.ADMINISTRATOR)
    return customer


@pytest.fixture
def auditor(services: Services, customer: Customer) -> Browser:
    """Support, signed in."""
    browser = Browser(services)
    with services.store.transaction() as transaction:
        sue = transaction.query(Person).filter_by(email="sue@example.com").one()
        token = sessions.begin(transaction, sue, "127.0.0.1", "test")
        transaction.flush()
        for session in transaction.query(Session).filter_by(person_id=sue.id):
            session.second_factor_at = now()
    browser.http.cookies.set(SESSION_COOKIE, token)
    return browser


def _id_of(services: Services, email: str) -> str:
    with services.store.transaction() as transaction:
        return str(transaction.query(Person).filter_by(email=email).one().id)


def _rows(page: str) -> list[str]:
    """The text of each row of the table."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows]


def _row(auditor: Browser, query: str, *words: str) -> str:
    """The first row that has all the words, as soon as analytics has it."""

    def found() -> str | None:
        rows = _rows(auditor.get(f"/admin/acts?{query}"))
        return next((row for row in rows if all(word in row for word in words)), None)

    return str(wait_until(found, 20, f"a row with {words}"))


def test_a_credit_by_hand_is_told_whole(auditor: Browser, services: Services, customer: Customer) -> None:
    """Nobody could say who gave the money away, why, and who had agreed."""
    root, sue = _id_of(services, "root@example.com"), _id_of(services, "sue@example.com")
    request = admin.CreditAccountRequest(
        account_id=customer.account_id, amount="2500.50", reference="C-17", reason="outage of Monday", approved_by=sue
    )
    services.gateway.call("CreditAccount", request, Caller(root, "administer", "*"))
    row = _row(auditor, f"account={customer.account_id}", "credit added", "C-17")
    for text in ("root", "₺2,500.50", "reason: outage of Monday", "approved by: sue", "test"):
        assert text in row
    page = auditor.get(f"/admin/acts?account={customer.account_id}&kind=credit_added")
    position = re.search(r"/admin/ledger\?position=(\d+)", page)
    assert position
    entry = next(iter(services.gateway.stream("TailLedger", _one(int(position[1])), Caller("test"))))
    assert entry.event.credit_added.reference == "C-17"


def _one(position: int) -> admin.TailLedgerRequest:
    return admin.TailLedgerRequest(from_position=position, limit=1)


def test_acts_of_the_console_and_of_the_ledger_are_one_list(
    auditor: Browser, services: Services, customer: Customer
) -> None:
    """Half of what somebody did would be looked for in another place."""
    ada = Browser(services)
    ada.sign_in("ada@example.com")
    ada.post("/keys", name="a key of mine")
    ada.post("/members/invite", email="bob@example.com", role="member")
    _row(auditor, "who=ada@example.com", "key issued")
    rows = _rows(auditor.get("/admin/acts?who=ada@example.com"))
    assert ["member invited" in rows[0], "key issued" in rows[1]] == [True, True], rows
    assert all("ada" in row for row in rows)
    assert not any("bob@example.com" in row for row in rows), "an invited address is nobody's business here"
    assert len(rows) == 2


def test_what_is_done_to_a_key_is_found_by_its_account(auditor: Browser, gateway: Gateway, customer: Customer) -> None:
    """A revoked key would not stand among what happened to its account."""
    gateway.admin("RevokeKey", admin.KeyRef(key_id=customer.key_id))
    row = _row(auditor, f"account={customer.account_id}", "key revoked")
    assert "operator" in row
    assert customer.key_id in row
    assert _row(auditor, f"account={customer.key_id}", "key revoked") == row


def test_filters_leave_out_the_rest(auditor: Browser, services: Services, customer: Customer) -> None:
    _row(auditor, f"account={customer.account_id}", "key issued")
    about = f"/admin/acts?account={customer.account_id}"
    assert [row for row in _rows(auditor.get(f"{about}&kind=key_issued")) if "key issued" not in row] == []
    this_day, later = today(), today() + timedelta(days=2)
    assert len(_rows(auditor.get(f"{about}&day={this_day}"))) > 1
    assert _rows(auditor.get(f"{about}&day={later}")) == ["Nothing was done here."]
    odd_ones = ("day=2026-13-40", "day=9999-12-31", "before=x", "kind=%27", "who=%40", "account=%27%29", "before=1.9.x")
    for odd in odd_ones:
        auditor.get(f"/admin/acts?{odd}")


def test_pages_lose_nothing_and_repeat_nothing(
    auditor: Browser, services: Services, gateway: Gateway, customer: Customer
) -> None:
    """An act that stands on no page was never done."""
    with services.store.transaction() as transaction:
        transaction.execute(delete(Act))
        for number in range(ACTS_A_PAGE):
            acts.record(transaction, "somebody", "member.role", customer.account_id, f"own-{number}-")
        transaction.flush()
        moment = now()
        for act in transaction.query(Act):
            act.at = moment  # as rows of one transaction may have it
    for number in range(ACTS_A_PAGE + 20):
        gateway.credit(customer.account_id, "0.01", f"logged-{number}-")
    _row(auditor, f"account={customer.account_id}", f"logged-{ACTS_A_PAGE + 19}-")
    seen: list[str] = []
    path = f"/admin/acts?account={customer.account_id}"
    pages = 0
    while path:
        page = auditor.get(path)
        assert len(_rows(page)) <= ACTS_A_PAGE
        seen += re.findall(r"(?:own|logged)-\d+-", page)
        older = re.search(r'href="(/admin/acts\?[^"]*before=[^"]*)"', page)
        path, pages = older[1].replace("&amp;", "&") if older else "", pages + 1
    expected = {f"own-{number}-" for number in range(ACTS_A_PAGE)}
    expected |= {f"logged-{number}-" for number in range(ACTS_A_PAGE + 20)}
    assert sorted(seen) == sorted(expected)
    assert pages == 3


def test_without_analytics_the_consoles_own_acts_are_shown(
    auditor: Browser, services: Services, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An audit that shows nothing looks like one in which nothing was done."""
    with services.store.transaction() as transaction:
        acts.record(transaction, _id_of(services, "ada@example.com"), "member.role", customer.account_id)
    services.analytics.close()
    monkeypatch.setattr(services.analytics, "_address", services.analytics._address._replace(netloc="127.0.0.1:9"))
    monkeypatch.setattr(services.analytics, "_client", None)
    page = auditor.get("/admin/acts")
    assert "cannot be read right now" in page
    assert any("role changed" in row for row in _rows(page))


def test_a_reason_stands_word_for_word(auditor: Browser, services: Services, customer: Customer) -> None:
    """A text that somebody gave would be changed by the language of its reader."""
    root = _id_of(services, "root@example.com")
    credit = admin.CreditAccountRequest(account_id=customer.account_id, amount="1", reference="W", reason="owner  left")
    services.gateway.call("CreditAccount", credit, Caller(root, "administer", "*"))
    with services.store.transaction() as transaction:
        acts.record(transaction, root, "member.role", customer.account_id, f"{root} owner")
    _row(auditor, f"account={customer.account_id}", "owner left")
    auditor.http.cookies.set("language", "tr")
    rows = _rows(auditor.get(f"/admin/acts?account={customer.account_id}"))
    assert any("gerekçe: owner left" in row for row in rows)
    assert any("root sahip" in row for row in rows), rows


def test_an_erased_person_has_no_name_there(auditor: Browser, services: Services, customer: Customer) -> None:
    ada = Browser(services)
    ada.sign_in("ada@example.com")
    person_id = _id_of(services, "ada@example.com")
    ada.post("/privacy/erase", password="correct horse battery", sure="1")
    row = _row(auditor, f"who={person_id}", "person erased")
    assert "an erased person" in row
    assert "account suspended" in _row(auditor, f"who={person_id}", "account suspended")


def test_limits_and_moves_say_what_was_meant(auditor: Browser, gateway: Gateway, customer: Customer) -> None:
    partner = gateway.admin("OpenAccount", admin.OpenAccountRequest(kind=ledger.PARTNER, name="P")).account_id
    gateway.credit(partner, "5.00", "first")
    project = admin.OpenAccountRequest(kind=ledger.PARTNER_PROJECT, name="PP", parent_id=partner)
    below = gateway.admin("OpenAccount", project).account_id
    move = admin.MoveCreditRequest(from_account_id=partner, to_account_id=below, amount="1.00", reference="M")
    gateway.admin("MoveCredit", move)
    limits = admin.SetLimitsRequest(owner_id=below, pattern="google/*", daily_requests=7)
    gateway.admin("SetLimits", limits)
    moved = _row(auditor, f"account={below}", "balance moved")
    assert "$1.00" in moved
    assert f"to: {below}" in moved
    limited = _row(auditor, f"account={below}", "limit set")
    assert "models: google/*" in limited
    assert "requests a day: 7" in limited
