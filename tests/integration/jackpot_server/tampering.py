"""Somebody with all rights changes a jackpots database by hand: at random, and back again."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import asyncpg

# The column that names the batch, where there is one.
TABLES: Final = {
    "pool_configs": "batch_id",
    "seed_commitments": "batch_id",
    "contributions": "batch_id",
    "entries": "batch_id",
    "wins": "batch_id",
    "win_events": "batch_id",
    "acknowledgements": "batch_id",
    "voids": "batch_id",
    "batches": "batch_id",
}
_HEADS: Final = {"pools": "pool_id", "operators": "operator_id", "audit_chains": "chain"}
# Of what stands for a whole chain or pool, the columns that an audit derives.
_DERIVED: Final = {
    "pools": (
        "current_micros", "reserve_micros", "overflow_micros", "cycle", "version", "cycle_start_micros",
        "config_version", "cycle_config_version",
    ),
    "operators": ("win_event_sequence",),
    "audit_chains": ("sequence", "sha256"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tampering:
    """What was done, and words of which one must be where an audit finds it."""

    what: str
    places: Sequence[str]


async def edit(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """One value of one row."""
    table = chance.choice([*TABLES, *_HEADS])
    row = await _any_row(look, table, chance)
    columns = _DERIVED.get(table) or [name for name in dict(row) if name != "ctid"]
    column = chance.choice([name for name in columns if row[name] is not None])
    value = _another(row[column], chance)
    await look.execute(f"UPDATE {table} SET {column} = $1 WHERE ctid = $2::text::tid", value, row["ctid"])
    places = _places(table, row)
    if column == "batch_id":
        places += [f"batch {value}"]
    return Tampering(f"{table}.{column} of {places[0]}: {row[column]!r:.60} to {value!r:.60}", places)


async def delete(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """One row."""
    table = chance.choice([*TABLES])
    row = await _any_row(look, table, chance)
    await look.execute(f"DELETE FROM {table} WHERE ctid = $1::text::tid", row["ctid"])
    places = _places(table, row)
    if table == "batches":
        places += [f"batch {row['batch_id']}", f"chain {row['chain']}"]
    return Tampering(f"a row of {table} deleted, {places[0]}", places)


async def insert(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """A row like another one."""
    table, key = chance.choice(
        [
            ("contributions", "spin_id"),
            ("entries", "entry_number"),
            ("win_events", "sequence"),
            ("voids", "spin_id"),
        ]
    )
    row = dict(await _any_row(look, table, chance))
    row.pop("ctid")
    row[key] = UUID(int=chance.getrandbits(128)) if key == "spin_id" else row[key] + 1_000
    names = ", ".join(row)
    numbers = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await look.execute(f"INSERT INTO {table} ({names}) VALUES ({numbers})", *row.values())
    return Tampering(f"a row of {table} inserted into batch {row['batch_id']}", _places(table, row))


async def swap(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """Two rows of different batches change places."""
    table = chance.choice(["contributions", "entries", "win_events", "wins"])
    one, two = await _any_row(look, table, chance), await _any_row(look, table, chance)
    if one["batch_id"] == two["batch_id"]:
        return await swap(look, chance)
    for row, other in ((one, two), (two, one)):
        await look.execute(
            f"UPDATE {table} SET batch_id = $1 WHERE ctid = $2::text::tid", other["batch_id"], row["ctid"]
        )
        if row is one:  # its row has moved, so that the second update finds the other
            continue
    return Tampering(f"two rows of {table} reordered", _places(table, one) + _places(table, two))


async def cut_tail(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """The newest record of a chain goes, with every row of its batch, and the head back to the one before."""
    chains = await look.fetch("SELECT chain, sequence FROM audit_chains WHERE sequence > 1 ORDER BY chain")
    chain, sequence = chance.choice(chains)
    last = await look.fetchrow(
        "SELECT batch_id FROM batches WHERE chain = $1 AND sequence = $2", chain, sequence
    )
    assert last is not None
    for table, column in TABLES.items():
        await look.execute(f"DELETE FROM {table} WHERE {column} = $1", last["batch_id"])
    await look.execute(
        "UPDATE audit_chains c SET sequence = b.sequence, sha256 = b.sha256 FROM batches b"
        " WHERE c.chain = $1 AND b.chain = $1 AND b.sequence = $2",
        chain,
        sequence - 1,
    )
    return Tampering(f"the tail of chain {chain} cut", [f"chain {chain} sequence {sequence}"])


async def off_by_one(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """A pool holds one micro more than it should."""
    pool = await _any_row(look, "pools", chance)
    column = chance.choice(["current_micros", "reserve_micros", "overflow_micros"])
    await look.execute(f"UPDATE pools SET {column} = {column} + 1 WHERE pool_key = $1", pool["pool_key"])
    return Tampering(f"{column} of {pool['pool_id']} plus one", [f"pools/{pool['pool_id']}"])


async def change_draw(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """A win's draw is another one that wins as well."""
    row = chance.choice(await look.fetch("SELECT ctid::text, * FROM wins WHERE draw_value IS NOT NULL"))
    value = bytes([0]) * 16 + chance.randbytes(16)
    await look.execute("UPDATE wins SET draw_value = $1 WHERE ctid = $2::text::tid", value, row["ctid"])
    return Tampering("a win's draw", _places("wins", row))


KINDS: Final[Sequence[Callable[[asyncpg.Connection, random.Random], Awaitable[Tampering]]]] = (
    edit, edit, edit, delete, delete, insert, swap, cut_tail, off_by_one, change_draw,
)  # fmt: skip


async def _any_row(look: asyncpg.Connection, table: str, chance: random.Random) -> asyncpg.Record:
    rows = await look.fetch(f"SELECT ctid::text, * FROM {table} ORDER BY ctid")
    return chance.choice(rows)


def _places(table: str, row: Any) -> list[str]:
    if table == "pools":
        return [f"pools/{row['pool_id']}"]
    if table in _HEADS:
        return [f"{table.removeprefix('audit_').removesuffix('s')} {row[_HEADS[table]]}"]
    if table == "batches":
        return [f"batch {row['batch_id']}", f"batch {row['batch_id']} (", f"chain {row['chain']} sequence"]
    return [f"batch {row['batch_id']} (", f"batch {row['batch_id']}"]


def _another(value: Any, chance: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + chance.choice((-1, 1, 1000))
        case Decimal():
            return value + chance.choice((-1, 1))
        case str():
            return value + "x" if chance.random() < 0.5 or not value else value[:-1]
        case bytes():
            place = chance.randrange(len(value))
            return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        case datetime():
            return value + timedelta(microseconds=1)
        case UUID():
            return UUID(int=chance.getrandbits(128))
        case list():
            return _another_array(value, chance)
    raise TypeError(type(value))


def _another_array(values: list[Any], chance: random.Random) -> list[Any]:
    if not values:
        return [1]
    place = chance.randrange(len(values))
    other = [*values]
    other[place] = _another(values[place], chance)
    return other
