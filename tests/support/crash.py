"""Killing parts of a stack under load, again and again, and waiting until nothing is under way any more."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import asyncpg

from tests.support.load import Load
from tests.support.stack import Stack

# From serving to the kill, from the kill to the restart, from the restart to a second kill.
LIFE_S = 0.6
DEATH_S = 0.3
YOUTH_S = 1.5
# Of all kills, how many hit a server that has only just been started.
EARLY_SHARE = 0.2
PROGRESS_WITHIN_S = 60.0
QUIET_WITHIN_S = 60.0

Progress = Callable[[], Awaitable[int]]

UNDER_WAY = """
SELECT (SELECT count(*) FROM jackpot_outbox)
     + (SELECT count(*) FROM jackpot_wins
         WHERE wallet_entry_id IS NULL AND failure_reason = '' AND state = 1)"""
OLDEST_ROWS = """
SELECT kind, spin_id::text, win, attempts, last_error, due_time::text, parked_time::text
  FROM jackpot_outbox ORDER BY create_time LIMIT 5"""
UNPAID = """
SELECT count(*) FROM wins w WHERE NOT shadow AND NOT EXISTS (
    SELECT FROM win_events e WHERE e.pool_key = w.pool_key AND e.spin_id = w.spin_id
       AND (e.state = 3 OR e.state = 2 AND e.spin_voided))"""
BATCHES = "SELECT coalesce(max(batch_id), 0) FROM batches"


def batches(stack: Stack) -> Progress:
    """How far the jackpot server has come, by its database; -1 while that is away."""

    async def read() -> int:
        try:
            connection = await asyncpg.connect(stack.jackpots_dsn, timeout=5)
        except (OSError, asyncpg.PostgresError):
            return -1
        try:
            newest: int = await connection.fetchval(BATCHES)
            return newest
        finally:
            await connection.close()

    return read


def answers(load: Load) -> Progress:
    """How far the clients have come."""

    async def read() -> int:
        return len(load.answers)

    return read


async def moved(progress: Progress, steps: int, logs: Callable[[], str]) -> None:
    """Returns when `progress` has grown by `steps`: the whole works again."""
    start, deadline = await progress(), monotonic() + PROGRESS_WITHIN_S
    while await progress() < start + steps:
        assert monotonic() < deadline, f"no progress within {PROGRESS_WITHIN_S:g} s\n{logs()}"
        await asyncio.sleep(0.02)


async def kill_again_and_again(
    stack: Stack, names: Sequence[str], times: int, *, rng: random.Random, progress: Progress, steps: int = 20
) -> None:
    """`times` kills of one of the parts, each at a random moment after work was seen going on."""
    killed = 0
    while killed < times:
        await moved(progress, steps, stack.logs)
        await asyncio.sleep(rng.uniform(0, LIFE_S))
        name = rng.choice(names)
        stack.kill9(name)
        killed += 1
        await asyncio.sleep(rng.uniform(0, DEATH_S))
        await stack.spawn(name)
        if name in stack.servers and killed < times and rng.random() < EARLY_SHARE:
            await asyncio.sleep(rng.uniform(0, YOUTH_S))
            stack.kill9(name)
            killed += 1
            await stack.spawn(name)
        await stack.wait_serving(name)
    await moved(progress, steps, stack.logs)


async def quiet(stack: Stack, wallet_dsn: str) -> float:
    """Waits until the outbox is empty and every win is credited and acknowledged; the seconds it took."""
    start = monotonic()
    wallet, jackpots = await asyncpg.connect(wallet_dsn), await asyncpg.connect(stack.jackpots_dsn)
    try:
        while left := (await wallet.fetchval(UNDER_WAY), await jackpots.fetchval(UNPAID)):
            if left == (0, 0):
                return monotonic() - start
            assert monotonic() < start + QUIET_WITHIN_S, (
                f"under way after {QUIET_WITHIN_S:g} s: {left[0]} here, {left[1]} unpaid there; "
                f"{[dict(row) for row in await wallet.fetch(OLDEST_ROWS)]}\n{stack.logs()}"
            )
            await asyncio.sleep(0.05)
        raise AssertionError("unreachable")
    finally:
        await wallet.close()
        await jackpots.close()
