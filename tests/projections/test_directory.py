"""What edges hear of keys. A key that they hear wrongly of is refused to its owner, or works for a thief."""

import asyncio

from bus.directory import DirectoryMirror, MirroredKey, publish_key
from bus.streams import partition_of
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1.directory_pb2 import KeyRecord
from tests.projections.conftest import Ledger

PARTNER, CUSTOMER, KEY = b"partner-1234", b"customer-123", b"key-12345678"
FIRST, SECOND, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))
HOUR_MS = 3_600_000


async def mirrored(ledger: Ledger) -> dict[bytes, MirroredKey]:
    """Run the projections, then read the directory as an edge does."""
    await ledger.project()
    mirror = DirectoryMirror(ledger.connection)
    await mirror.start()
    async with asyncio.timeout(60):
        await mirror.loaded()
    await mirror.stop()
    return mirror.keys


async def issue(ledger: Ledger) -> None:
    await ledger.write(pb.Event(rules_activated=pb.RulesActivated(version=2)))
    partner = pb.AccountOpened(account_id=PARTNER, kind=pb.PARTNER, currency=pb.USD)
    customer = pb.AccountOpened(account_id=CUSTOMER, kind=pb.PARTNER_CUSTOMER, currency=pb.TRY, parent_id=PARTNER)
    policy = pb.KeyPolicy(expires_ms=2**42, allowed_ips=["192.0.2.0/24"])
    issued = pb.KeyIssued(key_id=KEY, account_id=CUSTOMER, key_hash=FIRST, policy=policy)
    await ledger.write(pb.Event(account_opened=partner))
    await ledger.write(pb.Event(account_opened=customer))
    await ledger.write(pb.Event(key_issued=issued))


async def test_a_customers_key_goes_to_its_partners_partition(ledger: Ledger) -> None:
    """Both balances move in one event; it must stand where the partner's other events stand."""
    await issue(ledger)
    key = (await mirrored(ledger))[FIRST]
    assert key.partition == partition_of(PARTNER, ledger.partitions)
    assert (key.account_id, key.allowed_ips, key.expires_ms, key.secret) == (CUSTOMER, ("192.0.2.0/24",), 2**42, 0)


async def test_both_secrets_are_known_while_the_old_ones_grace_lasts(ledger: Ledger) -> None:
    """A customer who rotates a key would be cut off until every server has the new one."""
    await issue(ledger)
    await ledger.write(pb.Event(key_rotated=pb.KeyRotated(key_id=KEY, key_hash=SECOND, grace_ms=HOUR_MS)))
    keys = await mirrored(ledger)
    assert (keys[SECOND].secret, keys[SECOND].expires_ms) == (1, 2**42)
    assert keys[FIRST].secret == 0
    assert 0 < keys[FIRST].expires_ms < 2**42, "the end of its grace"
    assert keys[FIRST].allowed_ips == ("192.0.2.0/24",)


async def test_a_change_and_a_revocation_reach_both_secrets(ledger: Ledger) -> None:
    """A leaked secret would be refused under one of its two hashes only."""
    await issue(ledger)
    await ledger.write(pb.Event(key_rotated=pb.KeyRotated(key_id=KEY, key_hash=SECOND, grace_ms=HOUR_MS)))
    await ledger.write(pb.Event(key_changed=pb.KeyChanged(key_id=KEY, policy=pb.KeyPolicy())))
    keys = await mirrored(ledger)
    assert [keys[each].allowed_ips for each in (FIRST, SECOND)] == [(), ()]
    assert keys[SECOND].expires_ms == 0
    assert keys[FIRST].expires_ms > 0
    await ledger.write(pb.Event(key_revoked=pb.KeyRevoked(key_id=KEY)))
    keys = await mirrored(ledger)
    assert keys[FIRST].revoked
    assert keys[SECOND].revoked


async def test_what_the_directory_has_wrong_is_mended(ledger: Ledger) -> None:
    """After a release that knew less of keys, edges would take a bound key from anywhere."""
    await issue(ledger)
    stale = KeyRecord(key_id=KEY, account_id=CUSTOMER, partition=0, position=1)
    await publish_key(ledger.connection, FIRST, stale)
    assert (await mirrored(ledger))[FIRST].allowed_ips == ("192.0.2.0/24",)
