"""B13: spins and contributions with years of rows in every table and 1,000 pools, against empty tables and 4.

By name only. ROWS=30000000 spins, entries, answers and contributions of other operators; the pools beyond the
demo's four take other operators' spins, so that each spin still meets four.
"""

import asyncio
import os
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import asyncpg

from bench import stage
from bench.bulk import fill_contributions, fill_spins, fill_what_spins_leave
from bench.contest import Contender, closed_loop, contest, middle, ratios
from bench.plots import Plot
from bench.report import Condition, Figure
from bench.settings import Effort
from tests.support.stack import SERVERS, Scene, Stack, demo

POOLS: Final = 1000
QUICK_ROWS, QUICK_POOLS = 20_000, 20
OTHERS: Final = "others"
# What the design promises of contributions, as of spins.
REACH: Final = 0.9

_COUNT = "SELECT count(*) FROM {} WHERE operator_id <> $1"


@dataclass(frozen=True, slots=True)
class Pair:
    """A stack under two kinds of load in turn: spins, and contributions sent to its jackpot server."""

    stack: Stack
    spins: Contender
    contributions: Contender

    async def lost(self) -> list[str]:
        """What was answered and is not in the tables. The auditor would find what `bulk` left out."""
        answered = self.spins.answered + self.contributions.answered
        found = await _missing(self.stack.spins_dsn, "spins", self.spins.answered)
        found += await _missing(self.stack.spins_dsn, "jackpot_results", self.spins.answered)
        return found + await _missing(self.stack.jackpots_dsn, "contributions", answered)


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, contributions beside it, and what was lost."""
    rows = QUICK_ROWS if effort.quick else int(os.environ.get("ROWS", "30000000"))
    pools = QUICK_POOLS if effort.quick else POOLS
    async with AsyncExitStack() as stack:
        small = await _pair(stack, demo(), "small")
        big = await _pair(stack, _with_pools(pools), "big")
        print(f"filling the tables with {rows:,} rows", flush=True)
        await asyncio.gather(
            _fill_spins(big.stack.spins_dsn, rows), fill_contributions(big.stack.jackpots_dsn, OTHERS, rows)
        )
        await contest([big.spins, small.spins, big.contributions, small.contributions], effort)
        found = await small.lost() + await big.lost()
    contributions = ratios(big.contributions.rates, small.contributions.rates)
    condition = Condition(middle(contributions), REACH, at_most=False)
    more = {
        "rows in each table": f"{rows:,}",
        "pools": pools,
        "contributions": f"{middle(big.contributions.rates):.0f} against "
        f"{middle(small.contributions.rates):.0f}/s, {condition}",
    }
    each = ratios(big.spins.rates, small.spins.rates)
    figure = Figure(middle(big.spins.rates), middle(small.spins.rates), each, more, [condition])
    figure.plot = Plot(
        "Throughput against rows in each table",
        "rows",
        "a second",
        {
            name: [(0.0, middle(mine.rates, 0)), (float(rows), middle(filled.rates, 0))]
            for name, mine, filled in (
                ("spins", small.spins, big.spins),
                ("contributions", small.contributions, big.contributions),
            )
        },
    )
    return {"B13": figure}, found


async def _fill_spins(dsn: str, rows: int) -> None:
    await fill_spins(dsn, OTHERS, 1, rows)
    await fill_what_spins_leave(dsn, OTHERS)


async def _pair(stack: AsyncExitStack, scene: Scene, name: str) -> Pair:
    ours = await stack.enter_async_context(stage.product(servers=SERVERS, scene=scene))
    watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
    loop = await stack.enter_async_context(closed_loop(ours.spin_address, "slots"))
    spins = Contender(f"spins, {name}", loop, watch.outbox_empty)
    loop = await stack.enter_async_context(closed_loop(ours.jackpot_address, "contribution"))
    return Pair(ours, spins, Contender(f"contributions, {name}", loop))


def _with_pools(count: int) -> Scene:
    """The demo's four, and others' pools up to `count`."""
    games, pools = demo().games, demo().pools
    others = [
        f"""
[pools.other-{number}]
display_name = "Other {number}"
tier = "MINI"
currency_code = "COIN"
operator_ids = ["operator-{number}"]
contribution_ppm = 1500
reserve_ppm = 700
reset_minor = 10
trigger = {{ must_hit_by = {{ floor_minor = 10, ceiling_minor = 60 }} }}
"""
        for number in range(4, count)
    ]
    return Scene(games, pools + "".join(others))


async def _missing(dsn: str, table: str, answered: int) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        count = await connection.fetchval(_COUNT.format(table), OTHERS)
    finally:
        await connection.close()
    return [] if count == answered else [f"{answered} answered, {count} {table}"]
