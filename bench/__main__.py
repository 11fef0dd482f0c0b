"""`./dev bench [--quick] [--no-peers]`: measure, print, and write docs/bench.md."""

import argparse
import dataclasses
import fcntl
import json
import sys
import time
from pathlib import Path

from bench import measure, report
from bench.instance import NotUp
from bench.load import LoadFailed, tool
from cli.client import CallFailed

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / "docs" / "bench.md"


def main() -> int:
    """0 when ours was measured; a missed target is in the page, not in the exit code."""
    options = _parse(sys.argv[1:])
    plan = dataclasses.replace(measure.QUICK if options.quick else measure.FULL, peers=options.peers)
    options.data = options.data.resolve()
    options.data.mkdir(parents=True, exist_ok=True)
    lock = (options.data / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"bench: another benchmark is under way on {options.data}; two would measure each other", file=sys.stderr)
        return 1
    began = time.monotonic()
    bench = measure.Bench(
        options.data, plan, lambda text: print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)
    )
    if tool() != "wrk":
        print("wrk is not installed: the load is made by a client in Python, which takes a share of the cores")
    try:
        figures = bench.run()
    except (NotUp, LoadFailed, CallFailed) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    figures.machine = report.describe_machine(_ROOT)
    command = " ".join(["./dev bench", *sys.argv[1:]])
    page = report.render(figures, command, plan.runs)
    (options.data / "figures.json").write_text(json.dumps(dataclasses.asdict(figures), indent=1))
    print("\n" + page)
    if options.write:
        _PAGE.write_text(page)
        print(f"written to {_PAGE.relative_to(_ROOT)}")
    return 0


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs, no long memory run")
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="install and measure LiteLLM and Portkey"
    )
    parser.add_argument("--data", type=Path, default=_ROOT / ".bench", help="folder for all it makes (default: .bench)")
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, default=True, help="replace docs/bench.md by the result"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
