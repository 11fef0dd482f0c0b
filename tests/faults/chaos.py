"""`./dev chaos`: kills processes of a gateway at random under load, then holds everything against the log.

A seed chooses what is hit and when, so that a run can be repeated (what the processes make of it cannot). The exit code
is 1 when anything differs, or when the gateway did not come back.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.faults.gateway import Gateway, GatewayFailed
from tests.faults.load import Load, ask_sandbox
from tests.faults.reconcile import Report, reconcile
from tests.faults.strike import Aftermath, Strike, everything, hit, show
from tests.faults.task_load import TaskLoad

MODELS = ("openai/gpt-4o-mini", "anthropic/claude-3.5-haiku", "sandbox/fixed-price")
PACE = {"tokens_per_second": 40, "latency_ms": 100, "jitter_ms": 400}
TOKENS = 40
CUSTOMERS = 5
CREDIT = "20000"
PAUSE_S = (0.5, 4.0)
TASK_TROUBLE = {
    "creates_per_window": 0,
    "time_scale": 3,
    "fail_rate": 0.1,
    "forget_rate": 0.01,
    "webhook_duplicates": 1,
    "webhook_lost_rate": 0.3,
    "webhook_reorder": True,
    "lose_answer_rates": {"create": 0.01},
    "code_rates": {"query": {"500": 0.02, "455": 0.02}},
    "dead_results_rate": 0.01,
}
TASK_ENVIRONMENT = {"ONYSOFT_KIE_CREATES_PER_10S": "2000", "ONYSOFT_TASK_PATIENCE_S": "150"}
TASK_WAIT_S = 120.0
ASLEEP_SHARE = 0.15
ALL_SHARE = 0.15
SEVERAL_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    minutes: float
    calls: int
    seed: int
    edges: int
    cores: int
    lease_s: int
    data: Path | None
    tasks: int = 0


def draw(dice: random.Random, names: tuple[str, ...], lease_s: int) -> Strike:
    """What to hit next: one, several or all of `names`, dead or asleep for up to a lease and a half."""
    drawn = dice.random()
    if drawn < ASLEEP_SHARE:
        return Strike((dice.choice(names),), stopped_s=round(dice.uniform(0.5, 1.5 * lease_s), 1))
    if drawn < ASLEEP_SHARE + ALL_SHARE:
        return Strike(names)
    if drawn < ASLEEP_SHARE + ALL_SHARE + SEVERAL_SHARE:
        return Strike(tuple(dice.sample(names, dice.randint(2, len(names) - 1))))
    return Strike((dice.choice(names),))


async def wreak(gateway: Gateway, options: Options, console: Console) -> Report:
    """Load and strikes for the time asked for, at least one of each process alone; then the reconciliation."""
    customers = [await asyncio.to_thread(gateway.open_account, CREDIT, 5000) for _ in range(CUSTOMERS)]
    in_flight = options.tasks or options.calls
    load: Load
    if options.tasks:
        gateway.control(kie=TASK_TROUBLE)
        load = TaskLoad(gateway, customers, in_flight)
    else:
        gateway.control(**PACE)
        questions = [await ask_sandbox(gateway, model, f"[[tokens={TOKENS}]] Merhaba") for model in MODELS]
        load = Load(gateway, customers, questions, in_flight)
    load.start()
    await load.until_answered(in_flight)
    dice = random.Random(options.seed)
    names = everything(gateway)
    planned = [Strike((name,)) for name in names] + [Strike(names)]
    dice.shuffle(planned)
    aftermaths: list[Aftermath] = []
    deadline = time.monotonic() + 60 * options.minutes
    while time.monotonic() < deadline:
        strike = planned.pop() if planned else draw(dice, names, options.lease_s)
        console.print(f"{time.strftime('%H:%M:%S')} {strike}, {load.running} in flight")
        aftermaths.append(await hit(gateway, load, strike))
        await asyncio.sleep(dice.uniform(*PAUSE_S))
    await load.stop()
    show(aftermaths, load, console)
    console.print("waiting until every hold is past its deadline")
    if isinstance(load, TaskLoad):
        return await reconcile(gateway, wait_s=TASK_WAIT_S, tasks=load.tasks)
    return await reconcile(gateway, load.calls, wait_s=2.0 * options.lease_s)


def run(options: Options, console: Console) -> int:
    """The whole of it on a gateway of its own; the exit code."""
    with tempfile.TemporaryDirectory(prefix="onysoft-chaos-") as folder:
        environment = {"ONYSOFT_HOLD_LEASE_S": str(options.lease_s), "ONYSOFT_CHECKPOINT_EVERY_S": "1"}
        environment |= TASK_ENVIRONMENT if options.tasks else {}
        data = options.data or Path(folder) / "data"
        gateway = Gateway(data.resolve(), options.edges, options.cores, environment)
        load = f"{options.tasks} tasks" if options.tasks else f"{options.calls} calls"
        console.print(f"seed {options.seed}, {load} in flight, data in {gateway.data}")
        try:
            gateway.start()
            report = asyncio.run(wreak(gateway, options, console))
            report.show(console)
            return 0 if report.ok else 1
        except (GatewayFailed, TimeoutError) as failure:
            console.print(f"[red]the gateway did not come back[/red]: {failure!r}")
            console.print(gateway.screen_tail(), markup=False)
            return 1
        finally:
            gateway.stop()


def parse(words: list[str]) -> Options:
    """Exits with 2 and a usage text when the words are wrong."""
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long to kill (default: 3)")
    parser.add_argument("--calls", type=int, default=200, help="calls in flight, every second one streamed")
    parser.add_argument("--tasks", type=int, default=0, help="media tasks in flight, instead of calls")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="repeat a run's choices")
    parser.add_argument("--edges", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--lease-s", type=int, default=10, help="how long a hold lives unless it is extended")
    parser.add_argument("--data", type=Path, help="keep the data here (default: a folder that is removed)")
    chosen = parser.parse_args(words)
    return Options(**vars(chosen))


def main() -> int:
    """What `./dev chaos` runs."""
    return run(parse(sys.argv[1:]), Console(highlight=False, width=160))


if __name__ == "__main__":
    sys.exit(main())
