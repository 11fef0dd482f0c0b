"""How fast the machine is at this moment: virtual processors share a core with others, and twofold differences between
one minute and the next are common. Figures of two runs compare only when their pace does."""

import os
import statistics
import subprocess
import sys
import time

LOOPS = 40
_TIMEOUT_S = 60.0


def loop_ms() -> float:
    """CPU milliseconds of a fixed piece of Python, median of 40."""
    taken = []
    for _ in range(LOOPS):
        began = time.process_time()
        total = 0
        for number in range(100_000):
            total += number * number % 7
        taken.append((time.process_time() - began) * 1e3)
    return statistics.median(taken)


def measure() -> float:
    """The loop's time with one on each processor, the mean over them."""
    words = [sys.executable, "-c", "from bench.pace import loop_ms; print(loop_ms())"]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(os.cpu_count() or 1)]
    return statistics.mean(float(process.communicate(timeout=_TIMEOUT_S)[0]) for process in processes)
