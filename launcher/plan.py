"""Which processes make an instance, on which ports, with which settings."""

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from bus.server_config import render
from launcher.child import Spec
from launcher.folder import Folder
from launcher.ports import free_ports, is_free, require_free
from launcher.probe import http_probe, nats_probe

_DEFAULT_EDGE_PORT = 8080
_DEFAULT_CONSOLE_PORT = 8090
_NATS_USER = "onysoft"
_DEMO_SELLER = {
    "PAYMENT_PROVIDER": "sandbox",
    "INVOICE_INTEGRATOR": "sandbox",
    "SELLER_TAX_ID": "1234567808",
    "SELLER_NAME": "Onysoft Deneme A.Ş.",
    "SELLER_TAX_OFFICE": "Maslak",
    "SELLER_ADDRESS": "Büyükdere Cad. No: 1",
    "SELLER_DISTRICT": "Sarıyer",
    "SELLER_CITY": "İstanbul",
}
"""Who takes money and issues invoices in an instance that has no payment provider: the sandbox, and nobody real."""
_MODULE = (sys.executable, "-m", "cli.main")


@dataclass(frozen=True, slots=True)
class Options:
    """What the person who starts the instance chose. `port` is the first edge's; 0: 8080 where free."""

    data: Path
    port: int = 0
    edges: int = 1
    cores: int = 1
    fresh: bool = False
    analytics: bool = True
    console: bool = True
    console_port: int = 0


