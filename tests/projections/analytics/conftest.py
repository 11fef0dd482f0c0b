"""A real embedded ClickHouse for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.analytics.migrate import migrate
from projections.analytics.store import Store, parse_dsn
from runtime.settings import Settings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An embedded store with the schema applied, in a folder of its own."""
    opened = Store.open(parse_dsn(f"chdb://{tmp_path / 'store'}"))
    migrate(opened, Settings())
    yield opened
    opened.close()
