"""The data folder of one instance: its lock, its secrets, and dev.json, which tells others how to reach it."""

import fcntl
import json
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

from runtime.errors import OperatorError

PROJECT = Path(__file__).resolve().parent.parent
POINTER = PROJECT / ".dev" / "current"
"""Names the data folder of the instance that came up first of those that are up."""

_MARKER = "onysoft-data"
_LOCK = "lock"
_OURS = (
    "nats",
    "logs",
    "console",
    "projections",
    "archive",
    "simulated.json",
    "files",
    "secrets.json",
    "dev.json",
    "sandbox-journal.jsonl",
    "sandbox-journal.jsonl.tasks",
)
_LOCK_PATIENCE_S = 2.0
_LOCK_RETRY_S = 0.05


class Folder:
    """One instance's folder, claimed for as long as `lock` is open.

    The lock is passed on to nats-server, so a folder stays claimed while a store in it is still being written.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    @classmethod
    def claim(cls, path: Path, fresh: bool) -> "Folder":
        """Make or take the folder; `fresh` removes what an earlier instance left.

        Raises OperatorError when another instance is up on it, or when it holds something else.
        """
        path = path.resolve()
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (path / _MARKER).exists() and any(path.iterdir()):
            raise OperatorError(f"{path} is not empty and is not the data folder of a gateway")
        folder = cls(path, _lock(path))
        if fresh:
            folder._wipe()
        (path / _MARKER).write_text("The data of one gateway. ./dev up --fresh removes it.\n")
        (path / "logs").mkdir(exist_ok=True)
        return folder

    def secrets(self) -> dict[str, str]:
        """What must stay the same over restarts; made at the first start."""
        kept: dict[str, str] = _read_json(self.path / "secrets.json")
        for name in ("key_pepper", "admin_token", "nats_password", "console_secret"):
            kept.setdefault(name, secrets.token_hex(24))
        self.keep_secrets(kept)
        return kept

    def keep_secrets(self, values: dict[str, str]) -> None:
        """Replace secrets.json as a whole."""
        _write_json(self.path / "secrets.json", values)

    def announce(self, document: dict[str, Any]) -> None:
        """Replace dev.json as a whole, and point to this folder unless another instance is pointed to."""
        _write_json(self.path / "dev.json", document)
        named = pointed_to()
        if named is None or not is_claimed(named):
            POINTER.parent.mkdir(exist_ok=True)
            _replace(POINTER, f"{self.path}\n")

    def withdraw(self) -> None:
        """Nobody can reach this instance (any more)."""
        (self.path / "dev.json").unlink(missing_ok=True)
        if pointed_to() == self.path:
            POINTER.unlink(missing_ok=True)

    def _wipe(self) -> None:
        for name in _OURS:
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)


def pointed_to() -> Path | None:
    """The data folder named by the pointer file, whether or not its instance is up."""
    try:
        return Path(POINTER.read_text().strip())
    except OSError:
        return None


def is_claimed(path: Path) -> bool:
    """Whether an instance is up on this folder."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _lock(path: Path) -> int:
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                raise OperatorError(f"another instance is up on {path}; stop it, or choose another --data") from None
            time.sleep(_LOCK_RETRY_S)
        else:
            return lock


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise OperatorError(f"{path} cannot be read; restore it, or start anew with --fresh") from None


def _write_json(path: Path, document: Any) -> None:
    _replace(path, json.dumps(document, indent=2) + "\n")


def _replace(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all, readable for its owner alone."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
