"""The log itself: positions, writers, retries, checkpoints, and the loud stops."""

import hashlib

import pytest

from core.ledger import fold as fold_module
from core.ledger import holds, rules, versions
from core.ledger.fold import WRITER_KEPT_MS, FoldStopped
from core.ledger.outcome import Code, Outcome
from core.ledger.state import FINGERPRINTS_KEPT, State
from core.ledger.windows import MINUTE_MS
from proto.onysoft.v1 import ledger_pb2 as pb
from tests.model.ledger_log import (
    OTHER_WRITER,
    TRY,
    WRITER,
    Log,
    account_opened,
    checkpoint,
    credit_added,
    extended,
    funded,
    name,
    opened,
    replay,
    rules_activated,
    settled,
)


def test_a_missing_position_stops_the_fold() -> None:
    """A lost message would silently lose a customer's payment."""
    log = funded()
    for position in (log.state.position, log.state.position + 2, 1):
        before = log.state.digest()
        with pytest.raises(FoldStopped, match="follows"):
            log.append(credit_added(1, "r"), position=position)
        assert log.state.digest() == before


def test_the_log_begins_at_position_one() -> None:
    """A trimmed log would be folded as if it were whole."""
    with pytest.raises(FoldStopped):
        Log().append(account_opened(), position=2)


def test_a_retried_batch_counts_once() -> None:
    """A lost acknowledgement would credit or extend twice."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY))
    log.append(extended(1, TRY), credit_added(TRY, "pay-2"))
    payload = log.messages[-1].payload
    held = log.state.accounts[name("ann")].held_nano
    for _ in range(3):
        outcomes = log.put(payload)
        assert [outcome.code for outcome in outcomes] == [Code.DUPLICATE_BATCH] * 2
    assert log.state.accounts[name("ann")].held_nano == held == 2 * TRY
    assert log.put(log.messages[0].payload)[0].code is Code.DUPLICATE_BATCH
    assert log.state.accounts[name("ann")].balance_nano == 6 * TRY


def test_a_retry_that_arrives_days_later_counts_once() -> None:
    """A machine that slept with a batch on its way would apply it twice when it wakes."""
    log = funded(5 * TRY)
    log.append(opened(1, TRY), settled(1, TRY))
    log.now_ms += 3 * WRITER_KEPT_MS
    assert log.put(log.messages[-1].payload)[0].code is Code.DUPLICATE_BATCH
    assert log.state.accounts[name("ann")].balance_nano == 4 * TRY


def test_a_writer_that_skips_a_number_stops_the_fold() -> None:
    """A batch that was acknowledged and lost would go unnoticed."""
    log = funded()
    with pytest.raises(FoldStopped, match="jumps from 1 to 3"):
        log.append(credit_added(1, "r"), number=3)


def test_writers_and_partitions_number_their_batches_apart() -> None:
    """Two cores, or two partitions of one core, would swallow each other's batches."""
    log = funded(0 + TRY)
    for writer in (WRITER, OTHER_WRITER):
        for partition in (0, 1, 2):
            for index in (1, 2):
                reference = f"{writer!r} {partition} {index}"
                outcome = log.append(credit_added(1, reference), writer=writer, partition=partition)[0]
                assert outcome.code is Code.APPLIED
    assert log.state.accounts[name("ann")].balance_nano == TRY + 12


@pytest.mark.parametrize(("writer", "number"), [(b"", 1), (b"seven77", 1), (b"ninenine9", 1), (WRITER, 0)])
def test_a_batch_without_a_proper_writer_or_number_has_no_effect(writer: bytes, number: int) -> None:
    """Its retry could not be told from it, so it would count twice."""
    log = funded(TRY)
    writers = dict(log.state.writers)
    outcomes = log.append(credit_added(1, "r"), opened(1), writer=writer, number=number)
    assert [outcome.code for outcome in outcomes] == [Code.INVALID] * 2
    assert log.state.accounts[name("ann")].balance_nano == TRY
    assert log.state.writers == writers
    log.state.digest()


