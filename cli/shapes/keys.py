"""API keys."""

from cli.shapes import Shape
from proto.onysoft.v1 import admin_pb2 as admin


def issued(message: admin.IssuedKey) -> Shape:
    """The only time that the key itself is shown."""
    return {"key_id": message.key_id, "api_key": message.api_key}


def key(message: admin.Key) -> Shape:
    """One key."""
    return {
        "key_id": message.key_id,
        "account_id": message.account_id,
        "name": message.name,
        "revoked": message.revoked,
    }
