"""B11: what a spin's p99 does while the jackpot server or the cache is broken, against healthy just before.

Each repetition of each fault is a pair: a healthy phase, then the fault at the first moment of an equally
long one, with the same constant rate of spins. The figure is that of the fault with the worst ratio.
A pair during which other programs kept the machine busy is repeated, not counted.
"""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from math import inf
from typing import Any

from bench import stage
from bench.bystanders import Bystanders, until_alone
from bench.children import child, line_of, tell
from bench.contest import middle, ratios
from bench.figures import quantile
from bench.report import Figure
from bench.requests import CURRENCY, SLOTS_GAME
from bench.settings import Effort
from tests.support.crash import quiet
from tests.support.stack import JACKPOT, SERVERS, VALKEY, Stack

RATE = 200
# A p99 of fewer spins than these phases have is that of a handful.
SHORTEST_PHASE_S = 6.0
# More CPUs than this kept busy by others, and a pair is measured again; so many times in all.
MOST_BYSTANDERS = 0.25
ATTEMPTS_PER_PAIR = 4
SLOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Fault:
    """How something is broken and mended again."""

    name: str
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]


@dataclass
class Pairs:
    """Every healthy and faulty phase of one fault, in order: p99 in milliseconds."""

    wanted: int
    healthy: list[float] = field(default_factory=list)
    faulty: list[float] = field(default_factory=list)
    disturbed: int = 0

    @property
    def is_wanted(self) -> bool:
        """Whether another pair is to be measured."""
        attempts = len(self.healthy) + self.disturbed
        return len(self.healthy) < self.wanted and attempts < ATTEMPTS_PER_PAIR * self.wanted

    @property
    def ratio(self) -> float:
        """The middle of the pairs' ratios."""
        return middle(ratios(self.faulty, self.healthy))


def faults(stack: Stack, refusing_port: int) -> list[Fault]:
    """Everything that may break beside a spin."""
    proxy = stack.proxies[JACKPOT]
    real = stack.jackpot_address.rpartition(":")

    async def kill(part: str) -> None:
        await asyncio.to_thread(stack.kill9, part)

    async def send(part: str, how: signal.Signals) -> None:
        stack.send(part, how)

    async def delay(seconds: float) -> None:
        proxy.delay_s = seconds / 2

    async def redirect(host: str, port: int) -> None:
        proxy.redirect(host, port)

    return [
        Fault("jackpot server dead", lambda: kill(JACKPOT), lambda: stack.start(JACKPOT)),
        Fault(
            "jackpot server hung",
            lambda: send(JACKPOT, signal.SIGSTOP),
            lambda: send(JACKPOT, signal.SIGCONT),
        ),
        Fault("jackpot server 5 s slow", lambda: delay(SLOW_S), lambda: delay(0)),
        Fault(
            "jackpot server answers errors",
            lambda: redirect("127.0.0.1", refusing_port),
            lambda: redirect(real[0], int(real[2])),
        ),
        Fault("cache dead", lambda: kill(VALKEY), lambda: stack.start(VALKEY)),
        Fault("cache hung", lambda: send(VALKEY, signal.SIGSTOP), lambda: send(VALKEY, signal.SIGCONT)),
    ]


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, every fault's beside it, and what the audit found."""
    seconds = effort.seconds if effort.quick else max(effort.seconds, SHORTEST_PHASE_S)
    spins = 0
    async with (
        stage.product(servers=SERVERS, proxied={JACKPOT}) as stack,
        child("bench.refusing_server") as refusing,
        child(
            "bench.open_loop", stack.spin_address, "--game", SLOTS_GAME, "--currency", CURRENCY
        ) as generator,
    ):
        every = faults(stack, await line_of(refusing))
        assert await line_of(generator) == "ready"
        spins += len((await _play(generator, seconds))["latencies"])
        measured = {fault.name: Pairs(effort.repeats) for fault in every}
        # Whoever only looks whether it runs need not be alone.
        most = inf if effort.quick else MOST_BYSTANDERS
        while wanted := [fault for fault in every if measured[fault.name].is_wanted]:
            for fault in wanted:
                spins += await _measure_pair(stack, generator, fault, measured[fault.name], seconds, most)
        found = await stage.audit_product(stack, spins=spins)
    return _figures(measured, seconds), found


async def _measure_pair(
    stack: Stack, generator: Process, fault: Fault, pairs: Pairs, seconds: float, most_bystanders: float
) -> int:
    """Healthy, then broken; mended and caught up when it returns. How many spins were played."""
    await until_alone(most_bystanders)
    bystanders = Bystanders()
    healthy = await _play(generator, seconds)
    playing = asyncio.create_task(_play(generator, seconds))
    await fault.begin()
    faulty = await playing
    others = bystanders.cpus()
    await fault.end()
    await quiet(stack, stack.spins_dsn)
    if others > most_bystanders:
        pairs.disturbed += 1
        print(f"{fault.name:<30} disturbed: others kept {others:.2f} CPUs busy", flush=True)
    else:
        pairs.healthy.append(quantile(healthy["latencies"], 0.99) * 1e3)
        pairs.faulty.append(quantile(faulty["latencies"], 0.99) * 1e3)
        lag = max(quantile(phase["lags"], 0.99) for phase in (healthy, faulty)) * 1e3
        print(
            f"{fault.name:<30} healthy p99 {pairs.healthy[-1]:6.2f} ms, then {pairs.faulty[-1]:6.2f} ms "
            f"(generator's own lag p99 {lag:.2f} ms)",
            flush=True,
        )
    return len(healthy["latencies"]) + len(faulty["latencies"])


async def _play(generator: Process, seconds: float) -> dict[str, Any]:
    """One phase of the load, every spin answered."""
    tell(generator, {"rate": RATE, "seconds": seconds})
    phase: dict[str, Any] = await line_of(generator)
    assert not phase["errors"], phase["errors"]
    assert not phase["wrong"], f"{phase['wrong']} answers were wrong"
    return phase


def _figures(measured: dict[str, Pairs], seconds: float) -> dict[str, Figure]:
    """The worst fault's, unless none of its pairs was undisturbed."""
    done = {name: pairs for name, pairs in measured.items() if pairs.healthy}
    if len(done) < len(measured):
        print(f"not measured, others were busy: {', '.join(measured.keys() - done.keys())}")
        return {}
    more: dict[str, Any] = {"phases": f"{seconds:g} s", "load": f"{RATE} arrivals/s"}
    for name, pairs in done.items():
        each = ratios(pairs.faulty, pairs.healthy)
        more[name] = (
            f"{middle(pairs.faulty):g} against {middle(pairs.healthy):g} ms, "
            f"ratio {pairs.ratio:g} ({min(each):.2f} – {max(each):.2f})"
        )
    more["pairs measured again, because others were busy"] = sum(pairs.disturbed for pairs in done.values())
    worst = max(done, key=lambda name: done[name].ratio)
    more = {"worst": worst, **more}
    pairs = done[worst]
    figure = Figure(middle(pairs.faulty), middle(pairs.healthy), ratios(pairs.faulty, pairs.healthy), more)
    return {"B11": figure}
