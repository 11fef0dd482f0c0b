"""The sinks' figures for Prometheus."""

import time
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from projections.analytics.sink import StreamSink


class AnalyticsCollector(Collector):
    """Where each stream's sink stands."""

    def __init__(self, sinks: Mapping[str, StreamSink]) -> None:
        self._sinks = sinks

    def collect(self) -> Iterator[Metric]:
        """All figures of this process."""
        position = GaugeMetricFamily(
            "onysoft_analytics_position", "Last position whose rows are in the store", labels=["stream"]
        )
        pending = GaugeMetricFamily("onysoft_analytics_pending_rows", "Rows not sent yet", labels=["stream"])
        age = GaugeMetricFamily(
            "onysoft_analytics_age_seconds", "Time since the newest message in the store was taken", labels=["stream"]
        )
        failing = GaugeMetricFamily("onysoft_analytics_failing", "1 while the store refuses rows", labels=["stream"])
        rows = CounterMetricFamily("onysoft_analytics_rows", "Rows sent by this process", labels=["stream"])
        ranges = CounterMetricFamily("onysoft_analytics_ranges", "Ranges sent by this process", labels=["stream"])
        retries = CounterMetricFamily("onysoft_analytics_retries", "Sends that failed", labels=["stream"])
        now_ms = time.time_ns() // 1_000_000
        for stream, sink in self._sinks.items():
            progress = sink.progress
            position.add_metric([stream], progress.last)
            pending.add_metric([stream], sink.rows.pending_rows)
            age.add_metric([stream], max(0, now_ms - progress.last_time_ms) / 1000 if progress.last_time_ms else 0)
            failing.add_metric([stream], bool(progress.failing))
            rows.add_metric([stream], progress.rows)
            ranges.add_metric([stream], progress.ranges)
            retries.add_metric([stream], progress.retries)
        yield from (position, pending, age, failing, rows, ranges, retries)
