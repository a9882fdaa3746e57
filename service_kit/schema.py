"""Which revision of the schema a database has, and which one a package needs.

Apart from `migrate`, which brings the one to the other: a server that only looks does without Alembic, which
would cost it 20 MiB and a third of its start.
"""

import importlib
from pathlib import Path

import asyncpg

from service_kit.errors import StartRefused

_FIND_VERSION_TABLE = "SELECT to_regclass('alembic_version') IS NOT NULL"
_READ_VERSION = "SELECT version_num FROM alembic_version"


async def revision(connection: asyncpg.Connection) -> str | None:
    """The database's revision as Alembic names it; None if it was never migrated."""
    if not await connection.fetchval(_FIND_VERSION_TABLE):
        return None
    name: str | None = await connection.fetchval(_READ_VERSION)
    return name


async def schema_version(connection: asyncpg.Connection) -> int:
    """The number of the database's revision; 0 if it was never migrated."""
    return int(await revision(connection) or 0)


def latest_version(package: str) -> int:
    """The number of the newest revision that `package` has, as its file is named; 0 without any."""
    return max(
        (int(file.name[:4]) for file in migrations_folder(package).glob("versions/[0-9]*.py")), default=0
    )


def migrations_folder(package: str) -> Path:
    """Where `package` keeps its revisions, versions/NNNN_*.py."""
    file = importlib.import_module(package).__file__
    assert file is not None, f"{package} is a namespace package, not a directory with migrations"
    return Path(file).parent / "migrations"


async def assert_migrated(connection: asyncpg.Connection, package: str) -> None:
    """Refuses (StartRefused) a database older than the code; takes a newer one: replicas update in turn."""
    found, needed = await schema_version(connection), latest_version(package)
    if found < needed:
        raise StartRefused(
            f"The database has version {found} of the schema and {package} needs {needed}: "
            f"run `python -m {package} migrate`."
        )
