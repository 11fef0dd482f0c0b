"""Dependencies point one way. A package that imports what it must not can no longer be run, or replaced, alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"bus", "cli", "console", "core", "edge", "files", "launcher", "projections", "proto", "runtime", "sandbox"}
MAY_IMPORT = {
    "runtime": {"runtime"},
    "bus": {"bus", "proto", "runtime"},
    "console": {"console", "cli", "proto", "runtime"},
    "files": {"files", "runtime"},
    "edge": {"edge", "bus", "files", "proto", "runtime"},
    "core": {"core", "bus", "files", "proto", "runtime"},
    "projections": {"projections", "bus", "core", "proto", "runtime"},
    "sandbox": {"sandbox", "runtime"},
}
PURE = {
    "__future__",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "re",
    "struct",
    "typing",
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        own = {name.split(".")[0] for name in imports_of(path)} & PACKAGES
        assert own <= MAY_IMPORT[package], f"{path} imports {own - MAY_IMPORT[package]}"


def test_projections_take_only_the_ledger_from_core() -> None:
    for path in (ROOT / "projections").rglob("*.py"):
        for name in imports_of(path):
            assert not name.startswith("core.") or name.startswith("core.ledger"), f"{path} imports {name}"


def test_the_fold_is_pure() -> None:
    for path in (ROOT / "core" / "ledger").rglob("*.py"):
        for name in imports_of(path):
            allowed = name.startswith(("core.ledger", "proto.")) or name == "core" or name.split(".")[0] in PURE
            assert allowed, f"{path} imports {name}: no I/O, clock or randomness may enter the fold"
        for node in ast.walk(ast.parse(path.read_text())):
            clock = isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today", "astimezone")
            assert not clock, f"{path} asks a clock, or the machine's time zone"


def test_media_models_are_pure_data() -> None:
    """A catalogue that waited, looked at the clock or opened a URL could not price the same request twice alike."""
    allowed_own = ("core.media", "core.pricing", "runtime.errors")
    forbidden = {"asyncio", "socket", "time", "datetime", "random", "secrets", "os", "urllib.request", "http", "ssl"}
    for path in (ROOT / "core" / "media").rglob("*.py"):
        for name in imports_of(path):
            if name.split(".")[0] in PACKAGES:
                assert name.startswith(allowed_own), f"{path} imports {name}"
            assert name not in forbidden, f"{path} imports {name}"


def test_only_the_bus_knows_nats() -> None:
    for package in PACKAGES - {"bus"}:
        for path in (ROOT / package).rglob("*.py"):
            assert "nats" not in {name.split(".")[0] for name in imports_of(path)}, path
