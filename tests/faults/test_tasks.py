"""No death loses or doubles a media task: processes are killed with tasks in flight, then all notes are compared."""

import asyncio
from collections.abc import Iterator

import pytest
from rich.console import Console

from tests.faults.gateway import Gateway
from tests.faults.reconcile import reconcile
from tests.faults.strike import Aftermath, Strike, everything, hit, show
from tests.faults.task_load import TaskLoad

IN_FLIGHT = 40
LEASE_S = 6.0
ENVIRONMENT = {
    "ONYSOFT_HOLD_LEASE_S": "6",
    "ONYSOFT_CORE_SILENCE_S": "2",
    "ONYSOFT_CHECKPOINT_EVERY_S": "1",
    "ONYSOFT_KIE_CREATES_PER_10S": "2000",
    "ONYSOFT_TASK_POLL_S": "0.5",
    "ONYSOFT_TASK_POLL_MAX_S": "3",
}
TROUBLE = {
    "creates_per_window": 0,
    "time_scale": 0.6,
    "fail_rate": 0.1,
    "webhook_duplicates": 1,
    "webhook_lost_rate": 0.3,
    "lose_answer_rates": {"create": 0.02},
    "dead_results_rate": 0.02,
}
"""What is usual at a provider: failures, callbacks twice or never, answers that are lost, results that die."""


@pytest.fixture
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two edges, two cores; restarted by their supervisor when a test kills them."""
    gateway = Gateway(tmp_path_factory.mktemp("tasks") / "data", edges=2, cores=2, environment=ENVIRONMENT)
    gateway.start()
    yield gateway
    assert gateway.stop() == 0, gateway.screen_tail()


@pytest.mark.slow
@pytest.mark.timeout(500)
async def test_each_task_ends_once_and_is_paid_once_whoever_dies(studio: Gateway) -> None:
    """A video made twice, paid twice or never delivered; a hold that stays for ever."""
    customers = [studio.open_account("5000", markup_bps=5000), studio.open_account("5000")]
    studio.control(kie=TROUBLE)
    load = TaskLoad(studio, customers, IN_FLIGHT)
    load.start()
    await load.until_answered(IN_FLIGHT)
    aftermaths: list[Aftermath] = []
    for strike in [*(Strike((name,)) for name in everything(studio)), Strike(everything(studio))]:
        aftermaths.append(await hit(studio, load, strike))
    await asyncio.wait_for(load.stop(), 300)
    console = Console(width=160)
    show(aftermaths, load, console)
    report = await reconcile(studio, wait_s=4 * LEASE_S, tasks=load.tasks)
    report.show(console)
    assert report.ok, report.told()
    assert any(task.final == "completed" for task in load.tasks)
    assert any(task.final == "failed" for task in load.tasks)
