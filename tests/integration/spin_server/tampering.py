"""Somebody with all rights changes a spins database by hand: at random."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

# What an audit derives from other rows, and the columns of which one must be named where it is found.
DERIVED: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "wallets": (["balance_minor", "entry_count", "operator_id", "user_id"], ["wallet_id"]),
    "wallet_entries": (
        ["amount_minor", "balance_minor", "entry_number", "wallet_id", "spin_id", "win", "request_id"],
        ["wallet_id", "spin_id", "win", "request_id"],
    ),
    "spins": (
        ["wager_minor", "payout_minor", "balance_minor", "wallet_id", "operator_id", "settle_time",
         "has_jackpot", "spin_id"],
        ["spin_id"],
    ),
    "spin_voids": (["spin_id", "wallet_id", "operator_id"], ["spin_id"]),
    "jackpot_voids": (["spin_id"], ["spin_id"]),
    "jackpot_results": (["spin_id", "operator_id"], ["spin_id"]),
    "jackpot_wins": (["amount_minor", "spin_id", "wallet_id", "wallet_entry_id", "user_id"], ["win"]),
    "wallet_requests": (["amount_minor", "entry_number", "wallet_id"], ["request_id"]),
}  # fmt: skip
# Rows without a trace elsewhere are left out.
_WITH_A_TRACE: Final[Mapping[str, str]] = {
    "wallet_requests": "method <> 1",
    "wallets": "entry_count > 0",
    "spins": "wager_minor > 0 OR payout_minor > 0",
    "jackpot_wins": "wallet_entry_id IS NOT NULL",
}


@dataclass(frozen=True, slots=True)
class Tampering:
    """What was done, and words of which one must be where an audit finds it."""

    what: str
    places: Sequence[str]


async def edit(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """One value of one row."""
    table = chance.choice([*DERIVED])
    row = await _any_row(look, table, chance)
    column = chance.choice([name for name in DERIVED[table][0] if row[name] is not None])
    value = _another(row[column], chance)
    await look.execute(f"UPDATE {table} SET {column} = $1 WHERE ctid = $2::text::tid", value, row["ctid"])
    return Tampering(f"{table}.{column}: {row[column]!r:.60} to {value!r:.60}", _places(table, row))


async def delete(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """One row."""
    table = chance.choice([*DERIVED])
    row = await _any_row(look, table, chance)
    await look.execute(f"DELETE FROM {table} WHERE ctid = $1::text::tid", row["ctid"])
    return Tampering(f"a row of {table} deleted", _places(table, row))


async def insert(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """A spin, an entry or a void like another one."""
    table, key, value = chance.choice(
        [
            ("spins", "spin_id", uuid4()),
            ("spin_voids", "spin_id", uuid4()),
            ("wallet_entries", "entry_number", 10**6),
        ]
    )  # fmt: skip
    row = dict(await _any_row(look, table, chance))
    row.pop("ctid")
    row[key] = value
    await _insert(look, table, row)
    return Tampering(f"a row of {table} inserted", _places(table, row))


async def swap(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """Two entries of wallets change what they moved."""
    one = await _any_row(look, "wallet_entries", chance)
    two = await _any_row(look, "wallet_entries", chance)
    if one["amount_minor"] == two["amount_minor"]:
        return await swap(look, chance)
    for row, other in ((one, two), (two, one)):
        await look.execute(
            "UPDATE wallet_entries SET amount_minor = $1 WHERE wallet_id = $2 AND entry_number = $3",
            other["amount_minor"], row["wallet_id"], row["entry_number"],
        )  # fmt: skip
    return Tampering("two entries swapped", _places("wallet_entries", one) + _places("wallet_entries", two))


async def cut_tail(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """A wallet's newest entry goes, and the wallet is as it was before it."""
    wallet = await _any_row(look, "wallets", chance)
    entry = await look.fetchrow(
        "DELETE FROM wallet_entries WHERE wallet_id = $1 AND entry_number = $2 RETURNING *",
        wallet["wallet_id"], wallet["entry_count"],
    )  # fmt: skip
    assert entry is not None
    await look.execute(
        "UPDATE wallets SET balance_minor = balance_minor - $2, entry_count = entry_count - 1"
        " WHERE wallet_id = $1",
        wallet["wallet_id"], entry["amount_minor"],
    )  # fmt: skip
    return Tampering("a wallet's newest entry cut", _places("wallet_entries", entry))


async def credit_again(look: asyncpg.Connection, chance: random.Random) -> Tampering:
    """A win is credited a second time, correctly booked, past the index that forbids it."""
    rows = await look.fetch("SELECT * FROM wallet_entries WHERE kind = 3 ORDER BY wallet_id, entry_number")
    entry = dict(chance.choice(rows))
    await look.execute("DROP INDEX wallet_entries_one_credit_per_win")
    wallet = await look.fetchrow(
        "UPDATE wallets SET balance_minor = balance_minor + $2, entry_count = entry_count + 1"
        " WHERE wallet_id = $1 RETURNING *",
        entry["wallet_id"], entry["amount_minor"],
    )  # fmt: skip
    assert wallet is not None
    entry |= {"entry_number": wallet["entry_count"], "balance_minor": wallet["balance_minor"]}
    await _insert(look, "wallet_entries", entry)
    return Tampering("a win credited again", [f"jackpot_wins win {entry['win']}"])


KINDS: Final[Sequence[Callable[[asyncpg.Connection, random.Random], Awaitable[Tampering]]]] = (
    edit, edit, edit, delete, delete, insert, swap, cut_tail, credit_again,
)  # fmt: skip


async def _any_row(look: asyncpg.Connection, table: str, chance: random.Random) -> asyncpg.Record:
    where = _WITH_A_TRACE.get(table, "true")
    return chance.choice(await look.fetch(f"SELECT ctid::text, * FROM {table} WHERE {where} ORDER BY ctid"))


async def _insert(look: asyncpg.Connection, table: str, row: Mapping[str, Any]) -> None:
    numbers = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await look.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({numbers})", *row.values())


def _places(table: str, row: Mapping[str, Any] | asyncpg.Record) -> list[str]:
    """Names that tell which row it is about; of an entry also those of what is behind it."""
    return [str(row[name]) for name in DERIVED[table][1] if row[name] is not None]


def _another(value: Any, chance: random.Random) -> Any:
    match value:
        case bool():
            return not value
        case int() | Decimal():
            return value + chance.choice((-1, 1, 1000))
        case str():
            return value + "x"
        case UUID():
            return UUID(int=chance.getrandbits(128))
        case datetime():
            return value + timedelta(microseconds=1)
    raise TypeError(type(value))
