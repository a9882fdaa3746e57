"""One query again and again: on time, and never without a rest."""

import asyncio
import itertools

from jackpot_server.ticking import Ticking

PERIOD_S = 0.05
TICKS = 8


async def ticks_that_take(work_s: float) -> list[float]:
    """When each of a few ticks began."""
    loop = asyncio.get_running_loop()
    began: list[float] = []
    done = asyncio.Event()

    async def tick() -> None:
        began.append(loop.time())
        if len(began) == TICKS:
            done.set()
        worked = asyncio.Event()
        loop.call_later(work_s, worked.set)
        await worked.wait()

    ticking = Ticking("test", PERIOD_S, tick=tick, needed=lambda: not done.is_set(), failed=lambda _: None)
    ticking.wake()
    async with asyncio.timeout(10):
        await done.wait()
    await ticking.close()
    return began


async def test_a_period_is_from_start_to_start() -> None:
    work_s = PERIOD_S * 0.6
    began = await ticks_that_take(work_s)
    assert (TICKS - 1) * PERIOD_S * 0.9 < began[-1] - began[0] < (TICKS - 1) * (PERIOD_S + work_s)


async def test_after_a_long_tick_there_is_still_a_rest() -> None:
    work_s = PERIOD_S * 2
    began = await ticks_that_take(work_s)
    gaps = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert min(gaps) > work_s + PERIOD_S * 0.4
