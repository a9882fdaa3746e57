"""A server's database as its administrator sets it up: an owner for migrations, a login for the server."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True, slots=True)
class Tenant:
    """A server's package and the prefix of its settings, its database, and the roles around it.

    `owner` runs the migrations; the server logs in as `login`, which has no rights but those of `app_role`,
    made by the migrations.
    """

    package: str
    prefix: str
    database: str
    owner: str
    app_role: str

    @property
    def login(self) -> str:
        """The server's role is called as its package."""
        return self.package


SPINS = Tenant("spin_server", "SPIN", "spins", owner="spins_owner", app_role="spin_app")
JACKPOTS = Tenant("jackpot_server", "JACKPOT", "jackpots", owner="jackpots_owner", app_role="jackpot_app")


def provide(superuser_dsn: str, tenant: Tenant, owner_password: str) -> None:
    """Makes the database and its owner where they are missing. May be repeated."""
    asyncio.run(_provide(superuser_dsn, tenant, owner_password))


def admit(superuser_dsn: str, tenant: Tenant, login_password: str) -> None:
    """Makes the server's login, with the rights that the migrations gave to its group. May be repeated."""
    statements = [*_login(tenant.login, login_password, ""), f"GRANT {tenant.app_role} TO {tenant.login}"]
    asyncio.run(_execute(superuser_dsn, statements))


async def _provide(superuser_dsn: str, tenant: Tenant, owner_password: str) -> None:
    # CREATEROLE: the first migration makes the group of the application's roles.
    await _execute(superuser_dsn, _login(tenant.owner, owner_password, "CREATEROLE"))
    connection = await asyncpg.connect(superuser_dsn)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", tenant.database):
            await connection.execute(f"CREATE DATABASE {tenant.database} OWNER {tenant.owner}")
    finally:
        await connection.close()


def _login(role: str, password: str, options: str) -> list[str]:
    quoted = password.replace("'", "''")
    return [
        f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"ALTER ROLE {role} LOGIN {options} PASSWORD '{quoted}'",
    ]


async def _execute(dsn: str, statements: Sequence[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
