"""What a benchmark measured: plain values, kept as JSON and shown as tables."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.load import Run
from bench.streams import StreamRun


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and what it lies between."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class LoadFigures:
    """Several runs of one load. `cpu_us` is CPU for each call by process; the load tool's is under its own name."""

    connections: int
    runs: list[Run] = field(default_factory=list)
    cpu_us: list[dict[str, float]] = field(default_factory=list)

    def calls_per_s(self) -> Spread:
        """Good answers in a second."""
        return Spread.of([run.calls_per_s for run in self.runs])

    def p50_ms(self) -> Spread:
        """Median latency."""
        return Spread.of([run.p50_ms for run in self.runs])

    def p99_ms(self) -> Spread:
        """99th percentile of latency."""
        return Spread.of([run.p99_ms for run in self.runs])

    def failures(self) -> int:
        """Of all runs."""
        return sum(run.failures for run in self.runs)

    def cpu(self, name: str) -> float:
        """Median microseconds of CPU that a process spends on a call."""
        return statistics.median(each.get(name, 0.0) for each in self.cpu_us)

    def cpu_total(self) -> float:
        """Of all processes, the load tool included."""
        return statistics.median(sum(each.values()) for each in self.cpu_us)


@dataclass(slots=True)
class Paired:
    """The same load with something more to do and without it, in turns, so that the machine's moods hit both."""

    plain: LoadFigures
    more: LoadFigures

    def ratio(self) -> Spread:
        """Calls a second with it over those without, turn by turn."""
        turns = zip(self.more.runs, self.plain.runs, strict=True)
        return Spread.of([more.calls_per_s / plain.calls_per_s for more, plain in turns if plain.calls_per_s])


@dataclass(slots=True)
class PeerFigures:
    """What a peer did, or why it did not run."""

    name: str
    version: str = ""
    reason: str = ""
    load: LoadFigures | None = None
    one: LoadFigures | None = None
    rss_mib: float = 0.0


@dataclass(slots=True)
class Figures:
    """Everything of one run of `./dev bench`."""

    machine: dict[str, str] = field(default_factory=dict)
    pace_ms: list[float] = field(default_factory=list)
    load: LoadFigures | None = None
    streamed_load: LoadFigures | None = None
    sandbox_load: LoadFigures | None = None
    one: LoadFigures | None = None
    sandbox_one: LoadFigures | None = None
    limits: Paired | None = None
    sink: Paired | None = None
    streams: list[StreamRun] = field(default_factory=list)
    streams_cpu: dict[str, float] = field(default_factory=dict)
    sandbox_streams: StreamRun | None = None
    rss_idle_mib: dict[str, float] = field(default_factory=dict)
    rss_early_mib: dict[str, float] = field(default_factory=dict)
    rss_late_mib: dict[str, float] = field(default_factory=dict)
    calls_early: int = 0
    calls_late: int = 0
    peers: list[PeerFigures] = field(default_factory=list)
