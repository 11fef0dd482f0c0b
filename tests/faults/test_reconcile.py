"""The reconciliation itself: each kind of lie must be found, or the fault tests prove nothing."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.ledger import rules, versions
from projections.store import Store
from proto.onysoft.v1 import ledger_pb2 as pb
from runtime.ids import ACCOUNT, REQUEST, text
from tests.faults.load import Call
from tests.faults.log import Raw
from tests.faults.reconcile import Report, _check_projections, compare

ANN, KEY = b"account-ann-", b"key-of-ann--"
NANO = 10**9
LEASE_MS = 10_000


def request_id(number: int) -> bytes:
    return f"request-{number:04d}".encode()


class Story:
    """A log, a journal and clients' notes that agree, until a test makes one of them lie."""

    def __init__(self) -> None:
        self.messages: list[Raw] = []
        self.journal: list[dict[str, Any]] = []
        self.calls: list[Call] = []
        self.time_ms = 1_700_000_000_000
        opened = pb.AccountOpened(account_id=ANN, kind=pb.USER, currency=pb.TRY, markup_bps=5000)
        self.append(
            pb.Event(account_opened=opened),
            pb.Event(credit_added=pb.CreditAdded(account_id=ANN, amount_nano=NANO, reference="r")),
            pb.Event(key_issued=pb.KeyIssued(key_id=KEY, account_id=ANN, key_hash=bytes(32))),
        )

    def append(self, *events: pb.Event) -> None:
        position = len(self.messages) + 1
        self.time_ms += 100
        batch = pb.LedgerBatch(writer=b"writer-1", number=position, events=events)
        self.messages.append(Raw(position, self.time_ms, 3, batch.SerializeToString()))

    def open(self, number: int, hold: int = NANO // 2) -> None:
        fields = {"account_id": ANN, "key_id": KEY, "hold_nano": hold, "lease_ms": LEASE_MS}
        self.append(pb.Event(request_opened=pb.RequestOpened(request_id=request_id(number), attempt=1, **fields)))  # type: ignore[arg-type]

    def settle(self, number: int, **other: Any) -> None:
        """0.0025 USD at rate 40 and 50 % markup are 0.15."""
        fields: dict[str, Any] = {
            "charge_nano": 150_000_000,
            "provider_cost_usd": "0.0025",
            "fx_rate_nano": 40 * NANO,
            "markup_bps": 5000,
            "basis": pb.PROVIDER_COST,
            "generation_id": f"gen-{number}",
            **other,
        }
        settled = pb.RequestSettled(request_id=request_id(number), attempt=1, **fields)
        self.append(pb.Event(request_settled=settled))

    def serve(self, number: int) -> None:
        """A call that goes well, as all three have it."""
        self.open(number)
        self.settle(number)
        self.journal.append({"id": f"gen-{number}", "cost_usd": "0.0025"})
        call = Call(number, "edge", text(ACCOUNT, ANN), False, 0.0, status=200)
        call.whole, call.amount, call.request_id = True, Decimal("0.15"), text(REQUEST, request_id(number))
        self.calls.append(call)

    def report(self) -> Report:
        report = Report()
        compare(report, self.messages, self.journal, self.calls)
        return report


@pytest.fixture
def story() -> Story:
    story = Story()
    for number in range(3):
        story.serve(number)
    return story


def test_what_agrees_agrees(story: Story) -> None:
    """An alarm that always rings is no alarm."""
    assert story.report().ok, story.report().told()
    assert ("charges", "0.45") in story.report().rows


PARTNER, CUSTOMER, CUSTOMER_KEY = b"the-partner-", b"its-customer", b"customer-key"


def partners_customer_calls(story: Story, **other: int) -> None:
    """0.0025 USD: 0.003 for the partner at 20 %, 0.144 for its customer at another 20 % and rate 40."""
    opened = pb.AccountOpened(account_id=PARTNER, kind=pb.PARTNER, currency=pb.USD, markup_bps=2000)
    below = pb.AccountOpened(
        account_id=CUSTOMER, kind=pb.PARTNER_CUSTOMER, currency=pb.TRY, markup_bps=2000, parent_id=PARTNER
    )
    story.append(
        pb.Event(rules_activated=pb.RulesActivated(version=2)),
        pb.Event(account_opened=opened),
        pb.Event(account_opened=below),
        pb.Event(credit_added=pb.CreditAdded(account_id=PARTNER, amount_nano=NANO, reference="p")),
        pb.Event(credit_added=pb.CreditAdded(account_id=CUSTOMER, amount_nano=NANO, reference="c")),
        pb.Event(key_issued=pb.KeyIssued(key_id=CUSTOMER_KEY, account_id=CUSTOMER, key_hash=bytes([1]) * 32)),
    )
    asked = pb.RequestOpened(
        request_id=request_id(8), attempt=1, account_id=CUSTOMER, key_id=CUSTOMER_KEY, lease_ms=LEASE_MS
    )
    asked.hold_nano, asked.parent_hold_nano = NANO // 2, NANO // 100
    story.append(pb.Event(request_opened=asked))
    legs = {"parent_charge_nano": 3_000_000, "parent_fx_rate_nano": NANO, "parent_markup_bps": 2000, **other}
    story.settle(8, charge_nano=144_000_000, markup_bps=2000, **legs)
    story.journal.append({"id": "gen-8", "cost_usd": "0.0025"})


def test_both_legs_of_a_partners_call_are_read(story: Story) -> None:
    """The second reading would ring for every partner, or see nothing of what partners pay."""
    partners_customer_calls(story)
    assert story.report().ok, story.report().told()


def partner_charged_otherwise(story: Story) -> None:
    partners_customer_calls(story, parent_charge_nano=2_999_999)


def hold_left_open(story: Story) -> None:
    story.open(7)


def settled_twice_in_the_log(story: Story) -> None:
    story.settle(1, generation_id="gen-1")


def generation_that_never_was(story: Story) -> None:
    story.open(7)
    story.settle(7)


def generation_named_twice(story: Story) -> None:
    story.open(7)
    story.settle(7, generation_id="gen-1")


def another_cost_than_the_providers(story: Story) -> None:
    story.journal[1]["cost_usd"] = "0.0024"


def a_charge_that_its_terms_do_not_make(story: Story) -> None:
    story.open(7)
    story.settle(7, charge_nano=150_000_001)
    story.journal.append({"id": "gen-7", "cost_usd": "0.0025"})


def an_answer_that_nobody_paid(story: Story) -> None:
    story.calls[1].request_id = text(REQUEST, request_id(9))


def an_answer_that_showed_another_cost(story: Story) -> None:
    story.calls[1].amount = Decimal("0.150000001")


def an_answer_paid_by_somebody_else(story: Story) -> None:
    story.calls[1].account_id = text(ACCOUNT, b"account-bob-")


def a_refusal_that_was_charged(story: Story) -> None:
    story.calls[1].whole, story.calls[1].status, story.calls[1].code = False, 402, "insufficient_balance"


def a_text_that_arrived_changed(story: Story) -> None:
    story.calls[1].trouble = "another text"


def a_request_id_given_twice(story: Story) -> None:
    story.calls[1].request_id = story.calls[0].request_id


def a_message_that_is_gone(story: Story) -> None:
    del story.messages[3]


def a_batch_that_is_gone(story: Story) -> None:
    lost = story.messages.pop()
    story.append()
    story.messages[-1] = Raw(
        lost.position, lost.time_ms, 3, story.messages[-1].payload.replace(b"\x10\x07", b"\x10\x08")
    )


def a_checkpoint_of_another_log(story: Story) -> None:
    for number in range(100, 200):
        story.serve(number)
    while len(story.messages) < 256:
        story.append()
    wrong = pb.Checkpoint(position=256, chain_hash=bytes(32), state_digest=bytes(32))
    story.append(pb.Event(checkpoint=wrong))


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (partner_charged_otherwise, "its own terms make"),
        (hold_left_open, "still holds"),
        (settled_twice_in_the_log, "was named at position"),
        (generation_that_never_was, "which the provider does not know"),
        (generation_named_twice, "was named at position"),
        (another_cost_than_the_providers, "the provider billed 0.0024"),
        (a_charge_that_its_terms_do_not_make, "its own terms make 150000000"),
        (an_answer_that_nobody_paid, "never settled"),
        (an_answer_that_showed_another_cost, "showed a cost of"),
        (an_answer_paid_by_somebody_else, "settled on another account"),
        (a_refusal_that_was_charged, "was refused with insufficient_balance and settled"),
        (a_text_that_arrived_changed, "another text"),
        (a_request_id_given_twice, "was given to 2 calls"),
        (a_message_that_is_gone, "the log jumps from 3 to 5"),
        (a_batch_that_is_gone, "jumps from"),
        (a_checkpoint_of_another_log, "the fold stops"),
    ],
)
def test_every_lie_is_found(story: Story, lie: Callable[[Story], None], told: str) -> None:
    """What this does not find, the fault tests would wave through."""
    lie(story)
    assert told in story.report().told()


