"""SIGTERM under load: not serving at once, calls in flight finish, exit 0, clients see only UNAVAILABLE."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from devstack import auditor
from tests.support.crash import quiet
from tests.support.load import (
    CHANNEL_OPTIONS,
    ContributionPlan,
    Load,
    Plan,
    SpinPlan,
    funded_wallets,
    reason_of,
    unfaithful,
)
from tests.support.stack import (
    JACKPOT,
    SPIN,
    Stack,
    running_stack,
)
from tests.support.waiting import eventually

SERVERS = [SPIN, JACKPOT]
NOT_SERVING_WITHIN_S = 0.5
# The servers' default grace.
GRACE_S = 10.0
IN_FLIGHT = 16

WAITING_FOR_LOCKS = "SELECT count(*) FROM pg_locks WHERE NOT granted"
LOCK_WALLETS = "SELECT FROM wallets ORDER BY wallet_id FOR UPDATE"
LOCK_POOLS = "SELECT FROM pools ORDER BY pool_key FOR UPDATE"


async def make_plan(name: str, channel: grpc.aio.Channel) -> Plan:
    if name == JACKPOT:
        return ContributionPlan(channel)
    return SpinPlan(channel, await funded_wallets(channel, 4))


async def seconds_to_not_serving(channel: grpc.aio.Channel, act: Callable[[], None]) -> float:
    """From `act` to the health stream's NOT_SERVING."""
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    call = watch(health_pb2.HealthCheckRequest(), timeout=30)
    try:
        first: Any = await call.read()
        assert first.status == health_pb2.HealthCheckResponse.SERVING
        start = monotonic()
        act()
        second: Any = await call.read()
        assert second.status == health_pb2.HealthCheckResponse.NOT_SERVING
        return monotonic() - start
    finally:
        call.cancel()


def address(stack: Stack, name: str) -> str:
    return stack.servers[name].address


@pytest.mark.parametrize("victim", SERVERS)
async def test_sigterm_under_load_ends_in_order_and_clients_see_only_unavailable(
    victim: str, kills: int, rng: random.Random, tally: Callable[[str], None], tmp_path: Path
) -> None:
    async with (
        running_stack(tmp_path) as stack,
        grpc.aio.insecure_channel(address(stack, victim), options=CHANNEL_OPTIONS) as channel,
    ):
        load = Load(await make_plan(victim, channel), in_flight=IN_FLIGHT, seed=rng.getrandbits(32))
        noticed, ended = [], []
        async with load:
            for _ in range(kills):
                await load.progress(200)
                await asyncio.sleep(rng.uniform(0, 0.1))
                start = monotonic()
                async with grpc.aio.insecure_channel(address(stack, victim)) as watching:
                    noticed.append(
                        await seconds_to_not_serving(watching, lambda: stack.send(victim, signal.SIGTERM))
                    )
                assert await stack.exit_code(victim, GRACE_S + 1) == 0
                ended.append(monotonic() - start)
                await stack.start(victim)
            await load.progress(50)
        tally(f"{kills} drains, {len(load.answers)} answers, refused {dict(load.refusals)}")
        tally(f"NOT_SERVING after at most {max(noticed):.3f} s, exit after at most {max(ended):.2f} s")
        assert not load.wrong
        assert {status for status, _ in load.refusals} <= {"UNAVAILABLE"}
        assert max(noticed) < NOT_SERVING_WITHIN_S
        if victim == SPIN:
            await quiet(stack, stack.spins_dsn)
            found = await auditor.findings(stack.spins_dsn, stack.jackpots_dsn, answered=load.answers)
            found += await unfaithful(stack.spins_dsn, load.answers)
            assert not found, auditor.report(found)


@asynccontextmanager
async def rows_locked(dsn: str, lock: str) -> AsyncIterator[asyncpg.Connection]:
    """Holds the rows' locks inside; another connection of the same database is given."""
    holder, observer = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        async with holder.transaction():
            await holder.execute(lock)
            yield observer
    finally:
        await holder.close()
        await observer.close()


@pytest.mark.parametrize("victim", SERVERS)
async def test_a_call_in_flight_at_sigterm_is_answered(victim: str, tmp_path: Path) -> None:
    async with (
        running_stack(tmp_path) as stack,
        grpc.aio.insecure_channel(address(stack, victim), options=CHANNEL_OPTIONS) as channel,
    ):
        plan = await make_plan(victim, channel)
        dsn, lock = (stack.spins_dsn, LOCK_WALLETS) if victim == SPIN else (stack.jackpots_dsn, LOCK_POOLS)
        rng = random.Random(1)
        async with rows_locked(dsn, lock) as observer:
            in_flight = asyncio.create_task(plan.send(plan.next_request(rng)))
            await eventually(lambda: observer.fetchval(WAITING_FOR_LOCKS))
            await seconds_to_not_serving(channel, lambda: stack.send(victim, signal.SIGTERM))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await plan.send(plan.next_request(rng))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(refused.value) == "DRAINING"
            assert not in_flight.done()
        assert not (await in_flight).replayed
        assert await stack.exit_code(victim, GRACE_S + 1) == 0
