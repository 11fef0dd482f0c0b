"""JetStream's API as JSON over requests: no more of it than this package uses.

Raw requests, because nats-py's own calls hide `err_code`s, lag behind the server's fields and cost more than they do.
"""

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from bus.connection import Connection
from bus.errors import ApiRefused, BusError, NoCore, NoSuchPosition, RequestTimeout

API_TIMEOUT_S = 5.0
PUBLISH_TIMEOUT_S = 2.0
PUBLISH_ATTEMPTS_MAX = 8
RETRY_WAIT_S = 0.1  # doubled after each attempt, up to RETRY_WAIT_MAX_S
RETRY_WAIT_MAX_S = 2.0

NO_MESSAGE = 10037
NO_STREAM = 10059
STREAM_EXISTS = 10058
WRONG_LAST_SEQUENCE = 10071

Json = dict[str, Any]


class Entry(NamedTuple):
    """One message of a stream. `time_ms` is when the stream took it, unix milliseconds."""

    position: int
    time_ms: int
    subject: str
    payload: bytes


async def call(
    connection: Connection, subject: str, body: Json | None = None, timeout_s: float = API_TIMEOUT_S
) -> Json:
    """Ask `$JS.API.<subject>`. Raises ApiRefused, NoCore (no JetStream there), RequestTimeout."""
    payload = orjson.dumps(body) if body is not None else b""
    answer: Json = orjson.loads(await connection.request(f"$JS.API.{subject}", payload, timeout_s))
    refuse(answer)
    return answer


def refuse(answer: Json) -> None:
    """Raise ApiRefused when the answer is an error."""
    error = answer.get("error")
    if error is not None:
        raise ApiRefused(error.get("code", 0), error.get("err_code", 0), error.get("description", ""))


async def persistent_call(connection: Connection, subject: str, body: Json | None = None, attempts: int = 10) -> Json:
    """`call`, again after trouble that passes (no leader yet, reconnecting): `attempts` times in all."""
    for attempt in range(attempts):
        try:
            return await call(connection, subject, body)
        except ApiRefused as error:
            if error.code != 503 or attempt == attempts - 1:
                raise
        except (NoCore, RequestTimeout):
            if attempt == attempts - 1:
                raise
        await asyncio.sleep(min(RETRY_WAIT_S * 2**attempt, RETRY_WAIT_MAX_S))
    raise AssertionError("attempts is at least 1")


async def append(
    connection: Connection, subject: str, payload: bytes, message_id: str, expected_last: int | None = None
) -> int:
    """Publish into a stream until it is acknowledged; the message's position.

    The same `message_id` within the stream's duplicate window is stored once, so a retry after a lost
    acknowledgement is safe. `expected_last` is the stream position that the subject's newest message must have, 0:
    none; the error of a retry is then WRONG_LAST_SEQUENCE though the first attempt was stored. Raises the last error
    after PUBLISH_ATTEMPTS_MAX attempts, or at once where waiting cannot help: then it is not known whether the
    message is stored.
    """
    header = publish_header(message_id, expected_last)
    failure: BusError = NoCore("not tried")
    for attempt in range(PUBLISH_ATTEMPTS_MAX):
        if attempt:
            await asyncio.sleep(min(RETRY_WAIT_S * 2**attempt, RETRY_WAIT_MAX_S))
        try:
            message = await connection.request_message(subject, payload, PUBLISH_TIMEOUT_S, header)
            answer: Json = orjson.loads(message.data)
            refuse(answer)
            return int(answer["seq"])
        except (ApiRefused, NoCore, RequestTimeout) as error:
            if isinstance(error, ApiRefused) and error.err_code == WRONG_LAST_SEQUENCE:
                raise
            failure = error
    raise failure


def publish_header(message_id: str, expected_last: int | None = None) -> bytes:
    """The header block that makes a retry of a publish harmless."""
    expected = "" if expected_last is None else f"Nats-Expected-Last-Subject-Sequence: {expected_last}\r\n"
    return f"NATS/1.0\r\nNats-Msg-Id: {message_id}\r\n{expected}\r\n".encode()


async def stream_state(connection: Connection, stream: str) -> Json:
    """`state` of STREAM.INFO: first_seq, last_seq, messages, bytes. Raises as `call`."""
    state: Json = (await call(connection, f"STREAM.INFO.{stream}"))["state"]
    return state


async def read(connection: Connection, stream: str, position: int) -> Entry:
    """The message at a position, from the stream's leader.

    Raises NoSuchPosition when there is none, else as `call`.
    """
    return await _get(connection, stream, {"seq": position})


async def read_last(connection: Connection, stream: str, subject: str) -> Entry:
    """The newest message of a subject. Raises NoSuchPosition when there is none, else as `call`."""
    return await _get(connection, stream, {"last_by_subj": subject})


async def _get(connection: Connection, stream: str, query: Json) -> Entry:
    try:
        message = (await call(connection, f"STREAM.MSG.GET.{stream}", query))["message"]
    except ApiRefused as error:
        if error.err_code == NO_MESSAGE:
            raise NoSuchPosition(f"{stream} has no message for {query}") from error
        raise
    payload = base64.b64decode(message.get("data", ""))
    return Entry(message["seq"], unix_ms(message["time"]), message["subject"], payload)


def unix_ms(text: str) -> int:
    """Unix milliseconds, rounded down, of RFC 3339 in UTC: `2026-01-02T03:04:05.678901234Z`, decimals as they are."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = int(datetime.fromisoformat(seconds).replace(tzinfo=UTC).timestamp())
    return whole * 1000 + int(fraction.ljust(3, "0")[:3])
