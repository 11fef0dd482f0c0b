"""What payment providers send: webhooks, and the browser that comes back from their page.

These come from elsewhere, so they carry no session and no form token: webhooks prove themselves by signature, and a
returning browser proves nothing - the provider is asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from console.payments.cashier import Cashier
from console.payments.port import Forged, ProviderFailed
from console.services import Services
from runtime.log import log

BODY_BYTES_MAX = 65_536


def routes_for_providers(services: Services) -> list[Route]:
    """The addresses that stand in the providers' panels, and the one that a checkout form returns to."""
    return [
        Route("/payments/webhooks/{provider}", _with_body(services, _webhook), methods=["POST"]),
        Route("/payments/return/{provider}", _with_body(services, _returned), methods=["POST"]),
    ]


Served = Callable[[Services, str, Mapping[str, str], bytes], Response]


def _with_body(services: Services, serve: Served) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return PlainTextResponse("too large", 413)
        body = await request.body()
        return await run_in_threadpool(serve, services, request.path_params["provider"], request.headers, body)

    return endpoint


def _cashier(services: Services) -> Cashier:
    return Cashier(services.settings, services.store, services.gateway)


def _webhook(services: Services, provider: str, headers: Mapping[str, str], body: bytes) -> Response:
    """`OK` once it is kept or needs no keeping; PayTR asks for that very word, iyzico for any 2xx."""
    try:
        _cashier(services).notified(provider, headers, body)
    except Forged:
        return PlainTextResponse("signature", 400)
    except ProviderFailed as error:
        log.warning("payment.webhook_postponed", provider=provider, error=str(error))
        return PlainTextResponse("later", 503)
    return PlainTextResponse("OK")


def _returned(services: Services, provider: str, headers: Mapping[str, str], body: bytes) -> Response:
    token = parse_qs(body.decode("latin-1")).get("token", [""])[-1]
    payment_id = _cashier(services).returned(provider, token)
    return RedirectResponse(f"/payments/{payment_id}" if payment_id else "/payments", 303)
