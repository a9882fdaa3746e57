"""python -m jackpot_outbox serve | migrate | list | release | status"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from jackpot_outbox import sidecar, store
from jackpot_outbox.settings import SidecarSettings
from service_kit.database import DATABASE_ERRORS
from service_kit.process import run
from service_kit.settings import load

T = TypeVar("T")

app = typer.Typer(
    help="The loss-free client of a jackpot server, beside a wallet. Settings: OUTBOX_* variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Ids are shown whole: folded on a terminal, on one line in a pipe.
console = Console(width=None if sys.stdout.isatty() else 400)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_KIND_NAMES = {1: "contribution", 2: "void", 3: "acknowledgement"}


@app.command()
def serve() -> None:
    """Send what waits, book the answers, follow the wins, until SIGTERM."""
    settings = load(SidecarSettings)
    run(lambda: sidecar.serve(settings), settings)


@app.command()
def migrate() -> None:
    """Make the outbox's tables in the wallet's database; harmless to repeat."""
    settings = load(SidecarSettings)
    made = _finish(sidecar.migrate(settings))
    console.print("The outbox's tables were made." if made else "The outbox's tables are there already.")


@app.command(name="list")
def list_rows(
    as_json: AsJson = False,
    parked: Annotated[bool, typer.Option("--parked", help="Only rows that were refused for good.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest first.")] = 50,
) -> None:
    """Show rows that the jackpot server has not answered."""
    rows = _on_database(lambda connection: store.listing(connection, parked_only=parked, limit=limit))
    if as_json:
        _print_json([asdict(row) for row in rows])
        return
    table = Table("kind", "spin or win", "operator", "age", "tries", "state", "last error")
    for row in rows:
        kind, spin_id, win, _ = row.key
        table.add_row(
            _KIND_NAMES[kind],
            win or str(spin_id),
            row.operator_id,
            _age(row.create_time),
            str(row.attempts),
            "parked" if row.parked_time is not None else f"due {row.due_time:%H:%M:%S}",
            row.last_error,
        )
    _print_table(table)


@app.command()
def release(
    spin_ids: Annotated[list[UUID] | None, typer.Argument(help="Spins whose parked rows to release.")] = None,
    all_rows: Annotated[bool, typer.Option("--all", help="Release every parked row.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send parked rows again, once what was wrong has been put right."""
    if bool(spin_ids) == all_rows:
        raise typer.BadParameter("name spins, or --all")
    keys = _on_database(lambda connection: store.release(connection, None if all_rows else spin_ids))
    if as_json:
        _print_json([{"kind": _KIND_NAMES[key[0]], "spin_id": key[1], "win": key[2]} for key in keys])
    else:
        console.print(f"{len(keys)} released.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Count what waits."""
    counts = _on_database(store.row_counts)
    if as_json:
        _print_json(asdict(counts))
        return
    table = Table("open", "oldest", "parked")
    table.add_row(str(counts.open_rows), f"{counts.oldest_s:.1f} s", str(counts.parked_rows))
    _print_table(table)


def _on_database(work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    settings = load(SidecarSettings)

    async def connected() -> T:
        connection = await settings.connect("jackpot_outbox command")
        try:
            return await work(connection)
        finally:
            await connection.close()

    return _finish(connected())


def _finish(work: Awaitable[T]) -> T:
    async def awaited() -> T:
        return await work

    try:
        return asyncio.run(awaited())
    except DATABASE_ERRORS as error:
        typer.echo(f"The database did not answer as it should: {type(error).__name__}", err=True)
        raise typer.Exit(1) from None


def _print_table(table: Table) -> None:
    for column in table.columns:
        column.overflow = "fold"
    console.print(table)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, default=str, indent=2))


def _age(moment: datetime) -> str:
    return str(datetime.now(UTC) - moment).split(".", maxsplit=1)[0]


if __name__ == "__main__":
    app()
