"""CPU time and memory of other processes, read from /proc."""

import os
from collections.abc import Iterable, Mapping

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 1024 * 1024
_UTIME, _STIME, _PARENT = 11, 12, 1  # of /proc/<pid>/stat, counted after the name


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, of these processes since they started. Raises OSError when one has ended."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        total += int(fields[_UTIME]) + int(fields[_STIME])
    return total / _TICKS_PER_S


def rss_mib(pids: Iterable[int]) -> float:
    """Resident memory of these processes, pages they share counted for each."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/statm") as file:
            total += int(file.read().split()[1]) * _PAGE_BYTES
    return total / _MIB


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(_stat(int(name))[_PARENT])
            except OSError:
                continue
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


class CpuMeter:
    """CPU seconds that named processes spend between `CpuMeter(...)` and `spent_s()`."""

    def __init__(self, processes: Mapping[str, Iterable[int]]) -> None:
        self._processes = {name: tuple(pids) for name, pids in processes.items()}
        self._before = {name: cpu_s(pids) for name, pids in self._processes.items()}

    def spent_s(self) -> dict[str, float]:
        """By name, so far. Raises OSError when a process has ended: its figures would mean nothing."""
        return {name: cpu_s(pids) - self._before[name] for name, pids in self._processes.items()}
