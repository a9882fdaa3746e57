"""python -m jackpot_server report: meters and reports as tables, JSON or CSV, read from the database."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from jackpot_server.queries import HoursQuery, OperatorQuery
from jackpot_server.reads import ReadConnections
from jackpot_server.report_reads import CHANGES, LARGE_WINS, POOL_IDS, ReportReads
from jackpot_server.settings import AuditSettings
from service_kit import database
from service_kit.errors import StartRefused
from service_kit.money import format_micros
from service_kit.settings import load

Line: TypeAlias = Mapping[str, Any]
# Read and not written; a report of a long life takes its time.
_STATEMENT_TIMEOUT_MS: Final = 10 * 60 * 1000
_ENDS_IN_MICROS: Final = "_micros"
_NO_ACTIVITY: Final = "no activity"

cli = typer.Typer(
    help="Meters and reports, from the database, as tables, JSON or CSV.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="for a program; amounts are exact")]
AsCsv = Annotated[bool, typer.Option("--csv", help="for a spreadsheet; amounts are exact")]
Since = Annotated[datetime | None, typer.Option(help="UTC; thirty days ago unless given")]
Until = Annotated[datetime | None, typer.Option(help="UTC; now unless given")]


@cli.command("meters")
def meters_command(
    pool: Annotated[list[str] | None, typer.Argument(help="ids of pools; all unless given")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Of each pool: contributions, amounts, wins, what the house added, what is owed (PR-20)."""

    async def read(connections: ReadConnections) -> list[Line]:
        reads = ReportReads(connections)
        lines: list[Line] = []
        for pool_id, currency in await connections.fetch(POOL_IDS):
            if pool and pool_id not in pool:
                continue
            found = await reads.meters(pool_id)
            assert found is not None
            meters = found[0]
            lines.append(
                {
                    "pool": pool_id,
                    "currency_code": currency,
                    "contributions": meters.contribution_count,
                    "contributed_micros": meters.contributed,
                    "current_micros": meters.current,
                    "reserve_micros": meters.reserve,
                    "overflow_micros": meters.overflow,
                    "wins": meters.win_count,
                    "won_micros": meters.won,
                    "house_micros": meters.house,
                    "payable_micros": meters.payable,
                }
            )
        return lines

    _show("meters", read, as_json=as_json, as_csv=as_csv)


@cli.command("liability")
def liability_command(
    at: Annotated[datetime | None, typer.Option(help="UTC; now unless given")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """What every pool holds and owes, and what came into it that day, month, year, and ever (PR-22, R24)."""

    async def read(connections: ReadConnections) -> list[Line]:
        lines = await ReportReads(connections).liability(_utc(at) or datetime.now(UTC))
        return [
            {
                "pool": line.pool_id,
                "tier": line.tier,
                "currency_code": line.currency_code,
                "current_micros": line.current,
                "reserve_micros": line.reserve,
                "overflow_micros": line.overflow,
                "payable_micros": line.payable,
                "held_micros": line.held,
                "day_micros": line.day,
                "month_micros": line.month,
                "year_micros": line.year,
                "life_micros": line.life,
                "activity": "" if line.day else _NO_ACTIVITY,
            }
            for line in lines
        ]

    _show("liability", read, as_json=as_json, as_csv=as_csv)


@cli.command("operators")
def operators_command(
    operator: Annotated[str, typer.Argument(help="one operator; all unless given")] = "",
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """What operators put into each pool and won of it; what was voided is left out (PR-22, R40)."""

    async def read(connections: ReadConnections) -> list[Line]:
        lines = await ReportReads(connections).operators(OperatorQuery(operator, *_period(since, until)))
        return [
            {
                "operator": line.operator_id,
                "pool": line.pool_id,
                "currency_code": line.currency_code,
                "contributions": line.contribution_count,
                "contributed_micros": line.contributed,
                "wins": line.win_count,
                "won_micros": line.won,
            }
            for line in lines
        ]

    _show("operators", read, as_json=as_json, as_csv=as_csv)


@cli.command("hours")
def hours_command(
    operator: Annotated[str, typer.Argument(help="whose")],
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """One operator's contributions and wins hour by hour, to compare with its own books."""

    async def read(connections: ReadConnections) -> list[Line]:
        found = await ReportReads(connections).hours(HoursQuery(operator, *_period(since, until)))
        return [hour._asdict() for hour in found]

    _show("hours", read, as_json=as_json, as_csv=as_csv)


@cli.command("wins")
def wins_command(
    above_minor: Annotated[int, typer.Option(help="only larger ones, in minor units")] = 0,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Large wins: of which pool and cycle, whose, in which game, when, how much, who decided (PR-22, R23)."""

    async def read(connections: ReadConnections) -> list[Line]:
        rows = await connections.fetch(LARGE_WINS, above_minor, *_period(since, until))
        return [dict(row) for row in rows]

    _show("wins", read, as_json=as_json, as_csv=as_csv)


@cli.command("changes")
def changes_command(
    since: Since = None, until: Until = None, as_json: AsJson = False, as_csv: AsCsv = False
) -> None:
    """What people changed: when, what, who asked, who approved, why, before and after (PR-22, R22)."""

    async def read(connections: ReadConnections) -> list[Line]:
        return [dict(row) for row in await connections.fetch(CHANGES, *_period(since, until))]

    _show("changes", read, as_json=as_json, as_csv=as_csv)


def _show(
    title: str,
    read: Callable[[ReadConnections], Awaitable[list[Line]]],
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    settings = load(AuditSettings)
    try:
        lines = asyncio.run(_read(settings.owner_dsn, read))
    except (StartRefused, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps([dict(line) for line in lines], indent=2, default=str))
    elif as_csv:
        typer.echo(_csv(lines), nl=False)
    else:
        Console().print(_table(title, lines))


async def _read(dsn: str, read: Callable[[ReadConnections], Awaitable[list[Line]]]) -> list[Line]:
    create = partial(
        database.create_pool,
        dsn,
        application_name="jackpot_server report",
        max_size=1,
        statement_timeout_ms=_STATEMENT_TIMEOUT_MS,
    )
    connections = ReadConnections(create)
    await connections.open()
    try:
        return await read(connections)
    finally:
        await connections.close()


def _period(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    end = _utc(until) or datetime.now(UTC)
    return _utc(since) or end - timedelta(days=30), end


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _table(title: str, lines: Sequence[Line]) -> Table:
    """Amounts as people read them; a line for nothing at all."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    if not lines:
        table.add_column(_NO_ACTIVITY)
        return table
    for name in lines[0]:
        is_number = isinstance(lines[0][name], int)
        table.add_column(name.removesuffix(_ENDS_IN_MICROS), justify="right" if is_number else "left")
    for line in lines:
        table.add_row(*(_cell(name, value, line) for name, value in line.items()))
    return table


def _cell(name: str, value: Any, line: Line) -> str:
    if name.endswith(_ENDS_IN_MICROS):
        return format_micros(value, line["currency_code"])
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else str(value)


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    if lines:
        writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return text.getvalue()
