"""What is read without a lock: spins, their jackpots, wallets and entries. Every page follows an index."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast
from uuid import UUID

import asyncpg

from jackpot_outbox.store import RowCounts, row_counts
from service_kit.schema import schema_version
from spin_server.domain.facts import SettledSpin, WalletEntry
from spin_server.domain.wallet import EntryKind, Wallet
from spin_server.queries import EntriesQuery, SpinPosition, SpinsQuery
from spin_server.rows import SELECT_SPINS, settled_spin

# A filter that no index serves looks at so many spins for one page; a page may then be short, and go on.
FILTER_SCAN_LIMIT: Final = 10_000

_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
_END: Final = datetime(9999, 12, 31, tzinfo=UTC)
_LOWEST_ID: Final = UUID(int=0)

_SPIN = f"{SELECT_SPINS} WHERE s.spin_id = $1"

# Parameters: operator, the position below which and the time from which on to look, how many to look at.
_SCAN_OPERATOR = """
SELECT spin_id, settle_time, wallet_id, game_id
  FROM spins
 WHERE operator_id = $1 AND (settle_time, spin_id) < ($2, $3) AND settle_time >= $4
 ORDER BY settle_time DESC, spin_id DESC
 LIMIT $5
"""
_SCAN_USER = _SCAN_OPERATOR.replace("operator_id = $1", "operator_id = $1 AND user_id = $6")


def _spins_page(scan: str, wallet: int, game: int, limit: int) -> str:
    return f"""
WITH scanned AS MATERIALIZED ({scan}),
page AS MATERIALIZED (
    SELECT spin_id
      FROM scanned
     WHERE (${wallet} = '' OR wallet_id = ${wallet}) AND (${game} = '' OR game_id = ${game})
     ORDER BY settle_time DESC, spin_id DESC
     LIMIT ${limit}
)
{SELECT_SPINS}
 WHERE s.spin_id = ANY (ARRAY(SELECT spin_id FROM page))
 ORDER BY s.settle_time DESC, s.spin_id DESC
"""


_SPINS_OF_OPERATOR = _spins_page(_SCAN_OPERATOR, 6, 7, 8)
_SPINS_OF_USER = _spins_page(_SCAN_USER, 7, 8, 9)
_LAST_OF_OPERATOR = _SCAN_OPERATOR.replace("LIMIT $5", "OFFSET $5 - 1 LIMIT 1")
_LAST_OF_USER = _SCAN_USER.replace("LIMIT $5", "OFFSET $5 - 1 LIMIT 1")

_ANSWERED = """
SELECT spin_id FROM jackpot_results WHERE spin_id = ANY($1::uuid[])
 UNION ALL
SELECT spin_id
  FROM jackpot_outbox
 WHERE kind = 1 AND spin_id = ANY($1::uuid[]) AND win = '' AND event_sequence = 0 AND parked_time IS NOT NULL
"""

_WALLET = """
SELECT wallet_id, operator_id, user_id, currency_code, balance_minor, entry_count, is_test, create_time
  FROM wallets
 WHERE wallet_id = $1
"""

_ENTRIES = """
SELECT wallet_id, entry_number, kind, amount_minor, balance_minor, entry_time, spin_id, win, request_id
  FROM wallet_entries
 WHERE wallet_id = $1 AND entry_number < $2
 ORDER BY entry_number DESC
 LIMIT $3
