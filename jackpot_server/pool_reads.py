"""Pools as displays ask for them: all, those that changed, their wins without players, and who takes part."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import asyncpg

from jackpot_server.domain.pool import PoolView, parse_canonical, pool_view
from jackpot_server.queries import PublicWin
from jackpot_server.reads import ReadConnections
from jackpot_server.recall import pool_of

# Wins of one pool that one glance shows.
MAX_SHOWN_WINS: Final = 20

_parse_config = lru_cache(maxsize=4096)(parse_canonical)


class CatalogLine(NamedTuple):
    """Who takes part in a pool. No operators: everybody."""

    pool_id: str
    currency_code: str
    operator_ids: tuple[str, ...]


_VIEW_COLUMNS = """
       p.pool_key, p.pool_id, p.currency_code, p.state, p.config_version, p.cycle_config_version, p.cycle,
       p.cycle_start_micros, p.cycle_start_time, p.current_micros, p.reserve_micros, p.overflow_micros,
       p.version, p.update_time, p.last_win_minor, p.last_win_time, p.cycle_deadline,
       newest.config, of_cycle.config, s.commitment"""
_VIEW_SOURCES = """
  JOIN pool_configs newest ON newest.pool_key = p.pool_key AND newest.version = p.config_version
  JOIN pool_configs of_cycle ON of_cycle.pool_key = p.pool_key AND of_cycle.version = p.cycle_config_version
  LEFT JOIN seed_commitments s ON s.pool_key = p.pool_key AND s.cycle = p.cycle"""
_STATE_COLUMNS: Final = 17

_POOLS = f"SELECT {_VIEW_COLUMNS} FROM pools p {_VIEW_SOURCES} WHERE p.pool_id = ANY($1::text[])"

_CHANGED_POOLS = f"""
SELECT {_VIEW_COLUMNS}
  FROM pools p
  LEFT JOIN unnest($1::text[], $2::bigint[]) AS seen (pool_id, version) ON seen.pool_id = p.pool_id
{_VIEW_SOURCES}
 WHERE p.version > COALESCE(seen.version, -1)"""

# A cycle that is over was won, or ended without a win; which, its pool's row said in the same transaction.
_PUBLIC_WINS = """
SELECT p.pool_id, w.tier, w.cycle, w.currency_code, w.amount_minor, w.decide_time
  FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS span (pool_id, first_cycle, running_cycle)
  JOIN pools p USING (pool_id)
 CROSS JOIN LATERAL (
        SELECT * FROM wins
         WHERE pool_key = p.pool_key AND cycle >= span.first_cycle AND cycle < span.running_cycle
           AND NOT shadow
         ORDER BY cycle DESC LIMIT $4) w
 ORDER BY w.decide_time, p.pool_id, w.cycle"""

_CATALOG_LINES = """
SELECT (SELECT version FROM catalog) AS catalog_version, p.pool_id, p.currency_code, c.config
  FROM pools p
  JOIN pool_configs c ON c.pool_key = p.pool_key AND c.version = p.config_version
 ORDER BY p.pool_id COLLATE "C" """
_CATALOG_VERSION = "SELECT version FROM catalog"

_DATABASE_VERSION = "SELECT current_setting('server_version')"
_CONFIG_DIGESTS = """
SELECT p.pool_id, p.config_version, c.config_sha256
  FROM pools p
  JOIN pool_configs c ON c.pool_key = p.pool_key AND c.version = p.config_version
 ORDER BY p.pool_id COLLATE "C" """


class PoolReads:
    """Queries about pools. All may be asked again; nothing is changed."""

    def __init__(self, connections: ReadConnections) -> None:
        self._fetch = connections.fetch

    async def pools(self, pool_ids: Collection[str]) -> list[PoolView]:
        """Those that exist, in no order."""
        return [_view_of(row) for row in await self._fetch(_POOLS, list(pool_ids))]

    async def changed_pools(self, seen: Mapping[str, int]) -> list[PoolView]:
        """Pools whose version is higher than the one in `seen`, and those that are not in it."""
        rows = await self._fetch(_CHANGED_POOLS, list(seen), list(seen.values()))
        return [_view_of(row) for row in rows]

    async def public_wins(self, spans: Sequence[tuple[str, int, int]]) -> list[PublicWin]:
        """Wins of pools from a cycle on and before another, oldest first; of each pool the last few."""
        pool_ids, first_cycles, running_cycles = zip(*spans, strict=True)
        rows = await self._fetch(_PUBLIC_WINS, pool_ids, first_cycles, running_cycles, MAX_SHOWN_WINS)
        return [PublicWin(*row) for row in rows]

    async def catalog_lines(self) -> tuple[int, list[CatalogLine]]:
        """The catalog's version, and its pools in order of their ids."""
        rows = await self._fetch(_CATALOG_LINES)
        if not rows:
            return (await self._fetch(_CATALOG_VERSION))[0][0], []
        lines = [
            CatalogLine(row["pool_id"], row["currency_code"], _parse_config(row["config"]).operator_ids)
            for row in rows
        ]
        return rows[0]["catalog_version"], lines

    async def database_version(self) -> str:
        """As the server itself says."""
        version: str = (await self._fetch(_DATABASE_VERSION))[0][0]
        return version

    async def config_digest(self) -> bytes:
        """SHA-256 over each pool's id, the version and the digest of its configuration, in order of ids."""
        digest = hashlib.sha256()
        for pool_id, version, config_digest in await self._fetch(_CONFIG_DIGESTS):
            digest.update(f"{pool_id} {version} {config_digest.hex()}\n".encode())
        return digest.digest()

    async def answers(self) -> bool:
        """True; what it raises says that the database does not answer."""
        return bool(await self._fetch(_CATALOG_VERSION))


def _view_of(row: asyncpg.Record) -> PoolView:
    newest, of_cycle, commitment = row[_STATE_COLUMNS:]
    return pool_view(
        pool_of(row[:_STATE_COLUMNS]), _parse_config(newest), _parse_config(of_cycle), commitment or b""
    )
