"""python -m spin_server reconcile."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from jackpot_outbox.client import CallError, JackpotClient
from service_kit import database, schema
from service_kit.errors import StartRefused
from service_kit.settings import load
from spin_server.reconcile import Reconciled, reconcile, resend
from spin_server.settings import MigrateSettings

_SHOWN: Final = 50


def reconcile_command(
    since: Annotated[datetime, typer.Option(help="UTC; from the hour on that it lies in")],
    until: Annotated[datetime | None, typer.Option(help="UTC; now unless given")] = None,
    operator: Annotated[list[str] | None, typer.Option(help="whose spins; all unless given")] = None,
    jackpot_address: Annotated[str, typer.Option(help="of the jackpot server")] = "127.0.0.1:50052",
    send_again: Annotated[
        bool, typer.Option("--resend", help="put what is missing there into the outbox again")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="all differences, for a program")] = False,
) -> None:
    """Compare spins with the contributions that the jackpot server has, by hour and then by id.

    Status 0: they agree; 1: they differ (also what was sent again); 2: they could not be compared.
    """
    settings = load(MigrateSettings)
    start = since.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    end = until.replace(tzinfo=UTC) if until is not None else datetime.now(UTC)
    try:
        done = asyncio.run(
            _reconcile(settings.owner_dsn, jackpot_address, operator or [], start, end, send_again)
        )
    except (StartRefused, CallError, *database.DATABASE_ERRORS) as refused:
        typer.echo(str(refused) or type(refused).__name__, err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(_json(done))
    else:
        _show(done)
    raise typer.Exit(1 if done.differences else 0)


async def _reconcile(
    dsn: str, address: str, operators: list[str], start: datetime, end: datetime, send_again: bool
) -> Reconciled:
    connection = await database.connect(
        dsn, application_name="spin_server reconcile", statement_timeout_ms=10 * 60 * 1000
    )
    client = JackpotClient(address)
    try:
        await schema.assert_migrated(connection, "spin_server")
        done = await reconcile(connection, client, operators, start, end)
        if send_again and done.to_resend:
            done.resent = await resend(connection, done.to_resend)
        return done
    finally:
        await client.close()
        await connection.close()


def _show(done: Reconciled) -> None:
    console = Console()
    console.print(
        f"{done.spins:,} spins of {done.hours:,} hours compared: {len(done.differences):,} differ, "
        f"{done.resent:,} were put into the outbox again"
    )
    if done.differences:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("operator", "spin", "is", ""):
            table.add_column(column, overflow="fold")
        for each in done.differences[:_SHOWN]:
            table.add_row(each.operator_id, str(each.spin_id), each.side.value, each.what)
        console.print(table)
    if len(done.differences) > _SHOWN:
        console.print("…: --json has all of them")


def _json(done: Reconciled) -> str:
    return json.dumps(
        {
            "hours": done.hours,
            "spins": done.spins,
            "resent": done.resent,
            "differences": [
                {
                    "operator_id": each.operator_id,
                    "spin_id": str(each.spin_id),
                    "is": each.side.value,
                    "what": each.what,
                }
                for each in done.differences
            ],
        },
        indent=2,
    )
