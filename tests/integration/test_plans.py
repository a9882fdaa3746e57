"""What a server asks again and again finds its rows by keys, however many others there are.

Plans are made as the committers make them, before any statistics exist; those of the outbox also with the
statistics of a moment when it was empty, as autovacuum often finds it. A table that grows may only be looked
into through an index, by a condition on its key; never as a whole, nor into a hash table first.
"""

import json
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import asyncpg
import pytest

from jackpot_outbox import answer_store
from jackpot_outbox import store as outbox_store
from jackpot_server import draw_reads, open_wins, pool_reads, recall, void_store, win_store
from jackpot_server import reads as jackpot_reads
from jackpot_server import store as jackpot_store
from service_kit.database import connect
from spin_server import reads as spin_reads
from spin_server import store as spin_store

GROW = frozenset(
    {
        "spins", "wallet_entries", "wallet_requests", "wallets", "jackpot_outbox", "jackpot_results",
        "jackpot_wins", "contributions", "entries", "batches", "wins", "win_events", "acknowledgements",
        "voids", "spin_voids", "jackpot_voids",
    }
)  # fmt: skip

SPINS_STATEMENTS = [
    (spin_store, "_LOCK_WALLETS"),
    (spin_store, "_LOOK_AT_WALLETS"),
    (spin_store, "_WRITE_SPINS_AND_CONTRIBUTIONS_IF_UNCHANGED"),
    (spin_store, "_FIND_SPINS"),
    (spin_store, "_FIND_REQUESTS"),
    (spin_store, "_WRITE_SPINS_AND_CONTRIBUTIONS"),
    (spin_store, "_WRITE_MONEY"),
    (spin_store, "_WRITE_VOIDS"),
    (spin_store, "_TOUCH_WALLETS"),
    (answer_store, "_RECORD_WINS"),
    (answer_store, "_RECORD_ACTS"),
    (answer_store, "_END_ROWS"),
    (outbox_store, "_TAKE_DUE"),
    (outbox_store, "_SET_BACK"),
    (outbox_store, "_GIVE_BACK"),
]
JACKPOTS_STATEMENTS = [
    (jackpot_store, "LOCK_POOLS"),
    (jackpot_store, "WRITE_BATCH"),
    (win_store, "WRITE_WINS"),
    (void_store, "READ_SHARES"),
    (void_store, "READ_VOIDS"),
    (void_store, "INSERT_VOIDS"),
    (recall, "READ_CONTRIBUTIONS"),
    (recall, "READ_WINS"),
    (recall, "READ_ACKNOWLEDGEMENTS"),
]

# What callers list and look up, and what is asked in the background again and again.
SPINS_READS = [
    (spin_reads, "_SPIN"),
    (spin_reads, "_SPINS_OF_OPERATOR"),
    (spin_reads, "_SPINS_OF_USER"),
    (spin_reads, "_LAST_OF_OPERATOR"),
    (spin_reads, "_LAST_OF_USER"),
    (spin_reads, "_ANSWERED"),
    (spin_reads, "_WALLET"),
    (spin_reads, "_ENTRIES"),
    (answer_store, "_MOVE_CURSORS"),
    (answer_store, "_LEASE_CURSORS"),
]
JACKPOTS_READS = [
    (jackpot_reads, "_LIST_CONTRIBUTIONS"),
    (jackpot_reads, "_GET_WIN"),
    (jackpot_reads, "_LIST_WIN_EVENTS"),
    (jackpot_reads, "_LAST_SEQUENCES"),
    (jackpot_reads, "_LABELS"),
    (pool_reads, "_POOLS"),
    (pool_reads, "_CHANGED_POOLS"),
    (pool_reads, "_PUBLIC_WINS"),
    (draw_reads, "_DRAW"),
    (open_wins, "COUNT_OPEN_WINS"),
]


