"""A spins database with its committer, and a whole spin server in this process behind real gRPC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from jackpot_outbox.rows import Row
from service_kit.database import connect
from spin_server.committer import Committer
from spin_server.domain.settle import Rules
from spin_server.games import load_games
from tests.integration.spin_server.commands import create, deposit

ROOT = Path(__file__).parents[3]
CATALOG = load_games(ROOT / "devstack/demo/games.toml")


@dataclass
class Bench:
    """A committer, a connection to look at its database with, and what it announced."""

    committer: Committer
    look: asyncpg.Connection
    # Every statement that the committer sent, on any connection.
    statements: list[str] = field(default_factory=list)
    offered: list[Row] = field(default_factory=list)
    booked: list[UUID] = field(default_factory=list)

    async def fund(self, wallet_id: str = "w", amount_minor: int = 10_000, *, is_test: bool = False) -> None:
        await self.committer.wallet(create(wallet_id, is_test=is_test))
        if amount_minor:
            await self.committer.wallet(deposit(wallet_id, amount_minor))

    async def balance(self, wallet_id: str = "w") -> int:
        return int(
            await self.look.fetchval("SELECT balance_minor FROM wallets WHERE wallet_id = $1", wallet_id)
        )

    async def count(self, table: str) -> int:
        return int(await self.look.fetchval(f"SELECT count(*) FROM {table}"))


@asynccontextmanager
async def open_bench(
    dsn: str, *, jackpots_on: bool = True, lock_timeout_ms: int = 200
) -> AsyncIterator[Bench]:
    """A committer over `dsn`; several may share a database, as replicas do."""
    look = await connect(dsn, application_name="test")
    statements: list[str] = []
    offered: list[Row] = []
    booked: list[UUID] = []

    async def counted() -> asyncpg.Connection:
        connection = await connect(dsn, application_name="committer", lock_timeout_ms=lock_timeout_ms)
        connection.add_query_logger(lambda logged: statements.append(logged.query))
        return connection

    committer = Committer(
        counted,
        Rules(CATALOG, jackpots_on),
        max_batch=500,
        max_waiting=10_000,
        on_commit=offered.extend,
        on_booked=booked.extend,
    )
    committer.start()
    try:
        yield Bench(committer, look, statements, offered, booked)
    finally:
        await committer.close()
        await look.close()


@pytest.fixture
async def bench(spins_dsn: str) -> AsyncIterator[Bench]:
    async with open_bench(spins_dsn) as opened:
        yield opened
