"""A whole Afterspin for tests and benchmarks, every part of which can be killed and started again.

Two PostgreSQL servers, a Valkey, the spin server and the jackpot server, and on request the outbox as a
sidecar of a foreign wallet; each its own process on an address that it keeps over restarts.
"""

import asyncio
import atexit
import functools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TypeVar

import asyncpg
import grpc.aio
from grpc_health.v1 import health_pb2

from devstack.databases import JACKPOTS, SPINS, admit, provide
from devstack.postgres import Cluster
from devstack.processes import free_port, tail
from devstack.servers import Command, Server
from devstack.valkey import Valkey
from tests.support.fault_proxy import FaultProxy

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
SERVING_WITHIN_S = 30.0
POLL_S = 0.02
EAGER = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 100)]
# SIGTERM to exit: the servers' own grace is shorter.
STOP_WITHIN_S = 30.0

SPINS_DB, JACKPOTS_DB, VALKEY = "spins_db", "jackpots_db", "valkey"
SPIN, JACKPOT, OUTBOX = "spin", "jackpot", "outbox"
SERVERS = (JACKPOT, SPIN)
# In front of what a FaultProxy may stand.
PROXIED = frozenset({SPINS_DB, JACKPOTS_DB, JACKPOT, VALKEY})

FOREIGN_DATABASE, FOREIGN_OWNER = "wallet", "foreign_wallet"
SLOTS_GAME, TABLE_GAME = "hot-slots", "hot-table"
PROVIDER, CURRENCY, OPERATOR = "house", "COIN", "hot"

GAMES = f"""
[[games]]
game_id = "{SLOTS_GAME}"
display_name = "Hot Slots"
category = "SLOTS"
provider_name = "{PROVIDER}"
currency_code = "{CURRENCY}"
min_wager_minor = 1
max_wager_minor = 10000
pay_table = [
    {{ multiplier_ppm = 0, weight = 3 }},
    {{ multiplier_ppm = 2000000, weight = 1 }},
]

[[games]]
game_id = "{TABLE_GAME}"
display_name = "Hot Table"
category = "TABLE"
provider_name = "{PROVIDER}"
currency_code = "{CURRENCY}"
min_wager_minor = 1
max_wager_minor = 10000
pay_table = [
    {{ multiplier_ppm = 0, weight = 1 }},
    {{ multiplier_ppm = 2000000, weight = 1 }},
]
"""

# They fall every few spins of 1.00, so that a kill seldom finds no win on its way.
POOLS = f"""
[pools.mini]
display_name = "Mini"
tier = "MINI"
currency_code = "{CURRENCY}"
contribution_ppm = 50000
reserve_ppm = 20000
reset_minor = 10
trigger = {{ must_hit_by = {{ floor_minor = 10, ceiling_minor = 100 }} }}

[pools.lucky]
display_name = "Lucky"
tier = "MINOR"
currency_code = "{CURRENCY}"
contribution_ppm = 10000
reserve_ppm = 5000
reset_minor = 5
ceiling_minor = 40
overflow_limit_minor = 20
trigger = {{ odds = {{ one_in = 25, per_wager_minor = 100 }} }}

[pools.quiet]
display_name = "Quiet"
tier = "GRAND"
currency_code = "{CURRENCY}"
contribution_ppm = 333
reserve_ppm = 77
reset_minor = 1000
trigger = {{ odds = {{ one_in = 10000000, per_wager_minor = 100 }} }}
"""


@dataclass(frozen=True, slots=True)
class Template:
    """Two stopped, migrated database servers and the files beside them; stacks start from copies."""

    folder: Path
    password: str
    root_key: str

    @property
    def games(self) -> Path:
        """The games that its spin server offers."""
        return self.folder / "games.toml"

    @property
    def pools(self) -> Path:
        """The pools that were applied to its jackpots database."""
        return self.folder / "jackpots.toml"


