"""`python -m bench [B2 …]`: runs the rows that are named, or all; exits with 1 if anything was lost.

`python -m bench profile` measures where the time of a spin and of a contribution goes; `python -m bench
report` measures nothing, and writes bench/REPORT.md and its plots from bench/report.json.

SECONDS and REPEATS say how long each phase is and how often it is repeated; QUICK=1 only looks whether
everything runs and nothing is lost, and writes no report.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from time import monotonic

from bench import (
    arrivals,
    cached_pools,
    contributions,
    costs,
    distance,
    drain,
    endurance,
    growth,
    hot_pool,
    outage,
    paging,
    profile,
    replicas,
    round_trips,
    scaling,
    seed_cases,
    settlement,
    spins,
    watching,
)
from bench.report import Figure, publish, record
from bench.settings import Effort, effort

Group = Callable[[Collection[str], Effort], Awaitable[tuple[dict[str, Figure], list[str]]]]

# Rows that share a set-up, and what measures them.
GROUPS: Mapping[tuple[str, ...], Group] = {
    ("B1",): arrivals.run,
    ("B2", "B3", "B4", "B5", "B6"): spins.run,
    ("B2b",): scaling.run,
    ("B7", "B8"): contributions.run,
    ("B9",): hot_pool.run,
    ("B10", "B21"): settlement.run,
    ("B11",): outage.run,
    ("B12",): drain.run,
    ("B15",): watching.run,
    ("B16",): cached_pools.run,
    ("B18",): replicas.run,
    ("B19",): distance.run,
    ("B20",): round_trips.run,
    ("B22",): costs.run,
    ("B23",): seed_cases.run,
}
# By name only: they take as long as all others together.
LONG: Mapping[tuple[str, ...], Group] = {
    ("B13",): growth.run,
    ("B14",): paging.run,
    ("B17",): endurance.run,
}
PROFILE = "profile"
PAGE = "report"
ROWS = [name for names in GROUPS for name in names]
LONG_ROWS = [name for names in LONG for name in names]


async def measure(names: Collection[str]) -> bool:
    """Runs these rows, group by group; whether nothing was lost."""
    is_clean = True
    how = effort()
    for group, run in (*GROUPS.items(), *LONG.items()):
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
    if names == [PROFILE]:
        return asyncio.run(profile.main())
    if names == [PAGE]:
        publish()
        return 0
    unknown = [name for name in names if name not in (*ROWS, *LONG_ROWS)]
    if unknown:
        there = f"{' '.join(ROWS)}; by name only: {' '.join(LONG_ROWS)}"
        print(f"not known: {' '.join(unknown)}; there are: {there}")
        return 2
    return 0 if asyncio.run(measure(names or ROWS)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
