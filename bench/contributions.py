"""B7, B8: a jackpot server alone, one call per contribution and fifty per call, against an empty handler."""

from collections.abc import Collection
from contextlib import AsyncExitStack

from bench import stage
from bench.contest import IN_FLIGHT, Contender, closed_loop, contest, middle, ratios
from bench.report import Figure
from bench.settings import Effort
from tests.support.stack import JACKPOT

# The call and how many are in flight: of the second, 400 entries.
CALLS = {"B7": ("contribution", IN_FLIGHT), "B8": ("batch", 8)}


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figures of these rows, and what the audit found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers={JACKPOT}))
        server = await stack.enter_async_context(stage.empty_handler(ours.folder))
        loop = await stack.enter_async_context(closed_loop(server.address, "contribution", checked=False))
        empty = Contender("empty handler", loop)
        contenders = {}
        for name in names:
            call, in_flight = CALLS[name]
            loop = await stack.enter_async_context(closed_loop(ours.jackpot_address, call))
            contenders[name] = Contender(f"jackpot server, {call}", loop, in_flight=in_flight)
        await contest([empty, *contenders.values()], effort)
        answered = sum(contender.answered for contender in contenders.values())
        found = await stage.audit_contributions(ours.jackpots_dsn, answered=answered)
    return {name: _figure(contender, empty) for name, contender in contenders.items()}, found


def _figure(ours: Contender, empty: Contender) -> Figure:
    more = {"p50": f"{middle(ours.p50s_ms, 2):g} ms", "p99": f"{middle(ours.p99s_ms, 1):g} ms"}
    return Figure(middle(ours.rates), middle(empty.rates), ratios(ours.rates, empty.rates), more)
