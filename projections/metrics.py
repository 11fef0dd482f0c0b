"""The projections' figures for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bus.history import History
from projections.fold import Fold


class ProjectionsCollector(Collector):
    """Position, and what waits to be written."""

    def __init__(self, fold: Fold, tail: History) -> None:
        self._fold = fold
        self._tail = tail

    def collect(self) -> Iterator[Metric]:
        """All figures of this process."""
        state = self._fold.state
        yield GaugeMetricFamily("onysoft_projections_position", "Last position folded", value=state.position)
        yield GaugeMetricFamily("onysoft_projections_time_ms", "The log's time there", value=state.time_ms)
        yield GaugeMetricFamily("onysoft_projections_accounts", "Accounts", value=len(state.accounts))
        yield GaugeMetricFamily("onysoft_projections_open_requests", "Open requests", value=len(state.requests))
        unwritten = len(self._fold.changes.index)
        yield GaugeMetricFamily("onysoft_projections_unwritten_rows", "Rows not yet written", value=unwritten)
