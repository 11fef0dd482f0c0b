"""The sandbox's process: one HTTP server on one port, until it is told to stop."""

import asyncio
import sys

from runtime.log import log
from runtime.ops import Ops
from runtime.settings import Settings
from sandbox import catalogue
from sandbox.control import Control
from sandbox.journal import Journal
from sandbox.kie.service import Kie
from sandbox.nilvera.service import Nilvera
from sandbox.payments.service import Payments
from sandbox.protocol import Connection
from sandbox.routes import Routes

BACKLOG = 1_024
TASKS_SUFFIX = ".tasks"
"""What the media tasks' file is called after the journal's."""


class Sandbox:
    """The server. `start` gives its port; `stop` closes its connections, so what still ran is aborted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._routes: Routes

    async def start(self) -> int:
        """Listen, and return the port.

        Raises OSError when the address is taken or the journal's file cannot be opened.
        """
        settings = self._settings
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._routes, self.connections),
            settings.sandbox_host,
            settings.sandbox_port,
            backlog=BACKLOG,
            start_serving=False,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        path = settings.sandbox_journal_path
        self._journal = Journal(path)
        control = Control(catalogue.load())
        base_url = f"http://{_reachable(settings.sandbox_host)}:{port}"
        self._kie = Kie(control, path and f"{path}{TASKS_SUFFIX}", base_url)
        self._payments = Payments(control, base_url)
        self._routes = Routes(control, self._journal, self._kie, self._payments, Nilvera(control))
        self._kie.resume()
        await self._server.start_serving()
        return port

    async def stop(self) -> None:
        """Stop listening, end every connection, close the journal."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.abort()
        self._kie.stop()
        self._payments.stop()
        self._journal.close()


def _reachable(host: str) -> str:
    """An address for URLs that others on this machine open."""
    return "127.0.0.1" if host in ("", "0.0.0.0", "::") else host


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. The address goes to the log, and to stdout as one line."""
    sandbox = Sandbox(settings)
    port = await sandbox.start()
    url = f"http://{settings.sandbox_host}:{port}"
    sys.stdout.write(f"sandbox {url}\n")
    sys.stdout.flush()
    ops = Ops(settings, "sandbox", lambda: None)
    log.info("sandbox.listening", url=url, port=port, ops_port=await ops.start())
    await stop.wait()
    await ops.close()
    await sandbox.stop()
    log.info("sandbox.stopped")
