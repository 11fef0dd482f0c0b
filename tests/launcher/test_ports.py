"""Ports that stay free while the process that owns them is restarted."""

import socket
from pathlib import Path

import pytest

from launcher import ports
from launcher.plan import Options, choose_ports
from runtime.errors import OperatorError


def test_ports_lie_outside_the_range_of_outgoing_connections() -> None:
    """A connection of another process could take the port of one that is being restarted."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(port < first for port in found)


def test_a_port_in_use_is_refused_by_number() -> None:
    """An instance that starts on another port than was asked for is not found by anybody."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(OperatorError, match=f"port {port} is in use"):
            choose_ports(Options(Path("data"), port=port))


def test_edges_get_consecutive_ports_when_one_is_given() -> None:
    """Whoever names a port must know where the other edges are."""
    first = ports.free_ports(1)[0]
    assert choose_ports(Options(Path("data"), port=first, edges=2)).edges == (first, first + 1)


def test_every_process_has_ports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes on one port: one of them dies at every start."""
    monkeypatch.setattr("launcher.plan.is_free", lambda port: False)
    chosen = choose_ports(Options(Path("data"), edges=3, cores=2))
    every = [chosen.nats, chosen.sandbox, chosen.console, *chosen.edges, *chosen.admin, *chosen.ops.values()]
    assert len(set(every)) == len(every) == 3 + 3 + 2 + 10
    assert 8080 not in every
