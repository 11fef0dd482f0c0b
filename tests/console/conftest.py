"""The console in the test's process, in front of a real gateway; its store is SQLite, or PostgreSQL where asked."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pgserver
import pyotp
import pytest
from starlette.testclient import TestClient

from console.app import make_app
from console.identity import passwords, sessions
from console.people.tables import Membership, Person, Role, Session, Standing, now
from console.services import Services, open_services
from console.web.guards import SESSION_COOKIE
from runtime.settings import Settings
from tests.faults.gateway import Gateway

PASSWORD = "correct horse battery"
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One running gateway for all tests of the console."""
    gateway = Gateway(tmp_path_factory.mktemp("console") / "data", edges=1, cores=1)
    try:
        gateway.start()
        yield gateway
    finally:
        code = gateway.stop()
    assert code == 0, gateway.screen_tail()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server's address."""
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


@pytest.fixture
def database() -> str:
    """DSN of people's data; empty: SQLite. A module that must hold on both stores overrides it."""
    return ""


@pytest.fixture
def services(gateway: Gateway, tmp_path: Path, database: str) -> Iterator[Services]:
    """The console's own parts."""
    settings = Settings(
        console_dir=tmp_path,
        console_database=database,
        console_secret="c" * 32,
        console_url="http://testserver",
        api_url=gateway.base_urls[0],
        admin_address=gateway.document["admin_address"],
        admin_token=gateway.document["admin_token"],
        analytics_url=gateway.document["ops_urls"]["analytics"],
    )
    opened = open_services(settings)
    yield opened
    opened.gateway.close()
    opened.analytics.close()
    opened.store.close()


class Browser:
    """A client with cookies that fills in forms the way a browser does."""

    def __init__(self, services: Services, language: str = "en") -> None:
        self._mail = services.settings.console_dir / "mail"
        self.http = TestClient(make_app(services), follow_redirects=True, headers={"accept-language": language})

    def get(self, path: str, status: int = 200) -> str:
        """The page's text."""
        answer = self.http.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.text

    def post(self, path: str, status: int = 200, **fields: str) -> str:
        """Send a form with the token of the session; the text of the page that follows."""
        token = re.search(r'data-csrf="([^"]*)"', self.http.get("/language-and-token-of-any-page").text)
        answer = self.http.post(path, data={"csrf_token": token[1] if token else "", **fields})
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.text

    def last_mail(self) -> str:
        """The text of the newest message."""
        newest = max(self._mail.glob("*.eml"), key=lambda path: path.name)
        text = message_from_bytes(newest.read_bytes()).get_payload(decode=True)
        assert isinstance(text, bytes)
        return text.decode()

    def follow_link(self) -> str:
        """Open the link of the newest message."""
        link = re.search(r"http://testserver(/\S+)", self.last_mail())
        assert link
        return self.get(link[1])

    def sign_in(self, email: str, password: str = PASSWORD) -> str:
        """Sign in, with a second factor where one is asked for."""
        page = self.post("/sign-in", email=email, password=password)
        if 'action="/second-factor"' in page:
            page = self.post("/second-factor", code=pyotp.TOTP(TOTP_SECRET).now())
        return page

    def enter(self, services: Services, email: str) -> "Browser":
        """A session of this person, whose second factor was shown, without the way there."""
        with services.store.transaction() as transaction:
            person = transaction.query(Person).filter_by(email=email).one()
            token = sessions.begin(transaction, person, "127.0.0.1", "test")
            transaction.flush()
            for session in transaction.query(Session).filter_by(person_id=person.id):
                session.second_factor_at = now()
        self.http.cookies.set(SESSION_COOKIE, token)
        return self


@pytest.fixture
def browser(services: Services) -> Browser:
    """Nobody is signed in."""
    return Browser(services)


def add_person(
    services: Services,
    email: str,
    standing: Standing = Standing.CUSTOMER,
    memberships: dict[str, Role] | None = None,
) -> str:
    """A verified person; staff has a second factor. Returns the id."""
    with services.store.transaction() as transaction:
        person = Person(
            email=email,
            name=email.partition("@")[0],
            password_hash=passwords.hash_password(PASSWORD),
            standing=standing,
            verified_at=now(),
            language="en",
        )
        if standing != Standing.CUSTOMER:
            person.totp_secret, person.totp_since = services.vault.close(TOTP_SECRET), now()
        for account_id, role in (memberships or {}).items():
            person.memberships.append(Membership(account_id=account_id, role=role))
        transaction.add(person)
        transaction.flush()
        return person.id
