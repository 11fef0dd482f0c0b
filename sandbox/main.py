"""The sandbox's process: one HTTP server on one port, until it is told to stop."""

import asyncio
import sys

from runtime.log import log
from runtime.ops import Ops
from runtime.settings import Settings
from sandbox import catalogue
from sandbox.control import Control
from sandbox.journal import Journal
from sandbox.protocol import Connection
from sandbox.routes import Routes

BACKLOG = 1_024


class Sandbox:
    """The server. `start` gives its port; `stop` closes its connections, so what still ran is aborted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port.

        Raises OSError when the address is taken or the journal's file cannot be opened.
        """
        self._journal = Journal(self._settings.sandbox_journal_path)
        routes = Routes(Control(catalogue.load()), self._journal)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(routes, self.connections),
            self._settings.sandbox_host,
            self._settings.sandbox_port,
            backlog=BACKLOG,
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening, end every connection, close the journal."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.abort()
        self._journal.close()


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
