"""Credits by hand: with a reason, beyond a bound not by one person alone, and each exactly once whatever happens."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import pytest
from sqlalchemy import select

from cli.client import Caller
from console.credits.proposals import Decided, FormUsed, NotAllowed, Proposals, Wanted
from console.credits.tables import Kind, Proposal, State
from console.people.standing import change_standing
from console.people.tables import Act, Session, Standing, new_id, now
from console.services import Services
from console.web.guards import SESSION_COOKIE
from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.conftest import free_port
from tests.console.admin.conftest import rows_of, signed_in
from tests.console.conftest import Browser, add_person
from tests.console.payments.conftest import eventually
from tests.console.payments.test_kill import NOBODY, console
from tests.faults.gateway import Gateway

SMALL, LARGE = 100_000, 100_001
REASON = "outage of Monday, ticket 77"


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """SQLite, and PostgreSQL where a test asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return ""
    uri: str = request.getfixturevalue("postgres")
    return uri


both_stores = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def people(services: Services) -> list[str]:
    """Three administrators."""
    return [add_person(services, f"{new_id()}@example.com", Standing.ADMINISTRATOR) for _ in range(3)]


@pytest.fixture
def proposals(services: Services) -> Proposals:
    """As a page makes them."""
    return Proposals(services.settings, services.store, services.gateway)


def _account(gateway: Gateway, currency: ledger.Currency.ValueType = ledger.TRY) -> str:
    request = admin.OpenAccountRequest(kind=ledger.USER, name="x", currency=currency)
    return str(gateway.admin("OpenAccount", request).account_id)


def _wanted(account_id: str, amount_kurus: int, kind: Kind = Kind.CREDIT) -> Wanted:
    return Wanted(new_id(), account_id, kind, "TRY", amount_kurus, REASON)


def _balance(gateway: Gateway, account_id: str) -> str:
    return str(gateway.admin("GetBalance", admin.AccountRef(account_id=account_id)).balance)


def _row(services: Services, proposal_id: str) -> Proposal:
    with services.store.transaction() as transaction:
        return transaction.get_one(Proposal, proposal_id)


def _acts(services: Services, account_id: str) -> list[str]:
    with services.store.transaction() as transaction:
        return [each.what for each in transaction.scalars(select(Act).where(Act.subject == account_id))]


def _credits_of(services: Services, proposal_id: str) -> Iterator[tuple[str, ledger.CreditAdded]]:
    """What the ledger has with this reference, with its actor."""
    request = admin.TailLedgerRequest(from_position=1, limit=100_000)
    for entry in services.gateway.stream("TailLedger", request, Caller("test")):
        if entry.event.credit_added.reference == proposal_id:
            yield entry.event.actor, entry.event.credit_added


def _at_once(*calls: Callable[[], object]) -> list[type[Exception] | None]:
    """All at the same moment; what each raised."""
    gate, raised = threading.Barrier(len(calls)), dict[int, type[Exception] | None]()

    def run(number: int, call: Callable[[], object]) -> None:
        gate.wait(30)
        try:
            call()
        except (Decided, NotAllowed, FormUsed) as error:
            raised[number] = type(error)
        else:
            raised[number] = None

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return [raised[number] for number in range(len(calls))]


def test_a_small_credit_is_there_at_once_and_on_record(
    root: Browser, services: Services, gateway: Gateway, root_id: str
) -> None:
    account_id = _account(gateway)
    page = root.get(f"/admin/credits?account={account_id}")
    form = re.search(r'name="form_id" value="(\w+)"', page)
    assert form
    fields = {"form_id": form[1], "account_id": account_id, "kind": "credit", "amount": "1.000", "reason": REASON}
    page = root.post("/admin/credits", 200, **fields)
    (row,) = rows_of(page)
    for text in ("₺1,000.00", REASON, "root", "nobody had to", "done"):
        assert text in row
    assert _balance(gateway, account_id) == "1000.00"
    root.post("/admin/credits", 200, **fields)
    assert _balance(gateway, account_id) == "1000.00", "a form that is sent twice counts once"
    assert "something else" in root.post("/admin/credits", 400, **{**fields, "amount": "5"})
    assert _acts(services, account_id) == ["credit.proposed"]
    with services.store.transaction() as transaction:
        proposal = transaction.scalars(select(Proposal).where(Proposal.account_id == account_id)).one()
    ((actor, credit),) = _credits_of(services, proposal.id)
    assert (actor, credit.reason, credit.approved_by) == (root_id, REASON, "")


