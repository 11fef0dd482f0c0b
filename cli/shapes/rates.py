"""Exchange rates."""

from cli.shapes import Shape
from proto.onysoft.v1 import admin_pb2 as admin


def fx_rate(message: admin.FxRate) -> Shape:
    """One rate."""
    return {"base": message.base, "quote": message.quote, "rate": message.rate, "position": message.position}
