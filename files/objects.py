"""Files in an object store (S3 and what speaks like it), through obstore: the extra `s3`."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from files.kinds import CONTENT_TYPES
from files.names import is_name
from files.store import NoSuchFile, StoreFailed

PIECE_BYTES = 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 4


class ObjectStore:
    """Below a bucket's prefix. `store` is obstore's, or made from `s3://bucket/prefix`."""

    def __init__(self, store: Any) -> None:
        self._store: Any = from_url(store) if isinstance(store, str) else store

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        """See files.store.FileStore."""
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in pieces:
                size += len(piece)
                yield piece

        attributes = {"Content-Type": CONTENT_TYPES[_checked(name).rpartition(".")[2]]}
        try:
            await obstore.put_async(
                self._store,
                name,
                counted(),
                attributes=attributes,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        except BaseError as error:
            raise StoreFailed(type(error).__name__) from error
        return size

    async def size(self, name: str) -> int:
        """See files.store.FileStore."""
        try:
            return int((await obstore.head_async(self._store, _checked(name)))["size"])
        except FileNotFoundError:
            raise NoSuchFile from None
        except BaseError as error:
            raise StoreFailed(type(error).__name__) from error

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """See files.store.FileStore."""
        _checked(name)
        try:
            if start >= end:
                return
            found = await obstore.get_async(self._store, name, options={"range": (start, end)})
            async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)
        except FileNotFoundError:
            raise NoSuchFile from None
        except BaseError as error:
            raise StoreFailed(type(error).__name__) from error

    async def drop_older(self, prefix: str, before_s: float) -> int:
        """See files.store.FileStore."""
        before = datetime.fromtimestamp(before_s, UTC)
        dropped = 0
        try:
            async for page in obstore.list(self._store):
                old = [
                    each["path"]
                    for each in page
                    if each["path"].rpartition("/")[2].startswith(prefix) and each["last_modified"] < before
                ]
                if old:
                    await obstore.delete_async(self._store, old)
                    dropped += len(old)
        except BaseError as error:
            raise StoreFailed(type(error).__name__) from error
        return dropped


def _checked(name: str) -> str:
    if not is_name(name):
        raise NoSuchFile
    return name
