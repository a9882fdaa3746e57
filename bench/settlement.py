"""B10, B21: how long after a spin its contribution is recorded and its win is in the wallet.

Spins arrive at half the rate that this machine reaches with 64 in flight. Both databases note when each
transaction was committed (track_commit_timestamp), so no clock but theirs is asked. For B21 one pool falls
often; then either server is killed under load, started again at once, and the longest way of any win counts.
"""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from bench import stage
from bench.contest import Contender, closed_loop, middle
from bench.figures import quantile
from bench.report import Condition, Figure
from bench.requests import CURRENCY
from bench.settings import Effort
from bench.steady import Arrivals, arrivals
from tests.support.crash import quiet
from tests.support.stack import JACKPOT, JACKPOTS_DB, SERVERS, SPIN, SPINS_DB, Scene, Stack, demo

SHARE_OF_MAXIMUM: Final = 0.5
# What the design promises.
RECORDED_WITHIN_MS: Final = 15.0
PAID_WITHIN_MS: Final = 50.0
PAID_AFTER_A_KILL_WITHIN_S: Final = 5.0
KILL_RATE: Final = 200
KILL_AFTER_S: Final = 0.5
# It falls every twenty spins or so.
OFTEN: Final = f"""
[pools.often]
display_name = "Often"
tier = "OFTEN"
currency_code = "{CURRENCY}"
contribution_ppm = 20000
reserve_ppm = 7000
reset_minor = 10
trigger = {{ must_hit_by = {{ floor_minor = 30, ceiling_minor = 80 }} }}
"""

_SPINS = """
SELECT spin_id, pg_xact_commit_timestamp(xmin) FROM spins WHERE settle_time >= $1"""
_CONTRIBUTIONS = """
SELECT spin_id, pg_xact_commit_timestamp(xmin) FROM contributions WHERE record_time >= $1"""
_CREDITS = """
SELECT w.spin_id, pg_xact_commit_timestamp(e.xmin)
  FROM jackpot_wins w JOIN wallet_entries e ON e.wallet_id = w.wallet_id AND e.win = w.win
 WHERE e.entry_time >= $1"""


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figures of these rows, and what the audit found."""
    async with AsyncExitStack() as stack:
        scene = Scene(demo().games, demo().pools + OFTEN)
        ours = await stack.enter_async_context(stage.product(servers=(), scene=scene))
        await _note_commits(ours)
        await ours.start(*SERVERS)
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        loop = await stack.enter_async_context(closed_loop(ours.spin_address, "slots"))
        maximum = Contender("maximum", loop, watch.outbox_empty)
        await maximum.play(effort.seconds)
        steady = await stack.enter_async_context(arrivals(ours.spin_address))
        recorded_ms: list[float] = []
        paid_ms: list[float] = []
        for _ in range(effort.repeats):
            since = await _now(ours.spins_dsn)
            await steady.play(SHARE_OF_MAXIMUM * maximum.rates[0], effort.seconds)
            await watch.outbox_empty(0)
            recorded_ms.append(await _p99_ms(ours, ours.jackpots_dsn, _CONTRIBUTIONS, since))
            paid_ms.append(await _p99_ms(ours, ours.spins_dsn, _CREDITS, since))
            print(f"recorded p99 {recorded_ms[-1]:.1f} ms, paid p99 {paid_ms[-1]:.1f} ms", flush=True)
        found = await stage.audit_product(ours, spins=maximum.answered + steady.answered)
        killed_s = {}
        if "B21" in names:
            for server in (JACKPOT, SPIN):
                killed_s[server] = await _longest_after_a_kill(ours, steady, server, effort.seconds)
            found += await stage.audit_product(ours, spins=None)
    load = {"load": f"{SHARE_OF_MAXIMUM * maximum.rates[0]:.0f} spins/s"}
    after = {name: Condition(seconds / PAID_AFTER_A_KILL_WITHIN_S, 1) for name, seconds in killed_s.items()}
    told = {
        f"{name} server killed, started again at once": f"the last win paid after {seconds:.2f} s, "
        f"of {PAID_AFTER_A_KILL_WITHIN_S:g}: {after[name]}"
        for name, seconds in killed_s.items()
    }
    figures = {
        "B10": _figure(recorded_ms, RECORDED_WITHIN_MS, load, ()),
        "B21": _figure(paid_ms, PAID_WITHIN_MS, load | told, list(after.values())),
    }
    return {name: figures[name] for name in names}, found


def _figure(
    values_ms: list[float], bound_ms: float, more: dict[str, str], also: Collection[Condition]
) -> Figure:
    each = [value / bound_ms for value in values_ms]
    return Figure(middle(values_ms), bound_ms, each, dict(more), list(also))


async def _note_commits(stack: Stack) -> None:
    """Restarts both databases with the times of commits; before any server of ours knows them."""
    for name in (SPINS_DB, JACKPOTS_DB):
        connection = await asyncpg.connect(stack.clusters[name].dsn())
        try:
            await connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        finally:
            await connection.close()
        stack.kill9(name)
        await stack.start(name)


async def _longest_after_a_kill(stack: Stack, steady: Arrivals, server: str, seconds: float) -> float:
    """From commit to wallet, the slowest win of a phase in which the server is killed."""
    since = await _now(stack.spins_dsn)
    playing = asyncio.create_task(steady.play(KILL_RATE, 2 * seconds, unanswered_too=True))
    await asyncio.sleep(KILL_AFTER_S)
    await asyncio.to_thread(stack.kill9, server)
    await stack.start(server)
    await playing
    await quiet(stack, stack.spins_dsn)
    ways = await _ways_s(stack, stack.spins_dsn, _CREDITS, since)
    print(f"{server} server killed: {len(ways)} wins, the slowest paid after {max(ways):.2f} s", flush=True)
    return max(ways)


async def _p99_ms(stack: Stack, dsn: str, query: str, since: datetime) -> float:
    return quantile(await _ways_s(stack, dsn, query, since), 0.99) * 1e3


async def _ways_s(stack: Stack, dsn: str, query: str, since: datetime) -> list[float]:
    """From each spin's commit to the commit that `query` finds for it."""
    spins, ends = await _times(stack.spins_dsn, _SPINS, since), await _times(dsn, query, since)
    ways = [(end - spins[spin_id]).total_seconds() for spin_id, end in ends.items() if spin_id in spins]
    assert ways, "nothing happened"
    return ways


async def _times(dsn: str, query: str, since: datetime) -> dict[UUID, datetime]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row[0]: row[1] for row in await connection.fetch(query, since)}
    finally:
        await connection.close()


async def _now(dsn: str) -> datetime:
    connection = await asyncpg.connect(dsn)
    try:
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return now
    finally:
        await connection.close()
