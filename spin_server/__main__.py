"""python -m spin_server serve | migrate | probe | audit | reconcile"""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from jackpot_outbox.settings import OutboxSettings
from service_kit.process import run
from service_kit.settings import load
from spin_server.app import SpinServer
from spin_server.audit_command import audit_command
from spin_server.probe import ProbePlan
from spin_server.probe import probe as run_probe
from spin_server.reconcile_command import reconcile_command
from spin_server.settings import MigrateSettings, SpinSettings

cli = typer.Typer(
    help="The spin server: settles spins and keeps players' wallets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


cli.command("audit")(audit_command)
cli.command("reconcile")(reconcile_command)


@cli.command()
def serve() -> None:
    """Serve spin.v1 until SIGTERM (settings: SPIN_*, OUTBOX_*)."""
    settings, outbox_settings = load(SpinSettings, OutboxSettings)

    async def main() -> None:
        await SpinServer(settings, outbox_settings).serve()

    run(main, settings, outbox_settings)


@cli.command()
def migrate() -> None:
    """Bring the spins database to the newest schema; may be repeated and run at several places at once."""
    # Alembic: see `service_kit.schema`.
    from service_kit.migrate import upgrade

    asyncio.run(upgrade(load(MigrateSettings).owner_dsn, "spin_server"))


@cli.command()
def probe(
    address: Annotated[str, typer.Option(help="of the spin server")] = "127.0.0.1:50051",
    jackpot_address: Annotated[str, typer.Option(help="of the jackpot server")] = "127.0.0.1:50052",
    operator: Annotated[str, typer.Option(help="whose spins")] = "demo",
    user: Annotated[str, typer.Option(help="who plays")] = "demo",
    wallet: Annotated[str, typer.Option(help="who pays")] = "demo",
    slots_game: Annotated[str, typer.Option(help="a SLOTS game")] = "demo-slots",
    table_game: Annotated[str, typer.Option(help="a game of another category")] = "demo-table",
    wager_minor: Annotated[int, typer.Option(min=1, help="stake of a spin, in minor units")] = 100,
    count: Annotated[int, typer.Option(min=2, help="spins of each game in the measurement")] = 100,
    target_ms: Annotated[float, typer.Option(help="the p99 that a spin has to meet")] = 300.0,
    fund: Annotated[bool, typer.Option(help="create and fill the wallet if it is needed")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
) -> None:
    """Test a running system as a game client sees it; the exit status is 0 only if all of it holds."""
    plan = ProbePlan(
        address, jackpot_address, operator, user, wallet, slots_game, table_game, wager_minor, count,
        target_ms, fund,
    )  # fmt: skip
    account = asyncio.run(run_probe(plan))
    if as_json:
        typer.echo(account.to_json())
    else:
        account.show(Console())
    raise typer.Exit(0 if account.has_passed else 1)


if __name__ == "__main__":
    cli()
