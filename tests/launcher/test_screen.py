"""What a person sees, and how much room it takes."""

from pathlib import Path

import pytest

from launcher import screen
from launcher.screen import LogFile, Screen, shorten


def test_a_log_holds_twenty_megabytes_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that complains all night would fill the disk under the ledger."""
    monkeypatch.setattr(screen, "_FILE_BYTES_MAX", 1_000)
    log = LogFile(tmp_path / "core-1.log")
    for number in range(1_000):
        log.write(b"%04d complaint\n" % number)
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["core-1.log", "core-1.log.1"]
    assert sum(file.stat().st_size for file in files) <= 2_000
    assert b"0999 complaint" in files[0].read_bytes()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b'{"event":"core.ready","level":"info","process":"core-1","ts":"t"}', None),
        (
            b'{"event":"provider.failed","level":"warning","process":"core-1","ts":"t","status":500}',
            "core-1 warning provider.failed status=500",
        ),
        (b"[17] 2026/01/01 00:00:00 [INF] Server is ready", None),
        (b"[17] 2026/01/01 00:00:00 [ERR] disk full", "[ERR] disk full"),
        (b"Traceback (most recent call last):", None),
        (b'  File "main.py", line 1', None),
        (b"ModuleNotFoundError: No module named 'x'", "core-1 ModuleNotFoundError: No module named 'x'"),
        (b"", None),
        (b'{"half a json', 'core-1 {"half a json'),
        (b"\xff\xfe", "core-1 "),
    ],
)
def test_the_terminal_shows_what_needs_attention(line: bytes, shown: str | None) -> None:
    """Among a thousand lines nobody finds the one that matters."""
    short = shorten("core-1", line)
    assert short is None if shown is None else shown in (short or "")


def test_a_flood_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal that scrolls too fast shows nothing."""
    shown = Screen(tmp_path)
    for number in range(1_000):
        shown.relay("core-1", b'{"event":"e","level":"error","n":%d}' % number)
    shown.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == screen._BURST_LINES_MAX
    assert "more lines" in lines[-1]
