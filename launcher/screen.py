"""What a person sees of an instance: short lines on the terminal, whole ones in <data>/logs."""

import json
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

_FILE_BYTES_MAX = 10 * 1024 * 1024
_SHORT_CHARACTERS_MAX = 240
_BURST_LINES_MAX = 40
_BURST_S = 5.0
_LOUD_LEVELS = ("warning", "error", "critical")
_LOUD_NATS = ("[WRN]", "[ERR]", "[FTL]")
_KNOWN_NATS = ("Plaintext passwords detected",)  # the file is readable for its owner alone
_HIDDEN = ("event", "level", "ts", "process", "places")


class LogFile:
    """An appended file that turns over at 10 MB and keeps one predecessor, so it holds at most 20 MB."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab")
        self._size = path.stat().st_size

    def write(self, data: bytes) -> None:
        """Append; a write that passes the limit starts a new file. What a full disk does not take is dropped."""
        try:
            self._append(data)
        except OSError:
            return  # a process whose output is not read would come to a halt

    def _append(self, data: bytes) -> None:
        if self._size + len(data) > _FILE_BYTES_MAX:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._path.open("ab")
            self._size = 0
        self._file.write(data)
        self._file.flush()
        self._size += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Screen:
    """The terminal and the supervisor's own log."""

    def __init__(self, logs: Path) -> None:
        self._log = LogFile(logs / "supervisor.log")
        self._burst_ends = 0.0
        self._burst_lines = 0

    def say(self, text: str) -> None:
        """A line for the person who started the instance."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def event(self, name: str, **fields: Any) -> None:
        """Something that happened to a process of the instance: logged, and shown in short form."""
        record = {"event": name, "ts": datetime.now().astimezone().isoformat(), **fields}
        self._log.write(json.dumps(record).encode() + b"\n")
        self.say(_line("supervisor", name, fields))

    def relay(self, process: str, line: bytes) -> None:
        """A line of a process's log: shown when it is a warning or worse, at most 40 lines in 5 s."""
        short = shorten(process, line)
        if short is None:
            return
        now = time.monotonic()
        if now > self._burst_ends:
            self._burst_ends = now + _BURST_S
            self._burst_lines = 0
        self._burst_lines += 1
        if self._burst_lines < _BURST_LINES_MAX:
            self.say(short)
        elif self._burst_lines == _BURST_LINES_MAX:
            self.say(f"{_clock()} … more lines like these are in the logs folder")

    def close(self) -> None:
        """Close the log."""
        self._log.close()


def shorten(process: str, line: bytes) -> str | None:
    """The terminal's form of a log line; None when the line is not worth a person's attention."""
    text = line.decode("utf-8", "replace").rstrip()
    if text.startswith((" ", "Traceback ")):
        return None  # the last line of a traceback says what happened
    if not text.startswith("{"):
        is_quiet = text.startswith("[") and not any(mark in text for mark in _LOUD_NATS)
        is_known = any(known in text for known in _KNOWN_NATS)
        return None if not text or is_quiet or is_known else f"{_clock()} {process} {text}"[:_SHORT_CHARACTERS_MAX]
    try:
        record = json.loads(text)
    except ValueError:
        return f"{_clock()} {process} {text}"[:_SHORT_CHARACTERS_MAX]
    if record.get("level") not in _LOUD_LEVELS:
        return None
    fields = {name: value for name, value in record.items() if name not in _HIDDEN}
    return _line(process, f"{record['level']} {record.get('event')}", fields)


def _line(process: str, event: str, fields: dict[str, Any]) -> str:
    shown = " ".join(f"{name}={value}" for name, value in fields.items())
    return f"{_clock()} {process} {event} {shown}".rstrip()[:_SHORT_CHARACTERS_MAX]


def _clock() -> str:
    return time.strftime("%H:%M:%S")