@pytest.fixture
async def spins(spins_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(spins_dsn, application_name="plans")
    yield connection
    await connection.close()


@pytest.fixture
async def jackpots(jackpots_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(jackpots_dsn, application_name="plans")
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("module", "name"), SPINS_STATEMENTS, ids=lambda part: part if isinstance(part, str) else part.__name__
)
async def test_no_batch_of_spins_reads_a_table_that_grows(
    spins: asyncpg.Connection, module: ModuleType, name: str
) -> None:
    assert await whole_reads(spins, getattr(module, name)) == []


@pytest.mark.parametrize(
    ("module", "name"), JACKPOTS_STATEMENTS, ids=lambda part: part if isinstance(part, str) else part.__name__
)
async def test_no_batch_of_contributions_reads_a_table_that_grows(
    jackpots: asyncpg.Connection, module: ModuleType, name: str
) -> None:
    assert await whole_reads(jackpots, getattr(module, name)) == []


@pytest.mark.parametrize(
    ("module", "name"), SPINS_READS, ids=lambda part: part if isinstance(part, str) else part.__name__
)
async def test_no_question_about_spins_reads_a_table_that_grows(
    spins: asyncpg.Connection, module: ModuleType, name: str
) -> None:
    assert await whole_reads(spins, getattr(module, name)) == []


@pytest.mark.parametrize(
    ("module", "name"), JACKPOTS_READS, ids=lambda part: part if isinstance(part, str) else part.__name__
)
async def test_no_question_about_jackpots_reads_a_table_that_grows(
    jackpots: asyncpg.Connection, module: ModuleType, name: str
) -> None:
    assert await whole_reads(jackpots, getattr(module, name)) == []


@pytest.mark.parametrize("limited", sorted(jackpot_reads._LIST_WINS))
async def test_no_list_of_wins_reads_them_all(
    jackpots: asyncpg.Connection, limited: tuple[bool, bool]
) -> None:
    assert await whole_reads(jackpots, jackpot_reads._LIST_WINS[limited]) == []


@pytest.mark.parametrize("name", ["_END_ROWS", "_SET_BACK", "_GIVE_BACK"])
async def test_an_outbox_that_was_empty_when_looked_at_is_not_read_as_a_whole(
    spins: asyncpg.Connection, name: str
) -> None:
    await spins.execute("""
        INSERT INTO jackpot_outbox (kind, spin_id, operator_id)
        SELECT 1, gen_random_uuid(), 'operator' FROM generate_series(1, 2000)""")
    await spins.execute("DELETE FROM jackpot_outbox")
    await spins.execute("VACUUM ANALYZE jackpot_outbox")
    statement = getattr(answer_store if name == "_END_ROWS" else outbox_store, name)
    assert await whole_reads(spins, statement) == []


async def test_three_lookups_joined_by_or_would_be_found(spins: asyncpg.Connection) -> None:
    joined = """
        SELECT FROM unnest($1::uuid[], $2::text[]) AS heard (spin_id, win)
         WHERE EXISTS (SELECT FROM jackpot_results AS r WHERE r.spin_id = heard.spin_id)
            OR EXISTS (SELECT FROM jackpot_wins AS w WHERE w.win = heard.win)"""
    assert await whole_reads(spins, joined) != []


async def whole_reads(connection: asyncpg.Connection, statement: str) -> list[str]:
    """The nodes of its plan that read more of a growing table than the rows of some keys."""
    await connection.execute(f"PREPARE planned AS {statement}")
    count = await connection.fetchval(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'planned'"
    )
    nothing = f"({', '.join(['NULL'] * count)})" if count else ""
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE planned{nothing}")
    found = [
        f"{node['Node Type']} on {node['Relation Name']}"
        for node in _scans(json.loads(plan)[0]["Plan"])
        if not node.keys() & {"Index Cond", "Recheck Cond", "TID Cond"}
    ]
    return [*found, "hashed SubPlan"] if "hashed SubPlan" in plan else found


def _scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every read of a table that grows."""
    if "Scan" in node["Node Type"] and node.get("Relation Name") in GROW:
        yield node
    for child in node.get("Plans", ()):
        yield from _scans(child)
