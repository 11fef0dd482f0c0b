"""The parts of nats-py that are used, without what it loads for websockets.

nats-py imports aiohttp when it finds it: about 9 MB and a third of a second in every process, for nothing.
"""

import sys

_absent = "aiohttp" not in sys.modules
if _absent:
    sys.modules["aiohttp"] = None  # type: ignore[assignment]  # an import of it fails, as where it is not installed

import nats.errors as errors  # noqa: E402
from nats.aio.client import Client, Server  # noqa: E402
from nats.aio.msg import Msg  # noqa: E402
from nats.aio.subscription import Subscription  # noqa: E402
from nats.aio.transport import Transport  # noqa: E402

if _absent:
    del sys.modules["aiohttp"]

__all__ = ["Client", "Msg", "Server", "Subscription", "Transport", "errors"]
