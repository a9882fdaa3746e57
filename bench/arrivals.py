"""B1: what a SLOTS spin takes, against the same spin on a TABLE game, at a constant rate of arrivals.

Rates: 200/s, and 50 % and 80 % of what this machine reaches with 64 spins in flight, measured first. Latency
counts from a spin's place in the timetable (see `open_loop`). At each rate the two games take turns.
"""

from asyncio.subprocess import Process
from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from bench import stage
from bench.children import child, line_of, tell
from bench.contest import Contender, closed_loop, middle, ratios
from bench.figures import quantile
from bench.report import Figure
from bench.requests import CURRENCY, SLOTS_GAME, TABLE_GAME
from bench.settings import Effort
from tests.support.stack import SERVERS, Stack

LOW_RATE = 200
SHARES_OF_MAXIMUM = (0.5, 0.8)
# What the design promises of each quantile.
REACH = {"p50": 1.05, "p99": 1.15, "p99.9": 1.3}
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


@dataclass
class Latencies:
    """Of one game at one rate: per repetition, milliseconds by quantile."""

    quantiles: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in QUANTILES})

    def add(self, latencies: list[float]) -> None:
        """One more repetition."""
        for name, share in QUANTILES.items():
            self.quantiles[name].append(quantile(latencies, share) * 1e3)


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure (p99 at 200/s, the others beside it), and what the audit found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=SERVERS))
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        maximum = Contender(
            "maximum",
            await stack.enter_async_context(closed_loop(ours.spin_address, "slots")),
            watch.outbox_empty,
        )
        await maximum.play(effort.seconds)
        games = {
            game: await stack.enter_async_context(_generator(ours, game)) for game in (SLOTS_GAME, TABLE_GAME)
        }
        spins = maximum.answered
        measured: dict[str, dict[str, Latencies]] = {}
        for generator in games.values():
            assert await line_of(generator) == "ready"
            spins += len(await _play(generator, LOW_RATE, 0.5))
        rates = [("200/s", float(LOW_RATE))]
        rates += [(f"{share:.0%}", maximum.rates[0] * share) for share in SHARES_OF_MAXIMUM]
        for label, rate in rates:
            at_rate = measured[label] = {game: Latencies() for game in games}
            for _ in range(effort.repeats):
                for game, generator in games.items():
                    latencies = await _play(generator, rate, effort.seconds)
                    await watch.outbox_empty(0)
                    at_rate[game].add(latencies)
                    spins += len(latencies)
        found = await stage.audit_product(ours, spins=spins)
    return {"B1": _figure(measured, maximum.rates[0])}, found


def _generator(ours: Stack, game: str) -> Any:
    options = ("--game", game, "--currency", CURRENCY, "--wallets", game)
    return child("bench.open_loop", ours.spin_address, *options)


async def _play(generator: Process, rate: float, seconds: float) -> list[float]:
    tell(generator, {"rate": rate, "seconds": seconds})
    phase = await line_of(generator)
    assert not phase["errors"], phase["errors"]
    assert not phase["wrong"], f"{phase['wrong']} answers were wrong"
    latencies: list[float] = phase["latencies"]
    return latencies


def _figure(measured: dict[str, dict[str, Latencies]], maximum: float) -> Figure:
    more: dict[str, Any] = {"maximum": f"{maximum:.0f} spins/s"}
    for label, games in measured.items():
        slots, table = games[SLOTS_GAME].quantiles, games[TABLE_GAME].quantiles
        told = []
        for name, reach in REACH.items():
            ratio = middle(ratios(slots[name], table[name]), 2)
            told.append(
                f"{name} {middle(slots[name], 1):g} against {middle(table[name], 1):g} ms, "
                f"ratio {ratio:g} (to reach ≤ {reach:g})"
            )
        more[f"at {label}"] = ", ".join(told)
    mine, other = (measured["200/s"][game].quantiles["p99"] for game in (SLOTS_GAME, TABLE_GAME))
    return Figure(middle(mine), middle(other), ratios(mine, other), more)
