"""From the edges' reports to rows."""

from bus.tail import Entry
from projections.analytics.rows import Range, Rows, Table, Texts, clip, pack_id, pack_text
from proto.onysoft.v1.usage_pb2 import UsageBatch, UsageEvent
from runtime.ids import ACCOUNT, KEY, REQUEST

EPOCHS_KEPT = 100_000

REQUESTS = Table(
    "requests",
    (
        *("stream_seq", "event_index", "time", "status", "first_byte_us", "duration_us", "request_bytes"),
        *("response_bytes", "streamed", "disconnected", "attempts", "request_id", "account_id", "key_id", "model"),
        *("provider", "route", "code", "edge"),
    ),
    "QHqHIIIQ??B",
)
_REQUEST = REQUESTS.packer

USAGE_BATCHES = Table("usage_batches", ("stream_seq", "time", "number", "events", "dropped", "edge", "epoch"), "QqQIQ")
_BATCH = USAGE_BATCHES.packer
USAGE_TABLES = (REQUESTS, USAGE_BATCHES)

_U8_MAX, _U16_MAX = 2**8 - 1, 2**16 - 1


class UsageRows:
    """The rows since the last `take`. `seen` is the last number of each edge's epoch that is in the tables.

    An edge that lost an acknowledgement repeats its batch under the same number, perhaps after the stream's own window
    for duplicates: the second one gives no rows.
    """

    def __init__(self, position: int, seen: dict[bytes, int]) -> None:
        self.position = position
        self.seen = seen
        self._texts = Texts()
        self._rows = Rows()
        self._first = 0
        self._time_ms = 0

    @property
    def pending(self) -> int:
        """Messages that no range has taken."""
        return self.position - self._first + 1 if self._first else 0

    @property
    def pending_rows(self) -> int:
        """Their rows."""
        return self._rows.count

    def apply(self, entry: Entry) -> None:
        """Add one message's rows."""
        self.position = entry.position
        self._first = self._first or entry.position
        self._time_ms = entry.time_ms
        batch = UsageBatch.FromString(entry.payload)
        if batch.number <= self.seen.get(batch.epoch, 0):
            return
        if len(self.seen) >= EPOCHS_KEPT:
            del self.seen[next(iter(self.seen))]
        self.seen[batch.epoch] = batch.number
        counts = _BATCH.pack(entry.position, entry.time_ms, batch.number, len(batch.events), batch.dropped)
        edge = self._texts.pack(batch.edge)
        self._rows.add(USAGE_BATCHES, counts + edge + self._texts.pack(batch.epoch.hex()))
        for index, event in enumerate(batch.events):
            self._rows.add(REQUESTS, self._request(event, entry.position, index, edge))

    def take(self) -> Range:
        """The rows since the last one. Raises ValueError when nothing is pending."""
        if not self._first:
            raise ValueError("nothing is pending")
        taken = Range(self._first, self.position, self._time_ms, self._rows)
        self._rows = Rows()
        self._first = 0
        return taken

    def skip(self, position: int, first: int) -> None:
        """Go on after `position`, which is lost; the next range begins with `first`."""
        self.position = position
        self._first = first if first <= position else 0

    def _request(self, event: UsageEvent, position: int, index: int, edge: bytes) -> bytes:
        texts = self._texts
        fixed = _REQUEST.pack(
            position,
            index,
            event.received_ms,
            clip(event.status, _U16_MAX),
            event.first_byte_us,
            event.duration_us,
            event.request_bytes,
            event.response_bytes,
            event.streamed,
            event.disconnected,
            clip(event.attempts, _U8_MAX),
        )
        return b"".join(
            (
                fixed,
                pack_id(REQUEST, event.request_id),
                texts.pack_id(ACCOUNT, event.account_id),
                texts.pack_id(KEY, event.key_id),
                pack_text(event.model),
                texts.pack(event.provider),
                texts.pack(event.route),
                texts.pack(event.code),
                edge,
            )
        )
