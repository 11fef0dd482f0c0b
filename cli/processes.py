"""`onysoft edge|core|projections|analytics|sandbox|console`: one process, from ONYSOFT_… settings, until SIGTERM."""

import asyncio
import importlib
import sys

from pydantic import ValidationError

from runtime import log, process
from runtime.settings import Settings

_MODULES = {"analytics": "projections.analytics.main"}
_USAGE = "onysoft {kind} takes no arguments: its settings are ONYSOFT_… variables (see: onysoft config)\n"


def start(kind: str, words: list[str]) -> int:
    """Run `serve(settings, stop)` of a kind; 0 after a clean stop, 1 after a failure, 2 for a wrong setting."""
    if words:
        (sys.stdout if words[0] in ("-h", "--help") else sys.stderr).write(_USAGE.format(kind=kind))
        return 0 if words[0] in ("-h", "--help") else 2
    try:
        settings = Settings()
    except ValidationError as error:
        sys.stderr.write(refusal(error))
        return 2
    log.configure(settings, kind)
    serve = importlib.import_module(_MODULES.get(kind, f"{kind}.main")).serve

    async def main(stop: asyncio.Event) -> None:
        await serve(settings, stop)

    return process.run(main)


def refusal(error: ValidationError) -> str:
    """One line for each wrong setting, without its value: it may be a secret."""
    return "".join(
        f"ONYSOFT_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}\n"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    )
