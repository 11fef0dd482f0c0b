"""People as staff sees them; nobody changes their own standing, and one administrator is always left."""

import re
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select

from console.people import standing as people
from console.people.standing import NotAllowed
from console.people.tables import Act, Person, RecoveryCode, Role, Session, Standing, now
from console.services import Services
from console.web.context import LANGUAGE_COOKIE
from console.web.paging import ROWS_A_PAGE
from tests.console.admin.conftest import rows_of, signed_in
from tests.console.conftest import Browser, add_person
from tests.faults.gateway import Gateway

REASON = "showed the invoice and the last four digits"


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """SQLite, and PostgreSQL where a test asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return ""
    uri: str = request.getfixturevalue("postgres")
    return uri


def _person(services: Services, person_id: str) -> Person:
    with services.store.transaction() as transaction:
        return transaction.get_one(Person, person_id)


def _acts(services: Services, person_id: str) -> list[tuple[str, str]]:
    with services.store.transaction() as transaction:
        found = transaction.scalars(select(Act).where(Act.subject == person_id).order_by(Act.at))
        return [(each.what, each.detail) for each in found]


def test_people_are_found_by_address_name_standing_and_state(sue: Browser, services: Services) -> None:
    """Somebody who calls would not be found."""
    ada = add_person(services, "ada.lovelace@example.com")
    add_person(services, "root@example.com", Standing.ADMINISTRATOR)
    with services.store.transaction() as transaction:
        gone = Person(email="old@example.com", name="Old", password_hash="!", disabled_at=now())
        transaction.add(gone)
    for query in ("search=LOVELACE@", "search=Ada.l", f"search={ada}", "standing=customer&state=enabled"):
        rows = rows_of(sue.get(f"/admin/people?{query}"))
        assert ["ada.lovelace@example.com" in row for row in rows] == [True], query
    assert ["old@example.com" in row for row in rows_of(sue.get("/admin/people?state=disabled"))] == [True]
    assert len(rows_of(sue.get("/admin/people?standing=administrator"))) == 1
    assert len(rows_of(sue.get("/admin/people"))) == 4
    assert "Nobody here." in sue.get("/admin/people?search=%25")


def test_many_people_are_shown_by_fifty(sue: Browser, services: Services) -> None:
    with services.store.transaction() as transaction:
        for number in range(ROWS_A_PAGE + 5):
            transaction.add(Person(email=f"p{number}@many.example.com", name=f"P {number}", password_hash="!"))
    page = sue.get("/admin/people?search=many.example")
    link = re.search(r'href="(/admin/people\?[^"]*page=1)"', page)
    assert link
    rest = sue.get(link[1].replace("&amp;", "&"))
    shown = rows_of(page) + rows_of(rest)
    assert (len(rows_of(page)), len(set(shown))) == (ROWS_A_PAGE, ROWS_A_PAGE + 5)


def test_a_person_is_shown_with_memberships_and_sign_ins(sue: Browser, services: Services, gateway: Gateway) -> None:
    account_id = gateway.open_account("1.00").account_id
    ada = add_person(services, "ada@example.com", memberships={account_id: Role.OWNER})
    Browser(services).sign_in("ada@example.com")
    page = sue.get(f"/admin/people/{ada}")
    assert f'href="/admin/accounts/{account_id}"' in page
    assert any("testclient" in row for row in rows_of(page))
    assert "<form" not in page.partition("<main")[2], "support changes nothing"
    sue.get("/admin/people/nobody", 404)


def test_an_administrator_makes_another_and_is_recorded(root: Browser, services: Services) -> None:
    ada = add_person(services, "ada@example.com")
    page = root.post(f"/admin/people/{ada}/standing", standing="administrator")
    assert "administrator" in page
    assert _person(services, ada).standing == Standing.ADMINISTRATOR
    root.post(f"/admin/people/{ada}/standing", standing="administrator")
    root.post(f"/admin/people/{ada}/standing", 400, standing="king")
    assert _acts(services, ada) == [("person.standing", "administrator")]
    assert any("standing changed" in row for row in rows_of(root.get(f"/admin/acts?account={ada}")))


def test_an_act_is_told_in_the_readers_language_and_a_reason_as_it_was_written(
    services: Services, root: Browser
) -> None:
    ada = add_person(services, "ada@example.com")
    root.post(f"/admin/people/{ada}/standing", standing="support")
    root.post(f"/admin/people/{ada}/second-factor", reason="the partner and the owner saw her")
    root.http.cookies.set(LANGUAGE_COOKIE, "tr")
    rows = rows_of(root.get(f"/admin/acts?account={ada}"))
    assert "the partner and the owner saw her" in rows[0]
    assert "yetki değiştirildi ada destek" in rows[1]


@pytest.mark.parametrize(
    ("what", "form"),
    [
        ("standing", {"standing": "customer"}),
        ("disable", {}),
        ("enable", {}),
        ("sign-out", {}),
        ("second-factor", {"reason": REASON}),
    ],
)
def test_nobody_does_it_to_themselves(
    root: Browser, services: Services, root_id: str, what: str, form: dict[str, str]
) -> None:
    """The last administrator would lock the house, and a stolen session would take off the second factor."""
    assert "somebody else" in root.post(f"/admin/people/{root_id}/{what}", 403, **form)
    me = _person(services, root_id)
    assert (me.standing, me.disabled_at, me.totp_since is None) == (Standing.ADMINISTRATOR, None, False)
    assert _acts(services, root_id) == []
    assert "This is you" in root.get(f"/admin/people/{root_id}")


def test_whoever_is_disabled_is_out_at_once(root: Browser, services: Services) -> None:
    ada = add_person(services, "ada@example.com")
    browser = Browser(services)
    browser.sign_in("ada@example.com")
    root.post(f"/admin/people/{ada}/disable")
    assert 'action="/sign-in"' in browser.get("/sign-ins")
    browser.post("/sign-in", 400, email="ada@example.com", password="correct horse battery")
    root.post(f"/admin/people/{ada}/enable")
    assert 'action="/sign-in"' in browser.get("/sign-ins"), "an old session must not come back"
    browser.sign_in("ada@example.com")
    assert "Last seen" in browser.get("/sign-ins")
    root.post(f"/admin/people/{ada}/sign-out")
    assert 'action="/sign-in"' in browser.get("/sign-ins")
    assert [what for what, _ in _acts(services, ada)] == ["person.disabled", "person.enabled", "person.signed_out"]


def test_a_lost_second_factor_is_reset_with_a_reason(root: Browser, services: Services) -> None:
    ada = add_person(services, "ada@example.com", Standing.SUPPORT)
    with services.store.transaction() as transaction:
        transaction.add(RecoveryCode(person_id=ada, code_hash="x"))
    browser = signed_in(services, ada)
    browser.get("/admin/people")
    here = f"/admin/people/{ada}/second-factor"
    assert "Please give a reason" in root.post(here, 400)
    assert "e-mail addresses" in root.post(here, 400, reason="wrote from ada@example.com")
    assert "tax and telephone" in root.post(here, 400, reason="her number is 12345678901")
    assert _person(services, ada).totp_since is not None
    root.post(here, reason=REASON)
    person = _person(services, ada)
    assert (person.totp_secret, person.totp_since) == (None, None)
    with services.store.transaction() as transaction:
        assert transaction.query(RecoveryCode).count() == transaction.query(Session).filter_by(person_id=ada).count()
    assert _acts(services, ada) == [("person.second_factor_reset", REASON)]
    assert 'action="/sign-in"' in browser.get("/admin/people")
    assert "/second-factor/set-up" in browser.sign_in("ada@example.com"), "staff must set it up anew"
    assert any(REASON in row for row in rows_of(root.get(f"/admin/acts?account={ada}")))


def test_somebody_who_was_erased_stays_so(root: Browser, services: Services) -> None:
    with services.store.transaction() as transaction:
        person = Person(email=f"x{people.ERASED}", name="", password_hash="!", disabled_at=now())
        transaction.add(person)
    page = root.get(f"/admin/people/{person.id}")
    assert "an erased person" in page
    assert people.ERASED not in page
    root.post(f"/admin/people/{person.id}/enable", 403)
    assert _person(services, person.id).disabled_at is not None


def test_a_page_that_was_open_before_a_demotion_does_nothing_more(root: Browser, services: Services) -> None:
    other = add_person(services, "other@example.com", Standing.ADMINISTRATOR)
    browser = signed_in(services, other)
    browser.get("/admin/people")
    root.post(f"/admin/people/{other}/standing", standing="support")
    ada = add_person(services, "ada@example.com")
    browser.post(f"/admin/people/{ada}/standing", 404, standing="administrator")
    with pytest.raises(NotAllowed), services.store.transaction() as transaction:
        people.change_standing(transaction, other, ada, Standing.ADMINISTRATOR)


TAKE_AWAY: list[Callable[..., None]] = [
    lambda *who: people.change_standing(*who, standing=Standing.CUSTOMER),
    people.disable,
]


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("take_away", TAKE_AWAY, ids=["standing", "access"])
def test_two_administrators_who_take_each_others_standing_leave_one(
    services: Services, take_away: Callable[..., None]
) -> None:
    """With none left, nobody could make another."""
    with services.store.transaction() as transaction:
        transaction.query(Person).delete()
    for _ in range(10):
        two = [add_person(services, f"{name}@example.com", Standing.ADMINISTRATOR) for name in ("a", "b")]
        gate, refused = threading.Barrier(2), []

        def take(actor_id: str, person_id: str, gate: threading.Barrier, refused: list[str]) -> None:
            gate.wait(30)
            try:
                with services.store.transaction() as transaction:
                    take_away(transaction, actor_id, person_id)
            except NotAllowed:
                refused.append(actor_id)

        threads = [threading.Thread(target=take, args=(*who, gate, refused)) for who in (two, two[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        with services.store.transaction() as transaction:
            left = [each for each in transaction.query(Person) if people.is_administrator(each)]
            assert (len(left), len(refused)) == (1, 1)
            for each in transaction.query(Person):
                transaction.delete(each)
