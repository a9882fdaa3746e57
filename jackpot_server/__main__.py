"""python -m jackpot_server COMMAND: serve, migrate, apply, and whatever else looks after a jackpot server."""

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from rich.console import Console

from jackpot_server import config, plan_view, verify_draw
from jackpot_server.app import JackpotServer
from jackpot_server.apply import apply
from jackpot_server.archive_command import archive_command
from jackpot_server.audit.command import audit_command
from jackpot_server.domain.plan import Plan
from jackpot_server.key_report import KeyUse, key_uses, told
from jackpot_server.monitor import Sources, live, once
from jackpot_server.new_cycles import Begun, KeyWasUsed, begin_new_cycles
from jackpot_server.probe import ProbePlan
from jackpot_server.probe import probe as run_probe
from jackpot_server.reconcile_command import reconcile_command
from jackpot_server.report_command import cli as report_cli
from jackpot_server.settings import ApplySettings, JackpotSettings, MigrateSettings
from jackpot_server.simulate_command import simulate_command
from service_kit import database
from service_kit.errors import StartRefused
from service_kit.process import run
from service_kit.schema import assert_migrated
from service_kit.settings import load

T = TypeVar("T")

cli = typer.Typer(
    help="The jackpot server: contributions in, wins out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


cli.command("audit")(audit_command)
cli.command("archive")(archive_command)
cli.command("reconcile")(reconcile_command)
cli.command("simulate")(simulate_command)
cli.add_typer(report_cli, name="report")


@cli.command()
def serve() -> None:
    """Serve jackpot.v1 until SIGTERM (settings: JACKPOT_*)."""
    settings = load(JackpotSettings)

    async def main() -> None:
        await JackpotServer(settings).serve()

    run(main, settings)


@cli.command()
def migrate() -> None:
    """Bring the jackpots database to the newest schema; may be repeated and run at several places at once."""
    # Alembic: see `service_kit.schema`.
    from service_kit.migrate import upgrade

    asyncio.run(upgrade(load(MigrateSettings).owner_dsn, "jackpot_server"))


@cli.command("apply")
def apply_command(
    file: Annotated[Path, typer.Argument(help="a jackpots.toml")],
    reason: Annotated[str, typer.Option(help="why, for the record of configurations")] = "",
    actor: Annotated[str, typer.Option(help="who, for the record of configurations")] = "",
    approver: Annotated[str, typer.Option(help="who agreed to it, for the record of configurations")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only show the plan; status 2 if there is something to do")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the plan for a program")] = False,
) -> None:
    """Show what a file changes and when it takes effect, then do it, all or nothing; may be repeated.

    Status 1, with every reason, if it cannot be done.
    """
    settings = load(ApplySettings)
    try:
        plan = asyncio.run(
            _apply(
                settings, file, actor or _who_runs_this(), approver, reason or f"apply {file.name}", dry_run
            )
        )
    except config.InvalidConfig as invalid:
        for problem in invalid.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(1) from None
    except (StartRefused, OSError) as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(plan_view.to_json(plan, is_done=not dry_run))
    else:
        plan_view.show(plan, Console())
    if dry_run and not plan.is_empty:
        raise typer.Exit(2)


@cli.command("keys")
def keys_command() -> None:
    """Show which root keys the committed cycles need; status 1 if one that is needed is not configured."""
    settings = load(ApplySettings)

    async def look() -> list[KeyUse]:
        async with _owners_connection(settings, "jackpot_server keys") as connection:
            return await key_uses(connection, settings.read_root_keys())

    uses = _run_or_say_why(look())
    newest_id = settings.root_key_id
    for use in uses:
        typer.echo(told(use, newest_id))
    if any(use.open_cycles and not use.is_here for use in uses):
        raise typer.Exit(1)


