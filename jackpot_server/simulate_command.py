"""python -m jackpot_server simulate: draws tested, or one pool of a file played, by the code that decides."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jackpot_server import config, simulation_report
from jackpot_server.keys import MIN_KEY_BYTES, parse_root_key
from jackpot_server.simulate_draws import MIN_DRAWS, simulate_draws
from jackpot_server.simulate_pool import simulate_pool

_TABLE_WIDTH: Final = 100


def simulate_command(
    draws: Annotated[int, typer.Option(min=MIN_DRAWS, help="how many draws to test")] = 10_000_000,
    pools: Annotated[Path | None, typer.Option(help="a jackpots.toml: play one of its pools instead")] = None,
    pool: Annotated[str, typer.Option(help="which pool of the file")] = "",
    wagers: Annotated[int, typer.Option(min=1, help="how many wagers to play")] = 1_000_000,
    wager_minor: Annotated[int, typer.Option(min=1, help="of each, in minor units")] = 100,
    spins_per_s: Annotated[int, typer.Option(min=1, help="by the simulated clock, for must_drop_by")] = 20,
    root_key: Annotated[
        str, typer.Option(help="hex or base64, to play it again; a random one by default")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="for a program")] = False,
) -> None:
    """Test millions of draws (chi-square, runs, serial correlation), or play a pool; status 1 if not fair.

    Both use the very code that decides and pays. The root key is shown: with it, all figures come again.
    """
    try:
        key = parse_root_key("", root_key).secret if root_key else secrets.token_bytes(MIN_KEY_BYTES)
        found = config.read_file(pools) if pools is not None else {}
        if pools is not None and pool not in found:
            raise ValueError(f"--pool: one of {', '.join(found)}")
    except (ValueError, OSError, config.InvalidConfig) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if pools is not None:
        with _progress("wagers", wagers) as advance:
            figures = simulate_pool(
                key,
                pool,
                found[pool],
                wagers=wagers,
                wager_minor=wager_minor,
                spins_per_s=spins_per_s,
                progress=advance,
            )
        if as_json:
            typer.echo(simulation_report.pool_json(figures, key))
        else:
            Console(width=_TABLE_WIDTH).print(simulation_report.pool_table(figures, key))
        return
    with _progress("draws", draws) as advance:
        simulated = simulate_draws(key, draws, advance)
    if as_json:
        typer.echo(simulation_report.draws_json(simulated))
    else:
        Console(width=_TABLE_WIDTH).print(simulation_report.draws_table(simulated))
    if not simulated.is_fair:
        raise typer.Exit(1)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where there is a terminal."""
    columns = (
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + what),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
