"""python -m spin_server serve | migrate"""

import asyncio

import typer

from jackpot_outbox.settings import OutboxSettings
from service_kit.migrate import upgrade
from service_kit.process import run
from service_kit.settings import load
from spin_server.app import SpinServer
from spin_server.settings import MigrateSettings, SpinSettings

cli = typer.Typer(help="The spin server: settles spins and keeps players' wallets.", no_args_is_help=True)


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
    asyncio.run(upgrade(load(MigrateSettings).owner_dsn, "spin_server"))


if __name__ == "__main__":
    cli()
