"""python -m spin_server audit."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from service_kit import database, schema
from service_kit.audit_report import Audit, progress_bar
from service_kit.errors import StartRefused
from service_kit.settings import load
from spin_server.audit import audit, write_heads
from spin_server.settings import MigrateSettings

# The driver must not give up before the server does.
_A_DAY_MS = 86_400_000


def audit_command(
    heads: Annotated[
        Path | None,
        typer.Option(help="write what this database has seen of the jackpot server's audit chains to a file"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all findings, for a program")] = False,
) -> None:
    """Hold every wallet, spin and win against its entries and say what does not hold; servers may go on.

    Status 0: everything holds; 1: something was found; 2: it could not be looked at.
    """
    settings = load(MigrateSettings)
    try:
        done = asyncio.run(_audit(settings.owner_dsn, heads))
    except (StartRefused, *database.DATABASE_ERRORS) as refused:
        typer.echo(str(refused) or type(refused).__name__, err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(done.to_json())
    else:
        done.show()
    raise typer.Exit(0 if done.is_clean else 1)


async def _audit(dsn: str, heads: Path | None) -> Audit:
    connection = await database.connect(
        dsn, application_name="spin_server audit", statement_timeout_ms=_A_DAY_MS
    )
    try:
        await schema.assert_migrated(connection, "spin_server")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if heads is not None:
                with heads.open("w", encoding="ascii") as file:
                    await write_heads(connection, file)
            with progress_bar("checks") as progress:
                return await audit(connection, progress=progress)
    finally:
        await connection.close()
