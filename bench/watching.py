"""B15: contributions while a thousand streams watch the pools, against none; how late a change arrives."""

from collections.abc import Collection
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Final

from bench import stage
from bench.children import child, line_of, tell
from bench.contest import Contender, closed_loop, middle, ratios
from bench.figures import quantile
from bench.report import Condition, Figure
from bench.settings import Effort
from tests.support.stack import JACKPOT, Stack

WATCHERS: Final = 1000
QUICK_WATCHERS: Final = 100
POOLS: Final = ("pools/mini", "pools/minor", "pools/major", "pools/grand")
# What the design promises.
SHOWN_WITHIN_MS: Final = 250.0


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, and what the audit found."""
    count = QUICK_WATCHERS if effort.quick else WATCHERS
    waits_ms: list[float] = []
    messages: list[float] = []
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers={JACKPOT}))
        loop = await stack.enter_async_context(closed_loop(ours.jackpot_address, "contribution"))
        watched = Contender(f"{count} watchers", loop)
        unwatched = Contender("nobody watches", loop)
        for number in range(effort.repeats):
            print(f"round {number + 1} of {effort.repeats}", flush=True)
            wait_ms, told = await _play_watched(ours, watched, count, effort.seconds)
            waits_ms.append(wait_ms)
            messages.append(told)
            await unwatched.play(effort.seconds)
        answered = watched.answered + unwatched.answered
        found = await stage.audit_contributions(ours.jackpots_dsn, answered=answered)
    shown = Condition(middle(waits_ms) / SHOWN_WITHIN_MS, 1)
    more = {
        "from a change to every watcher, p99": f"{middle(waits_ms, 0):g} ms, of {SHOWN_WITHIN_MS:g}: {shown}",
        "messages": f"{middle(messages, 0):g}/s",
        "watchers": count,
    }
    each = ratios(watched.rates, unwatched.rates)
    return {"B15": Figure(middle(watched.rates), middle(unwatched.rates), each, more, [shown])}, found


async def _play_watched(
    stack: Stack, contender: Contender, count: int, seconds: float
) -> tuple[float, float]:
    """The p99 of what changes waited, in milliseconds, and how many messages there were in a second."""
    options = ("--count", str(count), "--pools", *POOLS)
    async with child("bench.watchers", stack.jackpot_address, *options) as watchers:
        assert await line_of(watchers) == "ready"
        tell(watchers, {})
        await line_of(watchers)
        began = perf_counter()
        await contender.play(seconds)
        tell(watchers, {})
        seen = await line_of(watchers)
        took_s = perf_counter() - began
    wait_ms = quantile(seen["waits"], 0.99) * 1e3
    print(f"  {seen['messages']} messages, a change waited p99 {wait_ms:.0f} ms", flush=True)
    return wait_ms, seen["messages"] / took_s
