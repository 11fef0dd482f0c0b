"""Plots of some of the questions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from projections.analytics.store import Store

_INK, _MUTED = "#222222", "#777777"
_COLOURS = ("#2f6690", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#4f4f4f")


def draw_all(store: Store, folder: Path) -> None:
    """Draw every plot into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in _PLOTS.items():
        figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
        draw(store, axes)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.tick_params(colors=_MUTED)
        figure.savefig(folder / f"{name}.png", dpi=120)
        pyplot.close(figure)
        print(folder / f"{name}.png", flush=True)


def _titled(axes: Axes, title: str, y_label: str) -> None:
    axes.set_title(title, loc="left", color=_INK, fontsize=12)
    axes.set_ylabel(y_label, color=_MUTED)


def _turnover(store: Store, axes: Axes) -> None:
    rows = store.rows(
        "SELECT day, sumIf(charge_nano, parent_id = '') / 1e9, sumIf(charge_nano, parent_id != '') / 1e9"
        " FROM charges_daily WHERE currency = 'TRY' GROUP BY day ORDER BY day"
    )
    days = [row[0] for row in rows]
    axes.stackplot(
        days,
        [float(row[1]) for row in rows],
        [float(row[2]) for row in rows],
        labels=["own customers", "partners' customers"],
        colors=_COLOURS[:2],
        alpha=0.85,
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False)
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.margins(x=0)
    axes.tick_params(axis="x", rotation=20)
    _titled(axes, "Charged per Istanbul day", "TRY")


def _margin(store: Store, axes: Axes) -> None:
    rows = store.rows(
        "SELECT model, sum(cost_usd), sum(margin_usd) FROM margins GROUP BY model ORDER BY sum(margin_usd)"
    )
    names = [row[0] for row in rows]
    cost, margin = [float(row[1]) for row in rows], [float(row[2]) for row in rows]
    axes.barh(names, cost, color=_COLOURS[5], alpha=0.45, label="paid to providers")
    axes.barh(names, margin, left=cost, color=_COLOURS[3], label="margin")
    axes.legend(loc="lower right", frameon=False)
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    _titled(axes, "Where the revenue of each model goes, USD", "")


def _latency(store: Store, axes: Axes) -> None:
    rows = store.rows(
        "SELECT hour, provider, quantilesTDigestMerge(0.5, 0.9, 0.99)(first_byte_us) FROM latency_hourly"
        " WHERE route = 'chat' AND succeeded AND hour > (SELECT max(hour) FROM latency_hourly) - INTERVAL 7 DAY"
        " GROUP BY hour, provider HAVING sum(calls) > 20 ORDER BY hour"
    )
    for number, provider in enumerate(sorted({row[1] for row in rows})):
        mine = [row for row in rows if row[1] == provider]
        hours = [row[0] for row in mine]
        axes.plot(hours, [row[2][0] / 1e6 for row in mine], color=_COLOURS[number], label=f"{provider}, median")
        axes.plot(
            hours, [row[2][2] / 1e6 for row in mine], color=_COLOURS[number], alpha=0.45, label=f"{provider}, p99"
        )
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4, frameon=False)
    axes.tick_params(axis="x", rotation=20)
    _titled(axes, "Time to the first byte, last seven days", "seconds")


def _refusals(store: Store, axes: Axes) -> None:
    rows = store.rows(
        "SELECT day, code, sum(calls) FROM requests_daily WHERE status >= 400 GROUP BY day, code ORDER BY day"
    )
    days = sorted({row[0] for row in rows})
    codes = sorted({row[1] for row in rows}, key=lambda code: -sum(row[2] for row in rows if row[1] == code))
    found = {(row[0], row[1]): row[2] for row in rows}
    bottom = [0] * len(days)
    for number, code in enumerate(codes[: len(_COLOURS)]):
        counts = [int(found.get((day, code), 0)) for day in days]
        axes.bar(days, counts, bottom=bottom, color=_COLOURS[number], label=code or "none", width=0.9)
        bottom = [low + count for low, count in zip(bottom, counts, strict=True)]
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, frameon=False)
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.margins(x=0)
    axes.tick_params(axis="x", rotation=20)
    _titled(axes, "Refused calls per day, by reason", "calls")


def _thousands(value: float, _place: int) -> str:
    return f"{value / 1e6:g} M" if abs(value) >= 1e6 else f"{value / 1e3:g} k" if abs(value) >= 1e3 else f"{value:g}"


_PLOTS: dict[str, Callable[[Store, Any], None]] = {
    "turnover": _turnover,
    "margin": _margin,
    "latency": _latency,
    "refusals": _refusals,
}