@cli.command("new-cycles")
def new_cycles_command(
    reason: Annotated[str, typer.Option(help="why: restored from which backup, which key was lost or known")],
    actor: Annotated[str, typer.Option(help="who, for the record")] = "",
) -> None:
    """Start a new cycle of every pool under a new root key: after a restore, or when a key was lost or seen.

    Amounts stay as they are. Set JACKPOT_ROOT_KEY… and JACKPOT_ROOT_KEY_ID to a key that was never used.
    """
    settings = load(ApplySettings)

    async def begin() -> list[Begun]:
        async with _owners_connection(settings, "jackpot_server new-cycles") as connection:
            keys = settings.read_root_keys()
            return await begin_new_cycles(connection, keys, actor=actor or _who_runs_this(), reason=reason)

    for begun in _run_or_say_why(begin()):
        typer.echo(f"{begun.pool_id}: cycle {begun.ended_cycle} has ended, cycle {begun.cycle} has begun")


@cli.command("verify-draw")
def verify_draw_command(
    file: Annotated[str, typer.Argument(help="what GetDraw answered, as JSON; - for standard input")],
    commitment: Annotated[
        str, typer.Option(help="the seed's commitment as GetPool showed it before the draw, hex or base64")
    ] = "",
) -> None:
    """Repeat a published draw and say whether it is what it had to be; status 1 if it is not proved."""
    raise typer.Exit(verify_draw.check(file, commitment, sys.stdout))


def _who_runs_this() -> str:
    """The login's name; its number where it has none, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return f"uid {os.getuid()}"


@cli.command("probe")
def probe_command(
    address: Annotated[str, typer.Option(help="of the jackpot server")] = "127.0.0.1:50052",
    operator: Annotated[str, typer.Option(help="whose contributions; they are real")] = "demo",
    currency: Annotated[str, typer.Option(help="of the wagers")] = "COIN",
    game: Annotated[str, typer.Option(help="whose contributions")] = "demo-slots",
    wager_minor: Annotated[int, typer.Option(min=1, help="of a contribution, in minor units")] = 1,
    count: Annotated[int, typer.Option(min=2, help="contributions of each category, measured")] = 100,
    target_ms: Annotated[float, typer.Option(help="the p99 that a contribution has to meet")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
) -> None:
    """Test a running jackpot server; the exit status is 0 only if all of it holds."""
    account = asyncio.run(
        run_probe(ProbePlan(address, operator, currency, game, wager_minor, count, target_ms))
    )
    if as_json:
        typer.echo(account.to_json())
    else:
        account.show(Console())
    raise typer.Exit(0 if account.has_passed else 1)


@cli.command("monitor")
def monitor_command(
    address: Annotated[str, typer.Option(help="of the jackpot server")] = "127.0.0.1:50052",
    metrics: Annotated[str, typer.Option(help="its metrics")] = "http://127.0.0.1:9465/metrics",
    spin_metrics: Annotated[
        str, typer.Option(help="the metrics of a spin server or sidecar; '' for none")
    ] = "http://127.0.0.1:9464/metrics",
    show_once: Annotated[bool, typer.Option("--once", help="one picture of two seconds")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one picture, for a program")] = False,
) -> None:
    """Watch pools, both paths' times, outbox and cache, live, until Ctrl-C."""
    sources = Sources(address, metrics, spin_metrics)
    if as_json or show_once:
        asyncio.run(once(sources, Console(), as_json=as_json))
    else:
        asyncio.run(live(sources, Console()))


@asynccontextmanager
async def _owners_connection(settings: ApplySettings, name: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the owner's to a migrated database."""
    connection = await database.connect(settings.owner_dsn, application_name=name)
    try:
        await assert_migrated(connection, "jackpot_server")
        yield connection
    finally:
        await connection.close()


def _run_or_say_why(work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to; status 1 and a line on stderr if it cannot be done."""
    try:
        return asyncio.run(work)
    except (StartRefused, KeyWasUsed, OSError) as refused:
        typer.echo(str(refused), err=True)
        raise typer.Exit(1) from None


async def _apply(
    settings: ApplySettings, file: Path, actor: str, approver: str, reason: str, dry_run: bool
) -> Plan:
    pools = config.read_file(file)
    async with _owners_connection(settings, "jackpot_server apply") as connection:
        return await apply(
            connection,
            pools,
            settings.read_root_keys(),
            actor=actor,
            approver=approver,
            reason=reason,
            dry_run=dry_run,
        )


if __name__ == "__main__":
    cli()
