"""Free TCP ports for processes that may be restarted on them."""

import random
import socket
from pathlib import Path

from runtime.errors import OperatorError

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 10_240
_TRIES_MAX = 2_000


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_free(port: int) -> int:
    """`port` itself. Raises OperatorError when it is in use."""
    if not is_free(port):
        raise OperatorError(f"port {port} is in use")
    return port


def free_ports(count: int) -> list[int]:
    """Distinct free ports, below the range from which the system takes ports for outgoing connections.

    A port of that range could be taken by somebody's connection while the process that owned it is being restarted.
    Raises OperatorError when there are not enough.
    """
    last = _first_ephemeral() - 1
    found: list[int] = []
    for _ in range(_TRIES_MAX):
        if len(found) == count:
            return found
        port = random.randint(_FIRST, last)
        if port not in found and is_free(port):
            found.append(port)
    raise OperatorError(f"no {count} free ports between {_FIRST} and {last}")


def _first_ephemeral() -> int:
    try:
        return max(int(_EPHEMERAL_RANGE.read_text().split()[0]), _FIRST + 1_000)
    except (OSError, ValueError, IndexError):
        return 32_768
