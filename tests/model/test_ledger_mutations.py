"""Tests that cannot fail prove nothing: each rule is broken on purpose, and a test must notice."""

import subprocess
import sys

import pytest

from tests.model.mutations import MUTATIONS, ROOT, mutated

PART = 61
"""CI runs each sixty-first mutation; `python -m tests.model.mutations` runs all."""


def test_every_mutation_changes_the_source() -> None:
    """A mutation of a line that has gone would count as one that a test has caught."""
    assert len(MUTATIONS) >= 40
    for mutation in MUTATIONS:
        with mutated(mutation) as folder:
            text = (folder / f"core/ledger/{mutation.module}.py").read_text()
            assert text != (ROOT / f"core/ledger/{mutation.module}.py").read_text()
            compile(text, mutation.module, "exec")


def test_the_table_lists_every_mutation() -> None:
    """The documentation would promise what is no longer tested."""
    table = (ROOT / "docs/mutations.md").read_text()
    assert f"{len(MUTATIONS)} mutations, {len(MUTATIONS)} caught." in table


@pytest.mark.slow
def test_broken_rules_are_noticed() -> None:
    """A rule could be lost in a later change without any test failing."""
    command = [sys.executable, "-m", "tests.model.mutations", "--every", str(PART)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
