"""`python -m devstack run`: the whole system on this machine until Ctrl-C."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from devstack import words
from devstack.addresses import Addresses
from devstack.demonstration import SPINS_PER_SECOND, Demonstration
from devstack.player import Player
from devstack.processes import StartError
from devstack.stack import Stack

FOLDER = Path(__file__).parents[1] / ".devstack"
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
