"""B16: GetPool with 64 in flight, answered from the cache, against an empty handler."""

from collections.abc import Collection
from contextlib import AsyncExitStack

from bench import stage
from bench.contest import Contender, closed_loop, contest, middle, ratios
from bench.report import Figure
from bench.settings import Effort
from tests.support.stack import JACKPOT

CALL = "pool"


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure; nothing is written that an audit could miss."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers={JACKPOT}))
        server = await stack.enter_async_context(stage.empty_handler(ours.folder))
        loop = await stack.enter_async_context(closed_loop(ours.jackpot_address, CALL))
        mine = Contender("GetPool", loop)
        loop = await stack.enter_async_context(closed_loop(server.address, CALL, checked=False))
        empty = Contender("empty handler", loop)
        await contest([mine, empty], effort)
    more = {"p50": f"{middle(mine.p50s_ms, 2):g} ms against {middle(empty.p50s_ms, 2):g} ms"}
    return {"B16": Figure(middle(mine.rates), middle(empty.rates), ratios(mine.rates, empty.rates), more)}, []
