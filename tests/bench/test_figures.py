"""What the benchmark reports must be what it measured: a wrong figure would be published and believed."""

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest

from bench import load, report
from bench.call import Target, long_answer, target
from bench.client import load as load_by_client
from bench.figures import Figures, LoadFigures, PeerFigures, Spread
from bench.load import Run
from bench.processes import CpuMeter, cpu_s, family, rss_mib
from bench.streams import Reader, at_share

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BAD = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"


def a_run(calls: int = 8_000, failures: int = 0) -> Run:
    return Run(calls, 2.0, failures, p50_ms=15.0, p99_ms=30.0, max_ms=50.0, cpu_s=0.1)


def some_load(*rates: int) -> LoadFigures:
    return LoadFigures(64, [a_run(rate * 2) for rate in rates], [{"edge-1": 100.0, "wrk": 20.0} for _ in rates])


class Answering(asyncio.Protocol):
    """Answers every read with the next of some bytes, the last for ever."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


class Closable(asyncio.Transport):
    """A transport that goes nowhere."""

    def close(self) -> None:
        """Nothing to close."""


async def answering(answers: list[bytes]) -> tuple[asyncio.Server, Target]:
    server = await asyncio.get_running_loop().create_server(lambda: Answering(answers), "127.0.0.1", 0)
    return server, target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "sk-ony-x")


def test_failed_calls_are_not_counted_as_speed() -> None:
    assert a_run(8_000, failures=6_000).calls_per_s == 1_000


def test_a_gateway_that_only_refuses_has_no_speed() -> None:
    assert a_run(8_000, failures=9_000).calls_per_s == 0


async def test_wrk_counts_refusals_as_failures(tmp_path: Path) -> None:
    if load.tool() != "wrk":
        pytest.skip("wrk is not installed")
    server, where = await answering([BAD])
    run = await asyncio.to_thread(load.run, where, 2, 1, tmp_path)
    server.close()
    assert run.calls > 0
    assert run.failures == run.calls


async def test_the_client_without_wrk_reports_the_same_way() -> None:
    server, where = await answering([GOOD, BAD, GOOD])
    order = {"url": where.url, "headers": where.headers, "body": "{}", "connections": 1, "seconds": 0.2}
    figures = await load_by_client(order)
    server.close()
    assert figures["calls"] > 3
    assert figures["bad_status"] == 1
    assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["max_us"]


async def test_each_stamped_chunk_is_counted_once_however_the_bytes_are_cut() -> None:
    events = (
        b"".join(b'data: {"sandbox_ms":%d.5,"choices":[]}\n\n' % (1_000 + n) for n in range(5)) + b"data: [DONE]\n\n"
    )
    for size in (1, 7, 40, len(events)):
        delays: list[float] = []
        reader = Reader(b"", delays)
        reader.connection_made(Closable())
        for at in range(0, len(events), size):
            reader.data_received(events[at : at + size])
        assert len(delays) == 5
        assert reader.finished


def test_the_share_of_a_list_is_its_percentile() -> None:
    values = [float(n) for n in range(100)]
    assert (at_share(values, 0.5), at_share(values, 0.99), at_share(values, 1.0)) == (50.0, 99.0, 99.0)
    assert at_share([], 0.99) == 0


def test_cpu_and_memory_are_this_machine_s() -> None:
    own = os.getpid()
    meter = CpuMeter({"own": [own]})
    until = cpu_s([own]) + 0.05
    while cpu_s([own]) < until:
        sum(range(10_000))
    assert 0.04 <= meter.spent_s()["own"] < 5
    assert 5 < rss_mib([own]) < 5_000
    assert own in family(os.getppid())


def test_the_medians_are_medians_and_the_bracket_holds_every_run() -> None:
    assert some_load(4_000, 1_000, 3_000).calls_per_s() == Spread(3_000, 1_000, 4_000)
    assert some_load(4_000).cpu_total() == 120


def test_a_missed_target_is_said_to_be_missed() -> None:
    page = report.render(Figures(load=some_load(3_499)), "./dev bench", 1)
    assert "| 3,499 (3,499–3,499) | **missed** |" in page
    assert "| 3,500 (3,500–3,500) | met |" in report.render(Figures(load=some_load(3_500)), "./dev bench", 1)


def test_a_peer_that_could_not_run_is_named_with_its_reason_and_no_ratio() -> None:
    peer = PeerFigures("LiteLLM", reason="no matching distribution")
    figures = Figures(load=some_load(4_000), one=some_load(100), peers=[peer])
    assert "| LiteLLM |  | not measured: no matching distribution |" in report.render(figures, "./dev bench", 1)


def test_the_ratio_is_ours_over_theirs() -> None:
    peer = PeerFigures("Portkey", "1.15.2", load=some_load(1_000), one=some_load(100))
    page = report.render(Figures(load=some_load(4_000), one=some_load(100), peers=[peer]), "./dev bench", 1)
    assert "| 4.0 × |" in page


def test_a_long_answer_names_its_length_to_the_sandbox() -> None:
    assert "[[tokens=500]]" in str(long_answer(500)["messages"])
    assert long_answer(500)["max_tokens"] > 500
