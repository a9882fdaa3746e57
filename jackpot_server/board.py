"""Pools as anybody may see them, at most a second old: read through the cache, never needing it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from jackpot_server.cache import Snapshot, SnapshotCache, now_ms
from jackpot_server.pool_reads import CatalogLine, PoolReads
from jackpot_server.queries import PoolsQuery
from jackpot_server.reads import Page
from jackpot_server.rules_text import pool_rules
from jackpot_server.snapshots import SnapshotReader
from jackpot_server.wire import answers
from protos.jackpot.v1 import jackpot_pb2 as pb

# No pool can have this id.
_CATALOG: Final = "/catalog"


class PoolBoard:
    """GetPool and ListPools. Without a cache, or with a broken one, it asks the database."""

    def __init__(self, reads: PoolReads, cache: SnapshotCache | None) -> None:
        self._reads = reads
        self._snapshots = SnapshotReader(cache, self._load)

    async def pool(self, pool_id: str) -> pb.GetPoolResponse | None:
        """The pool, or None if there is none. The message is everybody's: it must not be changed."""
        snapshot = await self._snapshots.get(pool_id)
        return None if snapshot is None else _shown(snapshot.payload)

    async def rules(self, pool_id: str) -> pb.GetPoolRulesResponse | None:
        """What a player must be told of the pool, from the configuration that decides now; None if none."""
        for view in await self._reads.pools([pool_id]):
            return pb.GetPoolRulesResponse(rules=pool_rules(view), config=answers.pool_config(view.config))
        return None

    async def pools(self, query: PoolsQuery) -> Page[pb.Pool, str]:
        """Pools in order of their ids."""
        catalog = await self._snapshots.get(_CATALOG)
        pool_ids = [] if catalog is None else _take_part(_read_catalog(catalog.payload), query)
        found: list[pb.Pool] = []
        size = 0
        for snapshot in await self._snapshots.get_many(pool_ids[: query.page_size]):
            if snapshot is not None:
                size += len(snapshot.payload)
                if found and size > answers.MAX_PAGE_BYTES:
                    return Page(found, _id_of(found[-1]))
                found.append(pb.Pool.FromString(snapshot.payload))
        more = len(pool_ids) > query.page_size
        return Page(found, pool_ids[query.page_size - 1] if more else None)

    async def close(self) -> None:
        """Answers who has asked."""
        await self._snapshots.close()

    async def _load(self, keys: Sequence[str]) -> Mapping[str, Snapshot]:
        stamp_ms = now_ms()
        loaded: dict[str, Snapshot] = {}
        pool_ids = [key for key in keys if key != _CATALOG]
        if len(pool_ids) < len(keys):
            version, lines = await self._reads.catalog_lines()
            loaded[_CATALOG] = Snapshot(_CATALOG, version, _write_catalog(lines), stamp_ms)
        if pool_ids:
            for view in await self._reads.pools(pool_ids):
                loaded[view.key] = Snapshot(view.key, view.version, answers.pool_snapshot(view), stamp_ms)
        return loaded


# A snapshot answers many calls.
@lru_cache(maxsize=1024)
def _shown(payload: bytes) -> pb.GetPoolResponse:
    return pb.GetPoolResponse(pool=pb.Pool.FromString(payload))


def _take_part(lines: Sequence[CatalogLine], query: PoolsQuery) -> list[str]:
    return [
        line.pool_id
        for line in lines
        if line.pool_id > query.after
        and (not query.currency_code or line.currency_code == query.currency_code)
        and (not query.operator_id or not line.operator_ids or query.operator_id in line.operator_ids)
    ]


def _id_of(pool: pb.Pool) -> str:
    return pool.name.removeprefix("pools/")


# A line per pool: id, currency, operators; none of them can hold a space.
def _write_catalog(lines: Sequence[CatalogLine]) -> bytes:
    return "\n".join(
        " ".join((line.pool_id, line.currency_code, *line.operator_ids)) for line in lines
    ).encode()


def _read_catalog(payload: bytes) -> list[CatalogLine]:
    lines = (line.split(" ") for line in payload.decode().splitlines())
    return [
        CatalogLine(pool_id, currency_code, tuple(operators)) for pool_id, currency_code, *operators in lines
    ]
