"""python -m jackpot_server reconcile."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from jackpot_server.reconcile import BadFile, Bet, Difference, compare_export, read_export
from jackpot_server.settings import AuditSettings
from service_kit import database, schema
from service_kit.errors import StartRefused
from service_kit.settings import load

_SHOWN: Final = 50
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_A_DAY_MS: Final = 86_400_000


def reconcile_command(
    file: Annotated[Path, typer.Argument(help="a CSV with spin_id, wager_minor and currency_code")],
    operator: Annotated[str, typer.Option(help="whose export it is")],
    since: Annotated[
        datetime | None, typer.Option(help="UTC; of what was recorded; all unless given")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="UTC; now unless given")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="all differences, for a program")] = False,
) -> None:
    """Compare any platform's export with the contributions that are recorded.

    Status 0: they agree; 1: they differ; 2: they could not be compared, with every line that cannot be read.
    """
    settings = load(AuditSettings)
    start = since.replace(tzinfo=UTC) if since is not None else _BEGINNING
    end = until.replace(tzinfo=UTC) if until is not None else datetime.now(UTC)
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            bets = read_export(lines)
        compared, differences = asyncio.run(_compare(settings.owner_dsn, operator, bets, start, end))
    except (BadFile, StartRefused, UnicodeDecodeError, *database.DATABASE_ERRORS) as refused:
        typer.echo(str(refused) or type(refused).__name__, err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(_json(compared, bets, differences))
    else:
        _show(compared, bets, differences)
    raise typer.Exit(1 if differences else 0)


async def _compare(
    dsn: str, operator_id: str, bets: dict[UUID, Bet], start: datetime, end: datetime
) -> tuple[int, list[Difference]]:
    connection = await database.connect(
        dsn, application_name="jackpot_server reconcile", statement_timeout_ms=_A_DAY_MS
    )
    try:
        await schema.assert_migrated(connection, "jackpot_server")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await compare_export(connection, operator_id, bets, start, end)
    finally:
        await connection.close()


def _show(compared: int, bets: dict[UUID, Bet], differences: list[Difference]) -> None:
    console = Console()
    console.print(f"{compared:,} contributions, {len(bets):,} lines of the file: {len(differences):,} differ")
    if differences:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("spin", "is", "wager"):
            table.add_column(column, overflow="fold")
        for each in differences[:_SHOWN]:
            table.add_row(str(each.spin_id), each.side.value, each.what)
        console.print(table)
    if len(differences) > _SHOWN:
        console.print("…: --json has all of them")


def _json(compared: int, bets: dict[UUID, Bet], differences: list[Difference]) -> str:
    return json.dumps(
        {
            "recorded": compared,
            "in_file": len(bets),
            "differences": [
                {"spin_id": str(each.spin_id), "is": each.side.value, "what": each.what}
                for each in differences
            ],
        },
        indent=2,
    )
