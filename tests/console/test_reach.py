"""Every route × every role × own and foreign ids. New routes are walked without being named here.

What must hold: nobody gets in without a session; a guard keeps out whom it must; no page shows anything of an account
that the person may not touch, whatever ids the address and the form name; and no form changes anything of it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from openai import OpenAI
from sqlalchemy import select
from starlette.testclient import TestClient

from cli.client import Caller
from console.app import make_app
from console.credits import tables as credits
from console.credits.tables import Proposal
from console.identity import sessions
from console.invoices.tables import Invoice, Kind
from console.invoices.tables import State as InvoiceState
from console.pages import ROWS
from console.payments.tables import Incident, Payment, State
from console.people.invitations import Invitation
from console.people.tables import Membership, Person, Role, Session, Standing, new_id, now
from console.services import Services
from console.web import reach
from console.web.guards import SESSION_COOKIE, Guard, Row
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.console.conftest import add_person
from tests.console.partner.conftest import open_family
from tests.faults.gateway import FIXED_PRICE_MODEL, Customer, Gateway

ABOVE_ONLY = re.compile(r"/partner|/accounts/\{account_id\}/")
"""Paths for whoever looks after an account from above."""

LOOKED_AT = ("/keys", "/usage", "/requests", "/limits", "/models", "/tasks", "/members")
STAFF_ONLY = {Guard.SUPPORT: {"support", "administrator"}, Guard.ADMINISTRATOR: {"administrator"}}


@dataclass(frozen=True)
class Ids:
    """What somebody may try in an address or a form."""

    customer: Customer
    request_id: str
    person_id: str
    payment_id: str
    invoice_id: str
    proposal_id: str
    incident_id: str

    def fill(self, path: str) -> str:
        known = {
            "account_id": self.customer.account_id,
            "key_id": self.customer.key_id,
            "request_id": self.request_id,
            "person_id": self.person_id,
            "format": "csv",
            "payment_id": self.payment_id,
            "invoice_id": self.invoice_id,
            "proposal_id": self.proposal_id,
            "incident_id": self.incident_id,
        }
        return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: known.get(found[1], "none"), path)

    @property
    def form(self) -> dict[str, str]:
        return {
            "account": self.customer.account_id,
            "account_id": self.customer.account_id,
            "owner_id": self.customer.account_id,
            "key_id": self.customer.key_id,
            "person_id": self.person_id,
            "request_id": self.request_id,
            "email": "eve@example.com",
            "role": "owner",
            "name": "eve",
            "amount": "1.00",
            "reason": "because",
            "pattern": "*",
            "daily_requests": "7",
            "grace": "0",
            "percent": "0",
            "kind": "customer",
            "direction": "back",
            "reference": "a" * 24,
            "daily_tokens": "7",
            "blocked": "1",
            "form_id": "b" * 32,
            "standing": "administrator",
            "count": "1",
            "returned": "0",
        }

    @property
    def marks(self) -> list[str]:
        """What a page about this account would show."""
        return [
            self.customer.key_id,
            self.person_id,
            self.payment_id,
            self.invoice_id,
            "victim@example.com",
            "for the victim",
        ]


@dataclass
class World:
    """Everybody, with two accounts that matter: one's own and a foreign one."""

    services: Services
    gateway: Gateway
    people: dict[str, str] = field(default_factory=dict)

    def browser(self, name: str) -> tuple[TestClient, str]:
        """A client with a fresh session of this person, and its form token."""
        http = TestClient(make_app(self.services), follow_redirects=False, headers={"accept-language": "en"})
        if name == "nobody":
            return http, ""
        with self.services.store.transaction() as transaction:
            person = transaction.get_one(Person, self.people[name])
            token = sessions.begin(transaction, person, "127.0.0.1", "test")
            transaction.flush()
            session = transaction.scalars(
                select(Session).where(Session.person_id == person.id).order_by(Session.created_at.desc())
            ).first()
            assert session is not None
            session.second_factor_at = now()
            csrf = session.csrf_token
        http.cookies.set(SESSION_COOKIE, token)
        return http, csrf

    def state(self, account_id: str) -> dict[str, object]:
        """All that a form could change of an account."""
        return {
            **self.ledger_state(account_id),
            "people": self.people_of(account_id),
            "money": self.money_of(account_id),
        }

    def ledger_state(self, account_id: str) -> dict[str, object]:
        """What the gateway knows of it."""
        reference = admin.AccountRef(account_id=account_id)
        account = self.gateway.admin("GetAccount", reference)
        account.balance.position = 0
        keys = self.gateway.admin("ListKeys", reference)
        limits = self.gateway.admin("ListLimits", admin.OwnerRef(owner_id=account_id))
        return {
            "account": str(account),
            "keys": str(keys),
            "limits": [(each.pattern, each.kind, each.most) for each in limits.limits],
        }

    def money_of(self, account_id: str) -> list[str]:
        """Where its credits by hand, payments, invoices and incidents stand."""
        with self.services.store.transaction() as transaction:
            proposals = transaction.scalars(select(Proposal).where(Proposal.account_id == account_id)).all()
            payments = transaction.scalars(select(Payment).where(Payment.account_id == account_id)).all()
            invoices = transaction.scalars(select(Invoice).where(Invoice.account_id == account_id)).all()
            ids = [each.id for each in payments]
            incidents = transaction.scalars(select(Incident).where(Incident.subject.in_(ids))).all()
            stand = [f"{each.id} {each.state}" for each in (*proposals, *payments, *invoices)]
            return sorted(stand + [f"{each.id} {each.closed_at}" for each in incidents])

    def people_of(self, account_id: str) -> object:
        with self.services.store.transaction() as transaction:
            members = transaction.scalars(select(Membership).where(Membership.account_id == account_id)).all()
            invited = transaction.scalars(select(Invitation).where(Invitation.account_id == account_id)).all()
            return sorted(_standing(each) for each in members), len(invited)


