"""Limits and blocks."""

from cli.shapes import Shape
from cli.times import shown
from proto.onysoft.v1 import admin_pb2 as admin


def limits(message: admin.LimitList) -> Shape:
    """Each limit of an owner. `resets_ms` 0 and `turns` empty: nothing is used of what rolls."""
    return {
        "owner_id": message.owner_id,
        "limits": [_limit(each) for each in message.limits],
        "blocked_models": list(message.blocked_models),
    }


def _limit(message: admin.Limit) -> Shape:
    return {
        "pattern": message.pattern,
        "limit": message.kind,
        "most": message.most,
        "used": message.used,
        "held": message.held,
        "left": message.left,
        "resets_ms": message.resets_ms,
        "turns": shown(message.resets_ms),
    }


def blocks(message: admin.BlockList) -> Shape:
    """The patterns that an owner may not call."""
    return {"owner_id": message.owner_id, "blocked_models": list(message.patterns)}
