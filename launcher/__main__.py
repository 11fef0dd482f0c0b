"""`python -m launcher`: what `./dev up` runs."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from launcher.folder import PROJECT, Folder
from launcher.plan import Options
from launcher.screen import Screen
from launcher.supervisor import PortLost, Supervisor
from runtime import log, process
from runtime.errors import OperatorError
from runtime.settings import Settings

_PROCESSES_MAX = 32
_STARTS_MAX = 3


def main() -> int:
    """Run one instance until SIGINT or SIGTERM; 0 when it was stopped, 1 when it could not run."""
    options = parse(sys.argv[1:])
    log.configure(Settings(log_level="error"), "supervisor")
    try:
        folder = Folder.claim(options.data, options.fresh)
    except (OperatorError, OSError) as error:
        sys.stderr.write(f"dev up: {error}\n")
        return 1
    screen = Screen(folder.path / "logs")
    failures: list[str] = []

    async def serve(stop: asyncio.Event) -> None:
        for attempt in range(_STARTS_MAX):
            try:
                return await Supervisor(options, folder, screen).run(stop)
            except PortLost as error:
                if attempt + 1 == _STARTS_MAX:
                    failures.append(str(error))
                else:
                    screen.say(f"{error}; starting again on others")
            except OperatorError as error:
                failures.append(str(error))
                return None
        return None

    code = process.run(serve)
    screen.close()
    for failure in failures:
        sys.stderr.write(f"dev up: {failure}\n")
    return code or len(failures)


def parse(words: list[str]) -> Options:
    """The options of `./dev up`; exits with 2 and a usage text when they are wrong."""
    parser = argparse.ArgumentParser(prog="./dev up", description="Run the whole gateway on this machine.")
    parser.add_argument(
        "--port",
        type=_number(0, 65_000),
        default=0,
        help="the first edge's port; 0: 8080 if free, else another (default: 0)",
    )
    parser.add_argument("--data", type=Path, help="folder for everything that is kept (default: ./data)")
    parser.add_argument("--edges", type=_number(1, _PROCESSES_MAX), default=1, help="how many edges (default: 1)")
    parser.add_argument("--cores", type=_number(1, _PROCESSES_MAX), default=1, help="how many cores (default: 1)")
    parser.add_argument("--fresh", action="store_true", help="remove what an earlier instance left in the folder")
    parser.add_argument("--no-analytics", action="store_true", help="run without the analytics process")
    parser.add_argument("--no-console", action="store_true", help="run without the console")
    parser.add_argument(
        "--console-port", type=_number(1, 65_000), default=0, help="the console's port (default: 8090 if free)"
    )
    chosen = parser.parse_args(words)
    return Options(
        data=chosen.data or Path(os.environ.get("ONYSOFT_DATA") or PROJECT / "data"),
        port=chosen.port,
        edges=chosen.edges,
        cores=chosen.cores,
        fresh=chosen.fresh,
        analytics=not chosen.no_analytics,
        console=not chosen.no_console,
        console_port=chosen.console_port,
    )


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse_number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must lie between {least} and {most}")
        return value

    parse_number.__name__ = "number"
    return parse_number


if __name__ == "__main__":
    # The second signal exits at once; the kernel then kills what is still running.
    sys.exit(main())
