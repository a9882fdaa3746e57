"""Migrations: all or nothing, once, whoever starts them at the same moment; and both packages' own."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from service_kit.errors import StartRefused
from service_kit.migrate import upgrade
from service_kit.schema import assert_migrated, latest_version, schema_version

ENV = """
from service_kit.migrate import run_in_context

run_in_context()
"""
REVISION = """
from pathlib import Path

from service_kit.migrate import execute_sql

revision = "{revision}"
down_revision = {before!r}


def upgrade() -> None:
    execute_sql(Path(__file__).with_suffix(".sql"))
"""


class Package:
    """A package with migrations, made for the test and importable during it."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._versions = folder / "migrations/versions"
        self._versions.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / "migrations/env.py").write_text(ENV)
        self._newest: str | None = None

    def add(self, revision: str, sql: str) -> None:
        (self._versions / f"{revision}_step.py").write_text(
            REVISION.format(revision=revision, before=self._newest)
        )
        (self._versions / f"{revision}_step.sql").write_text(sql)
        self._newest = revision


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    made = Package(tmp_path / "migrated_package")
    made.add(
        "0001", "CREATE TABLE notes (text text); INSERT INTO notes VALUES (':name'), ('100 %'), ('%(x)s');"
    )
    yield made
    sys.modules.pop(made.name, None)


async def notes(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row["text"] for row in await connection.fetch("SELECT text FROM notes")]
    finally:
        await connection.close()


async def version(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return await schema_version(connection)
    finally:
        await connection.close()


async def test_a_first_start_makes_everything_and_the_next_one_nothing(
    package: Package, empty_dsn: str
) -> None:
    assert await version(empty_dsn) == 0
    for _ in range(2):
        await upgrade(empty_dsn, package.name)
        assert await version(empty_dsn) == latest_version(package.name) == 1
        # The file reached the server as it is, colons and percent signs included.
        assert await notes(empty_dsn) == [":name", "100 %", "%(x)s"]


async def test_several_first_starts_at_once_are_one(package: Package, empty_dsn: str) -> None:
    await asyncio.gather(*(upgrade(empty_dsn, package.name) for _ in range(5)))
    assert len(await notes(empty_dsn)) == 3


async def test_only_what_is_missing_is_run(package: Package, empty_dsn: str) -> None:
    await upgrade(empty_dsn, package.name)
    package.add("0002", "INSERT INTO notes VALUES ('second');")
    package.add("0003", "INSERT INTO notes VALUES ('third');")
    await upgrade(empty_dsn, package.name)
    assert await version(empty_dsn) == 3
    assert (await notes(empty_dsn))[3:] == ["second", "third"]


async def test_a_step_that_fails_leaves_everything_as_it_was(package: Package, empty_dsn: str) -> None:
    package.add("0002", "INSERT INTO notes VALUES ('second'); SELECT 1/0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await upgrade(empty_dsn, package.name)
    assert await version(empty_dsn) == 0


async def test_a_database_older_than_the_server_is_refused_with_what_to_do(
    package: Package, empty_dsn: str
) -> None:
    connection = await asyncpg.connect(empty_dsn)
    with pytest.raises(StartRefused, match="python -m migrated_package migrate"):
        await assert_migrated(connection, package.name)
    await upgrade(empty_dsn, package.name)
    await assert_migrated(connection, package.name)
    # A replica of before the update still runs while the others are updated.
    await connection.execute("UPDATE alembic_version SET version_num = '0002'")
    await assert_migrated(connection, package.name)
    await connection.close()


@pytest.mark.parametrize("name", ["spin_server", "jackpot_server"])
async def test_the_servers_own_migrations_survive_a_start_of_three(name: str, empty_dsn: str) -> None:
    await asyncio.gather(*(upgrade(empty_dsn, name) for _ in range(3)))
    assert await version(empty_dsn) == latest_version(name) >= 1
