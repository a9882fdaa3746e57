"""PR-19: wins that nobody pays, or decides about, are counted and raise an alarm."""

from datetime import timedelta

import asyncpg
import pytest
from prometheus_client import REGISTRY

from jackpot_server import open_wins
from jackpot_server.domain.commands import Outcome
from jackpot_server.open_wins import OpenWins
from jackpot_server.reads import ReadConnections
from tests.integration.jackpot_server.bench import Bench, open_bench
from tests.support.engine import credited, not_credited


def gauges() -> tuple[float, float]:
    """Payable and held wins."""
    payable, held = (REGISTRY.get_sample_value(f"jackpot_wins_{state}") for state in ("payable", "held"))
    assert payable is not None
    assert held is not None
    return payable, held


def oldest(state: str) -> float:
    value = REGISTRY.get_sample_value(f"jackpot_wins_{state}_oldest_seconds")
    assert value is not None
    return value


async def grow_old(bench: Bench, state: int, age: timedelta) -> None:
    await bench.look.execute("UPDATE open_wins SET since = since - $1::interval WHERE state = $2", age, state)


async def test_pr_19_wins_that_wait_too_long_are_counted_and_raise_an_alarm(
    jackpots_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms: list[str] = []
    monkeypatch.setattr(open_wins.log, "error", lambda event, **fields: alarms.append(fields["state"]))
    connections = ReadConnections(lambda: asyncpg.create_pool(jackpots_dsn, min_size=1, max_size=2))
    await connections.open()
    try:
        async with open_bench(jackpots_dsn) as bench:
            looks = OpenWins(connections)
            await looks.look()
            assert gauges() == (0, 0)
            wins = await bench.wins(3)
            total = await bench.count("wins")
            await bench.committer.acknowledge(not_credited(wins[0], Outcome.FAILED))
            await bench.committer.acknowledge(credited(wins[1]))
            await looks.look()
            assert gauges() == (total - 2, 1)
            assert not alarms
            await grow_old(bench, 1, timedelta(seconds=61))
            await looks.look()
            assert alarms == ["PAYABLE"]
            assert oldest("payable") > 60
            await grow_old(bench, 2, timedelta(days=1, seconds=1))
            await looks.look()
            assert alarms == ["PAYABLE", "PAYABLE", "HELD"]
            assert oldest("held") > 86_400
    finally:
        await connections.close()
