"""B2b: what asynchrony alone buys. Spins with 64 in flight through 1, 4 and 16 spin servers of one database,
against the same group commit with the jackpots inside the spin's transaction.
"""

from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Final

from bench import stage
from bench.contest import Contender, closed_loop, contest, middle, ratios
from bench.report import Condition, Figure
from bench.settings import Effort
from tests.support.stack import JACKPOT, SERVERS

COUNTS: Final = (1, 4, 16)
QUICK_COUNTS: Final = (1, 2)
# What the design promises of the most servers.
REACH_WITH_MOST: Final = 3.0


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure with one server, the others beside it, and what the audits found."""
    measured: dict[int, tuple[Contender, Contender]] = {}
    found: list[str] = []
    counts = QUICK_COUNTS if effort.quick else COUNTS
    for count in counts:
        measured[count], more_found = await _measure(count, effort)
        found += more_found
    each = {count: ratios(mine.rates, other.rates) for count, (mine, other) in measured.items()}
    most = Condition(middle(each[counts[-1]]), REACH_WITH_MOST, at_most=False)
    more = {
        f"{count} spin servers": f"{middle(mine.rates):.0f} against {middle(other.rates):.0f} spins/s, "
        f"p50 {middle(mine.p50s_ms, 1):g} against {middle(other.p50s_ms, 1):g} ms, "
        + (str(most) if count == counts[-1] else f"ratio {middle(each[count]):g}")
        for count, (mine, other) in measured.items()
    }
    mine, other = measured[1]
    return {"B2b": Figure(middle(mine.rates), middle(other.rates), each[1], more, [most])}, found


async def _measure(count: int, effort: Effort) -> tuple[tuple[Contender, Contender], list[str]]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=SERVERS))
        address = await stack.enter_async_context(stage.spin_servers(ours, count))
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        theirs = await stack.enter_async_context(stage.product(servers={JACKPOT}))
        inside_dsn = await stage.make_before_database(theirs)
        servers = [
            await stack.enter_async_context(stage.baseline("inside", theirs, inside_dsn))
            for _ in range(count)
        ]
        their_address = stage.every([server.address for server in servers])
        mine = Contender(
            f"Afterspin, {count} spin servers",
            await stack.enter_async_context(closed_loop(address, "slots")),
            watch.outbox_empty,
        )
        other = Contender(
            f"jackpots inside, {count} servers",
            await stack.enter_async_context(closed_loop(their_address, "slots")),
        )
        await contest([mine, other], effort)
        found = await stage.audit_product(ours, spins=mine.answered)
        found += await stage.audit_before(inside_dsn, spins=other.answered)
    return (mine, other), found
