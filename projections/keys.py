"""The directory's record of a key, from the fold's state."""

from bus.streams import partition_of
from core.ledger.accounts import Key
from core.ledger.state import State
from proto.onysoft.v1.directory_pb2 import KeyRecord


def key_record(state: State, key: Key, key_hash: bytes, position: int, partitions: int) -> KeyRecord:
    """What an edge must know of the secret with this hash."""
    secret, expires_ms = key.secret_of(key_hash)
    return KeyRecord(
        key_id=key.key_id,
        account_id=key.account_id,
        partition=partition_of(state.accounts[key.account_id].root_id, partitions),
        revoked=key.revoked,
        position=position,
        allowed_ips=key.allowed_ips,
        expires_ms=expires_ms,
        secret=secret,
    )
