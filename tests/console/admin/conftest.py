"""Staff at the administrator's pages, signed in."""

import html
import re

import pytest

from console.identity import sessions
from console.people.tables import Person, Session, Standing, now
from console.services import Services
from console.web.guards import SESSION_COOKIE
from tests.console.conftest import Browser, add_person


def signed_in(services: Services, person_id: str) -> Browser:
    """A browser of this person, whose second factor was given just now."""
    browser = Browser(services)
    with services.store.transaction() as transaction:
        person = transaction.get_one(Person, person_id)
        token = sessions.begin(transaction, person, "127.0.0.1", "test")
        transaction.flush()
        for session in transaction.query(Session).filter_by(person_id=person_id):
            session.second_factor_at = now()
    browser.http.cookies.set(SESSION_COOKIE, token)
    return browser


def rows_of(page: str) -> list[str]:
    """The text of each row of the page's tables."""
    bodies = re.findall(r"<tbody>(.*?)</tbody>", page, re.S)
    rows = [row for body in bodies for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S)]
    return [html.unescape(" ".join(re.sub(r"<[^>]*>", " ", row).split())) for row in rows]


@pytest.fixture
def root_id(services: Services) -> str:
    """An administrator."""
    return add_person(services, "root@example.com", Standing.ADMINISTRATOR)


@pytest.fixture
def root(services: Services, root_id: str) -> Browser:
    """The administrator, signed in."""
    return signed_in(services, root_id)


@pytest.fixture
def sue(services: Services) -> Browser:
    """Support, signed in."""
    return signed_in(services, add_person(services, "sue@example.com", Standing.SUPPORT))
