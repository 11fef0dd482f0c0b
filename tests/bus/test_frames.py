"""Answers on their way from a core to an edge, over a real server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from bus import frames
from bus.connection import Connection
from bus.errors import NoCore
from bus.frames import Answer, Answers, ClientGone, CoreSilent, FrameGap, Inbox, Pending
from bus.transport import Message
from proto.onysoft.v1 import work_pb2
from runtime import ids
from runtime.settings import Settings
from tests.conftest import NatsServer

LIMIT = (60, 59, 1_900_000_000)


class Pair:
    """A core's side and an edge's side, on connections of their own."""

    def __init__(self, core: Connection, edge: Connection) -> None:
        self.core_connection = core
        self.edge_connection = edge
        self.answers = Answers(core, "core-a")
        self.inbox = Inbox(edge, "edge-a", silence_s=1.0)

    def call(self, attempt: int = 1) -> tuple[Pending, Answer]:
        pending = self.inbox.open(ids.mint())
        pending.begin(attempt)
        return pending, self.answers.open("edge-a", pending.request_id, attempt)


@pytest.fixture
async def pair(settings: Settings) -> AsyncIterator[Pair]:
    core = await Connection.open(settings, "core")
    edge = await Connection.open(settings, "edge")
    pair = Pair(core, edge)
    await pair.answers.start()
    await pair.inbox.start()
    await edge.client.flush()
    await core.client.flush()
    yield pair
    await pair.answers.close()
    await pair.inbox.close()
    await core.close()
    await edge.close()


async def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - a deadline bounds it
            await asyncio.sleep(0.005)


async def read(pending: Pending) -> work_pb2.Frame:
    async with asyncio.timeout(60):
        frame = await pending.next()
    assert frame is not None
    return frame


async def read_all(pending: Pending) -> bytes:
    parts = []
    while True:
        frame = await read(pending)
        parts.append(frame.data)
        pending.credit(len(frame.data))
        if frame.end:
            return b"".join(parts)


async def write_for_ever(answer: Answer) -> None:
    while True:
        await answer.write(b"x" * 65_536)


async def test_a_whole_answer_is_one_frame(pair: Pair) -> None:
    """More frames than one would cost each ordinary call more."""
    pending, answer = pair.call()
    answer.head(stream=False, rate_limit=LIMIT, max_tokens_lowered_to=7)
    assert await answer.finish(b"{}", position=9)
    frame = await read(pending)
    assert (frame.data, frame.end, frame.position, frame.core) == (b"{}", True, 9, "core-a")
    assert (frame.head.stream, frame.head.max_tokens_lowered_to) == (False, 7)
    assert frame.head.rate_limit.reset_s == LIMIT[2]
    assert len(pair.answers) == 0


async def test_a_large_answer_arrives_whole_in_pieces(pair: Pair) -> None:
    """An image of some megabytes would not fit one message."""
    body = bytes(range(256)) * 12_000
    pending, answer = pair.call()
    answer.head(stream=False, rate_limit=LIMIT)
    finish = asyncio.create_task(answer.finish(body, position=1))
    assert await read_all(pending) == body
    assert await finish


async def test_streamed_chunks_arrive_in_order_and_coalesced(pair: Pair) -> None:
    """Tokens out of order are a wrong answer; a frame a token is too dear."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    chunks = [b"data: %d\n\n" % number for number in range(500)]
    for chunk in chunks:
        await answer.write(chunk)
    assert await answer.finish(b"data: [DONE]\n\n", position=3)
    assert await read_all(pending) == b"".join(chunks) + b"data: [DONE]\n\n"


async def test_what_has_queued_up_is_read_at_once(pair: Pair) -> None:
    """A busy edge would get slower with each token that waits."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    for number in range(4):
        await answer.write(b"%d" % number * frames.COALESCE_BYTES)
    await until(lambda: len(pending._frames) == 4)
    frame = await read(pending)
    assert (len(frame.data), frame.head.stream, frame.end) == (4 * frames.COALESCE_BYTES, True, False)
    await answer.write(b"y" * frames.COALESCE_BYTES)
    await answer.fail("provider_error")
    await until(lambda: len(pending._frames) == 2)
    assert not (await read(pending)).HasField("failure")
    assert (await read(pending)).failure.code == "provider_error"
    assert pending._queued_bytes == 0


async def test_a_lone_chunk_does_not_wait_for_the_next(pair: Pair) -> None:
    """A token would appear only when the next one comes."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"one")
    assert (await read(pending)).data == b"one"
    await answer.write(b"two")
    assert (await read(pending)).data == b"two"


