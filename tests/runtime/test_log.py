"""Logs: an operator finds what happened, and nobody finds a customer's words in them."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import structlog

from runtime import log
from runtime.settings import Settings

Lines = Callable[[], list[dict[str, object]]]
SECRET = "sk-ony-0123 Merhaba, gizli metin"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """The log lines that a process named edge-7 has written to stderr."""
    written = io.BytesIO()
    # pytest puts a stderr of its own in place between fixture and test, so only the module's view is replaced.
    stderr = SimpleNamespace(buffer=written)
    monkeypatch.setattr(log, "sys", SimpleNamespace(stderr=stderr, exc_info=sys.exc_info))
    root = logging.getLogger()
    before = root.handlers[:], root.level
    log.configure(Settings(process_name="edge-7"), "edge")
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:], root.level = before[0], before[1]
    structlog.reset_defaults()


def test_a_line_names_event_process_level_and_time(lines: Lines) -> None:
    """Without them nobody can tell which of many processes said what, and when."""
    log.log.warning("provider.slow", provider="openrouter", wait_ms=1200)
    (line,) = lines()
    assert line.pop("ts")
    assert line == {
        "event": "provider.slow",
        "level": "warning",
        "process": "edge-7",
        "provider": "openrouter",
        "wait_ms": 1200,
    }


def test_an_exceptions_message_is_never_logged(lines: Lines) -> None:
    """A parser's message quotes the prompt that it could not parse."""
    try:
        raise ValueError(f"cannot parse {SECRET}")
    except ValueError:
        log.log.exception("call.failed")
    (line,) = lines()
    assert line["error_type"] == "ValueError"
    assert str(line["places"]).count("test_an_exceptions_message_is_never_logged") == 1
    assert SECRET not in json.dumps(line, ensure_ascii=False)


def test_another_librarys_line_keeps_only_its_beginning(lines: Lines) -> None:
    """Libraries add reprs of futures and payloads after their first line."""
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <Task %s>", SECRET)
    logging.getLogger("nats").warning("x" * 10_000)
    first, second = lines()
    assert first["text"] == "Task exception was never retrieved"
    assert len(str(second["text"])) == 300


def test_other_libraries_chatter_is_dropped(lines: Lines) -> None:
    """A line per request from a library would drown what matters."""
    logging.getLogger("uvicorn.access").info("GET /v1/models 200")
    assert lines() == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(), ValueError("closed")])
def test_a_line_that_cannot_be_written_harms_nobody(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A full disk would end connections and calls in the middle, as they report something else."""

    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise error

    monkeypatch.setattr(log, "sys", SimpleNamespace(stderr=SimpleNamespace(buffer=Full()), exc_info=sys.exc_info))
    log.configure(Settings(), "edge")
    log.log.error("said.to.nobody")
    logging.getLogger("nats").warning("said to nobody")


def test_lines_below_the_chosen_level_are_dropped(lines: Lines) -> None:
    """An operator who asks for errors alone must not pay for more."""
    log.configure(Settings(log_level="error"), "edge")
    log.log.warning("not.worth.it")
    log.log.error("worth.it")
    assert [line["event"] for line in lines()] == ["worth.it"]
