"""What production is started from. A typo here is an outage on the day of the first deployment."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from runtime.settings import Settings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return loaded


def test_compose_file_is_valid_against_the_specification(compose: dict[str, Any]) -> None:
    services = PyCompose.from_json(json.dumps(compose)).service_names()
    assert {"nats-1", "nats-2", "nats-3", "clickhouse", "edge", "core", "projections"} <= set(services)


def test_a_wrong_compose_file_is_found(compose: dict[str, Any]) -> None:
    compose["services"]["edge"]["restart"] = "sometimes"
    with pytest.raises(ValueError, match="sometimes"):
        PyCompose.from_json(json.dumps(compose))


def test_every_setting_in_the_compose_file_exists(compose: dict[str, Any]) -> None:
    known = {f"ONYSOFT_{name.upper()}" for name in Settings.model_fields}
    used = set(re.findall(r"ONYSOFT_[A-Z_]+", (ROOT / "compose.yaml").read_text() + (ROOT / "Dockerfile").read_text()))
    assert used <= known, used - known


def test_every_variable_of_the_compose_file_is_in_the_example(compose: dict[str, Any]) -> None:
    wanted = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    offered = set(re.findall(r"^([A-Z_]+)=", (ROOT / "deploy" / "example.env").read_text(), re.MULTILINE))
    assert wanted == offered


def test_the_image_holds_every_package() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"}
    assert packages <= copied | {"bench"}, packages - copied


def test_nats_accepts_the_cluster_configuration() -> None:
    binary = Path(sys.executable).parent / "nats-server"
    environment = {"SERVER_NAME": "nats-1", "NATS_USER": "onysoft", "NATS_PASSWORD": "a-secret", **os.environ}
    config = ROOT / "deploy" / "nats" / "server.conf"
    run = subprocess.run(
        [binary, "-t", "-c", config], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert run.returncode == 0, run.stderr
    for line in ("sync_interval: always", "js_ack_fc_v2: false"):
        assert line in config.read_text()


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker client here")
def test_docker_reads_the_compose_file(tmp_path: Path) -> None:
    available = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=20, check=False)
    if available.returncode:
        pytest.skip("the docker client here has no compose plugin")
    secrets = re.sub(r"=$", "=a-secret", (ROOT / "deploy" / "example.env").read_text(), flags=re.MULTILINE)
    (tmp_path / "env").write_text(secrets)
    command = [
        "docker",
        "compose",
        "--env-file",
        str(tmp_path / "env"),
        "-f",
        str(ROOT / "compose.yaml"),
        "config",
        "-q",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert run.returncode == 0, run.stderr
