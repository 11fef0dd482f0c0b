"""Hurting a running gateway, and how long it takes until a client is answered again."""

import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.faults.gateway import Gateway
from tests.faults.load import Load

RESTART_TIMEOUT_S = 60.0
ANSWERS_TIMEOUT_S = 60.0
ANSWERS_AFTER = 20


@dataclass(frozen=True, slots=True)
class Strike:
    """Which processes are hit at once. `stopped_s` 0: `kill -9`; else SIGSTOP, and SIGCONT after that time."""

    victims: tuple[str, ...]
    stopped_s: float = 0.0

    def __str__(self) -> str:
        what = "kill -9" if not self.stopped_s else f"stop {self.stopped_s:g} s"
        return f"{what} {' '.join(self.victims)}"


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What a strike did: seconds until all was ready, and until a call begun after it was answered whole."""

    strike: Strike
    moment: float
    ready_s: float
    answered_s: float


def everything(gateway: Gateway) -> tuple[str, ...]:
    """Every process but the supervisor."""
    return tuple(gateway.names)


async def hit(gateway: Gateway, load: Load, strike: Strike) -> Aftermath:
    """Strike while `load` runs; wait until everything is ready and calls are answered again."""
    moment = time.monotonic()
    number = signal.SIGSTOP if strike.stopped_s else signal.SIGKILL
    before = await asyncio.to_thread(gateway.signal, list(strike.victims), number)
    if strike.stopped_s:
        await asyncio.sleep(strike.stopped_s)
        await asyncio.to_thread(gateway.signal, list(strike.victims), signal.SIGCONT)
        await asyncio.to_thread(gateway.wait_ready, RESTART_TIMEOUT_S)
    else:
        await asyncio.to_thread(gateway.wait_restarted, before, RESTART_TIMEOUT_S)
    ready_s = time.monotonic() - moment
    if "sandbox" in strike.victims:
        await asyncio.to_thread(gateway.control_again)
    await load.until_answered(ANSWERS_AFTER, ANSWERS_TIMEOUT_S)
    edges = [url for number, url in enumerate(gateway.base_urls, 1) if f"edge-{number}" in strike.victims]
    firsts = [load.first_answer_after(moment, edge) for edge in edges or [""]]
    answered_s = max(call.ended_at - moment for call in firsts if call is not None)
    return Aftermath(strike, moment, ready_s, answered_s)


def show(aftermaths: Sequence[Aftermath], load: Load, console: Console) -> None:
    """Print how long each strike was felt, and how the calls ended that were in flight. Call it after `load.stop`."""
    table = Table(title="recovery", title_justify="left")
    for column in ("strike", "all ready after, s", "a new call answered after, s", "calls it caught"):
        table.add_column(column, overflow="fold")
    for each in aftermaths:
        caught = ", ".join(f"{count} {outcome}" for outcome, count in load.caught_by(each.moment).most_common())
        table.add_row(str(each.strike), f"{each.ready_s:.1f}", f"{each.answered_s:.1f}", caught)
    console.print(table)