def _environment(**settings: str) -> dict[str, str]:
    """A server's whole environment: nothing of the developer's own settings gets in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | settings


@dataclass(frozen=True, slots=True)
class Scene:
    """What is played: the texts of games.toml and jackpots.toml."""

    games: str
    pools: str


HOT = Scene(GAMES, POOLS)


def demo() -> Scene:
    """The games and pools of `make run`, whose wins are as rare as in life."""
    folder = ROOT / "devstack/demo"
    return Scene((folder / "games.toml").read_text(), (folder / "jackpots.toml").read_text())


@functools.cache
def template(scene: Scene) -> Template:
    """The template of a scene for this process; made at first use, removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="afterspin-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = Template(folder, secrets.token_hex(16), secrets.token_hex(32))
    made.games.write_text(scene.games)
    made.pools.write_text(scene.pools)
    clusters = {name: Cluster(folder / name, password=made.password) for name in (SPINS_DB, JACKPOTS_DB)}
    try:
        for cluster in clusters.values():
            cluster.start()
        with ThreadPoolExecutor(1) as thread:  # the caller's own may have a running event loop
            thread.submit(_fill, clusters[SPINS_DB], clusters[JACKPOTS_DB], made).result()
    finally:
        for cluster in clusters.values():
            cluster.stop()
    return made


def _fill(spins: Cluster, jackpots: Cluster, made: Template) -> None:
    for cluster, tenant in ((spins, SPINS), (jackpots, JACKPOTS)):
        provide(cluster.dsn(), tenant, made.password)
        dsn = cluster.dsn(tenant.database, tenant.owner)
        settings = {
            f"{tenant.prefix}_MIGRATE_DSN": dsn,
            f"{tenant.prefix}_DATABASE_DSN": dsn,
            f"{tenant.prefix}_ROOT_KEY": made.root_key,
            f"{tenant.prefix}_ENVIRONMENT": "test",
        }
        log = made.folder / f"{tenant.package}.log"
        Command(tenant.package, ("migrate",), log, _environment(**settings)).finish()
        admit(cluster.dsn(), tenant, made.password)
        if tenant is JACKPOTS:
            Command(tenant.package, ("apply", str(made.pools)), log, _environment(**settings)).finish()
    asyncio.run(_make_foreign_database(spins, made.password))


async def _make_foreign_database(cluster: Cluster, password: str) -> None:
    """The foreign wallet's database: it owns every table in it, those of the outbox too."""
    owner = f"CREATE ROLE {FOREIGN_OWNER} LOGIN PASSWORD '{password}'"
    await _execute(cluster.dsn(), owner, f"CREATE DATABASE {FOREIGN_DATABASE} OWNER {FOREIGN_OWNER}")
    schema = [(ROOT / "jackpot_outbox" / file).read_text() for file in ("schema.sql", "voids.sql")]
    await _execute(cluster.dsn(FOREIGN_DATABASE, FOREIGN_OWNER), *schema)


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


