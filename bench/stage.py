"""The product and what it is compared with, side by side on one machine, each with databases of its own."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic, perf_counter

import asyncpg

from bench.baselines import background_queue as background_queue_baseline
from bench.children import child
from bench.players import seat_players
from devstack import auditor
from devstack.processes import free_port, tail
from devstack.servers import Server
from tests.support.stack import ROOT, SPIN, SPINS_DB, Scene, Stack, demo, running_stack

# What the servers log when nobody says otherwise; the baselines log warnings only.
DEFAULT_LOGS = {"LOG_LEVEL": "info"}
SETTLED_WITHIN_S = 60.0
POLL_S = 0.02
# A jackpot server that has recorded nothing for so long has nothing left to record.
SILENT_S = 3.0
BEFORE_DATABASE = "before"

# Of the auditor, what also holds in a system without outbox, ledger and jackpot server.
WALLET_CHECKS = (
    "wallet balance is not its last entry",
    "wallet balance is not the sum of its entries",
    "entry does not follow from the one before",
    "spin without its stake",
    "spin without its payout",
    "entry without its spin",
)
POOL_CHECKS = (
    "share is not the wager times the rate",
    "skipped share has money",
)
_CONTRIBUTIONS = "SELECT count(*) FROM contributions"
_MONEY_LOST = """
SELECT p.pool_id FROM pools p
 WHERE p.current_micros + p.reserve_micros + p.overflow_micros < 0
    OR p.cycle <> 1 + (SELECT count(*) FROM jackpot_wins w WHERE w.pool = 'pools/' || p.pool_id)"""


class Watch:
    """A connection to look at a database with, while others are at work in it."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        # Contributions that were given up.
        self.lost = 0

    async def outbox_empty(self, answered: int) -> float:
        """When every contribution was recorded and booked, its wins paid and acknowledged (perf_counter)."""
        deadline = monotonic() + SETTLED_WITHIN_S
        while await self._connection.fetchval("SELECT EXISTS (SELECT FROM jackpot_outbox)"):
            assert monotonic() < deadline, f"not settled within {SETTLED_WITHIN_S:g} s"
            await asyncio.sleep(POLL_S)
        return perf_counter()

    async def contributions(self, answered: int) -> float:
        """When as many contributions were recorded as spins answered; the last one, if no more come."""
        seen, last_news = -1, perf_counter()
        while (count := await self._connection.fetchval(_CONTRIBUTIONS)) < answered - self.lost:
            if count > seen:
                seen, last_news = count, perf_counter()
            elif perf_counter() > last_news + SILENT_S:
                self.lost = answered - count
                print(f"  lost so far: {self.lost} contributions", flush=True)
                return last_news
            await asyncio.sleep(POLL_S)
        return perf_counter()


