"""What the simulated provider billed: one entry for each generation that began.

In memory the latest entries are kept, at least ENTRIES_MAX / 2 and at most ENTRIES_MAX of them (about 0.5 kB each).
With a file, an entry is handed to the operating system before any byte that depends on it is sent to a client: the
line `running` before a stream or a delayed answer begins, the final line before its end. So the death of the process
loses nothing that a client was told; a generation that was running is `interrupted` when the file is read again.
"""

import os
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from sandbox.catalogue import units
from sandbox.pricing import BYOK_FEE_DIVISOR

ENTRIES_MAX = 1_000_000


class Journal:
    """Entries by generation id, in the order in which they began. `path` empty: in memory only."""

    def __init__(self, path: str) -> None:
        self._older: dict[str, bytes] = {}
        self._newer: dict[str, bytes] = {}
        self._running: set[str] = set()
        self._file = -1
        self.billed_units = 0
        if path:
            self._open(Path(path))

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._load(path)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(b"".join(self._lines()))
        os.replace(fresh, path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def _load(self, path: Path) -> None:
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    entry = orjson.loads(line)
                    self._keep(entry["id"], line, entry["status"] == "running")
        for identity in self._running:
            entry = orjson.loads(self.entry(identity) or b"{}")
            entry |= {"status": "interrupted", "aborted": True}
            self._place(identity, orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        self._running.clear()
        self.billed_units = sum(units(orjson.loads(line)["cost_usd"]) for line in self._lines())

    def _lines(self) -> Iterator[bytes]:
        return chain(self._older.values(), self._newer.values())

    def _place(self, identity: str, line: bytes) -> None:
        if identity in self._older:
            self._older[identity] = line
            return
        self._newer[identity] = line
        if len(self._newer) >= ENTRIES_MAX // 2:
            self._older, self._newer = self._newer, {}

    def _keep(self, identity: str, line: bytes, running: bool) -> None:
        if running:
            self._running.add(identity)
        else:
            self._running.discard(identity)
        self._place(identity, line)

    def write(self, identity: str, line: bytes, running: bool, cost_units: int) -> None:
        """Record a generation's state, a line with its newline; returns when the operating system has it.

        Raises OSError when the file cannot be written: the sandbox must not answer then.
        """
        if self._file >= 0 and os.write(self._file, line) != len(line):
            raise OSError("the journal's file takes no more")
        self._keep(identity, line, running)
        if not running:
            self.billed_units += cost_units

    def entry(self, identity: str) -> bytes | None:
        """The latest line of a generation."""
        return self._newer.get(identity) or self._older.get(identity)

    def listing(self, since_id: str, limit: int) -> bytes:
        """A JSON list of the entries after `since_id` (all, when it is empty or forgotten); `limit` 0: no limit."""
        lines: list[bytes] = list(self._lines())
        if since_id and self.entry(since_id) is not None:
            ids = list(chain(self._older, self._newer))
            lines = lines[ids.index(since_id) + 1 :]
        return b"[" + b",".join(lines[:limit] if limit else lines) + b"]"

    def clear(self) -> None:
        """Forget all entries, in the file too. A generation that runs now is written again at its end."""
        self._older, self._newer = {}, {}
        self.billed_units = 0
        if self._file >= 0:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Give the file back; nothing waits to be written."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def usage_record(line: bytes) -> dict[str, Any]:
    """The `data` of OpenRouter's `GET /generation` for a journal line."""
    entry = orjson.loads(line)
    took_ms = round(entry["finished_at"] - entry["started_at"])
    total = Decimal(entry["cost_usd"])
    fee = total / (BYOK_FEE_DIVISOR + 1)
    cost = float(fee if entry["byok"] else total)
    return {
        "id": entry["id"],
        "model": entry["model"],
        "provider_name": entry["provider"],
        "api_type": "completions",
        "created_at": entry["started_at"],
        "total_cost": cost,
        "usage": cost,
        "cache_discount": None,
        "upstream_inference_cost": float(total - fee) if entry["byok"] else 0,
        "tokens_prompt": entry["prompt_tokens"],
        "tokens_completion": entry["completion_tokens"],
        "native_tokens_prompt": entry["prompt_tokens"],
        "native_tokens_completion": entry["completion_tokens"],
        "native_tokens_reasoning": entry["reasoning_tokens"],
        "native_tokens_cached": entry["cached_tokens"],
        "num_media_prompt": None,
        "num_media_completion": None,
        "latency": took_ms,
        "generation_time": took_ms,
        "finish_reason": entry["finish_reason"],
        "native_finish_reason": entry["finish_reason"],
        "streamed": entry["streamed"],
        "cancelled": entry["aborted"],
        "is_byok": entry["byok"],
    }
