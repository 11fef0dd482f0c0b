"""Snapshots of the fold's state in the stream SNAPSHOTS: chunks first, a manifest last, the newest two kept.

A snapshot is a shortcut, never a truth: one that is missing or broken costs a longer replay and nothing else. The one
exception is the base: the state at the position up to which the ledger was trimmed, from which a replay begins where
no archive is at hand.

Beside them stands how far each durable reader of the ledger is, so that nothing is trimmed that one still needs.
"""

import asyncio
import hashlib

import orjson

from bus import jetstream
from bus.connection import Connection
from bus.errors import ApiRefused, BusError, NoSuchPosition
from bus.jetstream import Json
from bus.streams import SNAPSHOTS
from proto.onysoft.v1.snapshot_pb2 import Snapshot
from runtime.log import log

CHUNK_BYTES = 512 * 1024
SNAPSHOT_BYTES_MAX = 480 * 1024 * 1024  # two of them and two bases fit into the stream
READ_WINDOW = 4
MANIFEST = "snapshot.manifest"
BASE_MANIFEST = "snapshot.base"
READERS = "snapshot.reader"
READERS_MAX = 64


async def save(connection: Connection, snapshot: Snapshot) -> None:
    """Store a snapshot; older ones than it and the one before it are deleted.

    A snapshot that is not newer than the stored one is not stored. Raises ApiRefused, NoCore, RequestTimeout when it
    cannot be stored; what was stored before is still there then. Raises ValueError over SNAPSHOT_BYTES_MAX.
    """
    current = await _newest(connection)
    if current is not None and current["position"] >= snapshot.position:
        return
    await _store(connection, snapshot, MANIFEST, current)


async def _store(connection: Connection, snapshot: Snapshot, subject: str, current: Json | None) -> None:
    """Chunks, then the manifest; what was stored before the one before is deleted."""
    content = snapshot.SerializeToString()
    if len(content) > SNAPSHOT_BYTES_MAX:
        raise ValueError(f"a snapshot of {len(content)} bytes")
    digest = hashlib.sha256(content).hexdigest()
    manifest = {
        "position": snapshot.position,
        "size_bytes": len(content),
        "sha256": digest,
        "chunks": await _store_chunks(connection, _chunk_subject(subject, snapshot.position, digest), content),
    }
    manifest_id = f"{subject}:{snapshot.position}:{digest}"
    await jetstream.append(connection, subject, orjson.dumps({**manifest, "previous": _own(current)}), manifest_id)
    if current is not None and current["previous"] is not None:
        await _drop(connection, subject, current["previous"], keep=(manifest, current))


async def load(connection: Connection) -> Snapshot | None:
    """The newest snapshot that is whole, the base where there is no newer one, or None. Raises ApiRefused, NoCore,
    RequestTimeout when SNAPSHOTS cannot be read; a broken snapshot is logged and passed over."""
    found = await _first_whole(connection, await _newest(connection))
    return found if found is not None else await load_base(connection)


async def save_base(connection: Connection, snapshot: Snapshot) -> None:
    """Store the state from which a trimmed ledger is replayed. The one before stays until this one is whole.

    Raises as `save`.
    """
    current = await _newest(connection, BASE_MANIFEST)
    if current is not None and current["position"] >= snapshot.position:
        return
    await _store(connection, snapshot, BASE_MANIFEST, current)


async def load_base(connection: Connection) -> Snapshot | None:
    """The state up to which the ledger was, or was to be, trimmed; None where it never was. Raises as `load`."""
    return await _first_whole(connection, await _newest(connection, BASE_MANIFEST))


async def announce_reader(connection: Connection, reader: str, position: int) -> None:
    """Tell that this durable reader never again asks for a ledger position up to `position`.

    `reader` is one word. Raises ApiRefused, NoCore, RequestTimeout.
    """
    payload = orjson.dumps({"position": position})
    await jetstream.append(connection, f"{READERS}.{reader}", payload, f"reader:{reader}:{position}")


