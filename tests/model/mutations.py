"""Breaks each rule of core/ledger on purpose, and shows which test notices.

The mutations are in mutations.toml. `python -m tests.model.mutations` runs all; `--write docs/mutations.md` stores the
table; `--every N --from K` runs a part; `--model` leaves out the unit tests and shows what the model alone notices.

Each is applied to the text of one module in a temporary copy of the package; a forked process imports that copy, runs
the unit tests and then the model until one fails. A mutation that nothing notices makes the command fail.
"""

import argparse
import contextlib
import importlib
import os
import shutil
import signal
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from proto.onysoft.v1 import ledger_pb2, snapshot_pb2

PRELOADED = (settings, ledger_pb2, snapshot_pb2)
"""Slow imports, made once before the forks."""

ROOT = Path(__file__).resolve().parents[2]
OF_VERSION_1 = ("accounts", "requests", "windows", "money", "fold", "digest")
OF_VERSION_2 = (
    "partners",
    "credits",
    "keys",
    "limits",
    "limit_windows",
    "blocks",
    "markups",
    "rates",
    "catalogue",
    "free_calls",
    "tasks",
    "switch",
    "digest_v2",
    "orders",
)
MODULES_OF_2 = {"accounts", "calls_v2", "holds", "limits", "owners", "patterns", "records", "rules_v2", "verdicts"}
MODEL_TESTS = tuple(
    str(ROOT / f"tests/model/test_{part}.py")
    for part in ("ledger_schedules", "ledger_machine", "tree_schedules", "tree_limits", "tree_machine")
)
TIMEOUT_S = 120
"""Of the processor, so that a busy machine makes nothing look as if it hung."""

OPTIONS = ["-x", "-q", "--noconftest", "-c", os.devnull, f"--rootdir={ROOT}", "-p", "no:cacheprovider"]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of one line of a module."""

    module: str
    before: str
    after: str
    breaks: str


class Notice:
    """Remembers the first test that failed."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid.rpartition("/")[2]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.test:
            self.test = f"{report.nodeid.rpartition('/')[2]} cannot be imported"


MUTATIONS = tuple(
    Mutation(**entry) for entry in tomllib.loads((ROOT / "tests/model/mutations.toml").read_text())["mutation"]
)


@contextlib.contextmanager
def mutated(mutation: Mutation) -> Iterator[Path]:
    """A folder with `core/ledger`, changed. Raises LookupError when the text to change is not there exactly once."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "core/ledger"
        shutil.copytree(ROOT / "core/ledger", target, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "core/__init__.py", Path(folder) / "core")
        path = target / f"{mutation.module}.py"
        source = path.read_text()
        if source.count(mutation.before) != 1:
            raise LookupError(f"{mutation.module}.py has {source.count(mutation.before)} times: {mutation.before!r}")
        path.write_text(source.replace(mutation.before, mutation.after))
        yield Path(folder)


def unit_tests(module: str) -> list[str]:
    """All of them, those first that are likely to notice a change of this module."""
    parts = (*OF_VERSION_2, *OF_VERSION_1) if module in MODULES_OF_2 else (*OF_VERSION_1, *OF_VERSION_2)
    return [str(ROOT / f"tests/core/ledger/test_ledger_{part}.py") for part in parts]


def caught_by(mutation: Mutation | None, model_only: bool = False) -> str:
    """The first test that fails under this mutation; empty when none does. None: the unchanged package."""
    if mutation is None:
        return _in_child(ROOT, [] if model_only else unit_tests(""))
    with mutated(mutation) as folder:
        return _in_child(folder, [] if model_only else unit_tests(mutation.module))


def _in_child(folder: Path, units: list[str]) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _run_tests(folder, writer, units)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as answer:
        notice = answer.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "it hangs" if os.WTERMSIG(status) == signal.SIGVTALRM else "it crashes"
    return notice if status == 0 else "it cannot be imported"


def _run_tests(folder: Path, answer: int, units: list[str]) -> None:
    """In a forked child: imports the copy, runs the tests, writes the first that fails, and ends the process."""
    signal.setitimer(signal.ITIMER_VIRTUAL, TIMEOUT_S)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    sys.path.insert(0, str(folder))
    notice = Notice()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    status = 0
    for path in units:  # one by one: collecting all of them takes longer than the first failure
        status = status or int(pytest.main([*OPTIONS, path], plugins=[notice]))
    if status == pytest.ExitCode.OK:
        importlib.import_module("tests.model.conftest")
        settings.load_profile("mutants")
        status = pytest.main([*OPTIONS, "-p", "tests.model.conftest", *MODEL_TESTS], plugins=[notice])
    if status != pytest.ExitCode.OK:
        os.write(answer, (notice.test or f"pytest ended with {int(status)}").encode())
    os._exit(0)


def table(rows: list[tuple[Mutation, str]]) -> str:
    """The result as Markdown."""
    lines = [
        "# Mutations of the ledger's rules",
        "",
        "Written by `python -m tests.model.mutations --write docs/mutations.md`. Each line is a defect put into",
        "`core/ledger` on purpose, and the first test that fails because of it.",
        "",
        f"{len(rows)} mutations, {sum(bool(test) for _, test in rows)} caught.",
        "",
        "| module | what breaks | the change | caught by |",
        "|---|---|---|---|",
    ]
    for mutation, test in rows:
        change = f"`{_short(mutation.before)}` → `{_short(mutation.after)}`"
        lines.append(f"| {mutation.module} | {mutation.breaks} | {change} | {_cell(test) or '**nothing**'} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _short(source: str) -> str:
    return _cell(" ".join(source.split())) or " "


def main(arguments: list[str] | None = None) -> int:
    """Runs the mutations; returns the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.model.mutations", description=__doc__)
    parser.add_argument("--write", type=Path, help="store the table in this file")
    parser.add_argument("--every", type=int, default=1, help="run each N-th mutation only")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one to run")
    parser.add_argument("--model", action="store_true", help="leave out the unit tests")
    chosen = parser.parse_args(arguments)
    if notice := caught_by(None, chosen.model):
        sys.stdout.write(f"the unchanged ledger fails: {notice}\n")
        return 2
    rows = []
    for mutation in MUTATIONS[chosen.first :: chosen.every]:
        rows.append((mutation, caught_by(mutation, chosen.model)))
        sys.stdout.write(f"{mutation.module:8} {mutation.breaks:50} {rows[-1][1] or 'CAUGHT BY NOTHING'}\n")
        sys.stdout.flush()
    if chosen.write:
        chosen.write.write_text(table(rows))
    missed = [mutation for mutation, test in rows if not test]
    sys.stdout.write(f"{len(rows)} mutations, {len(missed)} caught by nothing\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
