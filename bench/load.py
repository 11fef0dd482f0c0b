"""Load on one URL: by wrk where it is installed, else by a client of our own (bench/client.py)."""

import json
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.call import Target

_GRACE_S = 30.0
_MARK = "figures: "
_SCRIPT = """\
wrk.method = "POST"
wrk.body = [==[{body}]==]
{headers}
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{mark}{{"calls":%d,"duration_us":%d,"bad_status":%d,"broken":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}}\\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


class LoadFailed(Exception):
    """The load tool itself failed; the message says how."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `failures` counts answers other than 2xx and broken connections; `cpu_s` is the load tool's own."""

    calls: int
    duration_s: float
    failures: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_s: float

    @property
    def calls_per_s(self) -> float:
        """Good answers in a second."""
        return max(0, self.calls - self.failures) / self.duration_s


def tool() -> str:
    """What makes the load: `wrk`, or `python` where it is not installed."""
    return "wrk" if shutil.which("wrk") else "python"


def run(target: Target, connections: int, seconds: float, folder: Path, body: bytes = b"") -> Run:
    """Calls over so many connections for so long, the next as soon as one is answered. Raises LoadFailed."""
    words_of = _wrk if tool() == "wrk" else _python
    words = words_of(target, connections, seconds, folder, body or target.body())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + _GRACE_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise LoadFailed(f"{error}\n{error.stderr!s}") from error
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own_cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _parse(done.stdout, own_cpu_s)


def _wrk(target: Target, connections: int, seconds: float, folder: Path, body: bytes) -> list[str]:
    script = folder / "call.lua"
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in target.headers)
    script.write_text(_SCRIPT.format(body=body.decode(), headers=headers, mark=_MARK))
    options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", str(script)]
    return ["wrk", *options, target.url]


def _python(target: Target, connections: int, seconds: float, folder: Path, body: bytes) -> list[str]:
    order = {
        "url": target.url,
        "headers": target.headers,
        "body": body.decode(),
        "connections": connections,
        "seconds": seconds,
    }
    file = folder / "call.json"
    file.write_text(json.dumps(order))
    return [sys.executable, "-m", "bench.client", str(file)]


def _parse(output: str, own_cpu_s: float) -> Run:
    figures = json.loads(output.rpartition(_MARK)[2])
    return Run(
        calls=figures["calls"],
        duration_s=figures["duration_us"] / 1e6,
        failures=figures["bad_status"] + figures["broken"],
        p50_ms=figures["p50_us"] / 1e3,
        p99_ms=figures["p99_us"] / 1e3,
        max_ms=figures["max_us"] / 1e3,
        cpu_s=own_cpu_s,
    )
