"""A built image, a container of it, and what runs in there, as the image's own configuration says."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from devstack.processes import spawn, tail

WITHIN_S = 60.0
POLL_S = 0.01
NOTHING: Mapping[str, str] = {}
NO_FILES: Mapping[Path, str] = {}


class Wrong(Exception):
    """A step did not hold; the text says which and what was seen."""


@dataclass(frozen=True, slots=True)
class Image:
    """A built image and a container of it that commands run in, as its configuration says."""

    store: tuple[str, ...]
    container: str
    config: Mapping[str, Any]

    @classmethod
    def open(cls, name: str, store: tuple[str, ...]) -> "Image":
        described = buildah(store, "inspect", "--type", "image", name)
        container = buildah(store, "from", "--pull-never", name).strip()
        return cls(store, container, json.loads(described)["Docker"]["config"])

    def run(
        self, command: Sequence[str], env: Mapping[str, str] = NOTHING, files: Mapping[Path, str] = NO_FILES
    ) -> list[str]:
        """The command line that runs `command` in the container, as the image's user, with its variables."""
        options = [f"--env={name}={value}" for name, value in env.items()]
        options += [f"--volume={there}:{here}:ro" for there, here in files.items()]
        return [
            "buildah",
            *self.store,
            "run",
            f"--user={self.config['User']}",
            *options,
            self.container,
            "--",
            *command,
        ]

    def serve(
        self, command: Sequence[str], env: Mapping[str, str] = NOTHING, files: Mapping[Path, str] = NO_FILES
    ) -> list[str]:
        """The same for a command that the image's entrypoint starts."""
        return self.run([*self.config["Entrypoint"], *command], env, files)

    def check(self, command: Sequence[str], env: Mapping[str, str] = NOTHING) -> None:
        """Runs a short command; Wrong if it fails.

        Its output may be lost: buildah's chroot isolation sometimes ends before it has copied the last of it.
        """
        output_of(self.run(command, env))

    def files(self) -> Path:
        """The container's root folder, as the host sees it."""
        return Path(buildah(self.store, "mount", self.container).strip())


class Part:
    """One part of the system, served from the image; signals reach it as an engine sends them."""

    def __init__(
        self,
        image: Image,
        command: Sequence[str],
        env: Mapping[str, str],
        files: Mapping[Path, str],
        folder: Path,
    ) -> None:
        """Starts it; its log goes to `folder`."""
        self.name = command[0]
        self.env = env
        self.image = image
        self.log = folder / f"{self.name}.log"
        self.start_time = monotonic()
        self.process = spawn(image.serve(command, env, files), death_signal=signal.SIGKILL, log=self.log)

    def wait(self, what: str, holds: Callable[[], bool]) -> float:
        """Until `holds()`: the seconds since the start. Wrong if the part ends before, or is too slow."""
        while not holds():
            if self.process.poll() is not None or monotonic() > self.start_time + WITHIN_S:
                raise Wrong(f"{self.name}: {what}: not so\n{tail(self.log, 30)}")
            sleep(POLL_S)
        return monotonic() - self.start_time

    @property
    def pid(self) -> int:
        """Of the process that the entrypoint became: the innermost child."""
        pid = self.process.pid
        while children := _children(pid):
            pid = children[0]
        return pid

    @property
    def memory_mib(self) -> float:
        """What it holds of the machine's memory now."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    def stop(self) -> float:
        """SIGTERM, and the seconds until it has ended; Wrong unless with status 0."""
        begin = monotonic()
        os.kill(self.pid, signal.SIGTERM)
        code = self.process.wait(WITHIN_S)
        if code != 0:
            raise Wrong(f"{self.name} ended with status {code} after SIGTERM\n{tail(self.log, 30)}")
        return monotonic() - begin

    def kill(self) -> None:
        """Ends it if it still runs."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait(WITHIN_S)


def _children(pid: int) -> list[int]:
    # Of every thread: whichever of them made the child is its parent.
    lists = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for children in lists for child in children.split()]


def output_of(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """What a command prints, within WITHIN_S; Wrong with all that it said if it fails."""
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        env=env,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if ended.returncode != 0:
        raise Wrong(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def buildah(store: Sequence[str], *arguments: str) -> str:
    return output_of(["buildah", *store, *arguments])
