"""What the console does by itself, again and again: one loop a job, each piece of work in a thread."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass

from console.credits.proposals import Proposals
from console.invoices.office import Office
from console.low_balance import LowBalanceRound
from console.payments.cashier import Cashier
from console.payments.rounds import Rounds
from console.services import Services
from runtime.log import log

SETTLE_EVERY_S = 2.0
INVOICES_EVERY_S = 3.0
BALANCES_EVERY_S = 15.0
CREDITS_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """Work that ends soon, and begins again `every_s` after its end."""

    name: str
    every_s: float
    work: Callable[[], object]


def jobs_of(services: Services, stopping: Callable[[], bool]) -> list[Job]:
    """All of them. Work of many parts asks `stopping` between two of them."""
    settings, store = services.settings, services.store
    rounds = Rounds(settings, store, Cashier(settings, store, services.gateway), stopping)
    office = Office(settings, store, stopping=stopping)
    balances = LowBalanceRound(settings, store, services.gateway, services.mailer, stopping)
    proposals = Proposals(settings, store, services.gateway, stopping)
    return [
        Job("payments.settle", SETTLE_EVERY_S, rounds.settle),
        Job("payments.compare", settings.payment_listing_s, rounds.compare),
        Job("invoices", INVOICES_EVERY_S, office.work),
        Job("low_balance", BALANCES_EVERY_S, balances.work),
        Job("credits", CREDITS_EVERY_S, proposals.work),
    ]


class Jobs:
    """Runs them until it is stopped. What fails is logged, and tried again at its next turn."""

    def __init__(self, services: Services) -> None:
        self._stopped = threading.Event()
        self._stop = asyncio.Event()
        self._jobs = jobs_of(services, self._stopped.is_set)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin every job."""
        self._tasks = [asyncio.create_task(self._repeat(job)) for job in self._jobs]

    async def stop(self) -> None:
        """Begin nothing more, and wait for what runs."""
        self._stopped.set()
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _repeat(self, job: Job) -> None:
        while not self._stop.is_set():
            turn = asyncio.ensure_future(asyncio.to_thread(job.work))
            await asyncio.wait((turn,))
            error = turn.exception()
            if error is not None:
                log.error("job.failed", job=job.name, exc_info=error)
            waiting = asyncio.create_task(self._stop.wait())
            await asyncio.wait((waiting,), timeout=job.every_s)
            waiting.cancel()
