"""The data folder: whose it is, what is kept in it, and who may read that."""

import json
import stat
from pathlib import Path

import pytest

from launcher import folder as folder_module
from launcher.folder import Folder, is_claimed, pointed_to
from runtime.errors import OperatorError


@pytest.fixture(autouse=True)
def pointer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pointer" / "current"
    monkeypatch.setattr(folder_module, "POINTER", path)
    monkeypatch.setattr(folder_module, "_LOCK_PATIENCE_S", 0.05)
    return path


def test_two_instances_cannot_share_a_folder(tmp_path: Path) -> None:
    """Two nats-servers on one store would destroy the ledger."""
    first = Folder.claim(tmp_path / "data", fresh=False)
    assert is_claimed(first.path)
    with pytest.raises(OperatorError, match="another instance is up"):
        Folder.claim(tmp_path / "data", fresh=False)
    with pytest.raises(OperatorError, match="another instance is up"):
        Folder.claim(tmp_path / "data", fresh=True)


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    """`--data ~ --fresh` must not remove a person's files."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(OperatorError, match="not the data folder"):
        Folder.claim(tmp_path / "home", fresh=True)
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_fresh_removes_what_an_instance_leaves_and_nothing_else(tmp_path: Path) -> None:
    """A note that a person has put beside the data is theirs."""
    path = tmp_path / "data"
    first = Folder.claim(path, fresh=False)
    kept = first.secrets()
    (path / "nats" / "store").mkdir(parents=True)
    (path / "notes.txt").write_text("mine")
    folder_module.os.close(first.lock)
    second = Folder.claim(path, fresh=True)
    assert not (path / "nats").exists()
    assert (path / "notes.txt").exists()
    assert second.secrets()["key_pepper"] != kept["key_pepper"]


def test_secrets_stay_and_are_for_the_owner_alone(tmp_path: Path) -> None:
    """With another pepper every issued key would stop working."""
    first = Folder.claim(tmp_path / "data", fresh=False)
    kept = first.secrets()
    assert first.secrets() == kept
    assert stat.S_IMODE((first.path / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o700


def test_a_damaged_secrets_file_is_not_replaced(tmp_path: Path) -> None:
    """Making new secrets in its place would lock every customer out."""
    folder = Folder.claim(tmp_path / "data", fresh=False)
    (folder.path / "secrets.json").write_text('{"key_pepper": "ab')
    with pytest.raises(OperatorError, match=r"secrets\.json"):
        folder.secrets()


def test_dev_json_is_whole_private_and_gone_afterwards(tmp_path: Path, pointer: Path) -> None:
    """A script that reads it while it is written, or after a stop, would talk to nobody."""
    folder = Folder.claim(tmp_path / "data", fresh=False)
    folder.announce({"ready": True})
    assert json.loads((folder.path / "dev.json").read_text()) == {"ready": True}
    assert stat.S_IMODE((folder.path / "dev.json").stat().st_mode) == 0o600
    assert pointed_to() == folder.path
    folder.withdraw()
    assert not (folder.path / "dev.json").exists()
    assert not pointer.exists()


def test_the_pointer_stays_with_the_instance_that_was_first(tmp_path: Path) -> None:
    """`./dev balance` would suddenly speak of another instance's accounts."""
    first = Folder.claim(tmp_path / "one", fresh=False)
    second = Folder.claim(tmp_path / "two", fresh=False)
    first.announce({})
    second.announce({})
    assert pointed_to() == first.path
    second.withdraw()
    assert pointed_to() == first.path
    folder_module.os.close(first.lock)
    second.announce({})
    assert pointed_to() == second.path, "a dead instance keeps nothing"
