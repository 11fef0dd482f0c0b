"""The twenty questions of docs/analytics.md, asked of a simulated month."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from projections.analytics.readers import limits
from projections.analytics.store import Store, parse_dsn
from runtime.settings import Settings
from tests.cli.test_query import onysoft

QUESTIONS = sorted((Path(__file__).parents[2] / "docs" / "questions").glob("*.sql"))
MAY_BE_EMPTY = {"19_slow_models"}


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small month, sunk."""
    folder = tmp_path_factory.mktemp("month") / "data"
    made = onysoft(folder, "simulate", "--calls", "8000", "--accounts", "200", "--json")
    assert made.returncode == 0, made.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def store(month: Path) -> Iterator[Store]:
    """Its tables, with the bounds of a question."""
    opened = Store.open(parse_dsn(f"chdb://{month / 'projections' / 'analytics'}"))
    for name, value in limits(Settings()).items():
        opened.command(f"SET {name} = '{value}'")
    yield opened
    opened.close()


def ask(store: Store, sql: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in store.raw(sql, {}, "JSONEachRow").splitlines()]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in QUESTIONS])
def test_every_question_has_an_answer(store: Store, path: Path) -> None:
    title, _, sql = path.read_text().partition("\n")
    assert title.startswith("-- ")
    rows = ask(store, sql)
    assert rows or path.stem in MAY_BE_EMPTY
    assert sql.strip() in (path.parents[1] / "analytics.md").read_text(), "the page shows another question"


def test_there_are_twenty() -> None:
    assert len(QUESTIONS) == 20


def test_a_month_has_what_analysts_ask_about(store: Store) -> None:
    """Estimates, caches, reasoning, losses, price versions: a demo without them teaches the wrong tables."""
    (found,) = ask(
        store,
        "SELECT uniqExact(basis) AS bases, uniqExact(call_end) AS ends, countIf(price_version = '') AS unpriced,"
        " sum(cached_tokens) AS cached, sum(reasoning_tokens) AS reasoning, countIf(quantities != '') AS pieces"
        " FROM charges",
    )
    assert (found["bases"], found["ends"], found["unpriced"]) == (4, 4, 0)
    assert min(found["cached"], found["reasoning"], found["pieces"]) > 0


def test_edges_and_ledger_agree_to_a_call(store: Store) -> None:
    rows = ask(store, next(path for path in QUESTIONS if path.stem.startswith("20_")).read_text())
    assert rows
    assert abs(sum(row["difference"] for row in rows)) <= 2, rows
