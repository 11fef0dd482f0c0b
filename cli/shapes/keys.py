"""API keys."""

from cli.shapes import Shape
from cli.times import shown
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
        "state": message.state,
        "revoked": message.revoked,
        "suspended": message.suspended,
        "expires": shown(message.policy.expires_ms),
        "last_used": shown(message.last_used_ms),
        "allowed_models": list(message.policy.allowed_models),
        "allowed_ips": list(message.policy.allowed_ips),
        "blocked_models": list(message.blocked_models),
        "rotations": message.rotations,
        "old_secret_until": shown(message.old_secret_until_ms),
    }
