"""Lists over many rows: pages follow an index, and a rare game's page is short rather than slow."""

from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

import asyncpg
import pytest

from service_kit.database import connect, create_pool
from spin_server import reads
from spin_server.queries import SpinPosition, SpinsQuery
from spin_server.reads import Reads

SPINS = 25_000
# One spin in so many is of the rare game: there is none within the first FILTER_SCAN_LIMIT.
RARE = 12_000

_FILL = f"""
INSERT INTO spins
SELECT lpad(to_hex(i), 32, '0')::uuid, 1, 'demo', 'user-' || i % 50, 'wallet-' || i % 100,
       CASE WHEN i % {RARE} = 0 THEN 'rare' ELSE 'common' END, 1, 'house', '', 'COIN', 100, 0, 1, '', '', '',
       1000, false, timestamptz '2026-01-01 00:00+00' + i / 3 * interval '1 ms'
  FROM generate_series(1, {SPINS}) AS i;
INSERT INTO wallets
SELECT 'wallet-' || i, 'demo', 'user-' || i % 50, 'COIN', 0, 0, false, now() FROM generate_series(0, 99) AS i;
INSERT INTO wallet_entries
SELECT 'wallet-1', i, 1, -1, 1000, lpad(to_hex(i), 32, '0')::uuid, NULL, NULL, now()
  FROM generate_series(1, {SPINS}) AS i;
INSERT INTO jackpot_results (spin_id, operator_id, state, shares) SELECT spin_id, 'demo', 1, '[]' FROM spins;
ANALYZE;
"""


@pytest.fixture
async def look(spins_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(spins_dsn, application_name="test")
    await connection.execute(_FILL)
    yield connection
    await connection.close()


@pytest.fixture
async def many(look: asyncpg.Connection, spins_dsn: str) -> AsyncIterator[Reads]:
    opened = Reads(partial(create_pool, spins_dsn, application_name="reads"))
    await opened.open()
    yield opened
    await opened.close()


def query(page_size: int = 1_000, **fields: str) -> SpinsQuery:
    return SpinsQuery(
        **{"operator_id": "demo", "user_id": "", "wallet_id": "", "game_id": ""} | fields,
        start=None,
        end=None,
        page_size=page_size,
        after=None,
    )


async def all_of(many: Reads, asked: SpinsQuery) -> tuple[list[UUID], list[int]]:
    """Every spin of the list, and how many each page had."""
    spin_ids: list[UUID] = []
    sizes: list[int] = []
    after: SpinPosition | None = None
    while True:
        page = await many.spins(
            SpinsQuery(
                asked.operator_id,
                asked.user_id,
                asked.wallet_id,
                asked.game_id,
                None,
                None,
                asked.page_size,
                after,
            )
        )
        spin_ids += [spin.record.terms.spin_id for spin in page.spins]
        sizes.append(len(page.spins))
        after = page.next_after
        if after is None:
            return spin_ids, sizes


def ids(*numbers: int) -> list[UUID]:
    return [UUID(int=number) for number in numbers]


async def test_pages_bring_every_spin_once_newest_first(many: Reads) -> None:
    spin_ids, sizes = await all_of(many, query())
    assert spin_ids == ids(*range(SPINS, 0, -1))
    assert sizes == [1_000] * 25
    of_user, _ = await all_of(many, query(user_id="user-7"))
    assert of_user == ids(*(number for number in range(SPINS, 0, -1) if number % 50 == 7))
    of_wallet, _ = await all_of(many, query(wallet_id="wallet-57", page_size=99))
    assert of_wallet == ids(*(number for number in range(SPINS, 0, -1) if number % 100 == 57))


async def test_a_rare_games_pages_are_short_and_the_list_is_whole(many: Reads) -> None:
    spin_ids, sizes = await all_of(many, query(game_id="rare"))
    assert spin_ids == ids(24_000, 12_000)
    assert sizes == [1, 1, 0]


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (reads._SPIN, [UUID(int=5)]),
        (reads._SPINS_OF_OPERATOR, ["demo", reads._END, UUID(int=0), reads._BEGINNING, 101, "", "", 101]),
        (
            reads._SPINS_OF_USER,
            ["demo", reads._END, UUID(int=0), reads._BEGINNING, 101, "user-1", "", "", 101],
        ),
        (reads._LAST_OF_OPERATOR, ["demo", reads._END, UUID(int=0), reads._BEGINNING, 10_000]),
        (reads._LAST_OF_USER, ["demo", reads._END, UUID(int=0), reads._BEGINNING, 10_000, "user-1"]),
        (reads._ENTRIES, ["wallet-1", 20_000, 101]),
        (reads._ANSWERED, [[UUID(int=number) for number in range(200)]]),
    ],
)
async def test_no_read_scans_a_table_that_grows(
    look: asyncpg.Connection, statement: str, arguments: list[object]
) -> None:
    plan = "\n".join(row[0] for row in await look.fetch(f"EXPLAIN {statement}", *arguments))
    for table in ("spins", "wallet_entries", "jackpot_results"):
        assert f"Seq Scan on {table}" not in plan, plan