def test_a_large_credit_waits_for_somebody_else(
    root: Browser, services: Services, gateway: Gateway, root_id: str
) -> None:
    """One person alone would give away any sum."""
    account_id = _account(gateway, ledger.USD)
    fields = {"account_id": account_id, "kind": "credit", "amount": "1000,01", "reason": REASON}
    page = root.post("/admin/credits", 200, form_id=new_id(), **fields)
    (row,) = rows_of(page)
    assert "$1,000.01" in row
    assert "waits for a second person" in row
    link = re.search(r'action="(/admin/credits/(\w+))/decline"', page)
    assert link
    assert f"{link[1]}/approve" not in page
    assert "1 credits by hand wait" in root.get("/admin")
    assert "Somebody else" in root.post(f"{link[1]}/approve", 403)
    assert _balance(gateway, account_id) == "0.00"
    ben_id = add_person(services, "ben@example.com", Standing.ADMINISTRATOR)
    ben = signed_in(services, ben_id)
    assert f"{link[1]}/approve" in ben.get("/admin/credits?state=proposed")
    (row,) = rows_of(ben.post(f"{link[1]}/approve"))
    assert "done" in row
    assert "ben" in row
    assert _balance(gateway, account_id) == "1000.01"
    ben.post(f"{link[1]}/approve")
    root.post(f"{link[1]}/approve")
    assert "decided before" in root.post(f"{link[1]}/decline", 409)
    assert _balance(gateway, account_id) == "1000.01"
    ((actor, credit),) = _credits_of(services, link[2])
    assert (actor, credit.approved_by) == (root_id, ben_id)
    assert _acts(services, account_id) == ["credit.proposed", "credit.approved"]
    root.post("/admin/credits/none/approve", 404)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("reason", "", "Please give a reason"),
        ("reason", "for ada@example.com", "please leave out"),
        ("amount", "0", "an amount such as"),
        ("amount", "-5", "an amount such as"),
        ("amount", "much", "an amount such as"),
        ("account_id", "acc_000000000000000000000000", "no account"),
        ("account_id", "nonsense", "no account"),
        ("kind", "gift", "too old"),
        ("form_id", "", "too old"),
    ],
)
def test_what_is_wrong_with_a_form_is_said(
    root: Browser, services: Services, gateway: Gateway, field: str, value: str, says: str
) -> None:
    fields = {"account_id": _account(gateway), "kind": "credit", "amount": "5", "reason": REASON, "form_id": new_id()}
    assert says in root.post("/admin/credits", 400, **{**fields, field: value})
    with services.store.transaction() as transaction:
        assert transaction.query(Proposal).count() == 0


def test_support_sees_credits_and_decides_nothing(
    sue: Browser, proposals: Proposals, people: list[str], gateway: Gateway
) -> None:
    proposal_id = proposals.propose(people[0], _wanted(_account(gateway), LARGE))
    page = sue.get("/admin/credits")
    assert REASON in page
    assert "<form" not in page.partition("<main")[2].replace('<form class="row" method="get"', "")
    for what in ("approve", "decline"):
        sue.post(f"/admin/credits/{proposal_id}/{what}", 404)


@both_stores
def test_two_who_approve_at_once_give_one_credit(
    services: Services, proposals: Proposals, people: list[str], gateway: Gateway
) -> None:
    account_id = _account(gateway)
    ids = [proposals.propose(people[0], _wanted(account_id, LARGE)) for _ in range(5)]
    for number, proposal_id in enumerate(ids, start=1):
        raised = _at_once(
            lambda: proposals.approve(proposal_id, people[1]),  # noqa: B023 - called before the next turn
            lambda: proposals.approve(proposal_id, people[2]),  # noqa: B023
            proposals.work,
        )
        assert raised == [None, None, None]
        assert _row(services, proposal_id).state == State.DONE
        assert _balance(gateway, account_id) == f"{LARGE * number / 100:.2f}"
    assert _acts(services, account_id).count("credit.approved") == len(ids)


@both_stores
def test_who_approves_and_who_declines_at_once_end_alike(
    services: Services, proposals: Proposals, people: list[str], gateway: Gateway
) -> None:
    """Declined and credited all the same would be money that nobody wanted to give."""
    for _ in range(5):
        account_id = _account(gateway)
        proposal_id = proposals.propose(people[0], _wanted(account_id, LARGE))
        raised = _at_once(
            lambda: proposals.approve(proposal_id, people[1]),  # noqa: B023 - called before the next turn
            lambda: proposals.decline(proposal_id, people[2]),  # noqa: B023
        )
        state = _row(services, proposal_id).state
        assert (state, raised.index(Decided)) in ((State.DONE, 1), (State.DECLINED, 0))
        assert _balance(gateway, account_id) == ("1000.01" if state == State.DONE else "0.00")


@both_stores
def test_a_form_that_is_sent_twice_at_once_counts_once(
    services: Services, proposals: Proposals, people: list[str], gateway: Gateway
) -> None:
    account_id = _account(gateway)
    wanted = _wanted(account_id, SMALL)
    _at_once(*[lambda: proposals.propose(people[0], wanted)] * 3)
    assert _balance(gateway, account_id) == "1000.00"
    for person_id, other in ((people[1], wanted), (people[0], replace(wanted, amount_kurus=1))):
        with pytest.raises(FormUsed):
            proposals.propose(person_id, other)