def test_a_fold_that_charges_otherwise_is_found(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both readings would have to make one mistake for it to go unseen."""
    original = versions.HANDLERS[1]["request_settled"]

    def cheaper(state: Any, event: Any) -> Any:
        less = pb.RequestSettled()
        less.CopyFrom(event)
        less.charge_nano -= 1
        return original(state, less)

    monkeypatch.setitem(versions.HANDLERS[1], "request_settled", cheaper)
    assert "the fold says" in story.report().told()


def test_a_fold_that_admits_too_much_is_found(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict that the written rules do not allow."""
    story.open(7, hold=2 * NANO)
    assert story.report().ok
    monkeypatch.setattr(rules, "cover", lambda account, hold_nano: None)
    assert not story.report().ok


@pytest.mark.parametrize("lie", ["nothing", "balance", "row"])
def test_projections_that_lie_are_found(story: Story, tmp_path: Path, lie: str) -> None:
    """What customers are shown comes from the projections."""
    report = Report()
    book, replay = compare(report, story.messages, story.journal, story.calls)
    assert replay is not None
    purse = book.purses[ANN]
    index = [(*key, 10, *row) for key, row in replay.request_events.items()]
    rows = [(name, position, number, kind, *row) for name, position, number, kind, *row in index]
    charges = purse.charges + (lie == "balance")
    store = Store(tmp_path / "projections")
    store.write(
        book.position,
        rows[: -1 if lie == "row" else None],  # type: ignore[arg-type]
        [(ANN, pb.TRY, purse.credits, charges, purse.held, purse.shortfall, 0)],
    )
    store.close()
    _check_projections(SimpleNamespace(data=tmp_path), report, book, replay)  # type: ignore[arg-type]
    assert report.ok == (lie == "nothing")
