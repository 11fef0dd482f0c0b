"""The life of a process: event loop, signals, garbage collection, exit code."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from runtime.log import log

_GC_ALLOCATIONS = 20_000
_EXIT_SECOND_SIGNAL = 130
_REASON_CHARACTERS_MAX = 500
_PACKAGES = ("bus", "console", "core", "edge", "projections", "runtime", "sandbox")

Started = TypeVar("Started")


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run `main(stop)` on uvloop until it returns; the exit code: 0, or 1 when it raised.

    SIGTERM or SIGINT sets `stop`, so that `main` drains and returns; a second one exits at once.
    Everything imported so far is taken out of garbage collection, and collections are rarer than Python's default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS, 20, 20)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_guarded(main))


async def _guarded(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop, number)
    try:
        await main(stop)
    except StoppedEarly:
        return 0
    except Exception as error:  # noqa: BLE001 - the last frame: whatever it is, name it and exit 1
        log.critical("process.failed", exc_info=error, reason=_public_reason(error))
        return 1
    return 0


class StoppedEarly(Exception):
    """The process was told to stop before it had started. Not a failure."""


async def unless_stopped(stop: asyncio.Event, start: Coroutine[Any, Any, Started]) -> Started:
    """Await a step of the start, which may wait for a server for ever. Raises StoppedEarly once `stop` is set."""
    starting = asyncio.create_task(start)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        return starting.result()
    starting.cancel()
    await asyncio.wait((starting,))
    raise StoppedEarly


def _public_reason(error: Exception) -> str:
    """What an operator needs to know about a failed start: an address in use, a refused stream, a broken log.

    Messages of the gateway's own exceptions hold no body and no key; those of others might.
    """
    is_ours = type(error).__module__.partition(".")[0] in _PACKAGES
    return str(error)[:_REASON_CHARACTERS_MAX] if is_ours or isinstance(error, OSError) else ""


def _on_signal(stop: asyncio.Event, number: int) -> None:
    if stop.is_set():
        os._exit(_EXIT_SECOND_SIGNAL)
    log.info("process.stopping", signal=signal.Signals(number).name)
    stop.set()
