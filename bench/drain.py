"""B12: how fast the outbox empties after an outage of the jackpot server, while spins go on arriving.

Each repetition: spins at 200/s, all healthy; then the jackpot server is dead while as many spins as can be
fill the outbox; then it starts again, and spins arrive at 200/s once more. Compared with what a jackpot
server records in calls of fifty, nobody else being served.
"""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import asyncpg

from bench import stage
from bench.contest import Contender, closed_loop, middle, ratios
from bench.report import Condition, Figure
from bench.settings import Effort
from bench.steady import Arrivals, arrivals, p99_ms
from tests.support.stack import JACKPOT, SERVERS, Stack

RATE: Final = 200
# As long as this is what the spins of the outage take, in phases.
OUTAGE_PHASES: Final = 3
ENTRIES_IN_FLIGHT: Final = 8
DRAINED_WITHIN_S: Final = 120.0
POLL_S: Final = 0.05
# What the design promises.
P99_REACH: Final = 1.3

_LEFT = "SELECT count(*) FROM jackpot_outbox WHERE create_time < $1"
# Asked again and again: it stops at the first row.
_ANY_LEFT = "SELECT EXISTS (SELECT FROM jackpot_outbox WHERE create_time < $1)"


@dataclass
class Drained:
    """Of each repetition."""

    rates: list[float] = field(default_factory=list)
    backlogs: list[int] = field(default_factory=list)
    healthy_p99s_ms: list[float] = field(default_factory=list)
    draining_p99s_ms: list[float] = field(default_factory=list)


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, and what the audits found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=SERVERS))
        alone = await stack.enter_async_context(stage.product(servers={JACKPOT}))
        loop = await stack.enter_async_context(closed_loop(alone.jackpot_address, "batch"))
        entries = Contender("jackpot server alone, calls of 50", loop, in_flight=ENTRIES_IN_FLIGHT)
        flood = await stack.enter_async_context(closed_loop(ours.spin_address, "slots"))
        filling = Contender("spins, jackpot server dead", flood)
        steady = await stack.enter_async_context(arrivals(ours.spin_address))
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        drained = Drained()
        for number in range(effort.repeats):
            print(f"round {number + 1} of {effort.repeats}", flush=True)
            await entries.play(effort.seconds)
            await _repeat(ours, steady, filling, effort.seconds, drained)
            await watch.outbox_empty(0)
        found = await stage.audit_product(ours, spins=steady.answered + filling.answered)
        found += await stage.audit_contributions(alone.jackpots_dsn, answered=entries.answered)
    latency = Condition(middle(ratios(drained.draining_p99s_ms, drained.healthy_p99s_ms)), P99_REACH)
    more = {
        "backlog": f"{middle(drained.backlogs, 0):.0f} rows",
        "a spin's p99 meanwhile": f"{middle(drained.draining_p99s_ms, 1):g} against "
        f"{middle(drained.healthy_p99s_ms, 1):g} ms, {latency}",
    }
    each = ratios(drained.rates, entries.rates)
    return {"B12": Figure(middle(drained.rates), middle(entries.rates), each, more, [latency])}, found


async def _repeat(
    stack: Stack, steady: Arrivals, filling: Contender, seconds: float, drained: Drained
) -> None:
    healthy = await steady.play(RATE, seconds)
    await asyncio.to_thread(stack.kill9, JACKPOT)
    await filling.play(OUTAGE_PHASES * seconds)
    connection = await asyncpg.connect(stack.spins_dsn)
    try:
        await stack.start(JACKPOT)
        began, cut = perf_counter(), await connection.fetchval("SELECT clock_timestamp()")
        backlog = await connection.fetchval(_LEFT, cut)
        draining: list[float] = []
        emptying = asyncio.create_task(_until_empty(connection, cut))
        while not emptying.done():
            draining += await steady.play(RATE, seconds)
        rate = backlog / (await emptying - began)
    finally:
        await connection.close()
    drained.rates.append(rate)
    drained.backlogs.append(backlog)
    drained.healthy_p99s_ms.append(p99_ms(healthy))
    drained.draining_p99s_ms.append(p99_ms(draining))
    print(
        f"  {backlog} rows at {rate:,.0f}/s, a spin's p99 {drained.draining_p99s_ms[-1]:.1f} ms, "
        f"healthy {drained.healthy_p99s_ms[-1]:.1f} ms",
        flush=True,
    )


async def _until_empty(connection: asyncpg.Connection, cut: object) -> float:
    """When the last row from before `cut` was gone (perf_counter)."""
    deadline = perf_counter() + DRAINED_WITHIN_S
    while await connection.fetchval(_ANY_LEFT, cut):
        assert perf_counter() < deadline, f"not drained within {DRAINED_WITHIN_S:g} s"
        await asyncio.sleep(POLL_S)
    return perf_counter()
