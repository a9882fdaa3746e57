"""`make demo`: three minutes in which the whole system proves what it promises, step by step.

On a stack of its own, with fresh data. Each step says what it proves, does it, and shows the figures; the
books are compared by the auditor, which shares no code with the servers.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter

import asyncpg
import grpc
import redis.asyncio as redis
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from devstack import auditor, words
from devstack.databases import JACKPOTS, SPINS, Tenant
from devstack.demonstration import quantile
from devstack.player import LOW_MINOR, SLOTS, TABLE, Played, Player
from devstack.stack import Stack

LOAD_PER_SECOND = 100
PAIRS = 200
MINI_WITHIN_S = 90.0
KILLED_AFTER_S = 5.0
DOWN_FOR_S = 3.0
LOAD_FOR_S = 40.0
QUIET_WITHIN_S = 30.0
POLL_S = 0.1
# A caller repeats its call until it is answered: that is the whole of what a client has to know.
REPEAT_EVERY_S = 0.1
REPEAT_FOR_S = 30.0
REPEATS = 10

OPEN_ROWS = "SELECT count(*) FROM jackpot_outbox"
OPEN_WINS = "SELECT count(*) FROM jackpot_wins WHERE wallet_entry_id IS NULL AND failure_reason = ''"
EFFECTS = """
SELECT (SELECT count(*) FROM wallet_entries WHERE spin_id = $1) AS entries,
       (SELECT count(*) FROM jackpot_results WHERE spin_id = $1) AS results