@both_stores
def test_somebody_who_is_no_administrator_any_more_gives_nothing(
    services: Services, proposals: Proposals, people: list[str], gateway: Gateway
) -> None:
    """A dismissed person's proposal would wait for whoever approves what is in the list."""
    account_id = _account(gateway)
    proposal_id = proposals.propose(people[0], _wanted(account_id, LARGE))
    with services.store.transaction() as transaction:
        change_standing(transaction, people[1], people[0], Standing.CUSTOMER)
    for person_id in people:
        with pytest.raises(NotAllowed):
            proposals.approve(proposal_id, person_id)
    proposals.decline(proposal_id, people[1])
    with pytest.raises(Decided):
        proposals.approve(proposal_id, people[1])
    assert _balance(gateway, account_id) == "0.00"


def test_what_is_taken_back_beyond_what_is_free_is_owed(
    proposals: Proposals, services: Services, people: list[str], gateway: Gateway
) -> None:
    account_id = _account(gateway)
    proposals.propose(people[0], _wanted(account_id, 10_000))
    proposals.propose(people[0], _wanted(account_id, 4_000, Kind.REVERSAL))
    assert _balance(gateway, account_id) == "60.00"
    large = proposals.propose(people[0], _wanted(account_id, LARGE, Kind.REVERSAL))
    assert _balance(gateway, account_id) == "60.00"
    proposals.approve(large, people[1])
    found = gateway.admin("GetBalance", admin.AccountRef(account_id=account_id))
    assert (found.balance, found.receivable) == ("0.00", "940.01")
    assert "₺940.01" in signed_in(services, people[0]).get(f"/admin/accounts/{account_id}")


def test_what_the_service_holds_to_be_too_large_for_one_waits_for_a_second(
    services: Services, people: list[str], gateway: Gateway
) -> None:
    """Console and service may be configured differently; the stricter counts."""
    loose = services.settings.model_copy(update={"manual_credit_bound": 5_000})
    proposals = Proposals(loose, services.store, services.gateway)
    account_id = _account(gateway)
    proposal_id = proposals.propose(people[0], _wanted(account_id, 200_000))
    assert _row(services, proposal_id).state == State.APPROVED
    assert "second person" in _row(services, proposal_id).problem
    proposals.approve(proposal_id, people[0])
    assert _balance(gateway, account_id) == "0.00"
    proposals.approve(proposal_id, people[1])
    row = _row(services, proposal_id)
    assert (row.state, row.decided_by, row.problem) == (State.DONE, people[1], "")
    assert _balance(gateway, account_id) == "2000.00"


def test_a_credit_that_counted_before_a_death_is_not_given_again(
    services: Services, proposals: Proposals, people: list[str], gateway: Gateway
) -> None:
    """Killed between the ledger's answer and the row."""
    account_id = _account(gateway)
    proposal_id = proposals.propose(people[0], _wanted(account_id, LARGE))
    proposals.approve(proposal_id, people[1])
    with services.store.transaction() as transaction:
        row = transaction.get_one(Proposal, proposal_id)
        row.state, row.done_at, row.next_at = State.APPROVED, None, now()
    proposals.work()
    assert _row(services, proposal_id).state == State.DONE
    assert _balance(gateway, account_id) == "1000.01"


def test_a_death_between_approval_and_credit_costs_nothing(
    services: Services, proposals: Proposals, people: list[str], gateway: Gateway, tmp_path: Path
) -> None:
    account_id, port = _account(gateway), free_port()
    proposal_id = proposals.propose(people[0], _wanted(account_id, LARGE))
    browser = signed_in(services, people[1])
    with services.store.transaction() as transaction:
        csrf = transaction.query(Session).filter_by(person_id=people[1]).one().csrf_token
    headers = {
        "Cookie": f"{SESSION_COOKIE}={browser.http.cookies[SESSION_COOKIE]}",
        "Content-Type": "application/x-www-form-urlencoded",
    }

    def post() -> int | None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", f"/admin/credits/{proposal_id}/approve", f"csrf_token={csrf}", headers)
            return connection.getresponse().status
        except ConnectionRefusedError:
            return None  # it still starts
        finally:
            connection.close()

    with console(services, port, NOBODY):
        assert eventually(post) == 303
        assert _row(services, proposal_id).state == State.APPROVED
    assert _balance(gateway, account_id) == "0.00"
    for _ in range(2):
        with console(services, port, services.settings.admin_address):
            eventually(lambda: _row(services, proposal_id).state == State.DONE)
            assert eventually(post) == 303
    assert _balance(gateway, account_id) == "1000.01"
    assert _acts(services, account_id).count("credit.approved") == 1
