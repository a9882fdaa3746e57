"""`python -m bench [B2 …]`: runs the rows that are named, or all; exits with 1 if anything was lost.

SECONDS and REPEATS say how long each phase is and how often it is repeated; QUICK=1 only looks whether
everything runs and nothing is lost, and writes no report.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import monotonic

from bench import arrivals, contributions, distance, hot_pool, outage, round_trips, spins
from bench.report import Figure, record
from bench.settings import Effort, effort

Group = Callable[[Collection[str], Effort], Awaitable[tuple[dict[str, Figure], list[str]]]]

# Rows that share a set-up, and what measures them.
GROUPS: Mapping[tuple[str, ...], Group] = {
    ("B1",): arrivals.run,
    ("B2", "B3", "B4", "B6"): spins.run,
    ("B7", "B8"): contributions.run,
    ("B9",): hot_pool.run,
    ("B11",): outage.run,
    ("B19",): distance.run,
    ("B20",): round_trips.run,
}
ROWS = [name for names in GROUPS for name in names]


async def measure(names: Collection[str]) -> bool:
    """Runs these rows, group by group; whether nothing was lost."""
    is_clean = True
    how = effort()
    for group, run in GROUPS.items():
        chosen = [name for name in group if name in names]
        if not chosen:
            continue
        print(f"--- {', '.join(chosen)}", flush=True)
        begin = monotonic()
        figures, found = await run(chosen, how)
        for finding in found[:20]:
            print(f"AUDIT: {finding}")
        if not found:
            record(figures, how)
        print(f"({monotonic() - begin:.0f} s)", flush=True)
        is_clean &= not found
    return is_clean


def main(names: list[str]) -> int:
    """Runs them one after the other."""
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        print(f"not known: {' '.join(unknown)}; there are: {' '.join(ROWS)}")
        return 2
    return 0 if asyncio.run(measure(names or ROWS)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
