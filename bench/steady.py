"""SLOTS spins that arrive at a constant rate from a process of their own, while something is looked at."""

from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.children import child, line_of, tell
from bench.figures import quantile
from bench.requests import CURRENCY, SLOTS_GAME


class Arrivals:
    """A generator of `bench.open_loop`. `answered` counts the spins of all its phases."""

    def __init__(self, generator: Process) -> None:
        self._generator = generator
        self.answered = 0

    async def play(self, rate: float, seconds: float, *, unanswered_too: bool = False) -> list[float]:
        """One phase: the latencies in seconds. Every spin is answered, unless something is being killed."""
        tell(self._generator, {"rate": rate, "seconds": seconds})
        phase: dict[str, Any] = await line_of(self._generator)
        assert unanswered_too or not phase["errors"], phase["errors"]
        assert not phase["wrong"], f"{phase['wrong']} answers were wrong"
        latencies: list[float] = phase["latencies"]
        self.answered += len(latencies)
        return latencies


@asynccontextmanager
async def arrivals(address: str, *, game: str = SLOTS_GAME) -> AsyncIterator[Arrivals]:
    """Ready for phases; its wallets are its own."""
    options = ("--game", game, "--currency", CURRENCY, "--wallets", game)
    async with child("bench.open_loop", address, *options) as generator:
        assert await line_of(generator) == "ready"
        yield Arrivals(generator)


def p99_ms(seconds: list[float]) -> float:
    """The 99th percentile, in milliseconds."""
    return quantile(seconds, 0.99) * 1e3
