"""Spins and wallet commands through the committer, on a real database."""

import asyncio

import asyncpg
import pytest

from service_kit.database import connect
from service_kit.errors import Refusal
from spin_server.domain.settle import Rules
from spin_server.transaction import Command, SpinAnswer, SpinTransaction
from tests.integration.spin_server.commands import TABLE, deposit, settle
from tests.integration.spin_server.conftest import CATALOG, Bench, open_bench


async def test_a_settled_spin_moves_its_wallet_and_leaves_its_entries_and_its_outbox_row(
    bench: Bench,
) -> None:
    await bench.fund()
    answer = await bench.committer.spin(settle(payout_minor=250))
    assert not answer.replayed
    assert answer.spin.record.balance_minor == 10_150
    assert await bench.balance() == 10_150
    entries = await bench.look.fetch("SELECT * FROM wallet_entries ORDER BY entry_number")
    assert [(e["kind"], e["amount_minor"], e["balance_minor"]) for e in entries] == [
        (6, 10_000, 10_000),
        (1, -100, 9_900),
        (2, 250, 10_150),
    ]
    row = await bench.look.fetchrow("SELECT * FROM jackpot_outbox")
    assert row is not None
    assert row["spin_id"] == answer.spin.record.terms.spin_id
    assert row["wager_minor"] == 100
    assert row["due_time"] > row["create_time"]
    assert [row.spin_id for row in bench.offered] == [answer.spin.record.terms.spin_id]


async def test_a_refused_spin_touches_only_itself_and_leaves_its_id_free(bench: Bench) -> None:
    await bench.fund("rich", 10_000)
    await bench.fund("poor", 50)
    poor = settle("poor")
    good = [settle("rich") for _ in range(5)]
    results = await asyncio.gather(
        *(bench.committer.spin(command) for command in (*good[:2], poor, *good[2:])), return_exceptions=True
    )
    refused = results.pop(2)
    assert isinstance(refused, Refusal)
    assert refused.reason == "INSUFFICIENT_FUNDS"
    assert not any(isinstance(result, BaseException) for result in results)
    assert (await bench.balance("rich"), await bench.balance("poor")) == (9_500, 50)
    assert await bench.count("spins") == 5
    await bench.committer.wallet(deposit("poor", 50))
    assert not (await bench.committer.spin(poor)).replayed


@pytest.mark.parametrize("size", [1, 10, 200])
@pytest.mark.parametrize("game_id", ["demo-slots", "demo-table"])
async def test_a_batch_of_new_spins_takes_two_statements_whatever_its_size(
    bench: Bench, size: int, game_id: str
) -> None:
    """Of one that also has repeats or refusals, eight are allowed, BEGIN and COMMIT included."""
    await bench.fund(amount_minor=100_000)
    bench.statements.clear()
    spins = [settle(payout_minor=10, game_id=game_id) for _ in range(size)]
    await asyncio.gather(*(bench.committer.spin(spin) for spin in spins))
    assert await bench.count("spins") == size
    assert len(bench.statements) == 2, bench.statements
    bench.statements.clear()
    again = [*spins, *(settle(game_id=game_id) for _ in range(size)), settle("nobody")]
    await asyncio.gather(*(bench.committer.spin(spin) for spin in again), return_exceptions=True)
    assert await bench.count("spins") == 2 * size
    assert len(bench.statements) == 6, bench.statements
    assert (bench.statements[1], bench.statements[5]) == ("BEGIN", "COMMIT")


async def test_spins_decided_on_a_wallet_that_has_moved_since_are_not_written(
    bench: Bench, spins_dsn: str
) -> None:
    await bench.fund("still")
    await bench.fund("moving")
    items: list[Command] = [settle("still"), settle("moving")]
    transaction = SpinTransaction(Rules(CATALOG, jackpots_on=True))
    connection = await connect(spins_dsn, application_name="another server")
    try:
        write = await transaction.look(connection, items)
        assert write is not None
        await bench.committer.spin(settle("moving", payout_minor=100))
        assert await write(connection) is None
        assert await bench.count("spins") == 1
        assert await bench.count("jackpot_outbox") == 1
        assert (await bench.balance("still"), await bench.balance("moving")) == (10_000, 10_000)
        write = await transaction.look(connection, items)
        assert write is not None
        written = await write(connection)
    finally:
        await connection.close()
    assert written is not None
    assert len(written) == 2
    assert (await bench.balance("still"), await bench.balance("moving")) == (9_900, 9_900)


