"""What a page knows of its request: who, in which language, and how to answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console.identity.sessions import SignedIn
from console.services import Services
from console.web import words
from console.web.language import LANGUAGES, Formats, preferred, translator
from console.web.menu import ADMIN, PARTNER, menu_of

LANGUAGE_COOKIE = "language"


class NotFound(Exception):
    """There is no such page, or it is somebody else's: the two look alike."""


class Problem(Exception):
    """What a person did cannot be done; the message is for them, already in their language."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


@dataclass(slots=True)
class Context:
    """One request."""

    request: Request
    services: Services
    signed_in: SignedIn | None
    language: str
    translate: Callable[..., str]
    formats: Formats
    notices: list[str] = field(default_factory=list)

    @property
    def me(self) -> SignedIn:
        """Whoever is signed in. Only behind a guard."""
        assert self.signed_in is not None
        return self.signed_in

    @property
    def address(self) -> str:
        """The network address of the browser; behind a proxy, what the server was told to trust."""
        client = self.request.client
        return client.host if client is not None else ""

    @property
    def menu(self) -> list[tuple[str, str]]:
        """Links for whoever is signed in: path and text."""
        return menu_of(self.me.person)

    @property
    def is_partial(self) -> bool:
        """Is only a part of a page asked for, by a script of ours?"""
        return self.request.headers.get("hx-request") == "true"

    def render(self, template: str, values: Mapping[str, Any] | None = None, status: int = 200) -> Response:
        """A page. A request by htmx gets the same template, which then leaves the frame out."""
        shared = {
            "context": self,
            "me": self.signed_in,
            "language": self.language,
            "_": self.translate,
            "formats": self.formats,
            "words": words,
            "settings": self.services.settings,
            "admin_menu": ADMIN,
            "partner_menu": PARTNER,
            "csrf_token": self.signed_in.session.csrf_token if self.signed_in is not None else "",
            "partial": self.is_partial,
            "path": self.request.url.path,
        }
        html = self.services.templates.get_template(template).render({**shared, **(values or {})})
        return Response(html, status, media_type="text/html")

    def go(self, path: str) -> Response:
        """Go on at another page of this site."""
        if self.is_partial:
            return Response(status_code=204, headers={"HX-Redirect": path})
        return RedirectResponse(path, 303)


def own_path(path: str, otherwise: str = "/") -> str:
    """A path of this site, whatever was asked for."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else otherwise


def language_of(request: Request, signed_in: SignedIn | None) -> str:
    """Chosen by cookie, else the person's, else the browser's."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    if signed_in is not None and signed_in.person.language in LANGUAGES:
        return signed_in.person.language
    return preferred(request.headers.get("accept-language", ""))


def context_of(request: Request, services: Services, signed_in: SignedIn | None) -> Context:
    """The context of a request."""
    language = language_of(request, signed_in)
    return Context(request, services, signed_in, language, translator(language), Formats(language))
