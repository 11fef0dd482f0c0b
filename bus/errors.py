"""What can go wrong between processes. Infrastructure trouble only: a refusal of a call is `runtime.errors.Refusal`."""


class BusError(Exception):
    """All errors of this package."""


class NoCore(BusError):
    """Nobody listens on the subject, or this process has no connection over which to ask. Nothing was delivered."""


class RequestTimeout(BusError, TimeoutError):
    """No answer in time, or the connection broke while waiting. The request may have been served."""


class Overloaded(BusError):
    """A bounded queue is full. Nothing was queued."""


class WriterClosed(BusError):
    """The writer was closed before the fold's outcome came. The event may be in the log."""


class PayloadTooLarge(BusError):
    """The payload is over the server's limit (1 MiB), or an event is over a batch's. Nothing was sent."""


class ApiRefused(BusError):
    """JetStream refused a request. `code` is like an HTTP status, `err_code` names the reason."""

    def __init__(self, code: int, err_code: int, description: str) -> None:
        super().__init__(f"{description} (code {code}, err_code {err_code})")
        self.code = code
        self.err_code = err_code


class UnsafeStream(BusError):
    """A stream exists with settings under which it could lose what it must keep."""


class HistoryLost(BusError):
    """A stream no longer has what a reader must see next. Reading on would skip facts."""


class NoSuchPosition(BusError):
    """The stream has no message at that position."""


class SnapshotBroken(BusError):
    """Snapshots exist and none of them could be read whole. The log itself is the way to go on."""


class TailStopped(BusError):
    """The tail was stopped before it reached the position."""


class ArchiveBroken(BusError):
    """The ledger's archive is not what was written: the message names the file and the positions."""
