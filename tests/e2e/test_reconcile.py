"""Both sides' books compared, and repaired: what is missing is named, sent again, and recorded once."""

import csv
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import grpc.aio
import pytest

from protos.jackpot.v1 import jackpot_pb2, jackpot_pb2_grpc
from tests.support.command_line import run
from tests.support.crash import quiet
from tests.support.load import Load, SpinPlan, VoidPlan, funded_wallets
from tests.support.stack import CURRENCY, OPERATOR, SLOTS_GAME, Stack, running_stack
from tests.support.waiting import eventually

SINCE = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:00:00")


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with (
        running_stack(tmp_path) as stack,
        grpc.aio.insecure_channel(stack.spin_address) as channel,
    ):
        wallets = await funded_wallets(channel, 3)
        spins = Load(SpinPlan(channel, wallets), seed=1)
        async with spins, Load(VoidPlan(channel, spins, wallets), in_flight=1, pause_s=0.05, seed=2):
            await spins.progress(200)
        await quiet(stack, stack.spins_dsn)
        yield stack


async def reconcile_spins(stack: Stack, *arguments: str) -> tuple[int, dict[str, Any]]:
    status, said = await run(
        "spin_server", "reconcile", "--since", SINCE, "--jackpot-address", stack.jackpot_address, "--json",
        *arguments, SPIN_DATABASE_DSN=stack.spins_dsn,
    )  # fmt: skip
    assert "{" in said, said
    return status, json.loads(said[said.index("{") :])


async def lose(stack: Stack, count: int) -> list[str]:
    """Contributions vanish from the jackpots database, as after a restore; they won nothing."""
    look = await asyncpg.connect(stack.jackpots_dsn)
    try:
        rows = await look.fetch(
            "DELETE FROM contributions WHERE spin_id IN (SELECT spin_id FROM contributions c"
            " WHERE wager_minor > 0 AND NOT EXISTS (SELECT FROM wins w WHERE w.spin_id = c.spin_id)"
            " AND NOT EXISTS (SELECT FROM voids v WHERE v.spin_id = c.spin_id) ORDER BY spin_id LIMIT $1)"
            " RETURNING spin_id::text",
            count,
        )
        return sorted(row[0] for row in rows)
    finally:
        await look.close()


async def contributions(stack: Stack) -> int:
    look = await asyncpg.connect(stack.jackpots_dsn)
    try:
        return int(await look.fetchval("SELECT count(*) FROM contributions"))
    finally:
        await look.close()


async def test_both_sides_compare_their_books_and_repair_them(stack: Stack, tmp_path: Path) -> None:
    """One running system: an export, then what the jackpot server lost, then what only it has."""
    await an_export_of_any_platform_is_compared_with_what_is_recorded(stack, tmp_path)
    await what_the_jackpot_server_lost_is_found_and_sent_again(stack)
    await what_only_the_jackpot_server_has_is_named(stack)


async def what_the_jackpot_server_lost_is_found_and_sent_again(stack: Stack) -> None:
    status, clean = await reconcile_spins(stack)
    assert (status, clean["differences"]) == (0, [])
    assert clean["spins"] > 100
    before = await contributions(stack)
    lost = await lose(stack, 3)
    status, found = await reconcile_spins(stack, "--resend")
    assert status == 1
    assert sorted(each["spin_id"] for each in found["differences"]) == lost
    assert {each["is"] for each in found["differences"]} == {"missing at the jackpot server"}
    assert found["resent"] == 3
    await eventually(lambda: is_there_again(stack, before))
    await quiet(stack, stack.spins_dsn)
    status, again = await reconcile_spins(stack)
    assert (status, again["differences"]) == (0, []), "recorded in another hour, and there"


async def is_there_again(stack: Stack, count: int) -> bool:
    return await contributions(stack) == count


async def what_only_the_jackpot_server_has_is_named(stack: Stack) -> None:
    spin_id = str(uuid4())
    async with grpc.aio.insecure_channel(stack.jackpot_address) as channel:
        await jackpot_pb2_grpc.JackpotServiceStub(channel).RecordContribution(
            jackpot_pb2.RecordContributionRequest(
                spin_id=spin_id,
                operator_id=OPERATOR,
                user_id="user",
                wallet_id="wallet",
                wager=jackpot_pb2.Money(currency_code=CURRENCY, amount_minor=7),
                game_category=jackpot_pb2.GAME_CATEGORY_SLOTS,
                game_id=SLOTS_GAME,
            )
        )
    status, found = await reconcile_spins(stack)
    assert status == 1
    assert found["differences"] == [
        {"operator_id": OPERATOR, "spin_id": spin_id, "is": "missing in this database", "what": ""}
    ]


async def an_export_of_any_platform_is_compared_with_what_is_recorded(stack: Stack, tmp_path: Path) -> None:
    export = tmp_path / "bets.csv"
    look = await asyncpg.connect(stack.spins_dsn)
    try:
        bets = await look.fetch("SELECT spin_id, wager_minor, currency_code FROM spins WHERE has_jackpot")
    finally:
        await look.close()

    async def compared() -> tuple[int, str]:
        return await run(
            "jackpot_server", "reconcile", str(export), "--operator", OPERATOR, "--json",
            JACKPOT_DATABASE_DSN=stack.jackpots_dsn,
        )  # fmt: skip

    def write(rows: list[tuple[object, ...]]) -> None:
        with export.open("w", newline="") as file:
            csv.writer(file).writerows([("spin_id", "wager_minor", "currency_code"), *rows])

    rows = [tuple(bet) for bet in bets]
    write(rows)
    status, said = await compared()
    assert (status, json.loads(said)["differences"]) == (0, []), said
    unknown = uuid4()
    write([(rows[0][0], rows[0][1] + 1, rows[0][2]), *rows[2:], (unknown, 5, CURRENCY)])
    status, said = await compared()
    assert status == 1
    differences = {UUID(each["spin_id"]): each["is"] for each in json.loads(said)["differences"]}
    assert differences.pop(unknown) == "in the file, not recorded here"
    assert differences.pop(rows[0][0], "different") == "different"
    assert set(differences) <= {rows[1][0]}
    write([("no-id", 5, CURRENCY), (unknown, "many", ""), (unknown, 5, CURRENCY), (unknown, 6, CURRENCY)])
    status, said = await compared()
    assert status == 2
    assert said.splitlines() == [
        "line 2: spin_id 'no-id' is no UUID",
        "line 3: wager_minor 'many' is no amount in minor units",
        "line 3: currency_code is empty",
        f"line 5: spin_id {unknown} is there twice",
    ]
