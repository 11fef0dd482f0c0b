"""Closed ranges of the ledger in files: Parquet beside a manifest, each range with the chain hash it leads to.

A folder holds `manifest.json`, one Parquet file for each range (position, time_ms, subject, payload), and what its
writer knew at each range's end (`projections/proof/books.py`: the fold's state, the accounts' chains). A file never
changes once the manifest names it; the manifest is replaced as a whole. The
chain hash runs over the payloads as in the fold, so a range that was read from its first to its last position proves
itself, and the next range begins with the hash that it ends with.

Needs pyarrow (extra `proof`), which is loaded by the first read or write.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from bus.errors import ArchiveBroken
from bus.jetstream import Entry

MANIFEST = "manifest.json"
FORMAT = 1
ROWS_MAX = 2_048
"""Rows of one row group: what is decoded to read one position."""

GROUP_BYTES_MAX = 8 * 1024 * 1024
_HASH_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Range:
    """Positions `first` to `last`. `chain_before` and `chain_hash` are hex, before the first and after the last one;
    `state_digest` is what a checkpoint in the log says of position `last`."""

    first: int
    last: int
    first_time_ms: int
    last_time_ms: int
    payload_bytes: int
    file: str
    file_sha256: str
    state_file: str
    state_sha256: str
    chain_before: str
    chain_hash: str
    state_digest: str


class Archive:
    """A folder of ranges, in order and without a gap. A folder that is empty or missing is an empty archive.

    Raises ArchiveBroken when the manifest cannot be read or contradicts itself.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ranges: tuple[Range, ...] = ()
        self.reload()

    def reload(self) -> None:
        """Read the manifest again: another process may have added ranges."""
        try:
            document = orjson.loads((self.folder / MANIFEST).read_bytes())
            ranges = tuple(Range(**each) for each in document["ranges"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ArchiveBroken(f"{self.folder / MANIFEST} cannot be read: {error}") from error
        position, chain = 0, bytes(32).hex()
        for each in ranges:
            if each.first != position + 1 or each.chain_before != chain:
                raise ArchiveBroken(f"{self.folder / MANIFEST}: {each.file} does not follow position {position}")
            position, chain = each.last, each.chain_hash
        self.ranges = ranges

    @property
    def last(self) -> int:
        """The last archived position; 0: none."""
        return self.ranges[-1].last if self.ranges else 0

    @property
    def chain_hash(self) -> bytes:
        """The chain hash after the last archived position."""
        return bytes.fromhex(self.ranges[-1].chain_hash) if self.ranges else bytes(32)

    def read(self, after: int, last: int | None = None) -> Iterator[list[Entry]]:
        """Messages after position `after` up to `last` (all there are), in order, in blocks.

        Raises ArchiveBroken, naming file and positions, when a byte is not what was written.
        """
        end = self.last if last is None else min(last, self.last)
        for each in self.ranges:
            if each.last > after and each.first <= end:
                yield from self._read_range(each, after, end)

    def read_one(self, position: int) -> Entry | None:
        """The message at a position; None when it is not archived. Raises ArchiveBroken."""
        for block in self.read(position - 1, position):
            for entry in block:
                return entry
        return None

    def state_before(self, position: int) -> bytes | None:
        """The newest archived state at or before a position. Raises ArchiveBroken."""
        found = [each for each in self.ranges if each.last <= position]
        if not found:
            return None
        path = self.folder / found[-1].state_file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArchiveBroken(f"{path} cannot be read: {error}") from error
        if hashlib.sha256(content).hexdigest() != found[-1].state_sha256:
            raise ArchiveBroken(f"{path} is not what was written")
        return content

    def check(self, each: Range) -> None:
        """Read a whole range back from the disk. Raises ArchiveBroken unless file, chain and state are as recorded."""
        chain = hashlib.sha256
        value = bytes.fromhex(each.chain_before)
        for block in self._read_range(each, each.first - 1, each.last):
            for entry in block:
                value = chain(value + entry.payload).digest()
        if value.hex() != each.chain_hash:
            raise ArchiveBroken(f"{each.file}: positions {each.first} to {each.last} have another chain hash")
        if _sha256(self.folder / each.file) != each.file_sha256:
            raise ArchiveBroken(f"{each.file} is not what was written")
        self.state_before(each.last)

    def _read_range(self, each: Range, after: int, end: int) -> Iterator[list[Entry]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / each.file
        first = last = each.first
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for group in range(file.metadata.num_row_groups):
                    statistics = file.metadata.row_group(group).column(0).statistics
                    first, last = int(statistics.min), int(statistics.max)
                    if last <= after or first > end:
                        continue
                    columns = [column.to_pylist() for column in file.read_row_group(group).columns]
                    block = [Entry(*row) for row in zip(*columns, strict=True) if after < row[0] <= end]
                    _check_positions(each, block, max(after + 1, first))
                    yield block
        except (OSError, ValueError, AttributeError, pa.ArrowException) as error:
            raise ArchiveBroken(f"{each.file}, positions {first} to {last}: {error}") from error

    # Writing

    def add(self, entries: "RangeFile", state: bytes, chain_before: bytes, chain_hash: bytes, digest: bytes) -> Range:
        """Make a written range part of the archive: durable when this returns."""
        assert entries.first == self.last + 1, "ranges follow each other"
        state_file = f"state-{entries.last:012d}.pb"
        _write_durably(self.folder / state_file, state)
        added = Range(
            first=entries.first,
            last=entries.last,
            first_time_ms=entries.first_time_ms,
            last_time_ms=entries.last_time_ms,
            payload_bytes=entries.payload_bytes,
            file=entries.finish(),
            file_sha256=_sha256(entries.path),
            state_file=state_file,
            state_sha256=hashlib.sha256(state).hexdigest(),
            chain_before=chain_before.hex(),
            chain_hash=chain_hash.hex(),
            state_digest=digest.hex(),
        )
        ranges = (*self.ranges, added)
        document = {"format": FORMAT, "stream": "LEDGER", "ranges": [asdict(each) for each in ranges]}
        _write_durably(self.folder / MANIFEST, orjson.dumps(document, option=orjson.OPT_INDENT_2))
        self.ranges = ranges
        return added


class RangeFile:
    """One Parquet file under way; nobody reads it before `Archive.add` has named it."""

    def __init__(self, folder: Path, first: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        self.first = first
        self.last = first - 1
        self.first_time_ms = 0
        self.last_time_ms = 0
        self.payload_bytes = 0
        self._folder = folder
        self._new = folder / f"ledger-{first:012d}.new"
        self.path = self._new
        self._rows: list[Entry] = []
        self._rows_bytes = 0
        self._schema = pa.schema(
            [
                pa.field("position", pa.int64(), nullable=False),
                pa.field("time_ms", pa.int64(), nullable=False),
                pa.field("subject", pa.string(), nullable=False),
                pa.field("payload", pa.binary(), nullable=False),
            ]
        )
        self._writer: Any = pq.ParquetWriter(
            self._new, self._schema, compression="zstd", use_dictionary=["subject"], write_page_checksum=True
        )

    def append(self, entry: Entry) -> None:
        """The next message."""
        assert entry.position == self.last + 1, "positions follow each other"
        self.first_time_ms = self.first_time_ms or entry.time_ms
        self.last, self.last_time_ms = entry.position, entry.time_ms
        self.payload_bytes += len(entry.payload)
        self._rows.append(entry)
        self._rows_bytes += len(entry.payload)
        if len(self._rows) >= ROWS_MAX or self._rows_bytes >= GROUP_BYTES_MAX:
            self._flush()

    def finish(self) -> str:
        """Close the file under its final name; the name."""
        self._flush()
        self._writer.close()
        self.path = self._folder / f"ledger-{self.first:012d}-{self.last:012d}.parquet"
        with self._new.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(self._new, self.path)
        _sync_folder(self._folder)
        return self.path.name

    def discard(self) -> None:
        """Throw away what was written."""
        self._writer.close()
        self._new.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = [pa.array(values, field.type) for values, field in zip(zip(*self._rows), self._schema)]  # noqa: B905
            self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=ROWS_MAX)
        self._rows = []
        self._rows_bytes = 0


def _check_positions(each: Range, block: list[Entry], expected: int) -> None:
    for entry in block:
        if entry.position != expected:
            raise ArchiveBroken(f"{each.file}: position {entry.position} stands where {expected} must be")
        expected += 1


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _write_durably(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
