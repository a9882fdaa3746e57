"""How much of the machine others used meanwhile: a p99 beside a stranger's load says nothing of ours."""

import asyncio
import os
from time import monotonic

from bench.processes import PROC, TICKS_PER_S, cpu_s

PATIENCE_S = 60.0


class Bystanders:
    """Counts CPU time that neither this process nor a descendant used. Without /proc it sees nobody."""

    def __init__(self) -> None:
        self._since = _reading()

    def cpus(self) -> float:
        """CPUs that others kept busy since the last call, on average; the kernel's own work included."""
        before, self._since = self._since, _reading()
        (busy, ours, time), (busy_before, ours_before, time_before) = self._since, before
        return max(0.0, (busy - busy_before) - (ours - ours_before)) / (time - time_before)


async def until_alone(most_cpus: float) -> None:
    """Returns after a second in which others kept at most `most_cpus` busy, or when patience is over."""
    bystanders, deadline = Bystanders(), monotonic() + PATIENCE_S
    while monotonic() < deadline:
        await asyncio.sleep(1)
        if bystanders.cpus() <= most_cpus:
            return


def _reading() -> tuple[float, float, float]:
    """CPU seconds of the whole machine, of our processes, and the time."""
    return _machine_s(), cpu_s([os.getpid()]), monotonic()


def _machine_s() -> float:
    try:
        user, nice, system = (PROC / "stat").read_text().split(None, 4)[1:4]
    except OSError:
        return 0.0
    return (int(user) + int(nice) + int(system)) / TICKS_PER_S
