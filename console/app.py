"""The ASGI application: routes, static files, headers that every response has."""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from console.pages import ROWS
from console.pages.provider_calls import routes_for_providers
from console.services import Services
from console.web.context import Problem, context_of
from console.web.guards import find_session, routes_of
from runtime.log import log

STATIC = Path(__file__).parent / "static"
STATIC_AGE_S = 86_400

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def make_app(services: Services) -> "SafeHeaders":
    """The whole site."""
    static = Mount("/static", StaticFiles(directory=STATIC), name="static")
    app = Starlette(
        routes=[static, *routes_for_providers(services), *routes_of(ROWS, services)],
        exception_handlers={
            404: lambda request, _: _error_page(services, request, "not_found.html", 404),
            405: lambda request, _: _error_page(services, request, "not_found.html", 405),
            Problem: lambda request, problem: _problem_page(services, request, problem),
            500: lambda request, error: _defect_page(services, request, error),
        },
    )
    return SafeHeaders(app, _policy(services.settings.api_url))


def _policy(api_url: str) -> str:
    """No inline script, no inline style, nothing from elsewhere; the playground may call the API."""
    api = "/".join(api_url.split("/", 3)[:3])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
        f"media-src 'self' {api}; img-src 'self' data: {api}; connect-src 'self' {api}; form-action 'self'; "
        "frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


def _error_page(services: Services, request: Request, template: str, status: int) -> Response:
    return context_of(request, services, find_session(services, request)).render(template, status=status)


def _problem_page(services: Services, request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    context = context_of(request, services, None)
    return context.render("problem.html", {"message": context.translate(error.message)}, error.status)


def _defect_page(services: Services, request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        log.error("page.failed", path=request.url.path, exc_info=error)
    context = context_of(request, services, None)
    message = context.translate("Something went wrong. We have been told.")
    return context.render("problem.html", {"message": message}, 500)


class SafeHeaders:
    """Adds the security headers, and keeps pages out of caches."""

    def __init__(self, app: Starlette, policy: str) -> None:
        self._app = app
        self._fields = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_with_fields(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                cached = scope["path"].startswith("/static/")
                age = f"public, max-age={STATIC_AGE_S}" if cached else "no-store"
                named = {name.lower() for name, _ in message["headers"]}
                extra = [*self._fields, (b"cache-control", age.encode())]
                message["headers"] = [*message["headers"], *(field for field in extra if field[0] not in named)]
            await send(message)

        await self._app(scope, receive, send_with_fields)
