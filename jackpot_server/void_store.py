"""Voids as SQL."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final
from uuid import UUID

import asyncpg

from jackpot_server.domain.commands import Void
from jackpot_server.domain.evidence import VOIDS, Evidence
from jackpot_server.domain.facts import Batch, Share
from jackpot_server.recall import share_rows

READ_SHARES = "SELECT spin_id, shares FROM contributions WHERE spin_id = ANY($1::uuid[])"


async def read_pools_of(
    connection: asyncpg.Connection, spin_ids: Collection[UUID]
) -> dict[UUID, tuple[int, ...]]:
    """The pools that took a share of contributions, of those that have arrived. That never changes."""
    rows = await connection.fetch(READ_SHARES, spin_ids)
    return {row["spin_id"]: _with_money(map(Share._make, share_rows(row["shares"]))) for row in rows}


def _with_money(shares: Iterable[Share]) -> tuple[int, ...]:
    return tuple(share.pool_key for share in shares if not share.skip_reason)


READ_VOIDS = "SELECT spin_id, operator_id, credited_pools, reason FROM voids WHERE spin_id = ANY($1::uuid[])"


async def read_voids(connection: asyncpg.Connection, spin_ids: Collection[UUID]) -> dict[UUID, Void]:
    """What voided spins first."""
    return {
        spin_id: Void(spin_id, operator_id, tuple(pools.split(",")) if pools else (), reason)
        for spin_id, operator_id, pools, reason in await connection.fetch(READ_VOIDS, spin_ids)
    }


INSERT_VOIDS: Final = """
INSERT INTO voids (batch_id, void_time, spin_id, operator_id, credited_pools, reason)
SELECT $1, $2, u.*
  FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[])
    AS u (spin_id, operator_id, credited_pools, reason)
 ORDER BY u.spin_id
"""


async def insert_voids(
    connection: asyncpg.Connection, batch: Batch, voids: Sequence[Void], evidence: Evidence
) -> None:
    """Adds voids; a spin that is voided already is a unique violation."""
    rows = [(void.spin_id, void.operator_id, ",".join(void.credited_pools), void.reason) for void in voids]
    await connection.execute(INSERT_VOIDS, *batch, *map(list, zip(*rows, strict=True)))
    evidence.add(VOIDS, rows)
