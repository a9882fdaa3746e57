"""B17: memory after a long load, and how long the servers take to serve. By name only: MINUTES=60, an hour.

Beside it: whether the tables that are written again and again keep their size, and spins their p99. Spins
arrive at a quarter of what the machine reaches with 64 in flight: neither server is ever behind for long.
"""

import os
from collections import defaultdict
from collections.abc import Collection
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Final

from bench import stage
from bench.contest import Contender, closed_loop, middle
from bench.hygiene import JACKPOTS_TABLES, SPINS_TABLES, TableLook, look
from bench.plots import Plot
from bench.processes import resident_mib
from bench.report import Condition, Figure
from bench.settings import Effort
from bench.steady import arrivals, p99_ms
from tests.support.stack import SERVERS, Stack

SHARE_OF_MAXIMUM: Final = 0.25
PHASE_S: Final = 60.0
QUICK_PHASE_S: Final = 1.0
# What the design promises.
MOST_MIB: Final = 150.0
SERVES_WITHIN_S: Final = 1.0


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure of the larger server, the other beside it, and what the audit found."""
    phases, phase_s = (2, QUICK_PHASE_S) if effort.quick else (int(os.environ.get("MINUTES", "60")), PHASE_S)
    starts: dict[str, list[float]] = {name: [] for name in SERVERS}
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=()))
        for _ in range(effort.repeats):
            for name in SERVERS:
                starts[name].append(await _start_s(ours, name))
            for name in SERVERS:
                await ours.stop(name)
        await ours.start(*SERVERS)
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        loop = await stack.enter_async_context(closed_loop(ours.spin_address, "slots"))
        maximum = Contender("maximum", loop, watch.outbox_empty)
        await maximum.play(effort.seconds)
        steady = await stack.enter_async_context(arrivals(ours.spin_address))
        memory: dict[str, list[float]] = {name: [] for name in SERVERS}
        tables: defaultdict[str, list[TableLook]] = defaultdict(list)
        p99s: list[float] = []
        for number in range(phases):
            p99s.append(p99_ms(await steady.play(SHARE_OF_MAXIMUM * maximum.rates[0], phase_s)))
            for name in SERVERS:
                memory[name].append(_memory_mib(ours, name))
            for table in await _tables(ours):
                tables[table.name].append(table)
            told = ", ".join(f"{name} {memory[name][-1]:.1f} MiB" for name in SERVERS)
            sizes = ", ".join(f"{name} {looks[-1].kib:.0f} KiB" for name, looks in tables.items())
            print(f"{number + 1} of {phases}: p99 {p99s[-1]:.1f} ms, {told}, {sizes}", flush=True)
        await watch.outbox_empty(0)
        found = await stage.audit_product(ours, spins=maximum.answered + steady.answered)
    largest = max(SERVERS, key=lambda name: memory[name][-1] / memory[name][0])
    conditions = [Condition(max(each[-1] for each in memory.values()) / MOST_MIB, 1)]
    conditions += [Condition(middle(each) / SERVES_WITHIN_S, 1) for each in starts.values()]
    more = {
        "load": f"{SHARE_OF_MAXIMUM * maximum.rates[0]:.0f} spins/s for {phases * phase_s / 60:g} minutes",
        **{
            f"{name} server": f"{each[0]:.1f} MiB after the first minute, {each[-1]:.1f} at the end"
            for name, each in memory.items()
        },
        **{f"{name} server, start to SERVING": f"{middle(each, 2):g} s" for name, each in starts.items()},
        "a spin's p99": f"{p99s[0]:.1f} ms in the first minute, {p99s[-1]:.1f} in the last, "
        f"{middle(p99s, 1):g} in the middle of all",
        **{
            f"table {name}": f"{looks[0].kib:.0f} KiB after the first minute, {looks[-1].kib:.0f} at the end,"
            f" at most {max(each.kib for each in looks):.0f}; {looks[-1]}"
            for name, looks in tables.items()
        },
    }
    first, last = memory[largest][0], memory[largest][-1]
    figure = Figure(last, first, [last / first], more, conditions)
    minute = phase_s / 60
    figure.plot = Plot(
        "Size of the tables that are written again and again, with their indexes",
        "minutes",
        "KiB",
        {
            name: [(minute * number, round(each.kib)) for number, each in enumerate(looks, start=1)]
            for name, looks in tables.items()
        },
    )
    return {"B17": figure}, found


async def _tables(stack: Stack) -> list[TableLook]:
    return await look(stack.spins_dsn, SPINS_TABLES) + await look(stack.jackpots_dsn, JACKPOTS_TABLES)


async def _start_s(stack: Stack, name: str) -> float:
    began = perf_counter()
    await stack.start(name)
    return perf_counter() - began


def _memory_mib(stack: Stack, name: str) -> float:
    process = stack.servers[name].process
    assert process is not None
    return resident_mib(process.pid)
