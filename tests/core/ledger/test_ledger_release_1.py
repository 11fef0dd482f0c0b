"""Logs written by the previous release, under rules version 1: each must replay to the digest it had then.

`release_1/` holds the messages of one real gateway (two edges, two cores, some of them killed, a provider that failed)
and of three random schedules. A record is position, time in ms, partition, length, payload.
"""

import gzip
import struct
from pathlib import Path

import pytest

from core.ledger import fold as fold_module
from core.ledger.outcome import Code
from core.ledger.state import State
from proto.onysoft.v1 import snapshot_pb2
from tests.model.ledger_log import Log, Message, account_opened, fold, rules_activated

FOLDER = Path(__file__).parent / "release_1"
RECORD = struct.Struct(">QQII")

DIGESTS = {
    "gateway": (724, "2af5dae53a9633d2a5c592e9fc8d9c665d08ba1f8a2d54cc407b44ae15fefc85"),
    "schedule-3": (35, "fca78ddf79ee8b0c09a57255fc807cb81e38c46b2fd7bc323f5feaf044ccd891"),
    "schedule-8": (35, "ee073ffed315325ce798d24d7a342053082e38865c9b3753b0e198b2656203e5"),
    "schedule-21": (35, "d0476a4891e5391980790f15474ba48bd8232b2cd757027d9268ce631e0bb3c2"),
}
SCHEDULES_FINGERPRINT_EVERY = 8


def messages_of(name: str) -> list[Message]:
    content = gzip.decompress((FOLDER / f"{name}.log.gz").read_bytes())
    messages, at = [], 0
    while at < len(content):
        position, time_ms, partition, length = RECORD.unpack_from(content, at)
        at += RECORD.size + length
        messages.append(Message(position, time_ms, partition, content[at - length : at]))
    return messages


@pytest.fixture(params=sorted(DIGESTS))
def log_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name.startswith("schedule"):
        monkeypatch.setattr(fold_module, "FINGERPRINT_EVERY", SCHEDULES_FINGERPRINT_EVERY)
    return name


def test_a_log_of_the_previous_release_replays_to_its_digest(log_name: str) -> None:
    """Nobody could prove last month's charges any more, and old checkpoints would stop every replica."""
    state, codes = State(), set()
    for message in messages_of(log_name):
        codes.update(outcome.code for outcome in fold(state, message))
    assert (state.position, state.digest().hex()) == DIGESTS[log_name]
    assert log_name != "gateway" or Code.CHECKED in codes


def test_an_old_log_goes_on_under_new_rules(log_name: str) -> None:
    """An upgrade would lose balances, or a replica restored from a snapshot would differ from one that replayed."""
    messages = messages_of(log_name)
    log = Log(now_ms=messages[-1].time_ms)
    for message in messages:
        fold(log.state, message)
    before = {account_id: account.balance_nano for account_id, account in log.state.accounts.items()}
    restored = State.from_snapshot(snapshot_pb2.Snapshot.FromString(log.state.to_snapshot().SerializeToString()))
    verdicts = log.append(rules_activated(2), account_opened("new"), writer=b"upgraded")
    assert [verdict.code for verdict in verdicts] == [Code.APPLIED, Code.APPLIED]
    log.now_ms += 60_000
    log.append(writer=b"upgraded")
    assert {account_id: log.state.accounts[account_id].balance_nano for account_id in before} == before
    for message in log.messages:
        fold(restored, message)
    assert restored.digest() == log.state.digest()
