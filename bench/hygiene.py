"""How the tables that are written again and again keep their size: what a long load is asked each minute."""

from dataclasses import dataclass
from typing import Final

import asyncpg

# In each database, the tables whose rows are updated or deleted; all others only grow.
SPINS_TABLES: Final = ("wallets", "jackpot_outbox", "jackpot_wins", "jackpot_cursors")
JACKPOTS_TABLES: Final = ("pools", "operators", "audit_chains")

_LOOK = """
SELECT c.relname AS name, pg_table_size(c.oid) AS heap, pg_indexes_size(c.oid) AS indexes,
       s.n_dead_tup AS dead, s.n_tup_upd AS updates, s.n_tup_hot_upd AS in_place, s.n_tup_del AS deletes,
       s.autovacuum_count AS vacuums
  FROM unnest($1::text[]) AS t (name)
  JOIN pg_class c ON c.oid = to_regclass(t.name)
  JOIN pg_stat_user_tables s ON s.relid = c.oid
"""


@dataclass(frozen=True, slots=True)
class TableLook:
    """One table at one moment: bytes, and counts since the statistics began."""

    name: str
    heap: int
    indexes: int
    dead: int
    updates: int
    in_place: int
    deletes: int
    vacuums: int

    @property
    def kib(self) -> float:
        """With its indexes."""
        return (self.heap + self.indexes) / 1024

    def __str__(self) -> str:
        told = [f"{self.dead} dead rows", f"vacuumed {self.vacuums} times"]
        if self.deletes:
            told.append(f"{self.deletes} deleted")
        if self.updates:
            told.append(f"{self.in_place / self.updates:.1%} of {self.updates} updates in place")
        return ", ".join(told)


async def look(dsn: str, tables: tuple[str, ...]) -> list[TableLook]:
    """The tables as they are now."""
    connection = await asyncpg.connect(dsn)
    try:
        return [TableLook(**row) for row in await connection.fetch(_LOOK, list(tables))]
    finally:
        await connection.close()