async def test_a_core_waits_for_a_slow_client(pair: Pair) -> None:
    """A slow client would fill the edge's memory."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    chunk = b"x" * 32_768
    written = 0

    async def produce() -> None:
        nonlocal written
        for _ in range(64):
            await answer.write(chunk)
            written += len(chunk)
        await answer.finish(b"", position=1)

    producer = asyncio.create_task(produce())
    await until(lambda: written >= frames.WINDOW_BYTES)
    await asyncio.sleep(0.1)
    assert written <= frames.WINDOW_BYTES + len(chunk)
    assert len(await read_all(pending)) == 64 * len(chunk)
    await producer


async def test_a_client_that_takes_nothing_is_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core would keep a provider's stream open for ever."""
    monkeypatch.setattr(frames, "CREDIT_TIMEOUT_S", 0.2)
    _, answer = pair.call()
    left = []
    answer.on_cancel = lambda: left.append(1)
    answer.head(stream=True, rate_limit=LIMIT)
    with pytest.raises(ClientGone):
        await asyncio.wait_for(write_for_ever(answer), 60)
    assert left == [1]


async def test_a_failure_arrives(pair: Pair) -> None:
    """A refused client would wait for its time-out."""
    pending, answer = pair.call()
    await answer.fail("insufficient_balance", do_not_retry=True, rate_limit=LIMIT, position=4)
    frame = await read(pending)
    assert (frame.failure.code, frame.failure.do_not_retry, frame.position) == ("insufficient_balance", True, 4)
    assert len(pair.answers) == 0


async def test_a_failure_follows_what_was_written(pair: Pair) -> None:
    """The last tokens before a provider broke off would be lost."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"x" * frames.COALESCE_BYTES)
    await read(pending)
    await answer.write(b"ab")
    await answer.fail("provider_error")
    last = await read(pending)
    assert (last.data, last.failure.code) == (b"ab", "provider_error")


async def test_a_failure_before_the_first_frame_is_the_whole_answer(pair: Pair) -> None:
    """The client would get status 200 and then an error."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"a")
    await answer.fail("provider_error")
    frame = await read(pending)
    assert (frame.data, frame.HasField("head"), frame.failure.code) == (b"", False, "provider_error")


async def test_what_was_not_sent_can_be_withdrawn(pair: Pair) -> None:
    """A customer would pay for words that an error has replaced."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"a")
    assert answer.withdraw()
    await asyncio.sleep(3 * frames.COALESCE_S)
    await answer.fail("provider_error")
    assert (await read(pending)).failure.code == "provider_error"
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"x" * frames.COALESCE_BYTES)
    assert not answer.withdraw()


async def test_a_cancel_reaches_the_core_that_answers(pair: Pair) -> None:
    """A provider would go on generating for nobody, and the customer pay."""
    pending, answer = pair.call()
    left: list[int] = []
    answer.on_cancel = lambda: left.append(1)
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"a")
    await read(pending)
    pending.cancel()
    pending.cancel()
    await until(lambda: answer.cancelled)
    with pytest.raises(ClientGone):
        await answer.write(b"b")
    assert left == [1]


async def test_a_cancel_before_the_first_frame_reaches_the_core(pair: Pair) -> None:
    """The edge does not know yet which core has the call."""
    pending, answer = pair.call()
    pending.cancel()
    await until(lambda: answer.cancelled)
    assert not await answer.finish(b"x", position=1)


async def test_a_cancel_that_overtakes_its_request_counts(pair: Pair) -> None:
    """A call would run for a client that has left."""
    pending = pair.inbox.open(ids.mint())
    pending.begin(1)
    pending.cancel()
    await until(lambda: bool(pair.answers._early))
    assert pair.answers.open("edge-a", pending.request_id, 1).cancelled
    assert not pair.answers._early


async def test_early_cancels_are_bounded(pair: Pair) -> None:
    """Cancels of other cores' calls would fill this one's memory."""
    for _ in range(frames.EARLY_CANCELS_MAX + 50):
        pair.answers._remember_cancel(ids.mint().hex(), 1)
    assert len(pair.answers._early) == frames.EARLY_CANCELS_MAX


async def test_a_lost_frame_is_a_gap(pair: Pair) -> None:
    """A hole in an answer would look like an answer."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"a")
    await read(pending)
    answer._sequence += 1
    await answer.write(b"c")
    with pytest.raises(FrameGap):
        await read(pending)