def _standing(membership: Membership) -> tuple[object, ...]:
    person = membership.person
    return membership.person_id, membership.role, person.standing, person.disabled_at is None, person.totp_since


@pytest.fixture
def world(services: Services, gateway: Gateway) -> World:
    return World(services, gateway)


def _ids(world: World, customer: Customer) -> Ids:
    """Of an account that has a call, a payment and its invoice."""
    gateway = world.gateway
    client = OpenAI(base_url=gateway.base_urls[0], api_key=customer.api_key, max_retries=0)
    answer = client.chat.completions.create(model=FIXED_PRICE_MODEL, messages=[{"role": "user", "content": "hi"}])
    with world.services.store.transaction() as transaction:
        payment = Payment(
            account_id=customer.account_id,
            person_id=new_id(),
            provider="sandbox",
            state=State.CREDITED,
            credited_at=now(),
            net_kurus=100,
            vat_kurus=20,
            gross_kurus=120,
            vat_bps=2_000,
            expires_at=now(),
        )
        transaction.add(payment)
        transaction.flush()
        invoice = _invoice(payment)
        proposal = _proposal(customer.account_id)
        incident = Incident(kind="other_amount", subject=payment.id)
        transaction.add_all((invoice, proposal, incident))
        transaction.flush()
        return Ids(customer, answer.id, "", payment.id, invoice.id, proposal.id, incident.id)


def _proposal(account_id: str) -> Proposal:
    return Proposal(
        form_id=new_id(),
        account_id=account_id,
        kind=credits.Kind.CREDIT,
        currency="TRY",
        amount_kurus=500_000,
        reason="for the victim",
        state=credits.State.PROPOSED,
        proposed_by=new_id(),
    )


def _invoice(payment: Payment) -> Invoice:
    unique = new_id()
    return Invoice(
        account_id=payment.account_id,
        cause=f"payment:{payment.id}",
        payment_id=payment.id,
        kind=Kind.SALE,
        series="TST",
        year=int(unique[:6], 16),
        sequence=int(unique[6:12], 16),
        number=unique[:16],
        ettn=unique,
        profile="EARSIVFATURA",
        issued_at=now(),
        net_kurus=100,
        vat_kurus=20,
        gross_kurus=120,
        document="{}",
        xml=b"<Invoice/>",
        state=InvoiceState.REJECTED,
    )


@pytest.fixture
def own(world: World, gateway: Gateway) -> Ids:
    """The account of `owner` and `member`."""
    ids = _ids(world, gateway.open_account("5.00"))
    account_id = ids.customer.account_id
    people = {
        "owner": add_person(world.services, "owner@example.com", memberships={account_id: Role.OWNER}),
        "member": add_person(world.services, "member@example.com", memberships={account_id: Role.MEMBER}),
    }
    world.people |= people
    return replace(ids, person_id=people["owner"])