@asynccontextmanager
async def watch(dsn: str) -> AsyncIterator[Watch]:
    """One database, looked at."""
    connection = await asyncpg.connect(dsn)
    try:
        yield Watch(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def product(
    *, servers: Collection[str], proxied: Collection[str] = (), scene: Scene | None = None
) -> AsyncIterator[Stack]:
    """Afterspin and players with money; the demo's games and pools unless `scene` has others."""
    with tempfile.TemporaryDirectory(prefix="afterspin-bench-") as folder:
        async with running_stack(
            Path(folder),
            servers=servers,
            scene=scene or demo(),
            proxied=proxied,
            spin_settings=DEFAULT_LOGS,
            jackpot_settings=DEFAULT_LOGS,
        ) as stack:
            await seat_players(stack.spins_dsn)
            yield stack


async def make_before_database(stack: Stack) -> str:
    """Beside the spins database, one that has the jackpots too; its DSN."""
    cluster = stack.clusters[SPINS_DB]
    connection = await asyncpg.connect(cluster.dsn())
    try:
        await connection.execute(f"CREATE DATABASE {BEFORE_DATABASE} TEMPLATE spins")
    finally:
        await connection.close()
    dsn = cluster.dsn(BEFORE_DATABASE)
    await seat_pools(dsn, stack)
    return dsn


async def seat_pools(dsn: str, stack: Stack) -> None:
    """The jackpots' tables, and the stack's own pools in them."""
    from jackpot_server.apply import apply
    from jackpot_server.config import read_file
    from jackpot_server.keys import RootKeys, parse_root_key

    connection = await asyncpg.connect(dsn)
    try:
        for file in sorted((ROOT / "jackpot_server/migrations/versions").glob("*.sql")):
            await connection.execute(file.read_text())
        keys = RootKeys(parse_root_key("root", stack.template.root_key))
        await apply(connection, read_file(stack.template.pools), keys, actor="bench", reason="bench")
    finally:
        await connection.close()


@asynccontextmanager
async def baseline(name: str, stack: Stack, spins_dsn: str, **settings: str) -> AsyncIterator[Server]:
    """A server of `bench.baselines` over a database of `stack`, serving."""
    address = f"127.0.0.1:{free_port()}"
    environment = {
        "SPIN_LISTEN": address,
        "SPIN_DATABASE_DSN": spins_dsn,
        # One row's lock is waited for by everybody else.
        "SPIN_DATABASE_LOCK_TIMEOUT_MS": "60000",
        "SPIN_DATABASE_STATEMENT_TIMEOUT_MS": "120000",
        "SPIN_GAMES_FILE": str(stack.template.games),
        "SPIN_ENVIRONMENT": "bench",
        "SPIN_METRICS_PORT": "0",
        "JACKPOT_ROOT_KEY": stack.template.root_key,
        "OUTBOX_JACKPOT_ADDRESS": stack.jackpot_address,
        "LOG_LEVEL": "warning",
        **settings,
    }
    async with _serving(
        f"bench.baselines.{name}", address, stack.folder / f"{name}.log", environment
    ) as server:
        yield server


@asynccontextmanager
async def background_queue(stack: Stack) -> AsyncIterator[Server]:
    """PgQueuer over the spins database of `stack`: its spin server, and a worker process beside it."""
    await background_queue_baseline.install(stack.spins_dsn)
    worker = {
        "SPIN_DATABASE_DSN": stack.spins_dsn,
        "OUTBOX_JACKPOT_ADDRESS": stack.jackpot_address,
    }
    async with (
        baseline("background_queue", stack, stack.spins_dsn) as server,
        child("bench.baselines.background_queue", "worker", environment=worker),
    ):
        yield server


@asynccontextmanager
async def spin_servers(stack: Stack, count: int) -> AsyncIterator[str]:
    """So many spin servers over the spins database of `stack`, its own one included: one address of all."""
    first = stack.servers[SPIN]
    async with AsyncExitStack() as more:
        addresses = [first.address]
        for number in range(1, count):
            address = f"127.0.0.1:{free_port()}"
            settings = {**first.env, "SPIN_LISTEN": address}
            log = stack.folder / f"spin-{number}.log"
            await more.enter_async_context(_serving("spin_server", address, log, settings))
            addresses.append(address)
        yield every(addresses)


def every(addresses: Sequence[str]) -> str:
    """One address whose calls go to each of them in turn."""
    return addresses[0] if len(addresses) == 1 else "ipv4:" + ",".join(addresses)


@asynccontextmanager
async def empty_handler(folder: Path) -> AsyncIterator[Server]:
    """The server that does nothing."""
    address = f"127.0.0.1:{free_port()}"
    settings = {"BASELINE_LISTEN": address}
    async with _serving("bench.baselines.empty", address, folder / "empty.log", settings) as server:
        yield server


@asynccontextmanager
async def _serving(
    module: str, address: str, log: Path, settings: Mapping[str, str]
) -> AsyncIterator[Server]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "BASELINE_CONNECTIONS") if name in os.environ}
    server = Server(module, address, log, {**kept, "PYTHONPATH": str(ROOT), **settings})
    # A child ends with the thread that started it.
    with ThreadPoolExecutor(1) as hands:
        try:
            await asyncio.get_running_loop().run_in_executor(hands, server.start)
            yield server
        except BaseException as error:
            error.add_note(f"{module}:\n{tail(log, 40)}")
            raise
        finally:
            server.kill()


async def audit_product(stack: Stack, *, spins: int | None) -> list[str]:
    """The auditor's findings, and whether as many spins are there as were answered, if that is known."""
    found = await auditor.findings(stack.spins_dsn, stack.jackpots_dsn)
    counts = await auditor.counts(stack.spins_dsn, stack.jackpots_dsn)
    if spins is not None and counts["spins"] != spins:
        found.append(f"{spins} spins answered, {counts['spins']} in the database")
    print(f"audited: {counts}; {len(found)} findings", flush=True)
    return found


async def audit_contributions(jackpots_dsn: str, *, answered: int) -> list[str]:
    """Of a jackpot server alone: its books, and whether everything answered is there."""
    found = await _look(jackpots_dsn, auditor.JACKPOTS_CHECKS, auditor.JACKPOTS_CHECKS)
    return found + await _counted(jackpots_dsn, "contributions", answered)


async def audit_pools(jackpots_dsn: str, *, answered: int) -> list[str]:
    """Pools without a ledger: each share is right, and there is one contribution for each answer."""
    found = await _look(jackpots_dsn, auditor.JACKPOTS_CHECKS, POOL_CHECKS)
    return found + await _counted(jackpots_dsn, "contributions", answered)


async def audit_before(dsn: str, *, spins: int) -> list[str]:
    """The "before": wallets, pools, and a contribution for each spin."""
    found = await _look(dsn, auditor.SPINS_CHECKS, WALLET_CHECKS)
    found += await _look(dsn, auditor.JACKPOTS_CHECKS, POOL_CHECKS)
    found += await _look(dsn, {"pool does not add up": _MONEY_LOST}, ["pool does not add up"])
    found += await _counted(dsn, "contributions", spins)
    return found + await _counted(dsn, "spins", spins)


async def audit_after(dsn: str, *, spins: int) -> list[str]:
    """The original's "after": wallets and spins. What it loses of the jackpots is its nature."""
    return await _look(dsn, auditor.SPINS_CHECKS, WALLET_CHECKS) + await _counted(dsn, "spins", spins)


async def _look(dsn: str, checks: Mapping[str, str], names: Collection[str]) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return [f"{name}: {dict(row)}" for name in names for row in await connection.fetch(checks[name])]
    finally:
        await connection.close()


async def _counted(dsn: str, table: str, answered: int) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        count = await connection.fetchval(f"SELECT count(*) FROM {table}")
    finally:
        await connection.close()
    return [] if count == answered else [f"{answered} answered, {count} {table}"]
