"""The measurements, in the order in which they are made."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import load, pace
from bench.call import Target, target
from bench.figures import Figures, LoadFigures, Paired, PeerFigures
from bench.instance import Gateway, control, gateway, sandbox_alone
from bench.peers import PEERS, NotInstalled, NotUp, Peer
from bench.processes import CpuMeter, family, rss_mib
from bench.streams import StreamRun, measure

CONNECTIONS = 64
STREAMS = 200
TOKENS_PER_S = 50
CALLS_EARLY = 20_000
CALLS_LATE = 200_000
IDLE_S = 3.0
_SLICE_S = 4.0
_PATIENCE_S = 240.0

Say = Callable[[str], None]
Pids = Mapping[str, list[int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. Seconds are those of one run."""

    runs: int
    run_s: float
    one_s: float
    stream_s: int
    calls_late: int
    peers: bool


FULL = Plan(runs=5, run_s=8.0, one_s=4.0, stream_s=10, calls_late=CALLS_LATE, peers=True)
QUICK = Plan(runs=3, run_s=4.0, one_s=2.0, stream_s=5, calls_late=0, peers=True)


class Bench:
    """One run of everything. `figures` fill up as it goes."""

    def __init__(self, folder: Path, plan: Plan, say: Say) -> None:
        self.figures = Figures()
        self._folder = folder
        self._plan = plan
        self._say = say
        self._calls = 0

    def run(self) -> Figures:
        """Ours, then the peers. Raises NotUp, LoadFailed, CallFailed when ours cannot be measured."""
        self.figures.pace_ms.append(pace.measure())
        with gateway(self._folder / "instance") as ours:
            self._measure_ours(ours)
            self._say("with the analytics sink, in turn with this one")
            with gateway(self._folder / "analysed", analytics=True) as analysed:
                self.figures.sink = self._in_turn(ours, ours.target, analysed, analysed.target)
        self.figures.pace_ms.append(pace.measure())
        if self._plan.peers:
            with sandbox_alone(self._folder) as (url, pids):
                control(url)
                self.figures.peers = [self._peer(peer, url + "/openai/v1", pids) for peer in PEERS]
            self.figures.pace_ms.append(pace.measure())
        return self.figures

    def _measure_ours(self, ours: Gateway) -> None:
        figures, processes = self.figures, ours.processes
        time.sleep(IDLE_S)
        figures.rss_idle_mib = _rss(processes)
        self._say("memory, and warming up")
        self._until(ours, CALLS_EARLY)
        figures.rss_early_mib, figures.calls_early = self._rest(processes)
        self._say(f"{CONNECTIONS} connections")
        figures.load = self._load(ours.target, CONNECTIONS, self._plan.run_s, processes)
        self._say(f"{CONNECTIONS} connections, streamed answers")
        figures.streamed_load = self._load(ours.target, CONNECTIONS, self._plan.run_s / 2, processes, stream=True)
        self._say("the sandbox alone")
        sandbox = {"sandbox": processes["sandbox"]}
        figures.sandbox_load = self._load(ours.sandbox, CONNECTIONS, self._plan.run_s / 2, sandbox)
        self._say("ten limits on the key, in turn with none")
        limited = target(ours.document["base_url"], ours.open_account(limits=10))
        figures.limits = self._in_turn(ours, ours.target, ours, limited)
        self._say("1 connection, in turn with the sandbox alone")
        self._one(ours, processes)
        self._say(f"{STREAMS} streams of {TOKENS_PER_S} tokens/s")
        self._streams(ours, processes)
        if self._plan.calls_late:
            self._say(f"memory after {self._plan.calls_late:,} calls")
            self._until(ours, self._plan.calls_late)
            figures.rss_late_mib, figures.calls_late = self._rest(processes)

    def _in_turn(self, plain: Gateway, without: Target, other: Gateway, having: Target) -> Paired:
        """Runs without something and with it, one after the other, the first pair of each uncounted."""
        pair = Paired(LoadFigures(CONNECTIONS), LoadFigures(CONNECTIONS))
        for where in (without, having):
            load.run(where, CONNECTIONS, self._plan.run_s / 2, self._folder)
        for _ in range(self._plan.runs):
            self._one_run(pair.plain, without, self._plan.run_s, plain.processes)
            self._one_run(pair.more, having, self._plan.run_s, other.processes)
        return pair

    def _load(self, target: Target, connections: int, run_s: float, pids: Pids, stream: bool = False) -> LoadFigures:
        figures = LoadFigures(connections)
        body = target.body(stream=True) if stream else b""
        for _ in range(self._plan.runs):
            self._one_run(figures, target, run_s, pids, body)
        return figures

    def _one_run(self, figures: LoadFigures, target: Target, run_s: float, pids: Pids, body: bytes = b"") -> None:
        meter = CpuMeter(pids)
        run = load.run(target, figures.connections, run_s, self._folder, body)
        spent_s = meter.spent_s() | {load.tool(): run.cpu_s}
        figures.runs.append(run)
        figures.cpu_us.append({name: value / max(1, run.calls) * 1e6 for name, value in spent_s.items()})
        if "edge-1" in pids:
            self._calls += run.calls

    def _one(self, ours: Gateway, processes: Pids) -> None:
        figures = self.figures
        figures.one, figures.sandbox_one = LoadFigures(1), LoadFigures(1)
        for _ in range(self._plan.runs):
            self._one_run(figures.sandbox_one, ours.sandbox, self._plan.one_s, {"sandbox": processes["sandbox"]})
            self._one_run(figures.one, ours.target, self._plan.one_s, processes)

    def _streams(self, ours: Gateway, processes: Pids) -> None:
        ours.control(stamp=True, tokens_per_second=TOKENS_PER_S)
        self.figures.sandbox_streams = self._stream(ours.sandbox)
        for _ in range(2):
            meter = CpuMeter(processes)
            run = self._stream(ours.target)
            self.figures.streams.append(run)
            spent_s = meter.spent_s() | {"bench": run.cpu_s}
            self.figures.streams_cpu = {name: value / run.duration_s for name, value in spent_s.items()}
            self._calls += run.streams
        ours.control()

    def _stream(self, target: Target) -> StreamRun:
        return measure(target, STREAMS, self._plan.stream_s * TOKENS_PER_S, self._plan.stream_s)

    def _until(self, ours: Gateway, calls: int) -> None:
        """Calls through the gateway until there were so many in all, or _PATIENCE_S have passed."""
        give_up_at = time.monotonic() + _PATIENCE_S
        while self._calls < calls and time.monotonic() < give_up_at:
            self._calls += load.run(ours.target, CONNECTIONS, _SLICE_S, self._folder).calls

    def _rest(self, processes: Pids) -> tuple[dict[str, float], int]:
        """Memory a while after the last call, and the number of calls so far."""
        time.sleep(IDLE_S)
        return _rss(processes), self._calls

    def _peer(self, peer: Peer, sandbox_url: str, sandbox: list[int]) -> PeerFigures:
        figures = PeerFigures(peer.name)
        folder = self._folder / "peers" / peer.name.lower()
        self._say(f"{peer.name}: installing")
        try:
            figures.version = peer.install(folder)
            self._say(f"{peer.name} {figures.version}")
            with peer.run(folder, sandbox_url) as running:
                processes: Pids = {"sandbox": sandbox}  # a peer's own workers may end and be replaced under load
                load.run(running.target, CONNECTIONS, self._plan.run_s / 2, self._folder)
                figures.load = self._load(running.target, CONNECTIONS, self._plan.run_s, processes)
                figures.one = self._load(running.target, 1, self._plan.one_s, processes)
                figures.rss_mib = rss_mib(family(running.pids[0]))
        except (NotInstalled, NotUp, load.LoadFailed, OSError) as reason:
            figures.reason = str(reason).splitlines()[0][:200]
        return figures


def _rss(processes: Pids) -> dict[str, float]:
    return {name: rss_mib(pids) for name, pids in processes.items()}
