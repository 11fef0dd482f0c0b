"""Moments and durations as people type them."""

import re
from datetime import datetime, timedelta, timezone

import typer

_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d|w)")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_ISTANBUL = timezone(timedelta(hours=3))


def duration_ms(text: str) -> int:
    """`90m`, `24h`, `30d` in milliseconds. Raises BadParameter."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration: a number and s, m, h, d or w, such as 24h")
    return int(match[1]) * _UNITS_S[match[2]] * 1_000


def moment_ms(text: str, now_ms: int) -> int:
    """Unix milliseconds of an ISO date or time, or of a duration from now. Without an offset it is Istanbul's time.

    Raises BadParameter.
    """
    if _DURATION.fullmatch(text.strip()):
        return now_ms + duration_ms(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither an ISO date or time nor a duration such as 30d") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=_ISTANBUL)).timestamp() * 1_000)


def shown(unix_ms: int) -> str:
    """ISO in Istanbul's time; empty for 0."""
    return datetime.fromtimestamp(unix_ms / 1_000, _ISTANBUL).isoformat(timespec="seconds") if unix_ms else ""
