"""Which root keys the committed cycles need, and whether they are here: when may an older one go (PR-13)?"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from jackpot_server.domain.draw import commitment
from jackpot_server.keys import RootKeys


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One key id: committed cycles that have not closed, those that have, and the pools of the open ones.

    `is_here` is None if the key is not configured, False if another secret goes by its name.
    """

    key_id: str
    open_cycles: int
    closed_cycles: int
    pool_ids: Sequence[str]
    is_here: bool | None


READ_USES = """
SELECT c.key_id,
       count(*) FILTER (WHERE c.cycle >= p.cycle AND p.state <> 4) AS open_cycles,
       count(*) FILTER (WHERE c.cycle < p.cycle OR p.state = 4) AS closed_cycles,
       COALESCE(array_agg(DISTINCT p.pool_id ORDER BY p.pool_id)
                FILTER (WHERE c.cycle >= p.cycle AND p.state <> 4), '{}') AS pool_ids,
       (array_agg(p.pool_id ORDER BY c.pool_key, c.cycle))[1] AS pool_id,
       (array_agg(c.cycle ORDER BY c.pool_key, c.cycle))[1] AS cycle,
       (array_agg(c.commitment ORDER BY c.pool_key, c.cycle))[1] AS commitment
  FROM seed_commitments c
  JOIN pools p USING (pool_key)
 GROUP BY c.key_id
 ORDER BY max(c.commit_time)
"""


async def key_uses(connection: asyncpg.Connection, root_keys: RootKeys) -> list[KeyUse]:
    """Every key that this database's cycles were committed with, and every configured one; oldest first."""
    uses = []
    for row in await connection.fetch(READ_USES):
        key = root_keys.get(row["key_id"])
        is_here = None
        if key is not None:
            is_here = commitment(key.seed(row["pool_id"], row["cycle"])) == row["commitment"]
        uses.append(KeyUse(row["key_id"], row["open_cycles"], row["closed_cycles"], row["pool_ids"], is_here))
    known = {use.key_id for use in uses}
    return uses + [KeyUse(key.key_id, 0, 0, (), True) for key in root_keys if key.key_id not in known]


def told(use: KeyUse, newest_id: str) -> str:
    """One line about a key for who rotates it."""
    state = {None: "not configured", False: "ANOTHER SECRET BY THIS NAME", True: "configured"}[use.is_here]
    if use.open_cycles:
        need = f"needed: {use.open_cycles} committed cycles of {', '.join(use.pool_ids)} are not closed"
    else:
        need = "no open cycle needs it"
    if use.closed_cycles and not use.open_cycles:
        need += f"; without it the draws of {use.closed_cycles} closed cycles are shown without their seeds"
    newest = ", commits to new cycles" if use.key_id == newest_id else ""
    return f"{use.key_id}: {state}{newest}; {need}"
