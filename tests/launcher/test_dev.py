"""`./dev`: a fresh machine, an interrupted installation and a changed lock all end in a working environment."""

import fcntl
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


# What `python -m venv --without-pip` makes, in a tenth of the time.
MAKE_VENV = """
import os, sys
os.makedirs(sys.argv[1] + "/bin")
os.makedirs(sys.argv[1] + "/lib")
os.symlink(sys._base_executable, sys.argv[1] + "/bin/python")
with open(sys.argv[1] + "/pyvenv.cfg", "w") as file:
    file.write("home = " + os.path.dirname(sys._base_executable))
"""


class Project:
    """A copy of ./dev in an empty project; installing is recorded instead of done."""

    def __init__(self, root: Path, module: Any) -> None:
        self.root = root
        self.module = module
        self.installed: list[list[str]] = []

    def prepare(self, profile: str = "runtime") -> list[str]:
        """Prepare; the locks that were installed."""
        self.installed.clear()
        self.module.prepare(profile)
        return [words[-1] for words in self.installed if "-r" in words]


def load(path: Path) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("dev_script", str(path))
    spec = importlib.util.spec_from_loader("dev_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / "project"
    (root / "locks").mkdir(parents=True)
    for name in ("runtime", "dev"):
        (root / "locks" / f"{name}.txt").write_text("orjson==1\n")
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "dev").write_text((ROOT / "dev").read_text())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module: Any = load(root / "dev")
    project = Project(root, module)
    monkeypatch.setattr(module, "run_installer", project.installed.append)
    monkeypatch.setattr(module, "has_pip", lambda python: python == sys.executable)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(module, "venv_commands", lambda: [[sys.executable, "-S", "-c", MAKE_VENV, module.VENV]])
    return project


def test_the_first_run_installs_and_the_second_does_not(project: Project) -> None:
    """`./dev up` would take half a minute each time."""
    assert project.prepare() == ["locks/runtime.txt"]
    assert "--require-hashes" in project.installed[0]
    assert project.installed[1][-1] == "."
    assert project.prepare() == []


def test_a_changed_lock_is_installed(project: Project) -> None:
    """After a pull the old packages would run the new code."""
    project.prepare()
    (project.root / "locks" / "runtime.txt").write_text("orjson==2\n")
    assert project.prepare() == ["locks/runtime.txt"]
    assert project.prepare() == []


def test_the_developers_environment_serves_both(project: Project) -> None:
    """Changing between `./dev test` and `./dev up` must not install each time, nor lose the test tools."""
    project.prepare()
    assert project.prepare("dev") == ["locks/dev.txt"]
    assert project.prepare("runtime") == []
    (project.root / "locks" / "runtime.txt").write_text("orjson==2\n")
    assert project.prepare("runtime") == ["locks/dev.txt"]


def test_an_interrupted_installation_starts_anew(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a package on disk fails in ways that nobody understands."""

    def interrupted(words: list[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(project.module, "run_installer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.module.prepare("runtime")
    leftover = Path(project.module.VENV) / "lib" / "half-a-package"
    leftover.write_text("")
    assert project.prepare() == ["locks/runtime.txt"]
    assert not leftover.exists()


def test_a_broken_environment_is_made_again(project: Project) -> None:
    """Python was upgraded or removed under it, or the folder was moved."""
    project.prepare()
    python = Path(project.module.PYTHON)
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert project.prepare() == ["locks/runtime.txt"]
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0


def test_an_environment_that_works_is_kept(project: Project) -> None:
    """A person's own .venv with more in it must not be thrown away."""
    subprocess.run([sys.executable, "-S", "-c", MAKE_VENV, project.module.VENV], check=True)
    own = Path(project.module.VENV) / "own"
    own.write_text("")
    assert project.prepare() == ["locks/runtime.txt"]
    assert own.exists()


def test_two_runs_at_once_install_once(project: Project) -> None:
    """Two installers in one folder destroy it."""
    runs = [threading.Thread(target=project.module.prepare, args=("runtime",)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert len([words for words in project.installed if "-r" in words]) == 1


def test_without_any_installer_the_message_says_what_to_install(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback on the first command is the end of the trial."""
    monkeypatch.setattr(project.module, "has_pip", lambda python: False)
    monkeypatch.setattr(project.module.shutil, "which", lambda name: None)
    assert project.module.main(["status"]) == 1
    assert "python3-venv" in capsys.readouterr().err


def test_pip_from_outside_serves_an_environment_without_pip(project: Project) -> None:
    """Debian's Python comes without ensurepip."""
    project.prepare()
    assert project.installed[0][:5] == [sys.executable, "-m", "pip", "--python", project.module.PYTHON]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["up", "--port", "1"], ["-P", "-m", "launcher", "--port", "1"]),
        (["test", "-k", "x"], ["-m", "pytest", "-k", "x"]),
        (["chaos", "--minutes", "1"], ["-m", "tests.faults.chaos", "--minutes", "1"]),
        (["bench"], ["-m", "bench"]),
        (["balance", "A", "--json"], ["-P", "-m", "cli.main", "balance", "A", "--json"]),
    ],
)
def test_each_command_becomes_its_program(
    project: Project, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: list[str]
) -> None:
    """A signal to ./dev must reach the program itself, so it replaces ./dev."""
    ran: list[list[str]] = []

    def execv(path: str, arguments: list[str]) -> None:
        ran.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.chdir(project.root)
    with pytest.raises(SystemExit):
        project.module.main(words)
    assert ran == [[project.module.PYTHON, *expected]]


def test_help_needs_nothing_installed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that a person types."""
    assert project.module.main(["--help"]) == 0
    assert "./dev up" in capsys.readouterr().out
    assert not Path(project.module.VENV).exists()


def test_the_marker_says_what_was_installed(project: Project) -> None:
    """Support needs to know which lock an environment was made from."""
    project.prepare()
    marker = json.loads(Path(project.module.INSTALLED).read_text())
    assert marker == {"profile": "runtime", "fingerprint": project.module.fingerprint()}


def test_an_installer_that_outlives_its_run_keeps_the_lock(project: Project) -> None:
    """The next run would remove the environment under it, and both would write into the ruins."""
    with project.module.setup_lock():
        orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    lock = os.open(project.root / ".dev" / "setup.lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    orphan.communicate(b"\n", timeout=10)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)
