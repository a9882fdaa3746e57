"""Processor time of processes and everything that they started, as the system counts it."""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds of these processes and their descendants, the ended ones too."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    for file in PROC.glob("[0-9]*/stat"):
        try:
            # The name may hold spaces and brackets; what follows its last bracket does not.
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid, parent = int(file.parent.name), int(fields[1])
        children[parent].append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))
    total, found = 0, list(pids)
    while found:
        pid = found.pop()
        total += ticks.get(pid, 0)
        found += children[pid]
    return total / TICKS_PER_S


def resident_mib(pid: int) -> float:
    """Memory that one process holds."""
    pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
