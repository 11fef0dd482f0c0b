"""W3C trace context: taken from the client when it is valid, minted when it is not there."""

import random
import re

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(rb"[\x20-\x7e]{1,512}")


def trace_context(traceparent: bytes, tracestate: bytes) -> tuple[str, str]:
    """`traceparent` and `tracestate` to pass on; a state without a valid parent means nothing."""
    if not _TRACEPARENT.fullmatch(traceparent):
        digits = f"{random.getrandbits(192):048x}"
        return f"00-{digits[:32]}-{digits[32:]}-00", ""
    state = tracestate.decode("ascii") if _TRACESTATE.fullmatch(tracestate) else ""
    return traceparent.decode("ascii"), state
