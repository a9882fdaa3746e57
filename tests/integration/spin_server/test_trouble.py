"""Locked wallets, lost connections: nobody else is hurt, nothing happens twice."""

import asyncio

import pytest

from service_kit.database import connect
from service_kit.errors import Failure
from tests.integration.spin_server.commands import deposit, settle
from tests.integration.spin_server.conftest import Bench, open_bench
from tests.support.fault_proxy import proxied


async def test_a_locked_wallet_delays_only_its_own_spins(bench: Bench, spins_dsn: str) -> None:
    for wallet_id in ("locked", "free"):
        await bench.fund(wallet_id, 50_000)
    somebody = await connect(spins_dsn, application_name="somebody else")
    try:
        await somebody.execute("BEGIN")
        await somebody.execute("SELECT FROM wallets WHERE wallet_id = 'locked' FOR UPDATE")
        stuck = [asyncio.create_task(bench.committer.spin(settle("locked"))) for _ in range(5)]
        async with asyncio.timeout(5):
            for _ in range(20):
                await asyncio.gather(*(bench.committer.spin(settle("free")) for _ in range(10)))
        assert not any(task.done() for task in stuck)
        await somebody.execute("ROLLBACK")
        async with asyncio.timeout(5):
            await asyncio.gather(*stuck)
    finally:
        await somebody.close()
    assert (await bench.balance("locked"), await bench.balance("free")) == (49_500, 30_000)
    assert len(bench.offered) == 205


@pytest.mark.parametrize("what", ["reply", "request"])
@pytest.mark.parametrize("way", ["short", "long"])
async def test_a_commit_that_was_lost_on_its_way_is_settled_once(spins_dsn: str, what: str, way: str) -> None:
    async with proxied(spins_dsn) as (proxy, through), open_bench(through) as bench:
        await bench.fund()
        lose = proxy.lose_reply_to if what == "reply" else proxy.lose_request
        spins = [settle(payout_minor=7, provider_round_id="mark") for _ in range(10)]
        # Spins alone are written and committed by one statement, which says whose round it was.
        lose(b"mark" if way == "short" else b"COMMIT")
        others = [deposit(amount_minor=5)] if way == "long" else []
        answers, _ = await asyncio.gather(
            asyncio.gather(*(bench.committer.spin(spin) for spin in spins)),
            asyncio.gather(*(bench.committer.wallet(move) for move in others)),
        )
        assert proxy.cuts == 1
        assert [answer.replayed for answer in answers] == [what == "reply"] * 10
        assert await bench.count("spins") == 10
        again = await asyncio.gather(*(bench.committer.spin(spin) for spin in spins))
        assert [answer.spin.record for answer in again] == [answer.spin.record for answer in answers]


async def test_a_batch_of_known_ids_still_writes_after_a_lost_commit(spins_dsn: str) -> None:
    """The commit of the second try then waits for a synchronous standby, as the lost one would have."""
    async with proxied(spins_dsn) as (proxy, through), open_bench(through) as bench:
        await bench.fund()
        bench.statements.clear()
        proxy.lose_reply_to(b"mark")
        await bench.committer.spin(settle(provider_round_id="mark"))
        assert bench.statements[-2].startswith("UPDATE wallets SET entry_count = entry_count")


async def test_a_database_that_is_away_gives_failures_and_then_spins_again(spins_dsn: str) -> None:
    async with proxied(spins_dsn) as (proxy, through), open_bench(through) as bench:
        await bench.fund()
        proxy.refuse()
        with pytest.raises(Failure) as caught:
            await bench.committer.spin(settle())
        assert caught.value.reason == "DATABASE_UNAVAILABLE"
        proxy.refuse(False)
        await bench.committer.spin(settle())
