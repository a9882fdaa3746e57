"""B22: what a SLOTS spin costs: processor time, waiting for locks, connections; against the "before".

Processor time is that of the servers and of their databases with everything in them, taken from the system
before a phase and after its last contribution is booked. Locks: how many connections wait for one, looked at
every few milliseconds. Connections: how long all that the servers hold are held for each spin; their number
stands beside it.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import asyncpg

from bench import stage
from bench.contest import Contender, closed_loop, middle, ratios
from bench.figures import median
from bench.processes import cpu_s
from bench.report import Condition, Figure
from bench.settings import Effort
from devstack.postgres import Cluster
from devstack.servers import Server
from tests.support.stack import JACKPOTS_DB, SERVERS, SPINS_DB

LOOK_EVERY_S: Final = 0.01
# What the design promises of locks and connections.
LOCKS_REACH, CONNECTIONS_REACH = 0.1, 0.25

# Who serves has a name, who looks on has none.
_WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"""
_CONNECTED = """
SELECT count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND application_name <> '' AND pid <> pg_backend_pid()"""


@dataclass
class Side:
    """A system under load, and per repetition what a spin of it took."""

    contender: Contender
    servers: Sequence[Server]
    clusters: Sequence[Cluster]
    cpu_ms: list[float] = field(default_factory=list)
    locked_ms: list[float] = field(default_factory=list)
    connected_ms: list[float] = field(default_factory=list)
    connections: int = 0

    def _pids(self) -> list[int]:
        processes = [server.process for server in self.servers]
        processes += [cluster.process for cluster in self.clusters]
        return [process.pid for process in processes if process is not None]

    async def play(self, seconds: float) -> None:
        """One phase; its warming up counts too, as spins and as cost."""
        spins_before, cpu_before, began = self.contender.answered, cpu_s(self._pids()), perf_counter()
        looking = asyncio.create_task(_waited_s(self.clusters))
        await self.contender.play(seconds)
        looking.cancel()
        spins, took_s = self.contender.answered - spins_before, perf_counter() - began
        self.cpu_ms.append((cpu_s(self._pids()) - cpu_before) / spins * 1e3)
        self.locked_ms.append(await looking / spins * 1e3)
        self.connections = await _connected(self.clusters)
        self.connected_ms.append(self.connections * took_s / spins * 1e3)


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, and what the audits found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=SERVERS))
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        theirs = await stack.enter_async_context(stage.product(servers=()))
        before_dsn = await stage.make_before_database(theirs)
        server = await stack.enter_async_context(stage.baseline("before", theirs, before_dsn))
        loops = [
            await stack.enter_async_context(closed_loop(address, "slots"))
            for address in (ours.spin_address, server.address)
        ]
        mine = Side(
            Contender("Afterspin", loops[0], watch.outbox_empty),
            [ours.servers[name] for name in SERVERS],
            [ours.clusters[name] for name in (SPINS_DB, JACKPOTS_DB)],
        )
        other = Side(Contender("before (15 statements)", loops[1]), [server], [theirs.clusters[SPINS_DB]])
        for number in range(effort.repeats):
            print(f"round {number + 1} of {effort.repeats}", flush=True)
            for side in (mine, other):
                await side.play(effort.seconds)
        found = await stage.audit_product(ours, spins=mine.contender.answered)
        found += await stage.audit_before(before_dsn, spins=other.contender.answered)
    return {"B22": _figure(mine, other)}, found


def _figure(mine: Side, other: Side) -> Figure:
    # Seldom, nobody waits for a lock at all: a ratio of sums has no zero below it.
    locks = Condition(sum(mine.locked_ms) / max(sum(other.locked_ms), 1e-9), LOCKS_REACH)
    connections = Condition(middle(ratios(mine.connected_ms, other.connected_ms)), CONNECTIONS_REACH)
    more = {
        "waiting for locks, per spin": f"{middle(mine.locked_ms):g} against "
        f"{middle(other.locked_ms):g} ms, {locks}",
        "a connection's time, per spin": f"{middle(mine.connected_ms):g} against "
        f"{middle(other.connected_ms):g} ms, {connections}; {mine.connections} connections "
        f"against {other.connections}",
    }
    each = ratios(mine.cpu_ms, other.cpu_ms)
    return Figure(median(mine.cpu_ms), median(other.cpu_ms), each, more, [locks, connections])


async def _waited_s(clusters: Sequence[Cluster]) -> float:
    """Seconds that all connections together waited for locks, until cancelled."""
    connections = [await asyncpg.connect(cluster.dsn()) for cluster in clusters]
    waited, last = 0.0, perf_counter()
    try:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            waiting = sum([await connection.fetchval(_WAITING) for connection in connections])
            now = perf_counter()
            waited += waiting * (now - last)
            last = now
    except asyncio.CancelledError:
        return waited
    finally:
        for connection in connections:
            connection.terminate()


async def _connected(clusters: Sequence[Cluster]) -> int:
    total = 0
    for cluster in clusters:
        connection = await asyncpg.connect(cluster.dsn())
        try:
            total += await connection.fetchval(_CONNECTED)
        finally:
            await connection.close()
    return total