def test_a_silent_writer_is_forgotten_after_a_day_and_may_come_back() -> None:
    """Memory would grow with each restart of a core; or an idle partition's first call would stop every replica."""
    log = funded()
    log.append(credit_added(1, "w"), writer=OTHER_WRITER)
    log.append(credit_added(1, "x"), writer=OTHER_WRITER)
    log.now_ms -= log.now_ms % MINUTE_MS
    log.later(WRITER_KEPT_MS)
    assert (OTHER_WRITER, 0) in log.state.writers
    log.later(2 * MINUTE_MS)
    assert (OTHER_WRITER, 0) not in log.state.writers
    assert (WRITER, 0) in log.state.writers
    assert log.append(credit_added(1, "y"), writer=OTHER_WRITER)[0].code is Code.APPLIED


def test_a_writer_that_writes_is_never_forgotten() -> None:
    """A retry of an active core would count twice."""
    log = funded()
    for hour in range(50):
        log.later(30 * MINUTE_MS)
        log.append(credit_added(1, f"r{hour}"), writer=OTHER_WRITER)
    assert log.put(log.messages[-1].payload)[0].code is Code.DUPLICATE_BATCH


def test_an_empty_batch_only_moves_time() -> None:
    """A core could not free a dead core's holds on a quiet night."""
    log = funded()
    before = log.state.accounts[name("ann")].digest(1)
    log.now_ms += 5000
    assert log.append() == []
    assert log.state.time_ms == log.now_ms
    assert log.state.accounts[name("ann")].digest(1) == before


def test_even_a_duplicate_moves_time_and_ends_holds() -> None:
    """Replicas would disagree on when a hold ended."""
    log = funded(TRY)
    log.append(opened(1, TRY, lease_ms=1000))
    log.now_ms += 1000
    log.put(log.messages[-1].payload)
    assert log.state.accounts[name("ann")].held_nano == 0


def test_outcomes_come_one_for_each_event_in_order() -> None:
    """A caller would be told the verdict on another's call."""
    log = funded(TRY)
    outcomes = log.append(opened(1, TRY), opened(2, TRY), settled(1, 1), opened(3, 1))
    assert [outcome.code for outcome in outcomes] == [Code.ADMITTED, Code.HELD, Code.SETTLED, Code.ADMITTED]


@pytest.mark.parametrize(
    "event",
    [pb.Event(), pb.Event.FromString(bytes.fromhex("f20700"))],
    ids=["empty", "of a later release"],
)
def test_an_event_that_this_release_does_not_know_stops_the_fold(event: pb.Event) -> None:
    """An old core would go on without an event that may have moved money."""
    log = funded()
    with pytest.raises(FoldStopped, match="do not know"):
        log.append(event)


@pytest.mark.parametrize("version", [0, 3, 4_000_000_000])
def test_rules_that_this_release_does_not_have_stop_the_fold(version: int) -> None:
    """An old core would go on under rules that no longer hold."""
    log = funded()
    with pytest.raises(FoldStopped, match="unknown to this release"):
        log.append(rules_activated(version))


def test_a_state_under_unknown_rules_stops_at_its_next_event() -> None:
    """An old core would start from a newer core's snapshot and decide by old rules."""
    log = funded()
    log.state.rules_version = 3
    restored = State.from_snapshot(log.state.to_snapshot())
    with pytest.raises(FoldStopped, match="rules 3 do not know"):
        Log(restored).append(credit_added(1, "r"), writer=OTHER_WRITER)


def test_every_stop_is_a_fold_stopped() -> None:
    """A replica that waits for one kind of stop would survive another, and go on with a wrong state."""
    for stop in (holds.InvariantBroken, versions.UnknownRules, rules.ReplicasDiffer):
        assert issubclass(stop, FoldStopped)


