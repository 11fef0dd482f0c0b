"""The way into every page: session, second factor, who may see it, and that a form is the site's own.

A page is a plain function of a Context (and of path parameters by the Context's request); Starlette runs it in a
thread. `pages` are tables of routes; each row names its guard, so that a test can walk all of them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from console.gateway import CallFailed
from console.identity import sessions
from console.identity.secrets import is_same
from console.identity.sessions import SignedIn
from console.identity.throttle import TooManyAttempts
from console.people.tables import Standing
from console.services import Services
from console.web.context import Context, NotFound, Problem, context_of

SESSION_COOKIE = "onysoft_session"
FORM_FIELDS_MAX = 200
FORM_FILES_MAX = 2
FORM_BYTES_MAX = 12_000_000

Page = Callable[[Context], Response]


@unique
class Guard(StrEnum):
    """Who gets in. Everybody else gets 404, or the sign-in page when nobody is signed in."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"  # before the second factor
    PERSON = "person"
    SUPPORT = "support"  # support and administrators
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class Row:
    """One route."""

    path: str
    page: Page
    guard: Guard
    methods: tuple[str, ...] = ("GET",)


def routes_of(rows: list[Row], services: Services) -> list[Route]:
    """The rows as Starlette routes."""
    return [Route(row.path, _endpoint(row, services), methods=list(row.methods)) for row in rows]


def _endpoint(row: Row, services: Services) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        form: FormData | None = None
        if request.method == "POST":
            form = await _form_of(request)
        request.state.form = form
        try:
            return await run_in_threadpool(_serve, row, services, request)
        finally:
            if form is not None:
                await form.close()

    return endpoint


async def _form_of(request: Request) -> FormData:
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > FORM_BYTES_MAX:
        raise Problem("The form is too large.", 413)
    return await request.form(max_files=FORM_FILES_MAX, max_fields=FORM_FIELDS_MAX)


def _serve(row: Row, services: Services, request: Request) -> Response:
    signed_in = find_session(services, request)
    context = context_of(request, services, signed_in)
    turned_away = _turn_away(row.guard, context)
    if turned_away is not None:
        return turned_away
    try:
        if request.method == "POST":
            _check_origin(context)
            if signed_in is not None:
                _check_csrf(context, signed_in)
        return row.page(context)
    except NotFound:
        return context.render("not_found.html", status=404)
    except Problem as problem:
        return context.render("problem.html", {"message": problem.message}, problem.status)
    except TooManyAttempts as error:
        text = context.translate(
            "Too many attempts. Please try again in %(minutes)s minutes.", minutes=-(-error.retry_after_s // 60)
        )
        return context.render("problem.html", {"message": text}, 429)
    except CallFailed as failure:
        return _call_failed(context, failure)


def find_session(services: Services, request: Request) -> SignedIn | None:
    """Who the cookie says it is."""
    token = request.cookies.get(SESSION_COOKIE)
    if not token:
        return None
    with services.store.transaction() as transaction:
        return sessions.find(transaction, token)


def _turn_away(guard: Guard, context: Context) -> Response | None:
    if guard is Guard.ANYONE:
        return None
    signed_in = context.signed_in
    if signed_in is None:
        return context.go("/sign-in")
    if guard is not Guard.SIGNED_IN and signed_in.needs_second_factor:
        return context.go("/second-factor")
    standing = signed_in.person.standing
    allowed = {
        Guard.SUPPORT: standing in (Standing.SUPPORT, Standing.ADMINISTRATOR),
        Guard.ADMINISTRATOR: standing == Standing.ADMINISTRATOR,
    }
    return None if allowed.get(guard, True) else context.render("not_found.html", status=404)


def _check_origin(context: Context) -> None:
    """A form of another site must not even sign somebody in."""
    headers = context.request.headers
    site, origin = headers.get("sec-fetch-site", "same-origin"), headers.get("origin", "")
    foreign_origin = origin not in ("", "null") and urlsplit(origin).netloc != headers.get("host", "")
    if site not in ("same-origin", "none") or foreign_origin:
        raise Problem(context.translate("This form is not from this site."), 403)


def _check_csrf(context: Context, signed_in: SignedIn) -> None:
    given = context.request.headers.get("x-csrf-token") or form_of(context).get("csrf_token", "")
    if not is_same(given, signed_in.session.csrf_token):
        raise Problem(context.translate("This form is too old. Please try again."), 403)


def _call_failed(context: Context, failure: CallFailed) -> Response:
    if failure.code == "not_found":
        return context.render("not_found.html", status=404)
    if failure.code == "permission_denied":
        return context.render("problem.html", {"message": context.translate("You may not do this.")}, 403)
    unavailable = failure.code in ("unavailable", "deadline_exceeded")
    text = context.translate("The gateway cannot be reached right now. Please try again.")
    message = text if unavailable else failure.message
    return context.render("problem.html", {"message": message}, 503 if unavailable else 400)


def form_of(context: Context) -> dict[str, str]:
    """The text fields of a form, without space around them."""
    form: Any = context.request.state.form
    return {name: value.strip() for name, value in form.multi_items() if isinstance(value, str)} if form else {}