async def test_spins_of_one_wallet_through_two_servers_are_all_settled(bench: Bench, spins_dsn: str) -> None:
    """What the one has looked at the other moves all the time; then the wallet is locked first."""
    await bench.fund(amount_minor=40_000)
    async with open_bench(spins_dsn) as other:
        for _ in range(20):
            spins = [settle(payout_minor=1) for _ in range(10)]
            await asyncio.gather(
                *(side.committer.spin(spin) for spin in spins for side in (bench, other)),
            )
        assert "BEGIN" in bench.statements + other.statements
    assert await bench.count("spins") == 200
    assert await bench.balance() == 40_000 - 200 * 99
    numbers = await bench.look.fetch("SELECT entry_number FROM wallet_entries ORDER BY entry_number")
    assert [row[0] for row in numbers] == list(range(1, 402))


async def test_a_table_spin_leaves_no_outbox_row_and_nothing_to_send(bench: Bench) -> None:
    await bench.fund()
    bench.statements.clear()
    answer = await bench.committer.spin(settle(game_id=TABLE))
    assert answer.spin.jackpot.state.name == "NOT_APPLICABLE"
    assert await bench.count("jackpot_outbox") == await bench.count("jackpot_cursors") == 0
    assert bench.offered == []
    assert not any("outbox" in statement for statement in bench.statements)


async def test_test_wallets_and_free_spins_without_a_wager_make_no_contribution(bench: Bench) -> None:
    await bench.fund("tester", is_test=True)
    await bench.fund("player")
    tested = await bench.committer.spin(settle("tester"))
    free = await bench.committer.spin(settle("player", 500, wager_minor=0, stake_kind=3))
    for answer in (tested, free):
        assert not answer.spin.record.has_jackpot
    assert await bench.count("jackpot_outbox") == 0
    assert await bench.balance("player") == 10_500
    bonus = await bench.committer.spin(settle("player", stake_kind=2))
    assert bonus.spin.record.has_jackpot
    assert await bench.balance("player") == 10_400


async def test_without_jackpots_a_slots_spin_leaves_no_outbox_row(spins_dsn: str) -> None:
    async with open_bench(spins_dsn, jackpots_on=False) as bench:
        await bench.fund()
        answer = await bench.committer.spin(settle())
        assert answer.spin.jackpot.state.name == "NOT_APPLICABLE"
        assert await bench.count("jackpot_outbox") == 0
        assert bench.offered == []


async def test_a_thousand_replays_change_nothing(bench: Bench) -> None:
    await bench.fund()
    spin = settle(payout_minor=30)
    first = await bench.committer.spin(spin)
    await bench.committer.spin(settle())
    before = await money_of(bench)
    offered = len(bench.offered)
    for _ in range(10):
        again = await asyncio.gather(*(bench.committer.spin(spin) for _ in range(100)))
        for answer in again:
            assert answer.replayed
            assert answer.spin.record == first.spin.record
    assert await money_of(bench) == before
    assert len(bench.offered) == offered


async def test_a_thousand_spins_of_one_wallet_never_lose_or_overdraw_a_minor_unit(spins_dsn: str) -> None:
    """Two replicas; the money lasts for exactly 600 of the thousand."""
    async with open_bench(spins_dsn) as one, open_bench(spins_dsn) as other:
        await one.fund(amount_minor=60_000)

        results = await asyncio.gather(
            *((one, other)[number % 2].committer.spin(settle()) for number in range(1_000)),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, Refusal)]
        assert {result.reason for result in refused} == {"INSUFFICIENT_FUNDS"}
        assert len(refused) == 400
        assert sum(isinstance(result, SpinAnswer) for result in results) == 600
        assert await one.balance() == 0
        assert await one.count("spins") == 600
        entries = await one.look.fetch(
            "SELECT amount_minor, balance_minor, entry_number FROM wallet_entries ORDER BY entry_number"
        )
        balance = 0
        for number, entry in enumerate(entries, start=1):
            balance += entry["amount_minor"]
            assert (entry["entry_number"], entry["balance_minor"]) == (number, balance)
            assert balance >= 0
        assert balance == 0


async def money_of(bench: Bench) -> list[list[asyncpg.Record]]:
    tables = ("wallets", "spins", "wallet_entries", "wallet_requests", "jackpot_outbox", "jackpot_wins")
    return [
        await bench.look.fetch(f"SELECT t.*, ctid, xmin::text FROM {table} t ORDER BY 1") for table in tables
    ]