async def readers(connection: Connection) -> dict[str, int]:
    """How far each durable reader of the ledger has announced to be. Raises ApiRefused, NoCore, RequestTimeout."""
    query = {"subjects_filter": f"{READERS}.*"}
    answer = await jetstream.call(connection, f"STREAM.INFO.{SNAPSHOTS}", query)
    subjects = sorted(answer["state"].get("subjects") or {})[:READERS_MAX]
    entries = [await jetstream.read_last(connection, SNAPSHOTS, subject) for subject in subjects]
    return {entry.subject.rpartition(".")[2]: int(orjson.loads(entry.payload)["position"]) for entry in entries}


async def forget_reader(connection: Connection, reader: str) -> None:
    """A reader that is gone for good holds nothing back any more. Raises ApiRefused, NoCore, RequestTimeout."""
    await jetstream.call(connection, f"STREAM.PURGE.{SNAPSHOTS}", {"filter": f"{READERS}.{reader}"})


async def _first_whole(connection: Connection, manifest: Json | None) -> Snapshot | None:
    while manifest is not None:
        content = await _read_chunks(connection, manifest)
        if content is not None:
            return Snapshot.FromString(content)
        log.error("snapshot.broken", position=manifest["position"])
        manifest = manifest.get("previous")
    return None


async def _newest(connection: Connection, subject: str = MANIFEST) -> Json | None:
    try:
        entry = await jetstream.read_last(connection, SNAPSHOTS, subject)
    except NoSuchPosition:
        return None
    manifest: Json = orjson.loads(entry.payload)
    return manifest


def _own(manifest: Json | None) -> Json | None:
    """A manifest without its past."""
    return None if manifest is None else {key: value for key, value in manifest.items() if key != "previous"}


def _chunk_subject(manifest: str, position: int, digest: str) -> str:
    """Where a snapshot's chunks lie, before their numbers. A base shares no chunk with a snapshot that is dropped."""
    return f"snapshot.chunk.{'base-' if manifest == BASE_MANIFEST else ''}{position}.{digest[:16]}"


async def _store_chunks(connection: Connection, prefix: str, content: bytes) -> list[int]:
    """Stream positions of the chunks, in order."""
    view = memoryview(content)
    positions = []
    for index, start in enumerate(range(0, max(len(content), 1), CHUNK_BYTES)):
        subject = f"{prefix}.{index}"
        chunk = bytes(view[start : start + CHUNK_BYTES])
        positions.append(await jetstream.append(connection, subject, chunk, f"{subject}:{start}"))
    return positions


async def _read_chunks(connection: Connection, manifest: Json) -> bytes | None:
    """The snapshot's bytes; None when a chunk is missing or the whole is not what was saved."""
    positions: list[int] = manifest["chunks"]
    parts: list[bytes] = []
    try:
        for start in range(0, len(positions), READ_WINDOW):
            window = positions[start : start + READ_WINDOW]
            entries = await asyncio.gather(*(jetstream.read(connection, SNAPSHOTS, each) for each in window))
            parts += [entry.payload for entry in entries]
    except NoSuchPosition:
        return None
    content = b"".join(parts)
    whole = len(content) == manifest["size_bytes"] and hashlib.sha256(content).hexdigest() == manifest["sha256"]
    return content if whole else None


async def _drop(connection: Connection, subject: str, manifest: Json, keep: tuple[Json, Json]) -> None:
    """Delete a snapshot's chunks, unless a kept one shares them. Failing costs space only."""
    if any(manifest["sha256"] == each["sha256"] and manifest["position"] == each["position"] for each in keep):
        return
    pattern = f"{_chunk_subject(subject, manifest['position'], manifest['sha256'])}.*"
    try:
        await jetstream.call(connection, f"STREAM.PURGE.{SNAPSHOTS}", {"filter": pattern})
    except (ApiRefused, BusError) as error:
        log.warning("snapshot.purge_failed", position=manifest["position"], error=type(error).__name__)
