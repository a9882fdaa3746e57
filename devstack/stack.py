"""Two databases, a cache and both servers, started in order and stopped in order."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devstack import secrets_file
from devstack.addresses import Addresses
from devstack.databases import JACKPOTS, SPINS, Tenant, admit, provide
from devstack.postgres import Cluster
from devstack.servers import Command, Server
from devstack.valkey import Valkey

PROJECT = Path(__file__).parents[1]
DEMO = Path(__file__).with_name("demo")
TENANTS = (SPINS, JACKPOTS)


def silent(line: str) -> None:
    """For callers that do not show what is going on."""


class Stack:
    """Everything that a laptop needs, below one folder.

    What the environment names is used instead of an own part: SPIN_DATABASE_DSN, JACKPOT_DATABASE_DSN,
    JACKPOT_CACHE_URL ('' for no cache). Such a database is migrated (as SPIN_MIGRATE_DSN or
    JACKPOT_MIGRATE_DSN, if given), but its roles are its administrator's.
    """

    def __init__(
        self,
        folder: Path,
        addresses: Addresses,
        environ: Mapping[str, str] = os.environ,
        say: Callable[[str], None] = silent,
    ) -> None:
        """Starts nothing. `environ` also goes to the servers, whose own settings it may hold.

        `say` gets a line for each part that has started.
        """
        self.folder = folder.resolve()
        self.addresses = addresses
        self.environ = environ
        self.logs = self.folder / "logs"
        self.clusters: dict[Tenant, Cluster] = {}
        self.cache: Valkey | None = None
        self.servers: dict[Tenant, Server] = {}
        self._say = say
        self._passwords: dict[str, str] = {}

    def taken_ports(self) -> list[str]:
        """One line for each port that this stack needs and another process uses."""
        needed = {"spin", "jackpot", "spin_metrics", "jackpot_metrics"}
        needed |= {f"{tenant.database}_database" for tenant in TENANTS if self._has_own_database(tenant)}
        if self._has_own_cache():
            needed.add("cache")
        return self.addresses.taken(needed)

    def start(self) -> None:
        """Starts every part and returns when both servers serve; raises StartError.

        After an error `stop` ends what was started.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        self._passwords = secrets_file.load_or_create(self.folder)
        for tenant in TENANTS:
            if self._has_own_database(tenant):
                self._start_cluster(tenant)
        if self._has_own_cache():
            self._start_cache()
        self._finish([self._command(tenant, "migrate") for tenant in TENANTS])
        for tenant, cluster in self.clusters.items():
            admit(cluster.dsn(), tenant, self._passwords[tenant.login])
        self._finish([self._command(JACKPOTS, "apply", str(DEMO / "jackpots.toml"))])
        self._say("schemas           migrated; demo pools applied")
        self._start_servers()

    def stop(self) -> list[str]:
        """Stops every part in order: servers, databases, cache. What did not end well, one line each."""
        problems = []
        for server in reversed(self.servers.values()):
            if code := server.stop():
                problems.append(f"{server.package} ended with code {code}: see {server.log}")
        for part in (*self.clusters.values(), self.cache):
            if part is not None:
                part.stop()
        return problems

    @property
    def parts(self) -> dict[str, Server | Cluster | Valkey]:
        """The parts of this stack by the names that a person knows."""
        parts: dict[str, Server | Cluster | Valkey] = {}
        parts |= {f"{tenant.database} database": cluster for tenant, cluster in self.clusters.items()}
        parts |= {"cache": self.cache} if self.cache is not None else {}
        parts |= {tenant.package.replace("_", " "): server for tenant, server in self.servers.items()}
        return parts

    def _has_own_database(self, tenant: Tenant) -> bool:
        return f"{tenant.prefix}_DATABASE_DSN" not in self.environ

    def _has_own_cache(self) -> bool:
        return "JACKPOT_CACHE_URL" not in self.environ

    def _start_cluster(self, tenant: Tenant) -> None:
        port = self.addresses.spins_database if tenant is SPINS else self.addresses.jackpots_database
        cluster = Cluster(self.folder / tenant.database, password=self._passwords["superuser"], port=port)
        self.clusters[tenant] = cluster
        cluster.start()
        provide(cluster.dsn(), tenant, self._passwords[tenant.owner])
        self._say(f"{tenant.database + ' database':<17} PostgreSQL {cluster.version} on 127.0.0.1:{port}")

    def _start_cache(self) -> None:
        self.cache = Valkey(self.folder / "cache", port=self.addresses.cache)
        self.cache.start()
        self._say(f"cache             Valkey on 127.0.0.1:{self.addresses.cache}")

    def _start_servers(self) -> None:
        # The jackpot server first, so that the spin server's first call finds it.
        for tenant in (JACKPOTS, SPINS):
            log = self.logs / f"{tenant.package}.log"
            log.unlink(missing_ok=True)
            server = Server(tenant.package, self._address(tenant), log, self._environment(tenant))
            self.servers[tenant] = server
            server.spawn()
        for tenant, server in self.servers.items():
            server.wait()
            self._say(f"{tenant.package.replace('_', ' '):<17} on {server.address}")

    def _address(self, tenant: Tenant) -> str:
        return self.addresses.spin if tenant is SPINS else self.addresses.jackpot

    def _command(self, tenant: Tenant, *arguments: str) -> Command:
        """Runs as the database's owner, which the server itself never is."""
        environment = self._environment(tenant)
        if cluster := self.clusters.get(tenant):
            owner = cluster.dsn(tenant.database, tenant.owner, self._passwords[tenant.owner])
            environment[f"{tenant.prefix}_MIGRATE_DSN"] = owner
        log = self.logs / f"{arguments[0]}-{tenant.database}.log"
        return Command(tenant.package, arguments, log, environment)

    @staticmethod
    def _finish(commands: Sequence[Command]) -> None:
        for command in commands:
            command.finish()

    def _environment(self, tenant: Tenant) -> dict[str, str]:
        """The whole environment of a server: what is said here yields to what the caller's says."""
        settings = {f"{tenant.prefix}_ENVIRONMENT": "demo"}
        if cluster := self.clusters.get(tenant):
            dsn = cluster.dsn(tenant.database, tenant.login, self._passwords[tenant.login])
            settings[f"{tenant.prefix}_DATABASE_DSN"] = dsn
        if tenant is SPINS:
            settings["SPIN_GAMES_FILE"] = str(DEMO / "games.toml")
            settings["OUTBOX_JACKPOT_ADDRESS"] = self.addresses.jackpot
        else:
            if self.cache is not None:
                settings["JACKPOT_CACHE_URL"] = self.cache.url
            if not {"JACKPOT_ROOT_KEY", "JACKPOT_ROOT_KEY_FILE"} & self.environ.keys():
                settings["JACKPOT_ROOT_KEY_FILE"] = str(secrets_file.root_key_file(self.folder))
        metrics = self.addresses.spin_metrics if tenant is SPINS else self.addresses.jackpot_metrics
        listening = {
            f"{tenant.prefix}_LISTEN": self._address(tenant),
            f"{tenant.prefix}_METRICS_PORT": str(metrics),
        }
        path = os.pathsep.join(filter(None, [str(PROJECT), self.environ.get("PYTHONPATH")]))
        return {**settings, **self.environ, **listening, "PYTHONPATH": path}