@pytest.fixture
def foreign(world: World, gateway: Gateway) -> Ids:
    """Somebody else's account."""
    ids = _ids(world, gateway.open_account("5.00"))
    services = world.services
    partner = gateway.admin("OpenAccount", admin.OpenAccountRequest(kind=ledger.PARTNER, name="partner"))
    other = gateway.open_account("1.00")
    world.people |= {
        "victim": add_person(services, "victim@example.com", memberships={ids.customer.account_id: Role.OWNER}),
        "other": add_person(services, "other@example.com", memberships={other.account_id: Role.OWNER}),
        "partner": add_person(services, "partner@example.com", memberships={partner.account_id: Role.PARTNER}),
        "support": add_person(services, "support@example.com", Standing.SUPPORT),
        "administrator": add_person(services, "root@example.com", Standing.ADMINISTRATOR),
    }
    return replace(ids, person_id=world.people["victim"])


@pytest.fixture
def below(world: World, foreign: Ids, gateway: Gateway) -> Ids:
    """A customer of the partner that `boss` looks after, with an owner, `shop`, of its own."""
    family = open_family(gateway)
    world.people["boss"] = add_person(world.services, "boss@example.com", memberships={family.partner_id: Role.PARTNER})
    shop = add_person(world.services, "victim@below.example.com", memberships={family.customer.account_id: Role.OWNER})
    world.people["shop"] = shop
    move = admin.MoveCreditRequest(
        from_account_id=family.partner_id, to_account_id=family.customer.account_id, amount="5", reference="opening"
    )
    gateway.admin("MoveCredit", move)
    return replace(_ids(world, family.customer), person_id=shop)


def _rows(method: str) -> Iterator[Row]:
    return (row for row in ROWS if method in row.methods)


def _filled(row: Row, ids: Ids) -> str:
    return ids.fill(row.path)


def _path(row: Row, ids: Ids) -> str:
    return f"{_filled(row, ids)}?account={ids.customer.account_id}"


def test_nobody_gets_in_without_a_session(world: World, own: Ids) -> None:
    http, _ = world.browser("nobody")
    for row in ROWS:
        if row.guard is Guard.ANYONE:
            continue
        answer = http.request(row.methods[0], _path(row, own))
        assert (answer.status_code, answer.headers.get("location")) == (303, "/sign-in"), row


@pytest.mark.parametrize("name", ["owner", "member", "other", "partner", "support"])
def test_a_guard_keeps_out_whom_it_must(world: World, own: Ids, foreign: Ids, name: str) -> None:
    for row in ROWS:
        if name in STAFF_ONLY.get(row.guard, {name}):
            continue
        http, token = world.browser(name)
        answer = http.request(row.methods[0], _path(row, own), data={"csrf_token": token, **own.form})
        assert answer.status_code == 404, row


@pytest.mark.parametrize("name", ["owner", "member"])
def test_own_ids_work(world: World, own: Ids, name: str) -> None:
    http, _ = world.browser(name)
    for row in _rows("GET"):
        if row.guard is Guard.PERSON and "{" not in re.sub(r"\{(account|key|request)_id\}", "", row.path):
            answer = http.get(_path(row, own))
            allowed = {200, 303} if name == "owner" else {200, 303, 404}  # payments and invoices are an owner's
            allowed = {404} if ABOVE_ONLY.match(row.path) else allowed
            assert answer.status_code in allowed, (row, answer.status_code)


@pytest.mark.parametrize("name", ["nobody", "owner", "member", "other", "partner"])
def test_no_page_shows_anything_foreign(world: World, own: Ids, foreign: Ids, name: str) -> None:
    for row in _rows("GET"):
        http, _ = world.browser(name)
        answer = http.get(_path(row, foreign))
        assert answer.status_code < 500 or answer.status_code == 503, row
        shown = answer.text.replace(_filled(row, foreign), "")  # where the form of the language leads back to
        assert not [mark for mark in foreign.marks if mark in shown], row
        if row.guard is Guard.PERSON and re.search(r"\{(account|key|request|person|payment|invoice)_id", row.path):
            assert answer.status_code in (303, 404), row


@pytest.mark.parametrize("name", ["nobody", "owner", "member", "other", "partner", "support"])
def test_no_form_changes_anything_foreign(world: World, own: Ids, foreign: Ids, name: str) -> None:
    """Support reads everything and changes nothing."""
    before = world.state(foreign.customer.account_id)
    for row in _rows("POST"):
        http, token = world.browser(name)
        answer = http.post(_path(row, foreign), data={"csrf_token": token, **foreign.form})
        assert answer.status_code < 500 or answer.status_code == 503, row
    assert world.state(foreign.customer.account_id) == before


