"""A wallet that uses the outbox in its own process: one table of credits, one credit function."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg

from jackpot_outbox import store
from jackpot_outbox.booking import book
from jackpot_outbox.rows import Booked, Booking, ContributionRow, Credited, Impossible, WinNotice
from jackpot_outbox.service import Outbox
from jackpot_outbox.settings import OutboxSettings
from service_kit.database import connect

CREDITS = "CREATE TABLE credits (win text PRIMARY KEY, amount_minor bigint NOT NULL)"


def quick(address: str, **fields: object) -> OutboxSettings:
    """Settings with short time-outs, and `fields`."""
    known: dict[str, object] = {
        "jackpot_address": address,
        "call_timeout_ms": 600,
        "lease_ms": 1_500,
        "poll_ms": 50,
        "cursor_lease_ms": 1_500,
    }
    return OutboxSettings(**(known | fields))  # type: ignore[arg-type]


def contribution(**fields: object) -> ContributionRow:
    """A row with a spin of its own; what is not named is as in the demo."""
    known: dict[str, object] = {
        "spin_id": uuid4(),
        "operator_id": "demo",
        "user_id": "anna",
        "wallet_id": "anna-coins",
        "currency_code": "COIN",
        "wager_minor": 100,
        "game_category": 1,
        "game_id": "demo-slots",
    }
    return ContributionRow(**(known | fields))  # type: ignore[arg-type]


class WalletDouble:
    """Books in one transaction each, credits a win by an INSERT that a second credit would break."""

    def __init__(self, dsn: str, settings: OutboxSettings) -> None:
        self.dsn = dsn
        self.impossible: set[str] = set()
        self.bookings = 0
        self.fail_bookings = 0
        self.outbox = Outbox(settings, connect=self.connect, book=self.book)
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection | None = None

    async def connect(self) -> asyncpg.Connection:
        return await connect(self.dsn, application_name="wallet double")

    async def __aenter__(self) -> "WalletDouble":
        await self.outbox.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.outbox.close()
        if self._connection is not None:
            await self._connection.close()

    async def insert(self, rows: Sequence[ContributionRow], *, offer: bool) -> None:
        """Commits rows; without `offer` they are due at once, as a foreign writer's."""
        async with self._transaction() as connection:
            await store.insert_contributions(connection, rows)
            if not offer:
                await connection.execute("UPDATE jackpot_outbox SET due_time = now()")
        if offer:
            self.outbox.offer(rows)

    async def book(self, booking: Booking) -> Booked:
        if self.fail_bookings:
            self.fail_bookings -= 1
            raise ConnectionResetError("as told")
        async with self._transaction() as connection:
            booked = await book(connection, [booking], credit=self._credit)
        self.bookings += 1
        self.outbox.offer(booked.acknowledgements)
        return booked

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[asyncpg.Connection]:
        """One at a time; after an error the next one has a new connection."""
        async with self._lock:
            if self._connection is None:
                self._connection = await self.connect()
            try:
                async with self._connection.transaction():
                    yield self._connection
            except BaseException:
                self._connection.terminate()
                self._connection = None
                raise

    async def _credit(
        self, connection: asyncpg.Connection, wins: Sequence[WinNotice], /
    ) -> list[Credited | Impossible]:
        possible = [win for win in wins if win.wallet_id not in self.impossible]
        await connection.executemany(
            "INSERT INTO credits VALUES ($1, $2)", [(win.win, win.amount_minor) for win in possible]
        )
        return [
            Credited(f"credit of {win.win}", datetime.now(UTC))
            if win in possible
            else Impossible("NO_SUCH_WALLET")
            for win in wins
        ]


class Look:
    """Reads a wallet's database for assertions."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def open_spins(self) -> set[UUID]:
        """Spins with a row that is neither answered nor parked."""
        rows = await self.connection.fetch("SELECT spin_id FROM jackpot_outbox WHERE parked_time IS NULL")
        return {row["spin_id"] for row in rows}

    async def is_empty(self) -> bool:
        return not await self.open_spins()

    async def parked(self) -> dict[UUID, str]:
        rows = await self.connection.fetch(
            "SELECT spin_id, last_error FROM jackpot_outbox WHERE parked_time IS NOT NULL"
        )
        return {row["spin_id"]: row["last_error"] for row in rows}

    async def results(self) -> set[UUID]:
        return {row["spin_id"] for row in await self.connection.fetch("SELECT spin_id FROM jackpot_results")}

    async def credits(self) -> dict[str, int]:
        rows = await self.connection.fetch("SELECT win, amount_minor FROM credits")
        return {row["win"]: row["amount_minor"] for row in rows}

    async def wins(self) -> dict[str, asyncpg.Record]:
        return {row["win"]: row for row in await self.connection.fetch("SELECT * FROM jackpot_wins")}

    async def cursor(self, operator_id: str = "demo") -> int | None:
        value: int | None = await self.connection.fetchval(
            "SELECT last_sequence FROM jackpot_cursors WHERE operator_id = $1", operator_id
        )
        return value