"""
_ABOVE_EVERY_ENTRY: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SpinsPage:
    """Newest first; `next_after` continues the list, None ends it."""

    spins: list[SettledSpin]
    next_after: SpinPosition | None


@dataclass(frozen=True, slots=True)
class EntriesPage:
    """Newest first; `next_before` continues the list, None ends it."""

    wallet: Wallet
    entries: list[WalletEntry]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """What the server knows of its database."""

    version: str
    schema_version: int
    outbox: RowCounts


class Reads:
    """Reads over a pool of its own. Raises what the database raises."""

    def __init__(self, create_pool: Callable[[], Awaitable[asyncpg.Pool]]) -> None:
        self._create_pool = create_pool
        self._opened: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Makes the pool; call it before everything else."""
        self._opened = await self._create_pool()

    async def close(self) -> None:
        """Waits for what is being read."""
        if self._opened is not None:
            await self._opened.close()

    async def spin(self, spin_id: UUID) -> SettledSpin | None:
        """A spin with its jackpot as it is now."""
        row = await self._pool.fetchrow(_SPIN, spin_id)
        return settled_spin(row) if row else None

    async def spins(self, query: SpinsQuery) -> SpinsPage:
        """A page; with a filter that no index serves it may be short and still go on."""
        operator_id, user_id = query.operator_id, query.user_id
        if query.wallet_id:
            wallet = await self.wallet(query.wallet_id)
            if wallet is None or _is_other(operator_id, wallet.operator_id):
                return SpinsPage([], None)
            if _is_other(user_id, wallet.user_id):
                return SpinsPage([], None)
            operator_id, user_id = wallet.operator_id, wallet.user_id
        filtered = bool(query.wallet_id or query.game_id)
        looked_at = max(FILTER_SCAN_LIMIT, query.page_size + 1) if filtered else query.page_size + 1
        scan = [
            operator_id,
            *(query.after or (query.end or _END, _LOWEST_ID)),
            query.start or _BEGINNING,
            looked_at,
            *([user_id] if user_id else []),
        ]
        page_sql = _SPINS_OF_USER if user_id else _SPINS_OF_OPERATOR
        rows = await self._pool.fetch(page_sql, *scan, query.wallet_id, query.game_id, query.page_size + 1)
        spins = [settled_spin(row) for row in rows[: query.page_size]]
        if len(rows) > query.page_size:
            last = spins[-1].record
            return SpinsPage(spins, SpinPosition(last.settle_time, last.terms.spin_id))
        if not filtered:
            return SpinsPage(spins, None)
        end = await self._pool.fetchrow(_LAST_OF_USER if user_id else _LAST_OF_OPERATOR, *scan)
        return SpinsPage(spins, SpinPosition(end["settle_time"], end["spin_id"]) if end else None)

    async def wallet(self, wallet_id: str) -> Wallet | None:
        """A wallet as it was last committed."""
        row = await self._pool.fetchrow(_WALLET, wallet_id)
        return Wallet(*row) if row else None

    async def entries(self, query: EntriesQuery) -> EntriesPage | None:
        """A page of a wallet's entries; None if there is no such wallet."""
        wallet = await self.wallet(query.wallet_id)
        if wallet is None:
            return None
        before = _ABOVE_EVERY_ENTRY if query.before is None else query.before
        rows = await self._pool.fetch(_ENTRIES, query.wallet_id, before, query.page_size + 1)
        entries = [_entry(row) for row in rows[: query.page_size]]
        more = len(rows) > query.page_size
        return EntriesPage(wallet, entries, entries[-1].entry_number if more else None)

    async def answered(self, spin_ids: Sequence[UUID]) -> Collection[UUID]:
        """Those of the spins whose jackpot is known or parked."""
        return [row["spin_id"] for row in await self._pool.fetch(_ANSWERED, spin_ids)]

    async def is_up(self) -> bool:
        """True; raises if the database does not answer."""
        return bool(await self._pool.fetchval("SELECT true"))

    async def info(self) -> DatabaseInfo:
        """Versions, and what waits in the outbox."""
        async with self._pool.acquire() as acquired:
            connection = cast(asyncpg.Connection, acquired)
            version = await connection.fetchval("SHOW server_version")
            schema = await schema_version(connection)
            return DatabaseInfo(version, schema, await row_counts(connection))

    @property
    def _pool(self) -> asyncpg.Pool:
        assert self._opened is not None, "not opened"
        return self._opened


def _is_other(asked: str, actual: str) -> bool:
    return asked not in ("", actual)


def _entry(row: asyncpg.Record) -> WalletEntry:
    return WalletEntry(
        wallet_id=row["wallet_id"],
        entry_number=row["entry_number"],
        kind=EntryKind(row["kind"]),
        amount_minor=row["amount_minor"],
        balance_minor=row["balance_minor"],
        entry_time=row["entry_time"],
        spin_id=row["spin_id"],
        win=row["win"],
        request_id=row["request_id"],
    )