@pytest.mark.parametrize("name", ["owner", "member", "other", "partner", "support"])
def test_the_service_keeps_what_every_page_forgets(
    world: World, own: Ids, foreign: Ids, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no page asking whose account is whose, the admin service still lets nobody touch a foreign one."""
    gateway = world.services.gateway
    monkeypatch.setattr(reach, "ask", lambda _context, method, request: gateway.call(method, request, Caller("test")))
    monkeypatch.setattr(reach, "may", lambda *_: True)
    before = world.ledger_state(foreign.customer.account_id)
    refused = 0
    for row in _rows("POST"):
        http, token = world.browser(name)
        answer = http.post(_path(row, foreign), data={"csrf_token": token, **foreign.form})
        refused += answer.status_code in (403, 404)
    assert refused > 5
    assert world.ledger_state(foreign.customer.account_id) == before


@pytest.mark.parametrize("name", ["owner", "partner"])
def test_another_partner_finds_nothing_below_a_partner(world: World, own: Ids, below: Ids, name: str) -> None:
    http, token = world.browser(name)
    before = world.state(below.customer.account_id)
    for row in _rows("GET"):
        answer = http.get(_path(row, below))
        shown = answer.text.replace(_filled(row, below), "")
        marks = [below.customer.key_id, below.person_id, "victim@below.example.com", below.request_id]
        assert not [mark for mark in marks if mark in shown], row
        if row.guard is Guard.PERSON and re.search(r"/partner|\{(account|key|request|payment|invoice)_id", row.path):
            assert answer.status_code == 404, row
    for row in _rows("POST"):
        if row.path == "/sign-out":
            continue
        http.post(_path(row, below), data={"csrf_token": token, **below.form})
    assert world.state(below.customer.account_id) == before


def test_a_customer_does_not_decide_what_its_partner_decides(world: World, own: Ids, below: Ids) -> None:
    """It would lift its own limits, choose its own price, or take the partner's money."""
    http, token = world.browser("shop")
    before = world.state(below.customer.account_id)
    rows = [row for row in _rows("POST") if ABOVE_ONLY.match(row.path)]
    assert rows
    for row in rows:
        answer = http.post(_path(row, below), data={"csrf_token": token, **below.form})
        assert answer.status_code == 404, row
    assert world.state(below.customer.account_id) == before


def test_a_partner_reaches_what_is_below(world: World, own: Ids, below: Ids) -> None:
    http, token = world.browser("boss")
    for row in _rows("GET"):
        if row.path.startswith("/accounts/"):
            assert http.get(_path(row, below)).status_code == 200, row
        if row.path.startswith("/partner"):
            assert http.get(row.path).status_code == 200, row
    for row in _rows("POST"):
        if row.path.startswith("/accounts/"):
            answer = http.post(_path(row, below), data={"csrf_token": token, **below.form, "pattern": "google/*"})
            assert answer.status_code in (200, 303), (row, answer.text)


def test_a_member_does_not_decide_about_people(world: World, own: Ids) -> None:
    before = world.people_of(own.customer.account_id)
    for row in _rows("POST"):
        http, token = world.browser("member")
        http.post(_path(row, own), data={"csrf_token": token, **own.form})
    assert world.people_of(own.customer.account_id) == before


def test_support_and_administrators_see_what_customers_see(world: World, foreign: Ids) -> None:
    for name in ("support", "administrator"):
        http, _ = world.browser(name)
        for path in (
            "/keys",
            "/usage",
            "/requests",
            "/limits",
            "/models",
            "/tasks",
            "/members",
            "/accounts/{account_id}",
            "/payments",
            "/payments/{payment_id}",
            "/invoices",
            "/invoices/{invoice_id}/xml",
            "/billing",
        ):
            answer = http.get(f"{foreign.fill(path)}?account={foreign.customer.account_id}")
            assert answer.status_code == 200, (name, path)


@pytest.mark.parametrize("name", ["support", "administrator"])
def test_every_page_of_staff_opens_for_staff(world: World, foreign: Ids, name: str) -> None:
    http, _ = world.browser(name)
    for row in _rows("GET"):
        if name in STAFF_ONLY.get(row.guard, set()):
            answer = http.get(f"{foreign.fill(row.path)}?id={FIXED_PRICE_MODEL}")
            assert answer.status_code == 200, (row, answer.text)


def test_a_form_without_its_token_is_refused_everywhere(world: World, own: Ids) -> None:
    http, _ = world.browser("owner")
    for row in _rows("POST"):
        if row.guard in (Guard.PERSON, Guard.SIGNED_IN):
            assert http.post(_path(row, own), data=own.form).status_code == 403, row
