"""A whole instance with its console, and a real Chromium in front of it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.faults.gateway import Gateway

NAMES = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browsers are slow."""
    for item in items:
        if "console/ui" in str(item.path):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's. For one module: while it is open, its event loop runs in the thread of the tests."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Gateway]:
    """One instance with a console and the demo's people."""
    gateway = Gateway(tmp_path_factory.mktemp("ui") / "data", edges=1, cores=1, console=True)
    try:
        gateway.start()
        yield gateway
    finally:
        code = gateway.stop()
    assert code == 0, gateway.screen_tail()


@dataclass
class Visitor:
    """Somebody at a browser. `troubles`: what the browser complained of."""

    page: Page
    url: str
    troubles: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open a page and wait until it is quiet."""
        self.page.goto(self.url + path, wait_until="load")
        return self.page


class Visits:
    """Opens browsers, signed in once for each person."""

    def __init__(self, chromium: Browser, site: Gateway) -> None:
        self._chromium = chromium
        self._site = site
        self._cookies: dict[str, Any] = {}
        self._open: list[BrowserContext] = []
        self.url = site.document["console_url"]

    def visitor(
        self, name: str = "", language: str = "tr", dark: bool = False, phone: bool = False, scripts: bool = True
    ) -> Visitor:
        """A new window: as nobody, or as `user`, `partner` or `administrator`."""
        context = self._chromium.new_context(
            viewport=PHONE if phone else DESKTOP,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            locale="tr-TR" if language == "tr" else "en-GB",
            java_script_enabled=scripts,
        )
        self._open.append(context)
        if name and name not in self._cookies:
            self._cookies[name] = self._sign_in(name)
        cookies = [each for each in self._cookies.get(name, []) if each["name"] != "language"]
        context.add_cookies([*cookies, {"name": "language", "value": language, "url": self.url}])
        visitor = Visitor(context.new_page(), self.url)
        visitor.page.on("console", lambda message: _note(visitor, message))
        visitor.page.on("pageerror", lambda error: visitor.troubles.append(str(error)))
        return visitor

    def _sign_in(self, name: str) -> Any:
        person = self._site.document["console_people"][name]
        context = self._chromium.new_context()
        page = context.new_page()
        page.goto(f"{self.url}/sign-in")
        page.fill("[name=email]", person["email"])
        page.fill("[name=password]", person["password"])
        page.click("main button")
        if person["totp_secret"]:
            page.fill("[name=code]", pyotp.TOTP(person["totp_secret"]).now())
            page.click("main button")
        page.wait_for_load_state()
        cookies = context.cookies()
        context.close()
        return cookies

    def close(self) -> None:
        """Close every window."""
        for context in self._open:
            context.close()


def _note(visitor: Visitor, message: ConsoleMessage) -> None:
    """The payment provider's page is not ours."""
    place = message.location.get("url", "")
    if message.type == "error" and place.startswith(visitor.url):
        visitor.troubles.append(f"{message.text} {place}")


@pytest.fixture
def visits(chromium: Browser, site: Gateway) -> Iterator[Visits]:
    """Windows of one test."""
    found = Visits(chromium, site)
    yield found
    found.close()
