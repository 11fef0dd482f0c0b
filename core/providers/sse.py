"""Server-sent events from bytes, sans I/O: feed what arrived, get the data of the events that are whole."""

EVENT_BYTES_MAX = 8 * 1024 * 1024
"""Largest event, and so the most that a parser ever holds."""


class EventTooLarge(Exception):
    """One event exceeds EVENT_BYTES_MAX; the stream cannot be read on."""


class EventParser:
    """Incremental parser of one stream. Lines end in LF or CRLF; comments and fields other than `data` are dropped.

    An event ends at an empty line. At the end of a stream whose last event may lack it, feed two line ends.
    """

    __slots__ = ("_held_bytes", "_held_bytes_max", "_lines", "_partial", "_start")

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._lines: list[bytes] = []
        """Values of the data lines of the event that is not yet whole."""
        self._partial: list[bytes] = []
        """Pieces of the line that is not yet whole."""
        self._held_bytes = 0
        self._held_bytes_max = event_bytes_max
        self._start = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that `piece` completes, in order. Raises EventTooLarge."""
        lines = piece.split(b"\n")
        last = lines.pop()
        if lines and self._partial:
            self._partial.append(lines[0])
            lines[0] = b"".join(self._partial)
            self._partial.clear()
        if self._start and lines:
            self._start = False
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        if last:
            self._partial.append(last)
        self._held_bytes += len(piece)
        events = self._take(lines) if lines else []
        if self._held_bytes > self._held_bytes_max:
            self._measure()
        return events

    def _take(self, lines: list[bytes]) -> list[bytes]:
        events = []
        held = self._lines
        for line in lines:
            if line[-1:] == b"\r":
                line = line[:-1]
            if not line:
                if held:
                    events.append(held[0] if len(held) == 1 else b"\n".join(held))
                    held.clear()
            elif line[:6] == b"data: ":
                held.append(line[6:])
            elif line[:5] == b"data:":
                held.append(line[5:])
            elif line == b"data":
                held.append(b"")
        return events

    def _measure(self) -> None:
        """Count what is held, exactly, now that all bytes since the last count might exceed the limit."""
        self._held_bytes = sum(map(len, self._lines)) + len(self._lines) + sum(map(len, self._partial))
        if self._held_bytes > self._held_bytes_max:
            raise EventTooLarge
