"""The archive: money's history must survive the trim, and nothing may be purged that somebody still needs."""

import asyncio
from pathlib import Path

import pytest

from bus import snapshots
from bus.archive import Archive
from bus.errors import ArchiveBroken, HistoryLost
from bus.history import History, read_entry
from bus.jetstream import Entry
from core import audit
from core.ledger.fold import apply_batch
from core.ledger.state import State
from core.replica import Replica
from projections.main import Projections
from projections.proof.archiving import archive_ledger, trim_ledger
from projections.store import Store
from proto.onysoft.v1 import ledger_pb2 as pb
from proto.onysoft.v1.admin_pb2 import VerifyProgress
from proto.onysoft.v1.ledger_pb2 import LedgerBatch
from tests.projections.conftest import ACCOUNT, Ledger


async def verified(ledger: Ledger, archive: Path | None) -> VerifyProgress:
    """The last message of a verification."""
    return [progress async for progress in audit.verify(ledger.connection, archive)][-1]


async def replayed(ledger: Ledger, after: State | None = None, archive: Path | None = None) -> State:
    """A fold of the whole log."""
    state = after or State()

    def on_entry(entry: Entry) -> None:
        batch = LedgerBatch.FromString(entry.payload)
        apply_batch(state, batch, int(entry.subject[7:]), entry.position, entry.time_ms, entry.payload)

    history = History(ledger.connection, state.position, on_entry, archive)
    await history.start()
    await history.caught_up()
    await history.stop()
    return state


async def filled(ledger: Ledger) -> None:
    """A log of some 800 positions with checkpoints and a snapshot."""
    await ledger.open_account()
    await ledger.calls(300)
    await ledger.project()
    await ledger.calls(100)
    await ledger.project()


async def test_a_trimmed_log_replays_from_the_archive_to_the_same_digest(ledger: Ledger) -> None:
    await filled(ledger)
    before = (await replayed(ledger)).digest()
    archive = Archive(ledger.archive_dir)
    added = await archive_ledger(ledger.connection, archive)
    assert [(each.first, each.last) for each in added] == [(1, 768)]
    assert await archive_ledger(ledger.connection, archive) == []
    trimmed = await trim_ledger(ledger.connection, archive, 0)
    assert (trimmed.purged_up_to, trimmed.purged) == (768, 768)
    assert await ledger.trimmed_at() == 769
    assert (await replayed(ledger, archive=ledger.archive_dir)).digest() == before
    final = await verified(ledger, ledger.archive_dir)
    assert (final.ok, final.from_position, final.state_digest) == (True, 1, before)
    base = await snapshots.load_base(ledger.connection)
    assert base is not None
    assert (await replayed(ledger, State.from_snapshot(base))).digest() == before
    final = await verified(ledger, None)
    assert (final.ok, final.from_position, final.state_digest) == (True, 769, before)


async def test_every_reader_starts_on_a_trimmed_log(ledger: Ledger, tmp_path: Path) -> None:
    await filled(ledger)
    before = await replayed(ledger)
    await archive_ledger(ledger.connection, Archive(ledger.archive_dir))
    await trim_ledger(ledger.connection, Archive(ledger.archive_dir), 0)

    replica = Replica(ledger.connection, ledger.partitions)
    await replica.start()
    assert replica.state.digest() == before.digest()
    await replica.close()

    for folder, archive in (("anew", ledger.archive_dir), ("without an archive", None)):
        settings = ledger.settings.model_copy(update={"projections_dir": tmp_path / folder, "archive_dir": archive})
        projections = Projections(ledger.connection, settings, ledger.partitions)
        await projections.start()
        assert projections.fold.state.accounts[ACCOUNT].charges_nano == before.accounts[ACCOUNT].charges_nano
        await projections.close()
    anew, kept = Store(tmp_path / "anew"), Store(ledger.settings.projections_dir)
    request = (5).to_bytes(12, "big")
    assert anew.events_of(request) == kept.events_of(request) != []
    position = anew.events_of(request)[0].position
    found = await read_entry(ledger.connection, position, ledger.archive_dir)
    assert LedgerBatch.FromString(found.payload).events[0].request_opened.request_id == request

    entries = [entry async for entry in audit.entries_from(ledger.connection, 3, 4, ledger.archive_dir)]
    assert [entry.position for entry in entries] == [3, 4, 5, 6]
    with pytest.raises(HistoryLost, match="begins at"):
        [entry async for entry in audit.entries_from(ledger.connection, 3, 4)]


