"""Logs: one JSON object a line on stderr, one event a line, ids and numbers.

No line holds a prompt, an answer or a key. So an exception is logged as its type and the places it passed, without its
message (a parser's message quotes what it parsed), and of another library's line only the beginning is kept.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, BinaryIO

import orjson
import structlog

from runtime.settings import Settings

_FOREIGN_TEXT_CHARACTERS_MAX = 300
_PLACES_MAX = 12

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def configure(settings: Settings, process: str) -> None:
    """Send this process's log lines to stderr from `settings.log_level` on; `process` names it on every line.

    Lines of other libraries (through `logging`) are kept from warning on, in the same shape.
    """
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            _Named(settings.process_name or process),
            reduce_exception,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_LinesFactory(sys.stderr.buffer),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ForeignLines()]
    root.setLevel(max(level, logging.WARNING))


class _Lines(structlog.BytesLogger):
    """Writes lines. What cannot be written (a full disk, a reader that has gone) is dropped: a line may be said in the
    middle of anything, and no connection or call must end because nobody can read of it."""

    def msg(self, message: bytes) -> None:
        try:
            super().msg(message)
        except (OSError, ValueError):
            return

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


class _LinesFactory(structlog.BytesLoggerFactory):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._lines = _Lines(file)

    def __call__(self, *_: Any) -> _Lines:
        return self._lines


def reduce_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace `exc_info` by `error_type` and `places` (innermost last); the message is dropped, it may quote a body."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error_type"] = type(error).__name__
        event["places"] = _places(error)
    return event


def _places(error: BaseException) -> list[str]:
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-_PLACES_MAX:]


def _dumps(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=repr)


class _Named:
    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["process"] = self._process
        return event


class _ForeignLines(logging.Handler):
    """Other libraries' lines as events of ours: the first line of the text, cut short."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().partition("\n")[0][:_FOREIGN_TEXT_CHARACTERS_MAX]
        method = "error" if record.levelno >= logging.ERROR else "warning"
        getattr(log, method)("library", logger=record.name, text=text, exc_info=record.exc_info)
