"""Public files: one suite for every store. A customer paid for what lies here, and nobody else may find it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from files import names
from files.configured import configured
from files.kinds import CONTENT_TYPES, ending_of
from files.local import LocalStore
from files.objects import ObjectStore
from files.store import FileStore, NoSuchFile, StoreFailed, one_piece, read_whole
from runtime.settings import Settings
from tests.files.s3 import Bucket

PEPPER = b"pepper"
NAME = names.result_name(PEPPER, b"request-0001", 0, "mp4")


class Broken(Exception):
    """The provider's connection."""


async def pieces(*parts: bytes, then: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if then is not None:
        raise then


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return LocalStore(tmp_path / "files") if request.param == "folder" else ObjectStore(MemoryStore())


async def test_any_part_of_a_file_can_be_read(store: FileStore) -> None:
    """Players ask for the end of a video first."""
    content = os.urandom(700_000)
    assert await store.put(NAME, pieces(content[:300_000], content[300_000:])) == len(content)
    assert await store.size(NAME) == len(content)
    for start, end in ((0, len(content)), (0, 1), (299_999, 300_002), (699_999, 700_000), (5, 5)):
        assert b"".join([piece async for piece in store.read(NAME, start, end)]) == content[start:end]
    assert await read_whole(store, NAME, 10) == content[:10]


async def test_a_file_is_there_whole_or_not_at_all(store: FileStore) -> None:
    """Half a video would be served, and cached, as a whole one."""
    with pytest.raises((Broken, StoreFailed)):
        await store.put(NAME, pieces(b"half", then=Broken()))
    with pytest.raises(NoSuchFile):
        await store.size(NAME)
    await store.put(NAME, one_piece(b"whole"))
    assert await read_whole(store, NAME, 100) == b"whole"


@pytest.mark.parametrize("name", ["", "../secret", "r1.png", NAME + "/", "../" + NAME, NAME.upper(), "r" + "a" * 40])
async def test_only_names_of_ours_are_looked_for(store: FileStore, name: str) -> None:
    """`/v1/files/../../etc/passwd` is what people try first."""
    with pytest.raises(NoSuchFile):
        await store.size(name)
    with pytest.raises(NoSuchFile):
        [piece async for piece in store.read(name, 0, 9)]
    with pytest.raises(NoSuchFile):
        await store.put(name, one_piece(b"x"))


async def test_old_files_go_and_only_those(store: FileStore) -> None:
    source = names.source_name(PEPPER, b"request-0001", 0, "png")
    await store.put(NAME, one_piece(b"result"))
    await store.put(source, one_piece(b"source"))
    assert await store.drop_older(names.SOURCE, time.time() - 60) == 0
    await asyncio.sleep(0.01)
    assert await store.drop_older(names.SOURCE, time.time() + 60) == 1
    assert await store.size(NAME) == 6
    with pytest.raises(NoSuchFile):
        await store.size(source)


def test_names_cannot_be_guessed_and_are_found_again() -> None:
    """A second copy of a result replaces the first; a name says nothing about its neighbours."""
    assert names.result_name(PEPPER, b"request-0001", 0, "mp4") == NAME
    others = {
        names.result_name(PEPPER, b"request-0001", 1, "mp4"),
        names.result_name(PEPPER, b"request-0002", 0, "mp4"),
        names.result_name(b"another", b"request-0001", 0, "mp4"),
        names.source_name(PEPPER, b"request-0001", 0, "mp4"),
    }
    assert len({each[1:] for each in others | {NAME}}) == 5


def test_a_callback_that_we_did_not_ask_for_is_not_ours() -> None:
    mark = names.callback_mark(PEPPER, b"request-0001")
    assert names.marked_request(PEPPER, mark) == b"request-0001"
    for wrong in ("", "x", mark[:-1], mark[:-1] + "g", b"request-0002".hex() + mark[24:], mark + "0"):
        assert names.marked_request(PEPPER, wrong) is None


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"RIFF....WAVEfmt ", "audio/wav"),
        (b"....ftypisom", "video/mp4"),
        (b"....ftypqt  ", "video/quicktime"),
        (b"....ftypM4A ", "audio/mp4"),
        (b"ID3\x04....", "audio/mpeg"),
        (b"\xff\xfb\x90....", "audio/mpeg"),
        (b"\xff\xf1\x50....", "audio/aac"),
        (b"OggS....", "audio/ogg"),
        (b"<html><script>", "application/octet-stream"),
        (b"<svg onload=x>", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_a_file_is_what_its_bytes_say(head: bytes, content_type: str) -> None:
    """A page that a provider was made to return must not run on our address."""
    assert CONTENT_TYPES[ending_of(head)] == content_type


async def test_an_s3_bucket_is_used_as_the_settings_and_the_environment_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP, signed, in parts where a file is large: what production does."""
    bucket = Bucket()
    await bucket.start()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT": bucket.url,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    store = configured(Settings(files_url="s3://results/media"))
    content = os.urandom(20_000_000)
    await store.put(NAME, pieces(*(content[start : start + 500_000] for start in range(0, len(content), 500_000))))
    assert await store.size(NAME) == len(content)
    part = b"".join([piece async for piece in store.read(NAME, 9_999_990, 10_000_010)])
    assert part == content[9_999_990:10_000_010]
    assert f"media/{NAME}" in bucket.objects
    assert bucket.signed > 2
    with pytest.raises(NoSuchFile):
        await store.size(names.result_name(PEPPER, b"request-0009", 0, "mp4"))
    assert await store.drop_older(names.RESULT, time.time() + 60) == 1
    assert bucket.objects == {}
    await bucket.stop()
