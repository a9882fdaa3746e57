"""Child processes on a leash: they end with their parent, and Ctrl-C reaches only the parent."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep

POLL_S = 0.01
LEASH = Path(__file__).with_name("leash.py")


class StartError(Exception):
    """A part of the stack did not start; the text says which, why and what to do."""


def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    log: Path,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a command whose output is appended to `log`.

    It gets `death_signal` when the calling *thread* ends, so call it from one that lives as long as
    the stack. It has a session of its own: a terminal's Ctrl-C does not reach it, the order of stopping
    stays with the caller.
    """
    leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), death_signal.name]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*leash, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=env,
        )


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, within_s: float
) -> None:
    """Returns once `ready()`; raises StartError with the log's end if the process ends or is too slow."""
    deadline = monotonic() + within_s
    while not ready():
        if process.poll() is not None:
            raise StartError(f"it ended with code {process.returncode}:\n{tail(log)}")
        if monotonic() > deadline:
            raise StartError(f"it was not ready within {within_s:g} s:\n{tail(log)}")
        sleep(POLL_S)


def stop(process: subprocess.Popen[bytes], how: signal.Signals, within_s: float) -> int:
    """Sends the signal, waits, and kills after `within_s`. Returns the exit code; may be repeated."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def exit_code(process: subprocess.Popen[bytes] | None) -> int | None:
    """Of a process that ended; None while it runs, or where there is none."""
    return None if process is None else process.poll()


def is_running(process: subprocess.Popen[bytes] | None) -> bool:
    """Whether there is a process, and it has not ended."""
    return process is not None and process.poll() is None


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented; empty if there is none."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of the loopback that nothing listens on now; another process may still take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
