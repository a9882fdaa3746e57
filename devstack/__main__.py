"""`python -m devstack run`: the whole system on this machine until Ctrl-C."""

import asyncio
import fcntl
import os
import re
import shutil
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer
from rich.console import Console

from devstack import tour, words
from devstack.addresses import Addresses
from devstack.demonstration import SPINS_PER_SECOND, Demonstration
from devstack.player import Player
from devstack.processes import StartError
from devstack.stack import Stack

FOLDER = Path(__file__).parents[1] / ".devstack"
TOUR_FOLDER = FOLDER / "demo"
# The demo brings its own parts, whatever the environment names for `run`.
NAMED_PARTS = frozenset({"SPIN_DATABASE_DSN", "JACKPOT_DATABASE_DSN", "JACKPOT_CACHE_URL"})
# A picture fetches nothing from anywhere: it is drawn in the reader's own monospaced font.
FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def devstack() -> None:
    """Real parts for a laptop."""


@app.command()
def run(
    play: Annotated[bool, typer.Option(envvar="PLAY", help="Play until Ctrl-C, or only serve.")] = True,
    folder: Annotated[
        Path, typer.Option(envvar="DEVSTACK_FOLDER", help="Where data, keys and logs are kept.")
    ] = FOLDER,
) -> None:
    """Starts databases, cache and both servers, shows a few spins, then plays until Ctrl-C."""
    for ending in ENDING:
        signal.signal(ending, _interrupt)
    try:
        with _alone(folder):
            _run(
                Stack(folder, Addresses.from_environment(os.environ), say=lambda line: say(f"  {line}")), play
            )
    except StartError as error:
        sys.exit(f"afterspin: {error}")
    except KeyboardInterrupt:
        say("stopped while starting")


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option(help="Where its data and logs are kept until the next time.")
    ] = TOUR_FOLDER,
    picture: Annotated[Path | None, typer.Option(help="Also writes what was shown, as SVG.")] = None,
) -> None:
    """Each promise, and what shows it, on a stack of its own. Exit status 0 only if all of them held."""
    for ending in ENDING:
        signal.signal(ending, _interrupt)
    console = Console(record=picture is not None)
    broken: list[str] | None = None
    try:
        with _alone(folder.with_name(f"{folder.name}.running")):
            shutil.rmtree(folder, ignore_errors=True)
            own = {name: value for name, value in os.environ.items() if name not in NAMED_PARTS}
            stack = Stack(folder, Addresses.free(), own, say=lambda line: say(f"  {line}"))
            try:
                stack.start()
                broken = asyncio.run(_walk(stack, console))
            finally:
                for ending in ENDING:
                    signal.signal(ending, signal.SIG_IGN)
                problems = stack.stop()
    except StartError as error:
        sys.exit(f"afterspin: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped before the end")
    if broken is not None:
        console.print(tour.headline([*broken, *problems]))
    if picture is not None:
        picture.write_text(FONT_FACE.sub("", console.export_svg(title="make demo")))
    sys.exit(0 if broken == [] and not problems else 1)


async def _walk(stack: Stack, console: Console) -> list[str]:
    player = Player(stack.addresses.spin, stack.addresses.jackpot)
    try:
        return await tour.Tour(stack, player, console).walk()
    finally:
        await player.close()


def _run(stack: Stack, play: bool) -> None:
    if taken := stack.taken_ports():
        raise StartError(
            "\n".join(["these ports of 127.0.0.1 are taken:", *(f"    {line}" for line in taken)])
        )
    start = monotonic()
    try:
        stack.start()
        say(f"ready after {monotonic() - start:.1f} s; data and logs are in {stack.folder}\n")
        asyncio.run(_demonstrate(stack, play))
    finally:
        for ending in ENDING:
            signal.signal(ending, signal.SIG_IGN)
        problems = stack.stop()
    say("\n".join(["", *problems, "stopped: servers drained, databases shut down"]))
    if problems:
        sys.exit(1)


async def _demonstrate(stack: Stack, play: bool) -> None:
    stop = asyncio.Event()
    for ending in ENDING:
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    player = Player(stack.addresses.spin, stack.addresses.jackpot)
    demonstration = Demonstration(player, stack.parts, say)
    try:
        await _unless(stop, demonstration.tell() if play else player.provide_wallet())
        _show_commands(stack.addresses)
        if play:
            say(f"{SPINS_PER_SECOND} spins a second until Ctrl-C:")
        async with asyncio.TaskGroup() as group:
            group.create_task(demonstration.watch(stop))
            if play:
                group.create_task(demonstration.play(stop))
    finally:
        await player.close()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> None:
    """Does the work, but drops it when `stop` is set."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in (doing, stopping):
        task.cancel()
    if not stop.is_set():
        await doing


def _show_commands(addresses: Addresses) -> None:
    say("\nTry it yourself, in another terminal:")
    for meaning, command in words.grpcurl_commands(addresses.spin, addresses.jackpot):
        say(f"  # {meaning}\n  {command}")
    say("")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; StartError if another stack uses the same data."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StartError(f"it runs already, with the same data (process {lock.read().strip()})") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def say(line: str) -> None:
    """One line for the person who watches, at once."""
    print(line, flush=True)


if __name__ == "__main__":
    app()
