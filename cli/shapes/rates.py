"""Exchange rates."""

from cli.shapes import Shape
from cli.times import shown
from proto.onysoft.v1 import admin_pb2 as admin


def fx_rate(message: admin.FxRate) -> Shape:
    """One rate; `reference` is the bulletin's day where a bank gave it."""
    return {
        "base": message.base,
        "quote": message.quote,
        "rate": message.rate,
        "position": message.position,
        "source": message.source,
        "reference": message.reference,
        "set": shown(message.set_ms),
        "stale": message.stale,
    }


def fx_rates(message: admin.FxRateList) -> Shape:
    """Rates that hold, and rates that wait for a person."""
    return {
        "rates": [fx_rate(rate) for rate in message.rates],
        "proposed": [fx_rate(rate) for rate in message.proposed],
    }
