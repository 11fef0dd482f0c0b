"""The console process."""

import asyncio
import socket

import uvicorn

from console.app import make_app
from console.jobs import Jobs
from console.services import Services, open_services
from runtime.errors import OperatorError
from runtime.log import log
from runtime.ops import Ops
from runtime.process import unless_stopped
from runtime.settings import Settings

SECRET_CHARACTERS_MIN = 16
BACKLOG = 512


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run the console until `stop`. Raises OperatorError for settings under which it must not run."""
    if len(settings.console_secret.get_secret_value()) < SECRET_CHARACTERS_MIN:
        raise OperatorError(f"ONYSOFT_CONSOLE_SECRET must have at least {SECRET_CHARACTERS_MIN} characters")
    listener = _listen(settings)
    services = await asyncio.to_thread(open_services, settings)
    server = uvicorn.Server(_config(settings, services))
    ops = Ops(settings, "console", lambda: None if server.started else "starting")
    ops_port = await unless_stopped(stop, ops.start())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    jobs = Jobs(services)
    jobs.start()
    log.info("console.ready", port=listener.getsockname()[1], ops_port=ops_port)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    stopping.cancel()
    await jobs.stop()
    await ops.close()
    services.gateway.close()
    services.analytics.close()
    services.store.close()


def _listen(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in settings.console_host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.console_host, settings.console_port))
    except OSError:
        raise OperatorError(f"cannot listen on {settings.console_host}:{settings.console_port}") from None
    listener.listen(BACKLOG)
    return listener


def _config(settings: Settings, services: Services) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(services),
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        proxy_headers=bool(settings.console_proxies),
        forwarded_allow_ips=settings.console_proxies or None,
        timeout_graceful_shutdown=int(settings.drain_s),
    )
