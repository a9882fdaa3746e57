"""python -m jackpot_server audit."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from jackpot_server.archive import Damaged
from jackpot_server.audit.audit import audit
from jackpot_server.domain.evidence import AuditHead
from jackpot_server.settings import ApplySettings, AuditSettings
from jackpot_server.witness import read_heads
from service_kit import database, schema
from service_kit.audit_report import Audit, progress_bar
from service_kit.errors import StartRefused
from service_kit.settings import load

# The driver must not give up before the server does.
_A_DAY_MS = 86_400_000


def audit_command(
    draws: Annotated[
        bool, typer.Option("--draws", help="repeat every draw too; needs the root keys (JACKPOT_ROOT_KEY…)")
    ] = False,
    witness: Annotated[
        Path | None,
        typer.Option(help="audit heads that another database kept: spin_server audit --heads FILE"),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            exists=True,
            help="a folder of `archive`: contributions that are in no table any more",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all findings, for a program")] = False,
) -> None:
    """Derive every balance, entry, win and record again and say what does not hold; servers may go on.

    Status 0: everything holds; 1: something was found; 2: it could not be looked at.
    """
    settings = load(ApplySettings) if draws else load(AuditSettings)
    try:
        heads = read_heads(witness.read_text("ascii")) if witness is not None else []
        done = asyncio.run(_audit(settings, heads, archive))
    except (StartRefused, Damaged, ValueError, *database.DATABASE_ERRORS) as refused:
        typer.echo(str(refused) or type(refused).__name__, err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(done.to_json())
    else:
        done.show()
    raise typer.Exit(0 if done.is_clean else 1)


async def _audit(
    settings: ApplySettings | AuditSettings, heads: list[AuditHead], archive: Path | None
) -> Audit:
    root_keys = settings.read_root_keys() if isinstance(settings, ApplySettings) else None
    connection = await database.connect(
        settings.owner_dsn, application_name="jackpot_server audit", statement_timeout_ms=_A_DAY_MS
    )
    try:
        await schema.assert_migrated(connection, "jackpot_server")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            with progress_bar("batches") as progress:
                return await audit(
                    connection, root_keys=root_keys, witnessed=heads, archive=archive, progress=progress
                )
    finally:
        await connection.close()
