"""Brings a database to the newest revision of a package, whoever else tries it at the same moment.

Alembic orders the revisions and writes them out as SQL; this module runs that SQL as one script,
in one transaction, under an advisory lock that ends with the transaction.

A package with migrations has `migrations/env.py`, whose only work is `run_in_context()`, and
`migrations/versions/NNNN_*.py`, whose revisions are named "0001", "0002" … and whose `upgrade`
calls `execute_sql` with the SQL files beside it.
"""

import io
from pathlib import Path

import asyncpg
from alembic import command, context, op
from alembic.config import Config
from alembic.script import ScriptDirectory

from service_kit.schema import migrations_folder, revision

# Any fixed number: one per database is enough, as a database belongs to one package.
_LOCK_KEY = 0x5350494E
_CONNECT_TIMEOUT_S = 10.0
# How long one first start waits for another's migration.
_LOCK_TIMEOUT_MS = 60_000

_TAKE_LOCK = "SELECT pg_advisory_xact_lock($1)"
# The application's role asks for the version at its start.
_SHOW_VERSION_TO_ALL = "GRANT SELECT ON alembic_version TO PUBLIC"


async def upgrade(dsn: str, package: str) -> None:
    """Brings the database to the newest revision of `package`; all or nothing, and repeating it does nothing.

    Several processes may call it at once: each waits for the one before it (up to a minute), then
    finds nothing to do. Raises what asyncpg raises, or OSError.
    """
    config = _config(package)
    head = ScriptDirectory.from_config(config).get_current_head()
    connection = await asyncpg.connect(
        dsn,
        timeout=_CONNECT_TIMEOUT_S,
        server_settings={"application_name": f"{package} migrate", "lock_timeout": str(_LOCK_TIMEOUT_MS)},
    )
    try:
        async with connection.transaction():
            await connection.execute(_TAKE_LOCK, _LOCK_KEY)
            found = await revision(connection)
            if found != head:
                await connection.execute(_script(config, found))
                await connection.execute(_SHOW_VERSION_TO_ALL)
    finally:
        await connection.close()


def run_in_context() -> None:
    """All that a `migrations/env.py` does: writes the revisions as SQL. `upgrade` owns the transaction."""
    context.configure(
        dialect_name="postgresql",
        output_buffer=context.config.output_buffer,
        transactional_ddl=False,
    )
    context.run_migrations()


def execute_sql(*files: Path) -> None:
    """In a revision: executes whole SQL files, as they are.

    Alembic's own `op.execute` takes single statements, reads `:name` as a parameter and doubles `%`.
    """
    for file in files:
        op.get_context().impl.static_output(file.read_text(encoding="utf-8"))


def _script(config: Config, found: str | None) -> str:
    written = io.StringIO()
    config.output_buffer = written
    command.upgrade(config, f"{found}:head" if found else "head", sql=True)
    return written.getvalue()


def _config(package: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder(package)).replace("%", "%%"))
    return config
