"""A fixed number of calls in flight, from a process of its own: the next one goes out with each answer.

The process reads one phase per line from stdin, `{"seconds": 4, "in_flight": 64}`, and answers each with a
line (`Phase` as JSON). Its address and its call are arguments. Requests are encoded beforehand and answers
checked afterwards, so that as little as can be of the machine goes into generating the load.
"""

import argparse
import asyncio
import gc
import itertools
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import grpc.aio
import uvloop

from bench.figures import quantile
from bench.requests import Call, SpinIds, call_named

# What is slow is to be measured, not lost.
CALL_TIMEOUT_S = 120.0
CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # Of an address that stands for several servers.
    ("grpc.lb_policy_name", "round_robin"),
]


@dataclass
class Phase:
    """What one phase saw. `start` and `end` are on the machine's monotonic clock, in seconds."""

    start: float
    end: float
    calls: int
    # Spins, contributions or reads; of a call that carries several, each counts.
    answered: int
    p50_ms: float
    p99_ms: float
    errors: dict[str, int] = field(default_factory=dict)
    # Answers that do not confirm what was asked for.
    wrong: int = 0


class Loop:
    """One channel; every call asks for something new."""

    def __init__(self, channel: grpc.aio.Channel, call: Call, *, checked: bool) -> None:
        """`checked`: whether answers confirm ids; an empty handler's do not."""
        self._send: Any = channel.unary_unary(call.path)
        self._call = call
        self._checked = checked
        self._ids = SpinIds()
        self._moulds = itertools.cycle(call.moulds)

    async def run(self, in_flight: int, seconds: float) -> Phase:
        """One phase; returns when its last call is answered."""
        latencies: list[float] = []
        answers: list[tuple[list[str], bytes]] = []
        errors = Counter[str]()
        start = perf_counter()

        async def work() -> None:
            while (began := perf_counter()) < start + seconds:
                mould = next(self._moulds)
                spin_ids = [self._ids.take() for _ in range(mould.places)]
                try:
                    raw = await self._send(mould.fill(spin_ids), timeout=CALL_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    errors[f"{error.code().name} {error.details()}"] += 1
                    continue
                latencies.append(perf_counter() - began)
                answers.append((spin_ids, raw))

        gc.disable()
        await asyncio.gather(*(work() for _ in range(in_flight)))
        end = perf_counter()
        gc.enable()
        wrong = sum(self._call.confirmed(raw) != ids for ids, raw in answers) if self._checked else 0
        answered = sum(len(ids) or 1 for ids, _ in answers)
        p50, p99 = (quantile(latencies, share) * 1e3 if latencies else 0.0 for share in (0.5, 0.99))
        return Phase(start, end, len(answers), answered, p50, p99, dict(errors), wrong)


async def serve_phases(address: str, name: str, checked: bool) -> None:
    """Reads phases from stdin until it ends."""
    event_loop = asyncio.get_running_loop()
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        loop = Loop(channel, call_named(name), checked=checked)
        await channel.channel_ready()
        print(json.dumps("ready"), flush=True)
        while line := await event_loop.run_in_executor(None, sys.stdin.readline):
            phase = await loop.run(**json.loads(line))
            print(json.dumps(asdict(phase)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--call", required=True)
    parser.add_argument("--unchecked", action="store_true")
    arguments = parser.parse_args()
    uvloop.run(serve_phases(arguments.address, arguments.call, not arguments.unchecked))
