"""B1: what a SLOTS spin takes, against the same spin on a TABLE game, at a constant rate of arrivals.

Rates: 200/s, and 50 % and 80 % of what this machine reaches with 64 spins in flight, measured first. Latency
counts from a spin's place in the timetable (see `open_loop`). At each rate the two games take turns.
"""

from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from bench import stage
from bench.contest import Contender, closed_loop, middle, ratios
from bench.figures import quantile
from bench.plots import Plot
from bench.report import Condition, Figure
from bench.requests import SLOTS_GAME, TABLE_GAME
from bench.settings import Effort
from bench.steady import arrivals
from tests.support.stack import SERVERS

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
            game: await stack.enter_async_context(arrivals(ours.spin_address, game=game))
            for game in (SLOTS_GAME, TABLE_GAME)
        }
        measured: dict[str, dict[str, Latencies]] = {}
        for generator in games.values():
            await generator.play(LOW_RATE, 0.5)
        rates = [("200/s", float(LOW_RATE))]
        rates += [(f"{share:.0%}", maximum.rates[0] * share) for share in SHARES_OF_MAXIMUM]
        for label, rate in rates:
            at_rate = measured[label] = {game: Latencies() for game in games}
            for _ in range(effort.repeats):
                for game, generator in games.items():
                    latencies = await generator.play(rate, effort.seconds)
                    await watch.outbox_empty(0)
                    at_rate[game].add(latencies)
        spins = maximum.answered + sum(generator.answered for generator in games.values())
        found = await stage.audit_product(ours, spins=spins)
    figure = _figure(measured, maximum.rates[0])
    figure.plot = _plot(measured, dict(rates))
    return {"B1": figure}, found


def _plot(measured: dict[str, dict[str, Latencies]], rates: dict[str, float]) -> Plot:
    lines = {
        f"{game}, {name}": [
            (float(round(rates[label])), middle(games[game].quantiles[name], 1))
            for label, games in measured.items()
        ]
        for game in (SLOTS_GAME, TABLE_GAME)
        for name in ("p50", "p99")
    }
    return Plot("Latency against load", "spins/s that arrive", "ms", lines)


def _figure(measured: dict[str, dict[str, Latencies]], maximum: float) -> Figure:
    more: dict[str, Any] = {"maximum": f"{maximum:.0f} spins/s"}
    conditions: list[Condition] = []
    for label, games in measured.items():
        slots, table = games[SLOTS_GAME].quantiles, games[TABLE_GAME].quantiles
        told = []
        for name, reach in REACH.items():
            condition = Condition(middle(ratios(slots[name], table[name]), 2), reach)
            told.append(
                f"{name} {middle(slots[name], 1):g} against {middle(table[name], 1):g} ms, {condition}"
            )
            conditions.append(condition)
        more[f"at {label}"] = ", ".join(told)
    mine, other = (measured["200/s"][game].quantiles["p99"] for game in (SLOTS_GAME, TABLE_GAME))
    return Figure(middle(mine), middle(other), ratios(mine, other), more, conditions)
