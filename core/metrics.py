"""The core's figures for Prometheus, collected from plain integers when they are asked for."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.fx.watch import RateWatch
from core.resources import Resources
from core.tasks.service import TaskService
from core.worker import Worker


class CoreCollector(Collector):
    """Amounts in nano-units over all currencies; they are for alarms, not for accounts."""

    def __init__(self, resources: Resources, worker: Worker, tasks: TaskService, rate_watch: RateWatch) -> None:
        self._resources = resources
        self._tasks = tasks
        self._worker = worker
        self._rate_watch = rate_watch

    def collect(self) -> Iterator[Metric]:
        """All figures of this core."""
        counters, state = self._resources.counters, self._resources.replica.state
        yield GaugeMetricFamily("onysoft_core_calls_running", "Calls in work", value=len(self._worker))
        yield GaugeMetricFamily("onysoft_ledger_position", "Last ledger position folded", value=state.position)
        yield GaugeMetricFamily("onysoft_open_requests", "Requests with a hold", value=len(state.requests))
        yield GaugeMetricFamily("onysoft_models", "Callable models", value=len(self._resources.catalogue.entries))
        yield GaugeMetricFamily(
            "onysoft_fx_rate_stale", "1: the exchange rate is old", value=float(self._rate_watch.is_stale)
        )
        yield GaugeMetricFamily(
            "onysoft_fx_rate_waits", "1: a rate waits to be confirmed", value=float(self._rate_watch.is_waiting)
        )
        yield CounterMetricFamily("onysoft_core_calls", "Calls taken", value=counters.calls)
        yield CounterMetricFamily("onysoft_core_calls_refused_busy", "Calls refused: busy", value=counters.refused_busy)
        yield CounterMetricFamily("onysoft_charged_nano", "Charged", value=counters.charged_nano)
        yield CounterMetricFamily("onysoft_shortfall_nano", "Beyond hold and balance", value=counters.shortfall_nano)
        failures = CounterMetricFamily("onysoft_core_failures", "Calls that ended with an error", labels=["code"])
        for code, count in counters.failures.items():
            failures.add_metric([code], count)
        yield failures
        settlements = CounterMetricFamily("onysoft_settlements", "Settlements by outcome", labels=["outcome"])
        for name, count in counters.settlements.items():
            settlements.add_metric([name], count)
        yield settlements
        yield from self._media()

    def _media(self) -> Iterator[Metric]:
        desk = self._tasks.desk
        counters, copier = desk.counters, desk.copier
        yield GaugeMetricFamily("onysoft_tasks_in_work", "Tasks being looked at", value=len(self._tasks.follower))
        for name, text, value in (
            ("created", "Tasks that a provider has taken", counters.created),
            ("create_failures", "Creates that failed", counters.create_failures),
            ("creates_lost", "Creates that may have made a task nobody knows", counters.lost_creates),
            ("creates_refused_pace", "Creates refused: no turn near", sum(p.refused for p in desk.paces.values())),
            ("looks", "Questions to providers about tasks", counters.looks),
            ("looks_failed", "Questions without an answer", counters.looks_failed),
            ("copies", "Results copied", copier.copied),
            ("copied_bytes", "Bytes of results copied", copier.copied_bytes),
            ("copy_failures", "Copies that failed", copier.failures),
            ("defects", "Looks ended by a defect", counters.defects),
        ):
            yield CounterMetricFamily(f"onysoft_tasks_{name}", text, value=value)
        for name, text, counts in (
            ("ended", "Tasks by how they ended", counters.ended),
            ("webhooks", "Deliveries to customers' webhooks", counters.webhooks),
        ):
            family = CounterMetricFamily(f"onysoft_tasks_{name}", text, labels=["outcome"])
            for outcome, count in counts.items():
                family.add_metric([outcome], count)
            yield family
