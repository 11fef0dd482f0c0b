"""The edge's figures: plain integers on the hot path, turned into Prometheus' form when somebody asks."""

from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Histogram:
    """Counts of durations between fixed bounds."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """One more duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        total = 0
        buckets = []
        for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], self.counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets


class EdgeMetrics(Collector):
    """Routes, statuses and codes are the edge's own words, so the label sets are bounded.

    `gauges` and `counters` are read when somebody asks: name → (what it is, how to read it).
    """

    def __init__(self) -> None:
        self.responses: dict[tuple[str, int, str], int] = {}
        self.first_byte = Histogram()
        self.duration = Histogram()
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.counters: dict[str, tuple[str, Callable[[], float]]] = {}

    def add(self, route: str, status: int, code: str, first_byte_s: float, duration_s: float) -> None:
        """One more response; status 0: the client left before there was one."""
        key = (route, status, code)
        self.responses[key] = self.responses.get(key, 0) + 1
        if route == "chat" and status == 200:
            self.first_byte.add(first_byte_s)
            self.duration.add(duration_s)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        responses = CounterMetricFamily("onysoft_edge_responses", "Responses", labels=["route", "status", "code"])
        for (route, status, code), count in list(self.responses.items()):
            responses.add_metric([route, str(status), code], count)
        yield responses
        for name, text, histogram in (
            ("onysoft_edge_chat_first_byte_seconds", "From a chat call's head to its first byte", self.first_byte),
            ("onysoft_edge_chat_duration_seconds", "From a chat call's head to its last byte", self.duration),
        ):
            family = HistogramMetricFamily(name, text)
            family.add_metric([], histogram.buckets(), histogram.sum_s)
            yield family
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=read())
        for name, (text, read) in self.counters.items():
            yield CounterMetricFamily(name, text, value=read())