class Stack:
    """The running whole; `running_stack` makes one. Parts are named by the constants of this module."""

    def __init__(
        self,
        folder: Path,
        *,
        scene: Scene = HOT,
        proxied: Collection[str] = (),
        spin_settings: Mapping[str, str] | None = None,
        jackpot_settings: Mapping[str, str] | None = None,
    ) -> None:
        """`folder` takes data and logs. `proxied`: parts (of PROXIED) that others reach through `proxies`."""
        self.folder = folder
        self.template = template(scene)
        self._proxied = frozenset(proxied)
        assert self._proxied <= PROXIED
        self._settings = {SPIN: dict(spin_settings or {}), JACKPOT: dict(jackpot_settings or {})}
        self.proxies: dict[str, FaultProxy] = {}
        self.clusters = {
            name: Cluster(folder / name, password=self.template.password) for name in (SPINS_DB, JACKPOTS_DB)
        }
        self.valkey = Valkey(folder)
        self.servers: dict[str, Server] = {}
        self.spin_address = f"127.0.0.1:{free_port()}"
        self.jackpot_address = f"127.0.0.1:{free_port()}"
        # Child processes end with the thread that started them: this one lives as long as the stack.
        self._hands = ThreadPoolExecutor(1, thread_name_prefix="stack")

    @property
    def spins_dsn(self) -> str:
        """The spins database as its superuser, past any proxy."""
        return self.clusters[SPINS_DB].dsn("spins")

    @property
    def jackpots_dsn(self) -> str:
        """The jackpots database as its superuser, past any proxy."""
        return self.clusters[JACKPOTS_DB].dsn("jackpots")

    @property
    def foreign_dsn(self) -> str:
        """The foreign wallet's database as its owner, past any proxy."""
        return self.clusters[SPINS_DB].dsn(FOREIGN_DATABASE, FOREIGN_OWNER)

    async def open(self) -> None:
        """Databases, cache and proxies; no server of ours yet."""
        for name, cluster in self.clusters.items():
            await self._by_hand(lambda c=cluster, n=name: self._copy(n, c))  # type: ignore[misc]
            await self._by_hand(cluster.start)
        await self._by_hand(self.valkey.start)
        assert self.valkey.port is not None
        ports = {name: cluster.port or 0 for name, cluster in self.clusters.items()}
        ports |= {VALKEY: self.valkey.port, JACKPOT: int(self.jackpot_address.rpartition(":")[2])}
        for name in self._proxied:
            self.proxies[name] = FaultProxy("127.0.0.1", ports[name])
            await self.proxies[name].start()
            ports[name] = self.proxies[name].port
        self._define_servers(ports)

    def _copy(self, name: str, cluster: Cluster) -> None:
        cluster.folder.mkdir(parents=True)
        made = self.template.folder / name / cluster.data.name
        subprocess.run(["cp", "-a", str(made), str(cluster.data)], check=True)

    def _define_servers(self, ports: Mapping[str, int]) -> None:
        password = self.template.password
        dsn = f"postgresql://{{}}:{password}@127.0.0.1:{{}}/{{}}"
        common = {
            "OUTBOX_JACKPOT_ADDRESS": f"127.0.0.1:{ports[JACKPOT]}",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "warning",
        }
        spin = common | {
            "SPIN_LISTEN": self.spin_address,
            "SPIN_DATABASE_DSN": dsn.format("spin_server", ports[SPINS_DB], "spins"),
            "SPIN_GAMES_FILE": str(self.template.games),
            "SPIN_ENVIRONMENT": "test",
            "SPIN_METRICS_PORT": "0",
        }
        jackpot = {
            "JACKPOT_LISTEN": self.jackpot_address,
            "JACKPOT_DATABASE_DSN": dsn.format("jackpot_server", ports[JACKPOTS_DB], "jackpots"),
            "JACKPOT_CACHE_URL": f"redis://127.0.0.1:{ports[VALKEY]}/0",
            "JACKPOT_ROOT_KEY": self.template.root_key,
            "JACKPOT_ENVIRONMENT": "test",
            "JACKPOT_METRICS_PORT": "0",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "warning",
        }
        outbox = common | {
            "OUTBOX_DATABASE_DSN": dsn.format(FOREIGN_OWNER, ports[SPINS_DB], FOREIGN_DATABASE)
        }
        self.servers = {
            JACKPOT: self._server(JACKPOT, "jackpot_server", self.jackpot_address, jackpot),
            SPIN: self._server(SPIN, "spin_server", self.spin_address, spin),
            OUTBOX: self._server(OUTBOX, "jackpot_outbox", "", outbox),
        }

    def _server(self, name: str, package: str, address: str, settings: Mapping[str, str]) -> Server:
        environment = _environment(**{**settings, **self._settings.get(name, {})})
        return Server(package, address, self.folder / f"{name}.log", environment)

    async def start(self, *names: str) -> None:
        """Starts parts and returns when they serve."""
        for name in names:
            await self.spawn(name)
        for name in names:
            await self.wait_serving(name)

    async def spawn(self, name: str) -> None:
        """Starts a part; one of our servers is not serving yet when this returns."""
        if name in self.servers:
            await self._by_hand(self.servers[name].spawn)
        elif name == VALKEY:
            await self._by_hand(self.valkey.start)
        else:
            await self._by_hand(self.clusters[name].start)

    def kill9(self, name: str) -> None:
        """SIGKILL: for a database, of all its processes. Gone when this returns."""
        if name in self.servers:
            self.servers[name].kill()
        elif name == VALKEY:
            self.valkey.kill()
        else:
            self.clusters[name].kill()

    def send(self, name: str, how: signal.Signals) -> None:
        """A signal to one of our servers, or to Valkey (SIGSTOP and SIGCONT: a hung one)."""
        if name == VALKEY:
            assert self.valkey.process is not None
            self.valkey.process.send_signal(how)
        else:
            self._process(name).send_signal(how)

    async def stop(self, name: str) -> int:
        """SIGTERM to one of our servers; its exit code."""
        self.send(name, signal.SIGTERM)
        return await self.exit_code(name)

    async def exit_code(self, name: str, within_s: float = STOP_WITHIN_S) -> int:
        """Waits for one of our servers to end by itself."""
        process = self._process(name)
        deadline = monotonic() + within_s
        while process.poll() is None:
            assert monotonic() < deadline, f"{name} did not end within {within_s:g} s\n{self.logs()}"
            await asyncio.sleep(POLL_S)
        assert process.returncode is not None
        return process.returncode

    async def wait_serving(self, name: str, within_s: float = SERVING_WITHIN_S) -> None:
        """Until its health service says SERVING; AssertionError with the log's end otherwise."""
        server = self.servers.get(name)
        if server is None or not server.address:
            return
        async with grpc.aio.insecure_channel(server.address, options=EAGER) as channel:
            deadline = monotonic() + within_s
            while not await _is_serving(channel):
                ended = self._process(name).poll()
                assert ended is None, f"{name} ended with {ended}:\n{tail(server.log, 40)}"
                assert monotonic() < deadline, f"{name} does not serve:\n{tail(server.log, 40)}"
                await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """Ends everything; nothing is kept."""
        for server in self.servers.values():
            server.kill()
        for proxy in self.proxies.values():
            await proxy.stop()
        for cluster in self.clusters.values():
            cluster.kill()
        self.valkey.kill()
        self._hands.shutdown()

    def logs(self, lines: int = 40) -> str:
        """The end of every log, for a failure's message."""
        files = [*(server.log for server in self.servers.values()), *(c.log for c in self.clusters.values())]
        return "\n".join(f"--- {file.name}\n{tail(file, lines)}" for file in files if file.exists())

    def _process(self, name: str) -> "subprocess.Popen[bytes]":
        process = self.servers[name].process
        assert process is not None, f"{name} was not started"
        return process

    async def _by_hand(self, act: Callable[[], T]) -> T:
        working: Awaitable[T] = asyncio.get_running_loop().run_in_executor(self._hands, act)
        return await working


async def _is_serving(channel: grpc.aio.Channel) -> bool:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = await check(health_pb2.HealthCheckRequest(), timeout=1)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def running_stack(
    folder: Path,
    *,
    servers: Collection[str] = SERVERS,
    scene: Scene = HOT,
    proxied: Collection[str] = (),
    spin_settings: Mapping[str, str] | None = None,
    jackpot_settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """A stack whose `servers` serve. What goes wrong inside is raised with the ends of all logs as a note."""
    stack = Stack(
        folder, scene=scene, proxied=proxied, spin_settings=spin_settings, jackpot_settings=jackpot_settings
    )
    try:
        await stack.open()
        await stack.start(*servers)
        yield stack
    except BaseException as error:
        error.add_note(stack.logs())
        raise
    finally:
        await stack.close()
