"""A real ClickHouse for each test that asks for one: embedded, and a server where there is one.

A server comes from Docker, or from ONYSOFT_TEST_CLICKHOUSE, such as clickhouse://default:@127.0.0.1:8123/default.
"""

import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.analytics.migrate import migrate
from projections.analytics.store import Store, parse_dsn
from runtime.settings import Settings

IMAGE = "clickhouse/clickhouse-server:26.9"
SERVER_START_S = 90.0
PASSWORD = "a-secret"


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """A ClickHouse server's DSN; skips where there is none."""
    given = os.environ.get("ONYSOFT_TEST_CLICKHOUSE", "")
    if given:
        yield given
        return
    try:
        docker = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode
    except (FileNotFoundError, subprocess.TimeoutExpired):
        docker = 1
    if docker:
        pytest.skip("no ClickHouse server: Docker does not run here, and ONYSOFT_TEST_CLICKHOUSE is not set")
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(IMAGE).with_exposed_ports(8123)
    container.with_env("CLICKHOUSE_PASSWORD", PASSWORD).with_env("CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1")
    with container as server:
        host, port = server.get_container_host_ip(), server.get_exposed_port(8123)
        _wait_for(f"http://{host}:{port}/ping")
        yield f"clickhouse://default:{PASSWORD}@{host}:{port}/default"


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + SERVER_START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.2)


@pytest.fixture(params=["embedded", "server"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The DSN of an empty store of the test's own."""
    if request.param == "embedded":
        yield f"chdb://{tmp_path / 'store'}"
        return
    server = request.getfixturevalue("server_dsn").rpartition("/")[0]
    database = f"test_{uuid.uuid4().hex[:12]}"
    yield f"{server}/{database}"
    store = Store.open(parse_dsn(f"{server}/default"))
    store.command(f"DROP DATABASE IF EXISTS {database}")
    store.close()


@pytest.fixture
def store(home: str) -> Iterator[Store]:
    """An open store with the schema applied."""
    opened = Store.open(parse_dsn(home))
    migrate(opened, Settings())
    yield opened
    opened.close()
