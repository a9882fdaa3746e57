"""`make run` as a stranger sees it: ready, a jackpot falls and is paid, Ctrl-C leaves nothing behind."""

import asyncio
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack.addresses import Addresses
from tests.e2e.conftest import clean_environment
from tests.support.cluster import TestCluster
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 60
# 333 spins of 1.00 at the latest.
MINI_FALLS_WITHIN_S = 60
STOPS_WITHIN_S = 30


@dataclass(frozen=True, slots=True)
class Run:
    """A `make run` and what it has printed."""

    process: subprocess.Popen[bytes]
    output: Path
    folder: Path

    def text(self) -> str:
        return self.output.read_text()

    def has_said(self, pattern: str) -> Callable[[], "re.Match[str] | None"]:
        return lambda: re.search(pattern, self.text(), re.MULTILINE)

    def descendants(self) -> set[int]:
        """Every process below it, by id."""
        below: set[int] = set()
        todo = [self.process.pid]
        while todo:
            for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
                children = [int(child) for child in task.read_text().split()]
                below.update(children)
                todo += children
        return below


def still_running(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}/exe").exists()}


@contextmanager
def make_run(folder: Path, **settings: str) -> Iterator[Run]:
    addresses = Addresses.free()
    environment = clean_environment() | {
        "DEVSTACK_FOLDER": str(folder / "data"),
        "SPIN_LISTEN": addresses.spin,
        "JACKPOT_LISTEN": addresses.jackpot,
        "SPIN_METRICS_PORT": "0",
        "JACKPOT_METRICS_PORT": "0",
        "DEVSTACK_SPINS_DATABASE_PORT": str(addresses.spins_database),
        "DEVSTACK_JACKPOTS_DATABASE_PORT": str(addresses.jackpots_database),
        "DEVSTACK_CACHE_PORT": str(addresses.cache),
        **settings,
    }
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack", "run"], cwd=ROOT, env=environment, stdout=file, stderr=file
        )
    try:
        yield Run(process, output, folder)
    finally:
        process.kill()
        process.wait()


async def stop(run: Run) -> int:
    run.process.send_signal(signal.SIGINT)
    return await asyncio.to_thread(run.process.wait, STOPS_WITHIN_S)


async def test_a_mini_falls_is_credited_and_shown_and_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    with make_run(tmp_path) as run:
        await eventually(run.has_said(r"ready after"), within_s=READY_WITHIN_S)
        await eventually(
            run.has_said(r"\*\*\* mini falls: 0\.\d\d COIN, credited"), within_s=MINI_FALLS_WITHIN_S
        )
        await eventually(run.has_said(r"^\d\d:\d\d:\d\d +\d+ spins +p50 .*mini 0\.\d\d"))
        assert run.has_said(r"no jackpot: this game is not SLOTS")()
        for command in re.findall(r"^  (\S*grpcurl .*)$", run.text(), re.MULTILINE):
            await paste(command)
        below = run.descendants()
        assert len(below) > 10
        assert await stop(run) == 0, run.text()
        assert still_running(below) == set()


async def paste(command: str) -> None:
    """Runs a printed command; a stream is cut after a second."""
    arguments = shlex.split(command)
    streams = arguments[-1].endswith("WatchPools")
    arguments[1:1] = ["-max-time", "1" if streams else "10"]
    done = await asyncio.create_subprocess_exec(
        *arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await done.communicate()
    assert b"{" in output, output
    assert done.returncode == 0 or streams, output


async def test_what_was_won_and_grown_is_still_there_the_next_time(tmp_path: Path) -> None:
    holds = r"^wallets/demo holds ([\d,]+\.\d\d)"
    balances = []
    for _ in range(2):
        with make_run(tmp_path) as run:
            await eventually(run.has_said(r"p50 "), within_s=READY_WITHIN_S)
            first = run.has_said(holds)()
            assert first
            assert await stop(run) == 0, run.text()
            last = re.findall(r"balance ([\d,.]+)", run.text())[-1]
            balances.append((first[1], last))
    # The second run begins with money that the first one's spins have moved.
    assert balances[0][0] == "1,000.00"
    assert balances[1][0] != "1,000.00"


async def test_servers_that_the_environment_names_are_used_instead_of_own_ones(
    tmp_path: Path, postgres: TestCluster
) -> None:
    with postgres.empty() as spins, postgres.empty() as jackpots:
        named = {"SPIN_DATABASE_DSN": spins, "JACKPOT_DATABASE_DSN": jackpots, "JACKPOT_CACHE_URL": ""}
        with make_run(tmp_path, PLAY="0", **named) as run:
            await eventually(run.has_said(r"Try it yourself"), within_s=READY_WITHIN_S)
            for command in re.findall(r"^  (\S*grpcurl .*SettleSpin)$", run.text(), re.MULTILINE):
                await paste(command)
            assert await stop(run) == 0, run.text()
        assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
            "lock",
            "logs",
            "root.key",
            "secrets.json",
        ]


async def test_a_killed_make_run_takes_its_children_along(tmp_path: Path) -> None:
    with make_run(tmp_path, PLAY="0") as run:
        await eventually(run.has_said(r"Try it yourself"), within_s=READY_WITHIN_S)
        below = run.descendants()
        run.process.kill()
        await eventually(lambda: not still_running(below), within_s=STOPS_WITHIN_S)


async def test_a_server_that_is_killed_is_started_again_while_spins_go_on(tmp_path: Path) -> None:
    with make_run(tmp_path) as run:
        await eventually(run.has_said(r"p50 "), within_s=READY_WITHIN_S)
        victim = next(pid for pid in run.descendants() if b"jackpot_server\0serve" in command_line(pid))
        os.kill(victim, signal.SIGKILL)
        await eventually(run.has_said(r"the jackpot server has ended with code -9"))
        after = len(run.text())
        await eventually(lambda: re.search(r"20 spins .* mini 0\.\d\d", run.text()[after:]), within_s=30)
        await eventually(lambda: re.search(r"jackpot \+\d", run.text()[after:]), within_s=30)
        assert await stop(run) == 0, run.text()


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def test_taken_ports_are_named_all_at_once(tmp_path: Path) -> None:
    with socket.socket() as first, socket.socket() as second:
        for other in (first, second):
            other.bind(("127.0.0.1", 0))
            other.listen()
        ports = [other.getsockname()[1] for other in (first, second)]
        with make_run(
            tmp_path, SPIN_LISTEN=f"127.0.0.1:{ports[0]}", DEVSTACK_CACHE_PORT=str(ports[1])
        ) as run:
            assert run.process.wait(30) == 1
        assert f"{ports[0]} (spin)" in run.text()
        assert f"{ports[1]} (cache)" in run.text()
        assert "Traceback" not in run.text()
