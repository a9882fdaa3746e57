"""B18: contributions into one hot pool from several jackpot servers of one database, against one.

Each is a process with the product's committer, without gRPC, so that the pool's row is what they compete for;
256 contributions are in flight in all.
"""

import asyncio
from asyncio.subprocess import Process
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from bench import stage
from bench.children import child, line_of, tell
from bench.contest import PAUSE_S, WARM_UP_S, middle, ratios
from bench.hot_pool import IN_FLIGHT, ONE_POOL
from bench.report import Figure
from bench.settings import Effort
from tests.support.stack import Scene, demo

COUNTS: Final = (2, 8, 32)
QUICK_COUNTS: Final = (2,)


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure with two, the others beside it, and what the audit found."""
    counts = QUICK_COUNTS if effort.quick else COUNTS
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(stage.product(servers=(), scene=Scene(demo().games, ONE_POOL)))
        settings = {"BENCH_DSN": one.jackpots_dsn, "JACKPOT_ROOT_KEY": one.template.root_key}
        processes = [
            await stack.enter_async_context(child("bench.hot_pool", "ours", environment=settings))
            for _ in range(counts[-1])
        ]
        for process in processes:
            assert await line_of(process) == "ready"
        rates: dict[int, list[float]] = {count: [] for count in (1, *counts)}
        answered = 0
        for number in range(effort.repeats):
            print(f"round {number + 1} of {effort.repeats}", flush=True)
            for count in rates:
                rate, done = await _play(processes[:count], effort.seconds)
                rates[count].append(rate)
                answered += done
                print(f"  {count:2} jackpot servers {rate:9,.0f}/s", flush=True)
        found = await stage.audit_contributions(one.jackpots_dsn, answered=answered)
    each = {count: ratios(rates[count], rates[1]) for count in counts}
    more = {
        f"{count} servers": f"{middle(rates[count]):.0f}/s, ratio {middle(each[count]):g}" for count in counts
    }
    first = counts[0]
    return {"B18": Figure(middle(rates[first]), middle(rates[1]), each[first], more)}, found


async def _play(processes: Sequence[Process], seconds: float) -> tuple[float, int]:
    """Contributions per second of all of them together, and how many there were, the warming up included."""
    warm_up = await _phases(processes, WARM_UP_S)
    phases = await _phases(processes, seconds)
    await asyncio.sleep(PAUSE_S)
    start, end = min(phase["start"] for phase in phases), max(phase["end"] for phase in phases)
    done = sum(phase["answered"] for phase in phases)
    return done / (end - start), done + sum(phase["answered"] for phase in warm_up)


async def _phases(processes: Sequence[Process], seconds: float) -> list[dict[str, Any]]:
    for process in processes:
        tell(process, {"in_flight": IN_FLIGHT // len(processes), "seconds": seconds})
    return list(await asyncio.gather(*map(line_of, processes)))
