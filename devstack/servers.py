"""A server of this project as a process: `python -m PACKAGE serve`, healthy, drained, killed."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from devstack.processes import StartError, exit_code, is_running, spawn, stop, tail, wait_until

START_WITHIN_S = 60.0
DRAIN_WITHIN_S = 40.0
PROBE_TIMEOUT_S = 1.0


class Server:
    """One server process. `start` and `kill` may be repeated in any order."""

    def __init__(self, package: str, address: str, log: Path, env: Mapping[str, str]) -> None:
        """`env` is its whole environment."""
        self.package = package
        self.address = address
        self.log = log
        self.env = env
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Starts the process without waiting for it."""
        command = [sys.executable, "-m", self.package, "serve"]
        self.process = spawn(command, death_signal=signal.SIGTERM, log=self.log, env=self.env)

    def start(self) -> None:
        """Starts the process and returns when it says SERVING."""
        if is_running(self.process):
            return
        self.spawn()
        self.wait()

    def wait(self) -> None:
        """Returns when a spawned process says SERVING; StartError if it ends or is too slow."""
        assert self.process is not None
        try:
            wait_until(self.is_serving, self.process, self.log, START_WITHIN_S)
        except StartError as error:
            self.kill()
            raise StartError(f"{self.package} did not start: {error}") from None

    def exit_code(self) -> int | None:
        """Of its process; None while that runs, or before it was started."""
        return exit_code(self.process)

    def is_serving(self) -> bool:
        """What its health service says of the whole server."""
        # Imported late: gRPC's threads are not wanted in a process that only starts others.
        import grpc
        from grpc_health.v1 import health_pb2

        with grpc.insecure_channel(self.address) as channel:
            try:
                answer = channel.unary_unary(
                    "/grpc.health.v1.Health/Check",
                    health_pb2.HealthCheckRequest.SerializeToString,
                    health_pb2.HealthCheckResponse.FromString,
                )(health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> int | None:
        """SIGTERM, and waits for the drain: its exit code; None if it was not running."""
        if self.process is None:
            return None
        code = stop(self.process, signal.SIGTERM, DRAIN_WITHIN_S)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Command:
    """`python -m PACKAGE ARGUMENTS` that does something and ends; several may run at once."""

    def __init__(self, package: str, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        log.unlink(missing_ok=True)
        self.text = " ".join(["python -m", package, *arguments])
        self.log = log
        command = [sys.executable, "-m", package, *arguments]
        self.process = spawn(command, death_signal=signal.SIGTERM, log=log, env=env)

    def finish(self) -> None:
        """Waits for its end; StartError with its output if it failed."""
        if self.process.wait() != 0:
            raise StartError(f"{self.text} failed:\n{tail(self.log)}")
