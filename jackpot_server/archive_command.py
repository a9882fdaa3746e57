"""python -m jackpot_server archive."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from jackpot_server.archive import Month, NotClosed, assert_over, export
from jackpot_server.settings import AuditSettings
from service_kit import database, schema
from service_kit.errors import StartRefused
from service_kit.settings import load

# The driver must not give up before the server does.
_A_DAY_MS = 86_400_000


def archive_command(
    before: Annotated[str, typer.Option(help="YYYY-MM: months before this one")],
    into: Annotated[Path, typer.Option(file_okay=False, exists=True, help="a folder for the files")],
) -> None:
    """Write closed months of contributions to files that `audit --archive` reads; nothing is deleted.

    May be repeated: a month that is there already is left as it is. Status 1 if it cannot be done.
    """
    settings = load(AuditSettings)
    try:
        end = datetime.strptime(before, "%Y-%m").replace(tzinfo=UTC)
        written = asyncio.run(_export(settings.owner_dsn, end, into))
    except (StartRefused, NotClosed, ValueError, *database.DATABASE_ERRORS) as refused:
        typer.echo(str(refused) or type(refused).__name__, err=True)
        raise typer.Exit(1) from None
    for month in written:
        typer.echo(f"{month.month}: {month.rows:,} contributions")
    if not written:
        typer.echo("nothing to write")


async def _export(dsn: str, before: datetime, into: Path) -> list[Month]:
    connection = await database.connect(
        dsn,
        application_name="jackpot_server archive",
        statement_timeout_ms=_A_DAY_MS,
        idle_in_transaction_timeout_ms=_A_DAY_MS,
    )
    try:
        await schema.assert_migrated(connection, "jackpot_server")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SET LOCAL enable_seqscan = on; SET LOCAL plan_cache_mode = auto")
            await assert_over(connection, before)
            return await export(connection, before, into)
    finally:
        await connection.close()
