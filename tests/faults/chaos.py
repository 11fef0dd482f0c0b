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

MODELS = ("openai/gpt-4o-mini", "anthropic/claude-3.5-haiku", "sandbox/fixed-price")
PACE = {"tokens_per_second": 40, "latency_ms": 100, "jitter_ms": 400}
TOKENS = 40
CUSTOMERS = 5
CREDIT = "20000"
PAUSE_S = (0.5, 4.0)
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
    gateway.control(**PACE)
    questions = [await ask_sandbox(gateway, model, f"[[tokens={TOKENS}]] Merhaba") for model in MODELS]
    load = Load(gateway, customers, questions, options.calls)
    load.start()
    await load.until_answered(options.calls)
    dice = random.Random(options.seed)
    names = everything(gateway)
    planned = [Strike((name,)) for name in names] + [Strike(names)]
    dice.shuffle(planned)
    aftermaths: list[Aftermath] = []
    deadline = time.monotonic() + 60 * options.minutes
    while time.monotonic() < deadline:
        strike = planned.pop() if planned else draw(dice, names, options.lease_s)
        console.print(f"{time.strftime('%H:%M:%S')} {strike}, {load.running} calls in flight")
        aftermaths.append(await hit(gateway, load, strike))
        await asyncio.sleep(dice.uniform(*PAUSE_S))
    await load.stop()
    show(aftermaths, load, console)
    console.print("waiting until every hold is past its deadline")
    return await reconcile(gateway, load.calls, wait_s=2.0 * options.lease_s)


def run(options: Options, console: Console) -> int:
    """The whole of it on a gateway of its own; the exit code."""
    with tempfile.TemporaryDirectory(prefix="onysoft-chaos-") as folder:
        environment = {"ONYSOFT_HOLD_LEASE_S": str(options.lease_s), "ONYSOFT_CHECKPOINT_EVERY_S": "1"}
        data = options.data or Path(folder) / "data"
        gateway = Gateway(data.resolve(), options.edges, options.cores, environment)
        console.print(f"seed {options.seed}, {options.calls} calls in flight, data in {gateway.data}")
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
