"""B19: spins with 64 in flight while the databases are about 2.5 ms away, against the "before" there.

Proxies hold everything that passes to and from both sides' databases. The delay that comes out is measured
and told.
"""

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from time import perf_counter

import asyncpg

from bench import stage
from bench.contest import Contender, closed_loop, contest, middle, ratios
from bench.figures import median
from bench.report import Condition, Figure
from bench.settings import Effort
from devstack.postgres import with_database
from tests.support.fault_proxy import FaultProxy, proxied
from tests.support.stack import JACKPOTS_DB, SERVERS, SPINS_DB

# The timers of an event loop count whole milliseconds, upwards.
ONE_WAY_S = 0.0005
PROBES = 50
GAME = "slots"


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, and what the audits found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(
            stage.product(servers=SERVERS, proxied={SPINS_DB, JACKPOTS_DB})
        )
        theirs = await stack.enter_async_context(stage.product(servers=()))
        before_dsn = await stage.make_before_database(theirs)
        proxy, far_dsn = await stack.enter_async_context(proxied(before_dsn))
        server = await stack.enter_async_context(stage.baseline("before", theirs, far_dsn))
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        loops = [
            await stack.enter_async_context(closed_loop(address, GAME))
            for address in (ours.spin_address, server.address)
        ]
        contenders = [
            Contender("Afterspin, databases far away", loops[0], watch.outbox_empty),
            Contender("before, database far away", loops[1]),
        ]
        _move_away([*ours.proxies.values(), proxy])
        round_trip_ms = await _round_trip_ms(with_database(far_dsn, "postgres"))
        print(f"a round trip takes {round_trip_ms:.2f} ms", flush=True)
        await contest(contenders, effort)
        _move_away([*ours.proxies.values(), proxy], 0)
        found = await stage.audit_product(ours, spins=contenders[0].answered)
        found += await stage.audit_before(before_dsn, spins=contenders[1].answered)
    mine, other = contenders
    p50 = f"{middle(mine.p50s_ms, 1):g} ms against {middle(other.p50s_ms, 1):g} ms"
    latency = Condition(middle(ratios(mine.p50s_ms, other.p50s_ms)), 0.03)
    more = {
        "p50": f"{p50}, {latency}",
        "a round trip": f"{round_trip_ms:.2f} ms",
    }
    figure = Figure(middle(mine.rates), middle(other.rates), ratios(mine.rates, other.rates), more, [latency])
    return {"B19": figure}, found


def _move_away(proxies: Sequence[FaultProxy], one_way_s: float = ONE_WAY_S) -> None:
    for proxy in proxies:
        proxy.delay_s = one_way_s


async def _round_trip_ms(dsn: str) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        times = []
        for _ in range(PROBES):
            start = perf_counter()
            await connection.execute("SELECT")
            times.append((perf_counter() - start) * 1e3)
        return median(times)
    finally:
        await connection.close()