def test_every_event_of_the_contract_has_a_handler() -> None:
    """An event added to the contract would stop every core in production."""
    assert set(versions.HANDLERS[versions.NEWEST]) | {"actor"} == {field.name for field in pb.Event.DESCRIPTOR.fields}


def test_the_chain_hash_runs_over_every_messages_bytes() -> None:
    """A changed log could not be told from the true one, and no statement could be verified offline."""
    log = funded()
    log.append(opened(1))
    log.put(log.messages[-1].payload)
    expected = bytes(32)
    for message in log.messages:
        expected = hashlib.sha256(expected + message.payload).digest()
    assert log.state.chain_hash == expected


def fingerprinted(monkeypatch: pytest.MonkeyPatch, every: int = 4) -> Log:
    """A log whose fold keeps fingerprints often, and has one at position 4."""
    monkeypatch.setattr(fold_module, "FINGERPRINT_EVERY", every)
    log = funded()
    for number in range(4):
        log.append(credit_added(1, f"r{number}"))
    return log


def test_a_true_checkpoint_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A healthy replica would stop."""
    log = fingerprinted(monkeypatch)
    chain_hash, digest = log.state.fingerprints[4]
    assert log.code(checkpoint(4, chain_hash, digest)) is Code.CHECKED


def test_a_fingerprint_is_the_state_after_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas would compare different things and stop for nothing."""
    log = fingerprinted(monkeypatch)
    prefix = replay(log.messages[:4])
    assert list(log.state.fingerprints) == [4]
    assert log.state.fingerprints[4] == (prefix.chain_hash, prefix.digest())


def test_a_checkpoint_of_an_unknown_position_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old checkpoint would stop a replica that has forgotten; or a made-up one would pass for a proof."""
    log = fingerprinted(monkeypatch)
    for position in (0, 3, 5, 400):
        assert log.code(checkpoint(position, bytes(32), bytes(32))) is Code.UNCHECKED


def test_a_different_checkpoint_stops_the_fold_and_says_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost bytes or a wrong fold would go on unnoticed, with wrong balances."""
    log = fingerprinted(monkeypatch)
    chain_hash, digest = log.state.fingerprints[4]
    with pytest.raises(FoldStopped, match="bytes of the log at position 4"):
        log.append(checkpoint(4, bytes(32), digest))
    log = fingerprinted(monkeypatch)
    with pytest.raises(FoldStopped, match="state at position 4"):
        log.append(checkpoint(4, chain_hash, bytes(32)))


def test_a_retry_at_a_fingerprints_position_is_fingerprinted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint would be skipped whenever a retry falls on its position."""
    log = fingerprinted(monkeypatch)
    while log.state.position < 7:
        log.append()
    log.put(log.messages[-1].payload)
    assert 8 in log.state.fingerprints


def test_fingerprints_are_taken_regularly_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint could be compared, or memory would grow for ever."""
    log = fingerprinted(monkeypatch)
    while log.state.position < 4 * (FINGERPRINTS_KEPT + 2):
        log.append()
    assert list(log.state.fingerprints) == [4 * n for n in range(3, FINGERPRINTS_KEPT + 3)]


def test_a_replica_from_a_snapshot_checks_older_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restarted core would trust a log that its peers have found wrong."""
    log = fingerprinted(monkeypatch)
    chain_hash, digest = log.state.fingerprints[4]
    restored = State.from_snapshot(log.state.to_snapshot())
    other = Log(restored)
    assert other.append(checkpoint(4, chain_hash, digest), writer=OTHER_WRITER)[0].code is Code.CHECKED


def test_an_outcome_says_what_it_holds() -> None:
    """An operator who reads the log's tail would miss an amount."""
    outcome = Outcome(Code.SETTLED)
    outcome.available_nano, outcome.charged_nano = 7, 5
    assert repr(outcome) == "Outcome(SETTLED, available_nano=7, charged_nano=5)"