async def test_a_heartbeat_reveals_that_the_latest_frame_is_lost(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client would wait for tokens that never come."""
    monkeypatch.setattr(frames, "HEARTBEAT_S", 0.0)
    pair.inbox._silence_s = 10.0
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await answer.write(b"a")
    await read(pending)
    answer._sequence += 1
    with pytest.raises(FrameGap):
        await read(pending)


async def test_garbage_is_a_gap(pair: Pair) -> None:
    """Bytes that are no frame would be taken for silence."""
    pending, _ = pair.call()
    pair.core_connection.send(pending.reply, b"\xff\xff\xff")
    with pytest.raises(FrameGap):
        await read(pending)


async def test_heartbeats_keep_a_silent_call_alive(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that thinks for a minute would be taken for a dead core."""
    monkeypatch.setattr(frames, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(frames, "TICK_S", 0.05)
    pair.answers.ticker.cancel()  # type: ignore[union-attr]
    pair.answers.ticker = asyncio.create_task(pair.answers._tick())
    pending, answer = pair.call()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await pending.next()
    await answer.finish(b"x", position=1)
    assert (await read(pending)).data == b"x"


async def test_silence_is_noticed(pair: Pair) -> None:
    """A call whose core died would hang."""
    pending, _ = pair.call()
    pair.answers.ticker.cancel()  # type: ignore[union-attr]
    with pytest.raises(CoreSilent):
        await read(pending)


async def test_a_process_that_stood_still_blames_no_core(pair: Pair) -> None:
    """After a pause of the machine an edge would begin each of its calls once more, and the house would pay twice."""
    pending, answer = pair.call()
    reading = asyncio.create_task(read(pending))
    await asyncio.sleep(0)
    time.sleep(pair.inbox._silence_s + 0.5)  # noqa: ASYNC251  the pause
    await answer.finish(b"x", position=1)
    assert (await reading).data == b"x"


async def test_an_answer_after_silence_still_counts(pair: Pair) -> None:
    """A core that was only slow has been paid for its answer."""
    pending, answer = pair.call()
    await until(lambda: pending._failure is not None)
    await answer.finish(b"x", position=1)
    await until(lambda: bool(pending._frames))
    assert (await read(pending)).end
    assert pending._failure is None


async def test_no_core_is_told_at_once(pair: Pair) -> None:
    """The edge would wait for silence instead of trying again."""
    pending = pair.inbox.open(ids.mint())
    pending.begin(1)
    pair.edge_connection.send("work.00.chat", b"", pending.reply)
    with pytest.raises(NoCore):
        await read(pending)


async def test_a_reader_can_be_woken(pair: Pair) -> None:
    """No keep-alive comment could be sent."""
    pending, _ = pair.call()
    pending._heard_at += 60
    async with asyncio.timeout(5):
        assert await pending.next(asyncio.get_running_loop().time() + 0.05) is None


async def test_a_reader_whose_client_left_stops(pair: Pair) -> None:
    """The call would go on for nobody."""
    pending, _ = pair.call()
    pending.abandon()
    with pytest.raises(ClientGone):
        await read(pending)


async def test_the_first_attempt_to_answer_wins(pair: Pair) -> None:
    """Two attempts' bytes would be mixed in one answer."""
    pending, first = pair.call()
    pending.begin(2)
    second = pair.answers.open("edge-a", pending.request_id, 2)
    first.head(stream=True, rate_limit=LIMIT)
    second.head(stream=True, rate_limit=LIMIT)
    await second.write(b"second")
    assert (await read(pending)).data == b"second"
    await until(lambda: first.cancelled)
    await second.finish(b"!", position=1)
    assert (await read(pending)).data == b"!"


async def test_a_late_failure_of_an_older_attempt_is_nothing(pair: Pair) -> None:
    """The superseded attempt's error would end the call that the newer one answers."""
    pending, first = pair.call()
    pending.begin(2)
    second = pair.answers.open("edge-a", pending.request_id, 2)
    await first.fail("internal_error")
    await second.finish(b"ok", position=1)
    assert (await read(pending)).data == b"ok"


async def test_a_gap_in_an_attempt_that_was_given_up_is_nothing(pair: Pair) -> None:
    """The newer attempt's answer would be thrown away."""
    pending, first = pair.call()
    first._sequence = 3
    pending.begin(2)
    second = pair.answers.open("edge-a", pending.request_id, 2)
    first.head(stream=True, rate_limit=LIMIT)
    await first.write(b"x" * frames.COALESCE_BYTES)
    await second.finish(b"ok", position=1)
    assert (await read(pending)).data == b"ok"


async def test_a_core_that_ignores_the_window_is_cut(pair: Pair) -> None:
    """One broken core could fill an edge's memory."""
    pending, answer = pair.call()
    answer._window_has = lambda size: True  # type: ignore[method-assign]
    answer.head(stream=True, rate_limit=LIMIT)
    for _ in range(40):
        await answer.write(b"x" * 65_536)
    await until(lambda: pending._failure is not None)
    assert isinstance(pending._failure, FrameGap)
    await pair.core_connection.client.flush()
    await pair.edge_connection.client.flush()
    assert sum(len(frame.data) for frame in pending._frames) <= frames.QUEUED_BYTES_MAX


async def test_a_dead_edge_stops_the_stream(pair: Pair) -> None:
    """A core would stream to nobody for as long as the provider talks."""
    _, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    await pair.edge_connection.close()
    await answer.write(b"a")
    await until(lambda: answer.cancelled)


async def test_a_last_frame_waits_for_an_edge_that_reconnects(pair: Pair, settings: Settings) -> None:
    """A customer would pay for an answer that nobody received because the server was restarted."""
    request_id = ids.mint()
    answer = pair.answers.open("edge-late", request_id, 1)
    answer.head(stream=False, rate_limit=LIMIT)
    assert await answer.finish(b"paid", position=1)
    inbox = Inbox(pair.edge_connection, "edge-late", silence_s=5)
    pending = inbox.open(request_id)
    pending.begin(1)
    await until(lambda: any(last.waiting for last in pair.answers._lingering.values()))
    await inbox.start()
    assert (await read(pending)).data == b"paid"
    await inbox.close()


async def test_last_frames_are_let_go(pair: Pair) -> None:
    """A core would keep every answer it ever gave."""
    pending, answer = pair.call()
    await answer.finish(b"x", position=1)
    await read(pending)
    assert len(pair.answers._lingering) == 1
    await until(lambda: not pair.answers._lingering)


async def test_a_cancelled_write_loses_nothing(pair: Pair) -> None:
    """A core that stops waiting at its deadline would send an answer with a hole."""
    pending, answer = pair.call()
    answer.head(stream=True, rate_limit=LIMIT)
    body = bytes(range(256)) * 4_000
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await answer.write(body)
    finish = asyncio.create_task(answer.finish(b"!", position=1))
    assert await read_all(pending) == body + b"!"
    assert await finish


async def test_a_restarted_server_is_a_gap_or_a_whole_answer(pair: Pair, nats_server: NatsServer) -> None:
    """Frames lost with the server would go unnoticed."""
    pending, answer = pair.call()
    pair.inbox._silence_s = 5.0
    answer.head(stream=True, rate_limit=LIMIT)
    received = b""
    broken = False
    nats_server.kill()
    for number in range(3):
        try:
            await answer.write(b"%d" % number)
        except ClientGone:
            broken = True
    nats_server.start()
    await until(lambda: pair.core_connection.connected and pair.edge_connection.connected)
    broken = not await answer.finish(b"!", position=1) or broken
    if not broken:
        try:
            received = await read_all(pending)
        except (FrameGap, CoreSilent):
            broken = True
    assert broken or received == b"012!"


def test_a_message_without_status_is_no_refusal() -> None:
    """An ordinary message with headers would be taken for the server's 503."""
    assert not frames.is_no_responders(Message("a", "", b"", {"x": "y"}))
    assert frames.is_no_responders(Message("a", "", b"", {"Status": "503"}))
