"""Committers over one jackpots database, with the application's rights and no more."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import asyncpg

from devstack.auditor import JACKPOTS_CHECKS
from jackpot_server.apply import apply
from jackpot_server.audit.audit import audit
from jackpot_server.committer import Committer
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.facts import Recorded, Win
from jackpot_server.domain.pool import Odds, PoolConfig, PoolView
from jackpot_server.keys import RootKey, RootKeys
from service_kit.database import connect
from tests.support.engine import NEVER, pool_config, spin

ROOT_KEYS = RootKeys(RootKey("root-1", bytes(range(32))))
# About every fifth spin of 1.00 wins.
OFTEN = Odds(one_in=5, per_wager_minor=100)
# A game that wins nothing.
QUIET = "quiet"
POOLS: Mapping[str, PoolConfig] = {
    "mini": pool_config(
        OFTEN, contribution_ppm=15_555, reserve_ppm=7_777, reset_minor=100, tier="MINI", game_ids=("game",)
    ),
    "grand": pool_config(NEVER, contribution_ppm=333, reset_minor=5000, tier="GRAND"),
}


@dataclass
class Bench:
    """A committer, a connection to look at its database with, and what it announced."""

    committer: Committer
    look: asyncpg.Connection
    # Every statement that the committer sent, on any connection.
    statements: list[str] = field(default_factory=list)
    views: list[PoolView] = field(default_factory=list)

    async def warm(self) -> None:
        """Lets the driver learn the types of the statements, which it does once per connection."""
        await self.wins(1)
        self.statements.clear()

    async def count(self, table: str) -> int:
        return int(await self.look.fetchval(f"SELECT count(*) FROM {table}"))

    async def wins(self, count: int, **others: Any) -> list[Win]:
        """Some wins, by new spins."""
        wins: list[Win] = []
        while len(wins) < count:
            for answer in await self.record(*(new_spin(**others) for _ in range(20))):
                wins += answer.wins
        return wins[:count]

    async def record(self, *commands: Contribute) -> list[Recorded]:
        """What was recorded; fails if anything was refused."""
        answers = await self.committer.contribute_many(commands)
        for answer in answers:
            assert isinstance(answer, Recorded), answer
        return answers  # type: ignore[return-value]


def new_spin(**others: Any) -> Contribute:
    """The contribution of a new spin of 1.00."""
    return spin(0, **others)._replace(spin_id=uuid4())


@asynccontextmanager
async def open_bench(
    dsn: str,
    pools: Mapping[str, PoolConfig] = POOLS,
    *,
    root_keys: RootKeys = ROOT_KEYS,
    lock_timeout_ms: int = 200,
    on_commit: Callable[[Sequence[PoolView]], None] | None = None,
) -> AsyncIterator[Bench]:
    """A committer over `dsn`, where `pools` are applied first; several may share it, as replicas do."""
    look = await connect(dsn, application_name="test")
    await apply(look, pools, root_keys, actor="test", reason="test")
    statements: list[str] = []
    views: list[PoolView] = []

    async def as_the_application() -> asyncpg.Connection:
        connection = await connect(dsn, application_name="committer", lock_timeout_ms=lock_timeout_ms)
        await connection.execute("SET ROLE jackpot_app")
        connection.add_query_logger(lambda logged: statements.append(logged.query))
        return connection

    committer = Committer(as_the_application, root_keys, on_commit=on_commit or views.extend)
    try:
        await committer.start()
        yield Bench(committer, look, statements, views)
    finally:
        await committer.close()
        await look.close()


async def findings(look: asyncpg.Connection) -> list[str]:
    """What the audit and another auditor's SQL find wrong in a jackpots database."""
    async with look.transaction(isolation="repeatable_read", readonly=True):
        done = await audit(look, root_keys=ROOT_KEYS)
    found = list(map(str, done.findings.found))
    for wrong, sql in JACKPOTS_CHECKS.items():
        found += [f"{wrong}: {dict(row)}" for row in await look.fetch(sql)]
    return found
