"""python -m bench.analytics ask|plot --store DIR: the twenty questions of a simulated month, and plots of some of them.

onysoft simulate --data /tmp/month --calls 10000000
python -m bench.analytics ask  --store /tmp/month/projections/analytics --write docs/analytics.md
python -m bench.analytics plot --store /tmp/month/projections/analytics --folder docs/plots
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from bench.analytics.plots import draw_all
from bench.report import describe_machine
from projections.analytics.readers import limits
from projections.analytics.store import Store, limit, parse_dsn
from runtime.settings import Settings

_ROOT = Path(__file__).resolve().parent.parent.parent
_QUESTIONS = _ROOT / "docs" / "questions"
_BEGIN, _END = "<!-- answers: begin -->", "<!-- answers: end -->"
_CELL_CHARACTERS_MAX = 60


def main() -> int:
    """Run one of the commands."""
    options = _parse(sys.argv[1:])
    settings = Settings()
    store = Store.open(parse_dsn(f"chdb://{options.store.resolve()}"))
    limit(store, settings)
    try:
        if options.command == "ask":
            ask(store, settings, options.runs, options.write)
        else:
            draw_all(store, options.folder)
    finally:
        store.close()
    return 0


def ask(store: Store, settings: Settings, runs: int, page: Path | None) -> None:
    """Ask every question `runs` times; print the medians, and write answers and SQL into the page."""
    for name, value in limits(settings).items():
        store.command(f"SET {name} = '{value}'")
    sizes = store.rows(
        "SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts"
        " WHERE active AND database = {database:String} GROUP BY table HAVING rows > 0 ORDER BY bytes DESC",
        {"database": store.database},
    )
    parts, slow = [_measured(store, sizes, runs)], []
    for number, path in enumerate(sorted(_QUESTIONS.glob("*.sql")), 1):
        title, _, sql = path.read_text().partition("\n")
        taken, worked = [], []
        for _ in range(runs):
            began, cpu = time.perf_counter(), time.process_time()
            answer = store.raw(sql, {}, "JSONCompactEachRowWithNames")
            taken.append(time.perf_counter() - began)
            worked.append(time.process_time() - cpu)
        median_ms, cpu_ms = statistics.median(taken) * 1000, statistics.median(worked) * 1000
        slow.append(median_ms)
        print(f"{median_ms:8.0f} ms {cpu_ms:8.0f} ms of CPU  {path.stem}", flush=True)
        parts.append(
            f"### {number}. {title.removeprefix('-- ')}\n\n```sql\n{sql.strip()}\n```\n\n{_table(answer)}\n\n"
            f"{median_ms:.0f} ms, {cpu_ms:.0f} ms of CPU"
        )
    print(f"{max(slow):8.0f} ms  the slowest")
    for table, rows, size in sizes:
        print(f"{table:20} {rows:12} rows {size / rows:8.1f} bytes a row")
    if page is not None:
        before, _, rest = page.read_text().partition(_BEGIN)
        after = rest.partition(_END)[2]
        page.write_text(before + _BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + _END + after)


def _measured(store: Store, sizes: list[Any], runs: int) -> str:
    size = {table: (rows, bytes_) for table, rows, bytes_ in sizes}
    rows, bytes_ = size["charges"]
    total = sum(each[2] for each in sizes)
    machine = describe_machine(_ROOT)
    kept = ", ".join(f"`{table}` {count:,} × {taken / count:.0f} B" for table, count, taken in sizes if count > 100_000)
    return (
        f"On {rows:,} charges in the embedded engine ({machine['cpu']}, {machine['memory']}). Under each answer: the"
        f" median of {runs} runs and its CPU time over all threads; the load average was {os.getloadavg()[0]:.0f}."
        f" A charge takes {bytes_ / rows:.0f} bytes on disk, everything together"
        f" {total / rows:.0f} bytes a charge ({kept}).\n\n"
        "    onysoft simulate --data DIR --calls 10000000\n"
        "    python -m bench.analytics ask --store DIR/projections/analytics --write docs/analytics.md"
    )


def _table(answer: bytes) -> str:
    names, *rows = (orjson.loads(line) for line in answer.splitlines())
    lines = [" | ".join(names), " | ".join("---:" if _is_number(rows, place) else "---" for place in range(len(names)))]
    lines += [" | ".join(_cell(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _is_number(rows: list[list[Any]], place: int) -> bool:
    return bool(rows) and all(isinstance(row[place], int | float) for row in rows)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text[:_CELL_CHARACTERS_MAX].replace("|", "\\|")


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.analytics", description=__doc__)
    parser.add_argument("command", choices=("ask", "plot"))
    parser.add_argument("--store", type=Path, required=True, help="folder of the embedded store")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", type=Path, help="page into which the answers go")
    parser.add_argument("--folder", type=Path, default=_ROOT / "docs" / "plots")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
