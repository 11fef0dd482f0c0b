"""The rows that come out of the projections' fold. A row that is missed shows a customer an old balance."""

from bus.tail import Entry
from core.ledger.state import FINGERPRINT_EVERY, State
from projections.fold import Fold
from proto.onysoft.v1 import ledger_pb2 as pb

ANN, BOB = b"account-ann-", b"account-bob-"


def entry(position: int, *events: pb.Event) -> Entry:
    batch = pb.LedgerBatch(writer=b"writer-1", number=position, events=events)
    return Entry(position, 1_000_000 + position, "ledger.03", batch.SerializeToString())


def opened(account_id: bytes) -> pb.Event:
    return pb.Event(account_opened=pb.AccountOpened(account_id=account_id, kind=pb.USER, currency=pb.TRY))


def credited(account_id: bytes, reference: str) -> pb.Event:
    credit = pb.CreditAdded(account_id=account_id, amount_nano=5_000_000_000, reference=reference)
    return pb.Event(credit_added=credit)


def test_an_account_that_changes_where_a_fingerprint_is_taken_gets_its_row() -> None:
    """The digest of a fingerprint position forgets which accounts changed; the projections must not."""
    fold = Fold(State())
    fold.apply(entry(1, opened(ANN), opened(BOB)))
    for position in range(2, FINGERPRINT_EVERY):
        fold.apply(entry(position, credited(ANN, f"top-up {position}")))
    fold.take()
    fold.apply(entry(FINGERPRINT_EVERY, credited(BOB, "the only one")))
    _, accounts, _, _ = fold.take()
    assert [(row[0], row[2]) for row in accounts] == [(BOB, 5_000_000_000)]


def test_a_row_is_taken_once() -> None:
    """Rows that are written again at each flush would make a flush as slow as the number of accounts."""
    fold = Fold(State())
    fold.apply(entry(1, opened(ANN)))
    assert [row[0] for row in fold.take()[1]] == [ANN]
    fold.apply(entry(2, opened(BOB)))
    assert [row[0] for row in fold.take()[1]] == [BOB]
