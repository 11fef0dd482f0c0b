"""The directory: what edges must know of keys and models, and what people call things.

It is a read model in a compacted stream; the ledger is the truth. An edge mirrors it whole, so that a key is looked up
in a dict, and a core still refuses what the mirror does not know yet.
"""

from bus import jetstream
from bus.connection import Connection
from bus.errors import ApiRefused, NoSuchPosition
from bus.jetstream import Entry
from bus.streams import DIRECTORY
from bus.tail import Tail
from proto.onysoft.v1.directory_pb2 import KeyRecord, LabelRecord, ModelRecord
from runtime.log import log

_KEY = "directory.key."
_MODEL = "directory.model."
_LABEL = "directory.label."


async def publish_key(connection: Connection, key_hash: bytes, record: KeyRecord) -> None:
    """Store a key's record, unless one of the same or a later ledger position is there: projections that lag behind
    one another may publish the same key. Raises ApiRefused, NoCore, RequestTimeout when it could not be stored.
    """
    await _publish_newer(connection, _KEY + key_hash.hex(), record)


async def publish_model(connection: Connection, record: ModelRecord) -> None:
    """Store a model's or alias's record, under its id. As `publish_key`; without a position it is stored anyway."""
    subject = _MODEL + record.id.encode().hex()
    if record.position:
        await _publish_newer(connection, subject, record)
    else:
        await _publish(connection, subject, record.SerializeToString())


async def _publish_newer(connection: Connection, subject: str, record: KeyRecord | ModelRecord) -> None:
    payload = record.SerializeToString()
    while True:
        known_at, known = await _known(connection, subject, type(record))
        if known_at and known.position >= record.position:
            return
        try:
            await jetstream.append(connection, subject, payload, connection.new_inbox(), expected_last=known_at)
            return
        except ApiRefused as error:
            # Another projection was faster, or an earlier attempt of this one: what is there now decides.
            if error.err_code != jetstream.WRONG_LAST_SEQUENCE:
                raise


async def _known(
    connection: Connection, subject: str, kind: type[KeyRecord] | type[ModelRecord]
) -> tuple[int, KeyRecord | ModelRecord]:
    """Stream position and record of a key or model; position 0 when there is none."""
    try:
        entry = await jetstream.read_last(connection, DIRECTORY, subject)
    except NoSuchPosition:
        return 0, kind()
    return entry.position, kind.FromString(entry.payload)


async def publish_label(connection: Connection, account_or_key_id: bytes, record: LabelRecord) -> None:
    """Store what people call an account or key. An empty label erases it. Raises as `publish_key`."""
    await _publish(connection, _LABEL + account_or_key_id.hex(), record.SerializeToString())


async def _publish(connection: Connection, subject: str, payload: bytes) -> None:
    # No two publishes share an id: a record may go back to what it was within the duplicate window.
    message_id = connection.new_inbox()
    await jetstream.append(connection, subject, payload, message_id)


class MirroredKey:
    """A key's record, in memory."""

    __slots__ = ("account_id", "allowed_ips", "expires_ms", "key_id", "partition", "position", "revoked", "secret")

    def __init__(self, record: KeyRecord) -> None:
        self.key_id = record.key_id
        self.account_id = record.account_id
        self.partition = record.partition
        self.revoked = record.revoked
        self.position = record.position
        self.allowed_ips = tuple(record.allowed_ips)
        self.expires_ms = record.expires_ms
        self.secret = record.secret

    def tells(self, record: KeyRecord) -> bool:
        """Does the directory say this of the key already?"""
        mirrored = MirroredKey(record)
        return all(getattr(self, name) == getattr(mirrored, name) for name in self.__slots__)


class DirectoryMirror:
    """The directory in plain dicts: `keys` by key hash, `models` by id, `labels` by account or key id.

    A key's or model's record never replaces one of a later ledger position. Call `start` first, and `loaded` before the
    first lookup that counts.
    """

    def __init__(self, connection: Connection) -> None:
        self.keys: dict[bytes, MirroredKey] = {}
        self.models: dict[str, ModelRecord] = {}
        self.labels: dict[bytes, str] = {}
        self._tail = Tail(connection, DIRECTORY, 0, self._on_entry, compacted=True)
        self._loaded = False

    @property
    def is_loaded(self) -> bool:
        """Whether the directory was read to its end once."""
        return self._loaded

    async def start(self) -> None:
        """Begin to follow the directory."""
        await self._tail.start()

    async def loaded(self) -> None:
        """Wait until all that is in the directory now is here. Raises the tail's failure."""
        await self._tail.caught_up()
        self._loaded = True

    async def stop(self) -> None:
        """Follow no longer."""
        await self._tail.stop()

    async def failed(self) -> None:
        """Return never, but raise what ended the mirror."""
        await self._tail.failure

    def _on_entry(self, entry: Entry) -> None:
        subject = entry.subject
        if subject.startswith(_KEY):
            self._on_key(bytes.fromhex(subject[len(_KEY) :]), KeyRecord.FromString(entry.payload))
        elif subject.startswith(_MODEL):
            self._on_model(ModelRecord.FromString(entry.payload))
        elif subject.startswith(_LABEL):
            self._on_label(bytes.fromhex(subject[len(_LABEL) :]), LabelRecord.FromString(entry.payload).label)
        else:
            log.warning("directory.unknown_subject", position=entry.position)

    def _on_key(self, key_hash: bytes, record: KeyRecord) -> None:
        known = self.keys.get(key_hash)
        if known is None or known.position <= record.position:
            self.keys[key_hash] = MirroredKey(record)

    def _on_model(self, record: ModelRecord) -> None:
        known = self.models.get(record.id)
        if known is None or known.position <= record.position:
            self.models[record.id] = record

    def _on_label(self, owner: bytes, label: str) -> None:
        if label:
            self.labels[owner] = label
        else:
            self.labels.pop(owner, None)
