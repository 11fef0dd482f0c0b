"""The streams: what they are, that they are so, and what would make one unsafe.

LEDGER is the only truth about money. It is made to lose nothing: file storage, no limit that drops anything, no
deletion of single messages. A LEDGER that exists with weaker settings is refused, never repaired in silence.
"""

import google_crc32c

from bus import jetstream
from bus.connection import Connection
from bus.errors import ApiRefused, UnsafeStream
from bus.jetstream import Entry, Json, read
from runtime.settings import Settings

__all__ = [
    "DIRECTORY",
    "LEDGER",
    "MEDIA",
    "SNAPSHOTS",
    "TASKS",
    "USAGE",
    "Entry",
    "last_position",
    "partition_of",
    "provision",
    "read",
]

LEDGER = "LEDGER"
USAGE = "USAGE"
DIRECTORY = "DIRECTORY"
SNAPSHOTS = "SNAPSHOTS"
TASKS = "TASKS"
MEDIA = "MEDIA"

PARTITIONS_KEY = "onysoft.partitions"
DUPLICATE_WINDOW_S = 120
USAGE_AGE_S = 7 * 24 * 3600
USAGE_BYTES_MAX = 2 * 1024**3
SNAPSHOT_BYTES_MAX = 2 * 1024**3
SNAPSHOT_VERSIONS = 2
MEDIA_MARGIN_S = 2 * 24 * 3600
"""How much longer than its results a task can be asked for."""
_NS = 1_000_000_000


async def provision(connection: Connection, settings: Settings, first_position: int = 1) -> int:
    """Make the streams that are missing and check those that are there; the ledger's number of partitions.

    Any number of processes may do so at once. `settings.partitions` and `first_position`, the position of the first
    message (the ones before are in an archive), count only for a ledger that does not exist yet.
    Raises UnsafeStream for a stream with unsafe settings, ApiRefused and the like when JetStream cannot.
    """
    ledger = await _ensure(connection, _ledger(settings, first_position))
    for config in (_usage(settings), _directory(settings), _snapshots(settings), _tasks(settings), _media(settings)):
        await _ensure(connection, config)
    return int(ledger["metadata"][PARTITIONS_KEY])


async def provision_usage(connection: Connection, settings: Settings) -> None:
    """Make the stream of the edges' reports alone. Raises as `provision`."""
    await _ensure(connection, _usage(settings))


def partition_of(root_id: bytes, partitions: int) -> int:
    """The partition of a billing root: crc32c mod P."""
    return int(google_crc32c.value(root_id)) % partitions


def ledger_subject(partition: int) -> str:
    """`ledger.07` for partition 7."""
    return f"ledger.{partition:02d}"


async def last_position(connection: Connection, stream: str) -> int:
    """The position of the stream's newest message; 0 when there never was one. Raises ApiRefused and the like."""
    return int((await jetstream.stream_state(connection, stream))["last_seq"])


async def trim(connection: Connection, position: int) -> None:
    """Purge the ledger up to and with `position`. What may be purged is the caller's to prove. Raises as `call`."""
    await jetstream.call(connection, f"STREAM.PURGE.{LEDGER}", {"seq": position + 1})


async def _ensure(connection: Connection, wanted: Json) -> Json:
    name = wanted["name"]
    try:
        found: Json = (await jetstream.persistent_call(connection, f"STREAM.CREATE.{name}", wanted))["config"]
    except ApiRefused as error:
        if error.err_code != jetstream.STREAM_EXISTS:
            raise
        found = (await jetstream.persistent_call(connection, f"STREAM.INFO.{name}"))["config"]
    problems = _problems(wanted, found)
    if problems:
        raise UnsafeStream(f"stream {name}: " + "; ".join(problems))
    return found


def _problems(wanted: Json, found: Json) -> list[str]:
    """What is unsafe about a stream that exists. Replicas, compression and size limits are the operator's to change,
    except that the ledger has no limits at all."""
    keys = ["storage", "retention", "subjects", "max_msgs_per_subject"]
    if wanted["name"] == LEDGER:
        keys += ["deny_delete", "discard", "max_msgs", "max_bytes", "max_age", "max_msg_size"]
    problems = [f"{key} is {found.get(key)!r}, must be {wanted[key]!r}" for key in keys if _differs(wanted, found, key)]
    if wanted["name"] == LEDGER:
        problems += _ledger_problems(found)
    return problems


def _differs(wanted: Json, found: Json, key: str) -> bool:
    return bool(found.get(key, False if key == "deny_delete" else None) != wanted[key])


def _ledger_problems(found: Json) -> list[str]:
    problems = []
    partitions = found.get("metadata", {}).get(PARTITIONS_KEY, "")
    if not partitions.isdigit() or not 1 <= int(partitions) <= 256:
        problems.append(f"metadata {PARTITIONS_KEY} is {partitions!r}, must be 1 to 256")
    if found.get("duplicate_window", 0) < DUPLICATE_WINDOW_S * _NS:
        problems.append("duplicate_window is shorter than two minutes")
    if found.get("persist_mode", "default") not in ("", "default"):
        problems.append("persist_mode must be the default: the ledger is synced on every write")
    if found.get("sealed") or found.get("no_ack") or found.get("mirror"):
        problems.append("it is sealed, a mirror, or does not acknowledge")
    if found.get("allow_msg_ttl"):
        problems.append("allow_msg_ttl lets messages expire")
    return problems


def _stream(settings: Settings, name: str, subjects: list[str], **more: object) -> Json:
    return {
        "name": name,
        "subjects": subjects,
        "storage": "file",
        "retention": "limits",
        "compression": "s2",
        "num_replicas": settings.stream_replicas,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "max_consumers": -1,
        "duplicate_window": DUPLICATE_WINDOW_S * _NS,
        **more,
    }


def _ledger(settings: Settings, first_position: int) -> Json:
    more: Json = {"metadata": {PARTITIONS_KEY: str(settings.partitions)}}
    if first_position > 1:
        more["first_seq"] = first_position
    return _stream(settings, LEDGER, ["ledger.*"], discard="new", deny_delete=True, allow_direct=False, **more)


def _usage(settings: Settings) -> Json:
    return _stream(settings, USAGE, ["usage.*"], discard="old", max_age=USAGE_AGE_S * _NS, max_bytes=USAGE_BYTES_MAX)


def _directory(settings: Settings) -> Json:
    return _stream(settings, DIRECTORY, ["directory.>"], discard="old", max_msgs_per_subject=1)


def _snapshots(settings: Settings) -> Json:
    return _stream(
        settings,
        SNAPSHOTS,
        ["snapshot.>"],
        discard="old",
        max_msgs_per_subject=SNAPSHOT_VERSIONS,
        max_bytes=SNAPSHOT_BYTES_MAX,
        allow_direct=True,
    )


def _tasks(settings: Settings) -> Json:
    """Work that somebody still has to do: a message goes when it is done, and no limit drops one."""
    return _stream(settings, TASKS, ["tasks.>"], retention="workqueue", discard="new")


def _media(settings: Settings) -> Json:
    """The newest record of each task, for polling and following."""
    age_s = settings.result_days * 24 * 3600 + MEDIA_MARGIN_S
    return _stream(
        settings,
        MEDIA,
        ["media.>"],
        discard="old",
        max_msgs_per_subject=1,
        max_age=age_s * _NS,
    )
