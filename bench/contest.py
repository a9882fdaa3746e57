"""The same load on several servers in turn, A B A B …, and what each of them did with it."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.children import child, line_of, tell
from bench.figures import median
from bench.settings import Effort

IN_FLIGHT = 64
WARM_UP_S = 0.7
PAUSE_S = 0.3


async def settled_at_once(answered: int) -> float:
    """For a server whose answer means that everything is done: at once."""
    return 0.0


@dataclass
class Contender:
    """A server under load. `settled(answered)` waits for all that was `answered` so far: when it was done."""

    name: str
    generator: Process
    settled: Callable[[int], Awaitable[float]] = settled_at_once
    in_flight: int = IN_FLIGHT
    answered: int = 0
    rates: list[float] = field(default_factory=list)
    p50s_ms: list[float] = field(default_factory=list)
    p99s_ms: list[float] = field(default_factory=list)

    async def play(self, seconds: float) -> None:
        """Warms up, then one phase that counts; what is still to be settled counts as time, too."""
        await self._phase(min(WARM_UP_S, seconds))
        phase = await self._phase(seconds)
        done = max(phase["end"], phase["settled"])
        self.rates.append(phase["answered"] / (done - phase["start"]))
        self.p50s_ms.append(phase["p50_ms"])
        self.p99s_ms.append(phase["p99_ms"])
        print(
            f"  {self.name:<34} {self.rates[-1]:9,.0f}/s  p50 {phase['p50_ms']:7.2f} ms  "
            f"p99 {phase['p99_ms']:7.2f} ms  settled {done - phase['end']:.2f} s later",
            flush=True,
        )

    async def _phase(self, seconds: float) -> dict[str, Any]:
        tell(self.generator, {"seconds": seconds, "in_flight": self.in_flight})
        phase: dict[str, Any] = await line_of(self.generator)
        assert not phase["errors"], f"{self.name}: {phase['errors']}"
        assert not phase["wrong"], f"{self.name}: {phase['wrong']} answers were wrong"
        self.answered += phase["answered"]
        phase["settled"] = await self.settled(self.answered)
        return phase


@asynccontextmanager
async def closed_loop(address: str, call: str, *, checked: bool = True) -> AsyncIterator[Process]:
    """A load generator that is ready for phases."""
    options = [] if checked else ["--unchecked"]
    async with child("bench.closed_loop", address, "--call", call, *options) as generator:
        assert await line_of(generator) == "ready"
        yield generator


async def contest(contenders: Sequence[Contender], effort: Effort) -> None:
    """Each in turn, as often as `effort` says."""
    for number in range(effort.repeats):
        print(f"round {number + 1} of {effort.repeats}", flush=True)
        for contender in contenders:
            await contender.play(effort.seconds)
            await asyncio.sleep(PAUSE_S)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def middle(values: Sequence[float], digits: int = 3) -> float:
    """The median, rounded."""
    return round(median(values), digits)
