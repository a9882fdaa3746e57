"""The roles around a server's database: an owner for migrations, a login that can do its work and no more."""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from devstack.databases import JACKPOTS, SPINS, Tenant, admit, provide
from devstack.postgres import with_database
from service_kit.migrate import upgrade
from tests.support.cluster import TestCluster

PASSWORD = "it's $ecret"
SERVER_CAN = {
    "spin_server": ("SELECT count(*) FROM wallets", "SELECT count(*) FROM jackpot_outbox"),
    "jackpot_server": ("SELECT count(*) FROM pools", "SELECT nextval('batch_ids')"),
}
SERVER_CANNOT = {
    "spin_server": (
        "DELETE FROM wallet_entries",
        "UPDATE spins SET payout_minor = 0",
        "TRUNCATE wallets",
        "CREATE TABLE mine (number integer)",
    ),
    "jackpot_server": (
        "UPDATE contributions SET wager_minor = 1",
        "DELETE FROM wins",
        "UPDATE win_events SET state = 3",
        "DELETE FROM entries",
        "CREATE TABLE mine (number integer)",
    ),
}


def dsn_of(superuser_dsn: str, role: str, database: str) -> str:
    parts = urlsplit(with_database(superuser_dsn, database))
    secret = PASSWORD.replace("'", "%27").replace(" ", "%20").replace("$", "%24")
    return urlunsplit(parts._replace(netloc=f"{role}:{secret}@{parts.hostname}:{parts.port}"))


@pytest.fixture(scope="module")
def tenants(postgres: TestCluster) -> Iterator[dict[str, Tenant]]:
    """Both databases in one cluster, migrated by their owners; by the server's package."""
    suffix = secrets.token_hex(4)
    named = {
        tenant.package: replace(tenant, database=f"{tenant.database}_{suffix}")
        for tenant in (SPINS, JACKPOTS)
    }
    for package, tenant in named.items():
        # Twice, as every `make run` does.
        for _ in range(2):
            provide(postgres.dsn, tenant, PASSWORD)
            asyncio.run(upgrade(dsn_of(postgres.dsn, tenant.owner, tenant.database), package))
            admit(postgres.dsn, tenant, PASSWORD)
    yield named
    for tenant in named.values():
        asyncio.run(drop(postgres.dsn, tenant.database))


async def drop(dsn: str, database: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    await connection.close()


@pytest.mark.parametrize("package", ["spin_server", "jackpot_server"])
async def test_a_server_can_do_its_work_but_not_rewrite_what_happened(
    postgres: TestCluster, tenants: dict[str, Tenant], package: str
) -> None:
    tenant = tenants[package]
    connection = await asyncpg.connect(dsn_of(postgres.dsn, tenant.login, tenant.database))
    for statement in SERVER_CAN[package]:
        await connection.fetch(statement)
    for statement in SERVER_CANNOT[package]:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize(
    ("package", "other"), [("spin_server", "jackpot_server"), ("jackpot_server", "spin_server")]
)
async def test_a_server_cannot_connect_to_the_other_ones_database(
    postgres: TestCluster, tenants: dict[str, Tenant], package: str, other: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        await asyncpg.connect(dsn_of(postgres.dsn, package, tenants[other].database))


async def test_a_wrong_password_does_not_open_it(postgres: TestCluster, tenants: dict[str, Tenant]) -> None:
    dsn = dsn_of(postgres.dsn, "spin_server", tenants["spin_server"].database)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn, password="guess")
