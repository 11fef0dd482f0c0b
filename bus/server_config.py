"""The configuration of a nats-server for one machine: what the launcher and the tests start."""

from pathlib import Path

MAX_PAYLOAD_BYTES = 1024 * 1024


def render(port: int, store_dir: Path, server_name: str = "onysoft", host: str = "127.0.0.1", extra: str = "") -> str:
    """The text of a configuration file.

    `sync_interval: always` syncs every write before it is acknowledged: an acknowledged charge survives a power cut.
    `js_ack_fc_v2` off keeps acknowledgement subjects in the form that nats-py reads; with the other its read loop
    dies without a word. `extra` is added at the end (a cluster, users).
    """
    return f"""\
server_name: {_quoted(server_name)}
host: {_quoted(host)}
port: {port}
max_payload: {MAX_PAYLOAD_BYTES}
write_deadline: "10s"
jetstream {{
  store_dir: {_quoted(str(store_dir))}
  sync_interval: always
  strict: true
}}
feature_flags {{ js_ack_fc_v2: false }}
{extra}"""


def _quoted(text: str) -> str:
    if '"' in text or "\\" in text or "\n" in text:
        raise ValueError("not to be written into a configuration file")
    return f'"{text}"'
