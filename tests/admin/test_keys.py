"""What a key may be used for, and its secrets: set, changed, shown, refused where it makes no sense."""

import time
from typing import Any, cast

import pytest

from proto.onysoft.v1 import admin_pb2 as admin
from proto.onysoft.v1 import ledger_pb2 as ledger
from tests.admin.conftest import Operator

SOON_MS = int(time.time() * 1000) + 3_600_000


async def issue(operator: Operator, **policy: Any) -> admin.IssuedKey:
    account = await operator.open()
    request = admin.IssueKeyRequest(account_id=account.account_id, name="k", policy=ledger.KeyPolicy(**policy))
    return cast(admin.IssuedKey, await operator.call("IssueKey", request))


async def listed(operator: Operator, key_id: str) -> admin.Key:
    key = operator.replica.state.keys[bytes.fromhex(key_id.removeprefix("key_"))]
    account_id = "acc_" + key.account_id.hex()
    return cast(admin.Key, (await operator.call("ListKeys", admin.AccountRef(account_id=account_id))).keys[0])


async def test_a_key_is_issued_with_its_policy(operator: Operator) -> None:
    """A key meant for one office and one month would work everywhere, for ever."""
    issued = await issue(
        operator,
        expires_ms=SOON_MS,
        allowed_models=["google/*", " a/b "],
        allowed_ips=["192.0.2.1", "::ffff:10.0.0.0/104"],
    )
    key = await listed(operator, issued.key_id)
    assert key.state == "active"
    assert key.policy.expires_ms == SOON_MS
    assert list(key.policy.allowed_models) == ["google/*", "a/b"]
    assert list(key.policy.allowed_ips) == ["192.0.2.1/32", "10.0.0.0/8"]
    assert key.last_used_ms == 0


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"expires_ms": 1_000}, "expires_ms"),
        ({"allowed_models": ["*/x"]}, "allowed_models"),
        ({"allowed_models": [" "]}, "allowed_models"),
        ({"allowed_ips": ["10.0.0.1/8"]}, "allowed_ips"),
        ({"allowed_ips": ["office"]}, "allowed_ips"),
        ({"allowed_ips": [f"10.0.{each}.0/24" for each in range(101)]}, "allowed_ips"),
    ],
)
async def test_a_policy_that_makes_no_sense_is_refused_by_name(
    operator: Operator, policy: dict[str, Any], field: str
) -> None:
    """A mistyped range would lock the customer out, or let everybody in."""
    account = await operator.open()
    request = admin.IssueKeyRequest(account_id=account.account_id, name="k", policy=ledger.KeyPolicy(**policy))
    failure = await operator.refused("IssueKey", request)
    assert failure.code == "invalid_argument"
    assert failure.message.startswith(field)


async def test_a_change_leaves_what_it_does_not_name(operator: Operator) -> None:
    """Prolonging a key would silently open it to every address."""
    issued = await issue(operator, expires_ms=SOON_MS, allowed_models=["google/*"], allowed_ips=["192.0.2.1"])
    changed = await operator.call(
        "ChangeKey", admin.ChangeKeyRequest(key_id=issued.key_id, expires_ms=SOON_MS + 1, name="renamed")
    )
    assert changed.name == "renamed"
    assert changed.policy.expires_ms == SOON_MS + 1
    assert list(changed.policy.allowed_models) == ["google/*"]
    assert list(changed.policy.allowed_ips) == ["192.0.2.1/32"]
    changed = await operator.call(
        "ChangeKey",
        admin.ChangeKeyRequest(key_id=issued.key_id, expires_ms=0, allowed_models=admin.Patterns()),
    )
    assert not changed.policy.expires_ms
    assert list(changed.policy.allowed_models) == []
    assert list(changed.policy.allowed_ips) == ["192.0.2.1/32"]


async def test_rotation_gives_a_new_secret_to_the_same_key(operator: Operator) -> None:
    """Its limits, its use and its name in reports would be lost with every rotation."""
    issued = await issue(operator)
    rotated = await operator.call("RotateKey", admin.RotateKeyRequest(key_id=issued.key_id, grace_ms=3_600_000))
    assert rotated.key_id == issued.key_id
    assert rotated.api_key != issued.api_key
    state = operator.replica.state
    (key,) = state.keys.values()
    assert set(state.keys_by_hash) == {key.key_hash, key.old_hash}
    assert key.is_secret_valid(0, state.time_ms)
    shown = await listed(operator, issued.key_id)
    assert shown.rotations == 1
    assert shown.old_secret_until_ms == key.old_until_ms
    for entry in await operator.stream("TailLedger", admin.TailLedgerRequest(from_position=1, limit=100)):
        assert rotated.api_key.encode() not in entry.SerializeToString()
    await operator.call("RotateKey", admin.RotateKeyRequest(key_id=issued.key_id, grace_ms=0))
    assert not key.is_secret_valid(1, state.time_ms), "no grace: it ends at once"
    assert not key.is_secret_valid(0, state.time_ms)


async def test_a_revoked_key_is_not_brought_back(operator: Operator) -> None:
    """A leaked key would live again under a new secret."""
    issued = await issue(operator)
    await operator.call("RevokeKey", admin.KeyRef(key_id=issued.key_id))
    failure = await operator.refused("RotateKey", admin.RotateKeyRequest(key_id=issued.key_id))
    assert failure.code == "failed_precondition"
    resumed = await operator.call("ResumeKey", admin.KeyRef(key_id=issued.key_id))
    assert (resumed.state, resumed.revoked) == ("revoked", True)


async def test_a_key_is_suspended_and_resumed(operator: Operator) -> None:
    reference = admin.KeyRef(key_id=(await issue(operator)).key_id)
    for _ in range(2):
        assert (await operator.call("SuspendKey", reference)).state == "suspended"
    for _ in range(2):
        assert (await operator.call("ResumeKey", reference)).state == "active"