@dataclass(frozen=True, slots=True)
class Ports:
    """Chosen once for each start of an instance, kept over restarts of its processes."""

    nats: int
    sandbox: int
    console: int
    edges: tuple[int, ...]
    admin: tuple[int, ...]
    ops: dict[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """An instance's processes. The first stage must be ready before the others start; the last stops first."""

    stages: tuple[tuple[Spec, ...], ...]
    ports: Ports
    secrets: dict[str, str]
    console: dict[str, str]  # its environment; empty where it is not started

    @property
    def nats_url(self) -> str:
        """With user and password, for whoever may read dev.json."""
        return f"nats://{_NATS_USER}:{self.secrets['nats_password']}@127.0.0.1:{self.ports.nats}"

    @property
    def base_urls(self) -> list[str]:
        """One for each edge, as an SDK takes it."""
        return [f"http://127.0.0.1:{port}/v1" for port in self.ports.edges]

    @property
    def admin_addresses(self) -> list[str]:
        """One for each core."""
        return [f"127.0.0.1:{port}" for port in self.ports.admin]


def names(options: Options) -> list[str]:
    """The Python processes of an instance."""
    cores = [f"core-{number}" for number in range(1, options.cores + 1)]
    edges = [f"edge-{number}" for number in range(1, options.edges + 1)]
    analytics = ["analytics"] if options.analytics and can_run_analytics() else []
    return ["sandbox", *cores, "projections", *analytics, *edges, *(["console"] if options.console else [])]


def can_run_analytics() -> bool:
    """Whether there is a ClickHouse to write to: a server's address, or the embedded engine."""
    return bool(os.environ.get("ONYSOFT_ANALYTICS_DSN")) or importlib.util.find_spec("chdb") is not None


def choose_ports(options: Options) -> Ports:
    """Raises OperatorError when a port asked for is in use."""
    if options.port:
        edges = [require_free(options.port + number) for number in range(options.edges)]
    else:
        edges = [_DEFAULT_EDGE_PORT] if is_free(_DEFAULT_EDGE_PORT) else []
    supervised = [*names(options), "supervisor"]
    console = require_free(options.console_port) if options.console_port else 0
    found = free_ports(4 + options.cores + options.edges + len(supervised))
    free = iter(port for port in found if port not in (*edges, console))
    while len(edges) < options.edges:
        edges.append(next(free))
    admin = tuple(next(free) for _ in range(options.cores))
    if not console:
        preferred = _DEFAULT_CONSOLE_PORT not in edges and is_free(_DEFAULT_CONSOLE_PORT)
        console = _DEFAULT_CONSOLE_PORT if preferred else next(free)
    return Ports(next(free), next(free), console, tuple(edges), admin, {name: next(free) for name in supervised})


def make_plan(options: Options, folder: Folder, secrets: dict[str, str], ports: Ports) -> Plan:
    """What to start. Settings that are not decided here come from the environment, as everywhere."""
    shared = {
        **os.environ,
        "ONYSOFT_NATS_URL": f"nats://127.0.0.1:{ports.nats}",
        "ONYSOFT_NATS_USER": _NATS_USER,
        "ONYSOFT_NATS_PASSWORD": secrets["nats_password"],
        "ONYSOFT_KEY_PEPPER": secrets["key_pepper"],
        "ONYSOFT_SANDBOX_URL": f"http://127.0.0.1:{ports.sandbox}",
        "ONYSOFT_PROJECTIONS_DIR": str(folder.path / "projections"),
        "ONYSOFT_FILES_DIR": str(folder.path / "files"),
        "ONYSOFT_ARCHIVE_DIR": str(folder.path / "archive"),
    }
    shared.setdefault("MALLOC_ARENA_MAX", "2")
    shared.setdefault("ONYSOFT_PUBLIC_URL", f"http://127.0.0.1:{ports.edges[0]}")
    if not os.environ.get("ONYSOFT_OPENROUTER_API_KEY"):
        shared.setdefault("ONYSOFT_FX_URL", f"http://127.0.0.1:{ports.sandbox}/kurlar/today.xml")

    def process(name: str, **own: str | int) -> Spec:
        kind = name.partition("-")[0]
        settings = {"PROCESS_NAME": name, "OPS_PORT": ports.ops[name], **own}
        environment = {**shared, **{f"ONYSOFT_{key}": str(value) for key, value in settings.items()}}
        listens = (ports.ops[name], *(int(port) for key, port in own.items() if key.endswith("_PORT")))
        essential = kind not in ("analytics", "console")
        return Spec(name, (*_MODULE, kind), environment, http_probe(ports.ops[name]), listens, essential=essential)

    journal = folder.path / "sandbox-journal.jsonl"
    cores = [
        process(f"core-{number}", ADMIN_PORT=port, ADMIN_TOKEN=secrets["admin_token"], ACTIVATE_RULES="true")
        for number, port in enumerate(ports.admin, 1)
    ]
    origins = {"CORS_ORIGINS": f"http://127.0.0.1:{ports.console}"} if "console" in ports.ops else {}
    edges = [process(f"edge-{number}", EDGE_PORT=port, **origins) for number, port in enumerate(ports.edges, 1)]
    own = console_settings(ports, folder, secrets) if "console" in ports.ops else {}
    selling = {} if os.environ.get("ONYSOFT_PAYMENT_PROVIDER") else _DEMO_SELLER
    consoles = [process("console", CONSOLE_PORT=ports.console, **selling, **own)] if own else []
    sandbox = process("sandbox", SANDBOX_PORT=ports.sandbox, SANDBOX_JOURNAL_PATH=str(journal))
    stages = (
        (_nats(folder, secrets, ports.nats), sandbox),
        tuple(process(name) for name in ("projections", "analytics") if name in ports.ops),
        tuple(cores),
        (*edges, *consoles),
    )
    return Plan(stages, ports, secrets, {f"ONYSOFT_{key}": value for key, value in own.items()})


def console_settings(ports: Ports, folder: Folder, secrets: dict[str, str]) -> dict[str, str]:
    """Settings of the console alone, without their prefix."""
    return {
        "CONSOLE_DIR": str(folder.path / "console"),
        "CONSOLE_SECRET": secrets["console_secret"],
        "CONSOLE_URL": f"http://127.0.0.1:{ports.console}",
        "API_URL": f"http://127.0.0.1:{ports.edges[0]}/v1",
        "ADMIN_ADDRESS": ",".join(f"127.0.0.1:{port}" for port in ports.admin),
        "ADMIN_TOKEN": secrets["admin_token"],
        **({"ANALYTICS_URL": f"http://127.0.0.1:{ports.ops['analytics']}"} if _is_embedded(ports) else {}),
    }


def _is_embedded(ports: Ports) -> bool:
    """Whether the analytics process is the one to ask; a server is asked itself, by ONYSOFT_ANALYTICS_DSN."""
    return "analytics" in ports.ops and not os.environ.get("ONYSOFT_ANALYTICS_DSN", "").startswith("clickhouse")


def _nats(folder: Folder, secrets: dict[str, str], port: int) -> Spec:
    config = folder.path / "nats" / "server.conf"
    config.parent.mkdir(exist_ok=True)
    users = f'authorization {{ user: "{_NATS_USER}", password: "{secrets["nats_password"]}" }}\n'
    text = render(port=port, store_dir=config.parent / "store", extra=users)
    config.touch(mode=0o600)
    config.write_text(text)
    binary = Path(sys.executable).with_name("nats-server")
    words = (str(binary), "--config", str(config))
    environment = {**_nats_tuning(), **os.environ}
    return Spec("nats", words, environment, nats_probe(port), (port,), inherit=(folder.lock,))


def _nats_tuning() -> dict[str, str]:
    """NATS shares this machine with everything else: fewer collections and fewer idle threads that look for work cost
    it a quarter less CPU for a call (docs/performance.md)."""
    return {"GOGC": "400", "GOMAXPROCS": str(max(1, (os.cpu_count() or 1) // 2))}
