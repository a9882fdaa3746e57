"""The running demo: a few spins told in full, then a paced player with one line a second."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic, perf_counter
from typing import Protocol

import grpc

from devstack import words
from devstack.player import LOW_MINOR, SLOTS, TABLE, Player
from protos.spin.v1 import spin_pb2

SPINS_PER_SECOND = 20
TOLD = (SLOTS, SLOTS, TABLE, SLOTS)
# Slower answers than this make the player skip beats rather than pile up calls.
MAX_IN_FLIGHT = 200
RESTART_AFTER_S = 2.0
WATCH_EVERY_S = 0.2
RECORDED = spin_pb2.Spin.JACKPOT_STATE_RECORDED


class Part(Protocol):
    """A part of the stack that can end unexpectedly and be started again."""

    def spawn(self) -> None:
        """Starts its process without waiting for it."""

    def exit_code(self) -> int | None:
        """Of its process; None while that runs, or before it was started."""


@dataclass
class Second:
    """What happened since the last line."""

    answer_s: list[float] = field(default_factory=list)
    jackpot_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    balance_minor: int | None = None

    def line(self, pools: str) -> str:
        """The line that sums it up."""
        parts = [f"{datetime.now().astimezone():%H:%M:%S}", f"{len(self.answer_s):>3} spins"]
        if self.answer_s:
            parts.append(f"p50 {words.duration(quantile(self.answer_s, 0.5))}")
            parts.append(f"p99 {words.duration(quantile(self.answer_s, 0.99))}")
        if self.jackpot_s:
            parts.append(f"jackpot +{words.duration(quantile(self.jackpot_s, 0.5))}")
        if self.balance_minor is not None:
            parts.append(f"balance {words.coins(self.balance_minor)}")
        parts.append(pools)
        parts += [f"{count} × {code}" for code, count in self.errors.items()]
        return "  ".join(parts)


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Demonstration:
    """Plays on a running stack until it is told to stop."""

    def __init__(self, player: Player, parts: Mapping[str, Part], say: Callable[[str], None]) -> None:
        self._player = player
        self._parts = parts
        self._say = say
        self._second = Second()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._topping_up = asyncio.Lock()

    async def tell(self) -> None:
        """A few spins, one after another, each with its jackpot."""
        balance = await self._player.provide_wallet()
        self._say(
            f"wallets/demo holds {words.coins(balance)}. A few spins, each with what follows its answer:"
        )
        for game_id in TOLD:
            played = await self._player.play(game_id)
            self._say(f"  {words.answered(played)}")
            spin, after_s = await self._player.jackpot(played)
            for line in words.followed(spin, after_s):
                self._say(f"      {line}")

    async def play(self, stop: asyncio.Event) -> None:
        """SPINS_PER_SECOND at a constant pace, whatever the answers do, until `stop` is set."""
        start, number = perf_counter(), 0
        async with asyncio.TaskGroup() as group:
            ticker = group.create_task(self._tick(stop))
            while not stop.is_set():
                if len(self._in_flight) < MAX_IN_FLIGHT:
                    task = group.create_task(self._spin())
                    self._in_flight.add(task)
                    task.add_done_callback(self._in_flight.discard)
                number += 1
                await pause(stop, start + number / SPINS_PER_SECOND - perf_counter())
            for task in (ticker, *self._in_flight):
                task.cancel()

    async def watch(self, stop: asyncio.Event) -> None:
        """Starts parts again that ended by themselves, a moment later, until `stop` is set."""
        ended_at: dict[str, float] = {}
        while not stop.is_set():
            for name, part in self._parts.items():
                code = part.exit_code()
                if code is None:
                    continue
                if name not in ended_at:
                    ended_at[name] = monotonic()
                    self._say(f"the {name} has ended with code {code}; starts again in {RESTART_AFTER_S:g} s")
                elif monotonic() > ended_at[name] + RESTART_AFTER_S:
                    del ended_at[name]
                    part.spawn()
            await pause(stop, WATCH_EVERY_S)

    async def _spin(self) -> None:
        try:
            played = await self._player.play()
            self._second.answer_s.append(played.answer_s)
            self._second.balance_minor = played.spin.balance.amount_minor
            spin, after_s = await self._player.jackpot(played)
            if spin.jackpot_state == RECORDED:
                self._second.jackpot_s.append(after_s)
            for line in words.wins(spin, after_s):
                self._say(f"          {line}")
            if spin.balance.amount_minor < LOW_MINOR:
                await self._top_up()
        except grpc.aio.AioRpcError as error:
            self._second.errors[error.code().name] += 1

    async def _top_up(self) -> None:
        # Several spins may find the wallet low; one deposit is enough.
        if not self._topping_up.locked():
            async with self._topping_up:
                await self._player.provide_wallet()

    async def _tick(self, stop: asyncio.Event) -> None:
        while True:
            await pause(stop, 1)
            if stop.is_set():
                return
            try:
                pools = words.amounts(await self._player.pools())
            except grpc.aio.AioRpcError as error:
                pools = f"jackpot server {error.code().name}"
            second, self._second = self._second, Second()
            self._say(second.line(pools))


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Waits, but not longer than until `stop` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(seconds, 0))
