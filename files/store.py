"""The port between the gateway and where its public files lie."""

from collections.abc import AsyncIterator
from typing import Protocol


class NoSuchFile(Exception):
    """There is no file of that name (any more)."""


class StoreFailed(Exception):
    """The store cannot be reached, or has no room. The text names no file."""


class FileStore(Protocol):
    """Files by name. A name is one of `files.names`; what else is asked for is not there."""

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep a file whole or not at all; its size. One of that name is replaced.

        Raises StoreFailed, and whatever `pieces` raises.
        """
        ...

    async def size(self, name: str) -> int:
        """Bytes of a file. Raises NoSuchFile, StoreFailed."""
        ...

    def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Its bytes from `start` to before `end`, in pieces. Raises NoSuchFile, StoreFailed."""
        ...

    async def drop_older(self, prefix: str, before_s: float) -> int:
        """Delete files whose names begin with `prefix` and that were put before the unix time; how many."""
        ...


async def read_whole(store: FileStore, name: str, most_bytes: int) -> bytes:
    """A small file's bytes, cut at `most_bytes`. Raises as `FileStore.read`."""
    size = min(await store.size(name), most_bytes)
    return b"".join([piece async for piece in store.read(name, 0, size)])


async def one_piece(content: bytes) -> AsyncIterator[bytes]:
    """Bytes at hand, as `put` takes them."""
    yield content
