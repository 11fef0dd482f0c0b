"""Other gateways on the same sandbox: installed from their registries into a folder of their own, started, measured.

Both run without any billing, which is how they run without a database. They speak to the sandbox's plain OpenAI face.
"""

import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.call import MODEL, Target, target
from bench.instance import NotUp, free_port, started, wait_for_answer
from bench.processes import family

INSTALL_S = 420.0
START_S = 180.0
_WORKERS = 2

_LITELLM = ("litellm[proxy]==1.109.1", "litellm[proxy]>=1.100,<1.110")
"""The newest first; the second where that one's own requirements cannot be had. Older ones had a backdoor."""

_LITELLM_CONFIG = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: {url}, api_key: dummy}}
litellm_settings: {{telemetry: false}}
"""
_PORTKEY = "@portkey-ai/gateway"
_PORTKEY_VERSION = "1.15.2"


class NotInstalled(Exception):
    """A peer cannot run here; the message is the reason, for the report."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that serves: where, and its processes."""

    target: Target
    pids: list[int]


@dataclass(frozen=True, slots=True)
class Peer:
    """How to get a peer. `install` gives its version; `run` serves with the sandbox's base URL as its provider."""

    name: str
    install: Callable[[Path], str]
    run: Callable[[Path, str], AbstractContextManager[Running]]


def install_litellm(folder: Path) -> str:
    """LiteLLM in a virtual environment. Raises NotInstalled."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "litellm").exists():
        _must([sys.executable, "-m", "venv", str(folder)])
        for wanted in _LITELLM:
            reason = _try(_pip(python, wanted))
            if not reason:
                break
        else:
            raise NotInstalled(reason)
    show = "import importlib.metadata as m; print(m.version('litellm'))"
    return _must([str(python), "-c", show]).strip()


def _pip(python: Path, wanted: str) -> list[str]:
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        return [str(uv), "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), wanted]
    return [str(python), "-m", "pip", "install", "--quiet", wanted]


@contextmanager
def run_litellm(folder: Path, sandbox_url: str) -> Iterator[Running]:
    """Two workers, as its documents advise for two cores; the master key that it insists on, no database, no logs."""
    port = free_port()
    key = "sk-" + secrets.token_hex(32)
    config = folder / "bench.yaml"
    config.write_text(_LITELLM_CONFIG.format(model=MODEL, url=sandbox_url))
    words = [str(folder / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    words += ["--num_workers", str(_WORKERS), "--telemetry", "False"]
    environment = {
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
    }
    log = folder / "bench.log"
    with started(words, log, environment) as process:
        where = target(f"http://127.0.0.1:{port}/v1", key)
        wait_for_answer(where, START_S, process, log)
        yield Running(where, family(process.pid))


def install_portkey(folder: Path) -> str:
    """Portkey's gateway in a folder of node modules. Raises NotInstalled."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise NotInstalled("node and npm are not installed")
    if not _portkey_server(folder).exists():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = f"{_PORTKEY}@{_PORTKEY_VERSION}"
        _must(["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", wanted])
    return _PORTKEY_VERSION


def _portkey_server(folder: Path) -> Path:
    return folder / "node_modules" / _PORTKEY / "build" / "start-server.js"


@contextmanager
def run_portkey(folder: Path, sandbox_url: str) -> Iterator[Running]:
    """One process, as it is started by its own command; no console, no key, no logging."""
    port = free_port()
    log = folder / "bench.log"
    words = ["node", str(_portkey_server(folder)), f"--port={port}", "--headless"]
    with started(words, log, {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}) as process:
        headers = {"x_portkey_provider": "openai", "x_portkey_custom_host": sandbox_url}
        where = target(f"http://127.0.0.1:{port}/v1", "sk-none", **headers)
        wait_for_answer(where, START_S, process, log)
        yield Running(where, family(process.pid))


def _must(words: list[str]) -> str:
    """Output of a command. Raises NotInstalled with its last line."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"the installation took longer than {INSTALL_S:.0f} s") from None
    except OSError as error:
        raise NotInstalled(str(error)) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise NotInstalled(lines[-1].strip()[:200])
    return done.stdout


def _try(words: list[str]) -> str:
    """Why a command failed; empty when it did not."""
    try:
        _must(words)
    except NotInstalled as reason:
        return str(reason)
    return ""


PEERS = (
    Peer("LiteLLM", install_litellm, run_litellm),
    Peer("Portkey", install_portkey, run_portkey),
)

__all__ = ["PEERS", "NotInstalled", "NotUp", "Peer", "Running"]