async def test_events_far_back_are_told_as_written_where_folding_them_would_take_long(ledger: Ledger) -> None:
    await ledger.write(pb.Event(rules_activated=pb.RulesActivated(version=2)))
    await ledger.open_account()
    await ledger.calls(40)
    connection, last = ledger.connection, await ledger.last()
    folded = [each async for each in audit.entries_from(connection, 20, 5)]
    written = [each async for each in audit.entries_from(connection, 20, 5, fold_most=3)]
    assert [(each.position, each.index, each.event) for each in written] == [
        (each.position, each.index, each.event) for each in folded
    ]
    assert all(each.outcome for each in folded)
    assert not any(each.outcome for each in written)
    newest = [each async for each in audit.newest_entries(connection, 4, fold_most=3)]
    assert (len(newest), newest[-1].position, {each.outcome for each in newest}) == (4, last, {""})
    near = [each async for each in audit.entries_from(connection, 2, 5, fold_most=3)]
    assert all(each.outcome for each in near)


async def test_nothing_is_purged_that_a_reader_or_a_snapshot_still_needs(ledger: Ledger) -> None:
    await filled(ledger)
    archive = Archive(ledger.archive_dir)
    await archive_ledger(ledger.connection, archive)
    await snapshots.announce_reader(ledger.connection, "analytics", 500)
    held = await trim_ledger(ledger.connection, archive, 0)
    assert (held.purged, held.held_back_by) == (0, "reader analytics")
    assert await ledger.trimmed_at() == 1
    await snapshots.forget_reader(ledger.connection, "analytics")
    young = await trim_ledger(ledger.connection, archive, 1)
    assert (young.purged, young.held_back_by) == (0, "the newest 1 days")
    assert (await trim_ledger(ledger.connection, archive, 0)).purged == 768


async def test_a_log_without_a_snapshot_is_not_trimmed(ledger: Ledger) -> None:
    await ledger.open_account()
    await ledger.calls(300)
    archive = Archive(ledger.archive_dir)
    assert await archive_ledger(ledger.connection, archive) == [], "no checkpoint has confirmed anything"
    assert (await trim_ledger(ledger.connection, archive, 0)).purged == 0


async def test_a_flipped_byte_in_the_archive_is_named_and_stops_the_trim(ledger: Ledger) -> None:
    await filled(ledger)
    archive = Archive(ledger.archive_dir)
    [added] = await archive_ledger(ledger.connection, archive)
    path = ledger.archive_dir / added.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveBroken, match=added.file):
        await trim_ledger(ledger.connection, archive, 0)
    assert await ledger.trimmed_at() == 1


@pytest.mark.parametrize("index_lost", [False, True])
async def test_a_flipped_byte_in_the_log_is_named(
    ledger: Ledger, nats_server, tmp_path: Path, index_lost: bool
) -> None:  # type: ignore[no-untyped-def]
    """Where the server rebuilds its index, it cuts the log at the broken message without a word."""
    await filled(ledger)
    back = asyncio.Event()
    ledger.connection.on_reconnected(back.set)
    nats_server.stop()
    blocks = [path for path in (tmp_path / "nats").rglob("1.blk") if path.parent.parent.name == "LEDGER"]
    content = bytearray(blocks[0].read_bytes())
    content[len(content) // 2] ^= 1
    blocks[0].write_bytes(content)
    if index_lost:
        for path in blocks[0].parent.glob("index.db"):
            path.unlink()
    nats_server.start()
    await asyncio.wait_for(back.wait(), 10)
    final = await verified(ledger, None)
    assert not final.ok
    position = final.position
    assert f"after position {position}: " in final.problem
    assert "LEDGER lacks" in final.problem or "the log ends here" in final.problem
    assert 100 < position < 700
