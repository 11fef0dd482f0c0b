"""Files in a folder. Several processes may share it; a file appears whole."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from files.names import is_name
from files.store import NoSuchFile, StoreFailed

PIECE_BYTES = 256 * 1024
UNFINISHED_S = 24 * 3600.0
"""A file that was begun so long ago and never finished is dropped with the old ones."""


class LocalStore:
    """Below `folder`, in one folder for each two digits of the names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        """See files.store.FileStore."""
        target = self._path(name)
        unfinished = target.with_name(f".{name}.{os.urandom(6).hex()}")
        size = 0
        try:
            file = await asyncio.to_thread(_create, unfinished)
            try:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)
                    size += len(piece)
                await asyncio.to_thread(_finish, file, unfinished, target)
            except BaseException:
                file.close()
                unfinished.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreFailed(type(error).__name__) from error
        return size

    async def size(self, name: str) -> int:
        """See files.store.FileStore."""
        try:
            return (await asyncio.to_thread(self._path(name).stat)).st_size
        except FileNotFoundError:
            raise NoSuchFile from None
        except OSError as error:
            raise StoreFailed(type(error).__name__) from error

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See files.store.FileStore."""
        try:
            file = await asyncio.to_thread(self._path(name).open, "rb", 0)
            try:
                while start < end:
                    piece = await asyncio.to_thread(os.pread, file.fileno(), min(PIECE_BYTES, end - start), start)
                    if not piece:
                        return
                    start += len(piece)
                    yield piece
            finally:
                file.close()
        except FileNotFoundError:
            raise NoSuchFile from None
        except OSError as error:
            raise StoreFailed(type(error).__name__) from error

    async def drop_older(self, prefix: str, before_s: float) -> int:
        """See files.store.FileStore."""
        return await asyncio.to_thread(_drop_older, self._folder, prefix, before_s)

    def _path(self, name: str) -> Path:
        if not is_name(name):
            raise NoSuchFile
        return self._folder / name[1:3] / name


def _create(path: Path):  # type: ignore[no-untyped-def]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb", 0)


def _finish(file, unfinished: Path, target: Path) -> None:  # type: ignore[no-untyped-def]
    os.fsync(file.fileno())
    file.close()
    os.replace(unfinished, target)


def _drop_older(folder: Path, prefix: str, before_s: float) -> int:
    dropped = 0
    unfinished_before_s = time.time() - UNFINISHED_S
    for path in folder.glob("??/*"):
        try:
            modified_s = path.stat().st_mtime
            if path.name.startswith("."):
                if modified_s < unfinished_before_s:
                    path.unlink()
            elif path.name.startswith(prefix) and modified_s < before_s:
                path.unlink()
                dropped += 1
        except FileNotFoundError:
            continue  # another process was faster
    return dropped