"""


class BrokenPromiseError(Exception):
    """A step did not show what it is there to show; says what was seen instead."""


@dataclass
class Load:
    """What a stretch of load came to."""

    answer_s: list[float] = field(default_factory=list)
    repeats: int = 0
    spin_ids: list[uuid.UUID] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Step:
    """One promise, and what shows it: returns the line to show, raises BrokenPromiseError."""

    promise: str
    show: Callable[[], Awaitable[str]]


class Tour:
    """Walks through the promises on a running stack."""

    def __init__(self, stack: Stack, player: Player, console: Console) -> None:
        self._stack = stack
        self._player = player
        self._console = console
        self._spins_dsn = self._auditor_dsn(SPINS)
        self._jackpots_dsn = self._auditor_dsn(JACKPOTS)
        self._answered: list[uuid.UUID] = []

    async def walk(self) -> list[str]:
        """Does every step; the promises that were not kept, empty if all held."""
        await self._player.provide_wallet()
        broken = []
        steps = self._steps()
        for number, step in enumerate(steps, start=1):
            self._console.print(f"\n[bold]{number}/{len(steps)}  {step.promise}[/]", soft_wrap=True)
            started = monotonic()
            try:
                shown = await step.show()
            except (BrokenPromiseError, grpc.aio.AioRpcError, TimeoutError) as error:
                broken.append(step.promise)
                self._console.print(f"     [bold red]✘ {error}[/]", highlight=False)
            else:
                took = f"[dim]({monotonic() - started:.0f} s)[/]"
                self._console.print(f"     [green]✔[/] {shown} {took}", highlight=False, soft_wrap=True)
        return broken

    def _steps(self) -> Sequence[Step]:
        return (
            Step("A spin answers at its own commit; a slot spin no later than a table spin", self._pairs),
            Step("A jackpot falls and is in the wallet by itself", self._mini),
            Step("The jackpot server is killed under load: spins go on, nothing is lost", self._jackpot_dies),
            Step(
                "The spin server is killed under load: callers repeat, nothing is lost or paid twice",
                self._spin_dies,
            ),
            Step("The cache is emptied: amounts stay what they are", self._cache_emptied),
            Step("A spin is sent ten times: decided once, booked once", self._repeated),
        )

    async def _pairs(self) -> str:
        times: dict[str, list[float]] = {SLOTS: [], TABLE: []}
        for _ in range(PAIRS):
            for game_id, answer_s in times.items():
                played = await self._play(game_id)
                answer_s.append(played.answer_s)
        table = Table("game", "spins", "p50", "p99", box=None, padding=(0, 2))
        for game_id, answer_s in times.items():
            p50, p99 = (words.duration(quantile(answer_s, share)) for share in (0.5, 0.99))
            table.add_row(game_id, str(PAIRS), p50, p99)
        self._console.print(table)
        slots, other = (quantile(answer_s, 0.5) for answer_s in times.values())
        return f"slots answer in {slots / other:.2f} times what a table game takes, jackpots included"

    async def _mini(self) -> str:
        deadline = monotonic() + MINI_WITHIN_S
        count = 0
        while monotonic() < deadline:
            played = await self._play(SLOTS)
            count += 1
            spin, after_s = await self._player.jackpot(played)
            for line in words.wins(spin, after_s):
                self._console.print(f"     [yellow]{line}[/]", highlight=False)
            if any(win.pool == "pools/mini" for win in spin.jackpot_wins):
                return f"after {count} spins; credited {words.duration(after_s)} after the player's answer"
        raise BrokenPromiseError(f"no mini fell within {MINI_WITHIN_S:g} s")

    async def _jackpot_dies(self) -> str:
        server = self._stack.servers[JACKPOTS]

        async def die() -> None:
            await asyncio.sleep(KILLED_AFTER_S)
            server.kill()
            self._console.print("     kill -9 jackpot server", style="red")
            await asyncio.sleep(DOWN_FOR_S)
            open_rows = await self._count(OPEN_ROWS)
            self._console.print(f"     {DOWN_FOR_S:g} s later: {open_rows} contributions wait in the outbox")
            await asyncio.to_thread(server.start)
            self._console.print("     it is back")

        load = await self._under_load(die())
        if load.repeats:
            raise BrokenPromiseError(f"{load.repeats} spins had to be repeated because of the jackpot server")
        return await self._audited(load)

    async def _spin_dies(self) -> str:
        server = self._stack.servers[SPINS]

        async def die() -> None:
            await asyncio.sleep(KILLED_AFTER_S)
            server.kill()
            self._console.print("     kill -9 spin server", style="red")
            await asyncio.to_thread(server.start)
            self._console.print("     it is back")

        return await self._audited(await self._under_load(die()))

    async def _cache_emptied(self) -> str:
        cache = self._stack.cache
        if cache is None:
            return "skipped: this stack has no cache of its own"
        before = {pool.name: pool.balance_micros for pool in await self._player.pools()}
        client = redis.Redis.from_url(cache.url, protocol=2)
        try:
            await client.flushall()
        finally:
            await client.aclose()
        after = {pool.name: pool.balance_micros for pool in await self._player.pools()}
        if before != after:
            raise BrokenPromiseError(f"pools changed from {before} to {after}")
        amounts = ", ".join(
            f"{words.pool_id(name)} {words.exact_coins(micros)}" for name, micros in after.items()
        )
        return f"{amounts}, before and after"

    async def _repeated(self) -> str:
        first = await self._play(SLOTS)
        await self._player.jackpot(first)
        spin_id = uuid.UUID(first.spin.spin_id)
        for _ in range(REPEATS):
            again = await self._player.play(SLOTS, spin_id)
            decided = (again.spin.payout, again.spin.balance, again.spin.settle_time)
            if not again.replayed or decided != (
                first.spin.payout,
                first.spin.balance,
                first.spin.settle_time,
            ):
                raise BrokenPromiseError(f"spin {spin_id} was decided again")
        spins = await asyncpg.connect(self._spins_dsn)
        try:
            effects = [tuple(row) for row in await spins.fetch(EFFECTS, spin_id)]
        finally:
            await spins.close()
        booked = 2 if first.spin.payout.amount_minor else 1
        if effects != [(booked, 1)]:
            raise BrokenPromiseError(f"spin {spin_id} has (entries, results) {effects}")
        return f"{REPEATS} repeats answered as the first; one stake, one contribution"

    async def _play(self, game_id: str) -> Played:
        played = await self._player.play(game_id)
        self._answered.append(uuid.UUID(played.spin.spin_id))
        if played.spin.balance.amount_minor < LOW_MINOR:
            await self._player.provide_wallet()
        return played

    async def _under_load(self, fault: Awaitable[None]) -> Load:
        """LOAD_PER_SECOND spins at a constant pace while the fault happens, each repeated until answered."""
        load = Load()
        start = perf_counter()
        async with asyncio.TaskGroup() as group:
            faulty = group.create_task(_wrapped(fault))
            number = 0
            while perf_counter() - start < LOAD_FOR_S or not faulty.done():
                group.create_task(self._until_answered(load))
                number += 1
                await asyncio.sleep(max(0.0, start + number / LOAD_PER_SECOND - perf_counter()))
        return load

    async def _until_answered(self, load: Load) -> None:
        spin_id = uuid.uuid4()
        deadline = monotonic() + REPEAT_FOR_S
        while True:
            try:
                played = await self._player.play(SLOTS, spin_id)
                break
            except grpc.aio.AioRpcError as error:
                transient = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                if not transient or monotonic() > deadline:
                    raise
                load.repeats += 1
                await asyncio.sleep(REPEAT_EVERY_S)
        load.answer_s.append(played.answer_s)
        load.spin_ids.append(spin_id)
        if played.spin.balance.amount_minor < LOW_MINOR:
            await self._player.provide_wallet()

    async def _audited(self, load: Load) -> str:
        """Waits until every answer is booked, then lets the auditor compare the books."""
        self._answered += load.spin_ids
        deadline = monotonic() + QUIET_WITHIN_S
        while await self._count(OPEN_ROWS) or await self._count(OPEN_WINS):
            if monotonic() > deadline:
                raise BrokenPromiseError(f"the outbox is not empty after {QUIET_WITHIN_S:g} s")
            await asyncio.sleep(POLL_S)
        found = await auditor.findings(self._spins_dsn, self._jackpots_dsn, answered=self._answered)
        if found:
            raise BrokenPromiseError(f"the auditor found {len(found)} deviations: {auditor.report(found)}")
        counts = await auditor.counts(self._spins_dsn, self._jackpots_dsn)
        p50, p99 = (words.duration(quantile(load.answer_s, share)) for share in (0.5, 0.99))
        self._console.print(
            f"     {len(load.answer_s)} spins, p50 {p50}, p99 {p99}, {load.repeats} repeats", highlight=False
        )
        return (
            f"books agree: {counts['spins']} spins, {counts['contributions']} contributions, "
            f"{counts['wins']} wins, {counts['credits']} credits"
        )

    async def _count(self, sql: str) -> int:
        connection = await asyncpg.connect(self._spins_dsn)
        try:
            return int(await connection.fetchval(sql))
        finally:
            await connection.close()

    def _auditor_dsn(self, tenant: Tenant) -> str:
        return self._stack.clusters[tenant].dsn(tenant.database)


async def _wrapped(work: Awaitable[None]) -> None:
    await work


def headline(broken: Sequence[str]) -> Panel:
    """The last word: whether every promise held."""
    if broken:
        lines = "\n".join(f"✘ {promise}" for promise in broken)
        return Panel(lines, title="NOT ALL PROMISES HELD", border_style="red")
    return Panel("Every promise held.", border_style="green")
