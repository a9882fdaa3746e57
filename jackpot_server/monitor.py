"""`python -m jackpot_server monitor`: what a running system does, measured from outside.

Pools and wins come from the server's own methods, everything else from the Prometheus endpoints of both
servers, as differences between two looks. A source that does not answer is shown as such; the others go on.
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import grpc
import grpc.aio
from rich.console import Console
from rich.live import Live

from jackpot_server import monitor_view, scrape
from jackpot_server.monitor_picture import Look, Picture
from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1 import jackpot_pb2_grpc

LOOK_EVERY_S = 1.0
# One picture is of so long.
ONCE_S = 2.0
CALL_TIMEOUT_S = 1.0
SHOWN_WINS = 4
REMEMBERED = 60


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look: the jackpot server's address, and the URLs of metrics ('' for none)."""

    address: str
    metrics: str
    spin_metrics: str


# Which histogram tells a path's time: its name, the labels that it must have, and whose it is.
PATHS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "spin SLOTS": ("spin_server_spin_seconds", {"game_category": "SLOTS"}, "spin"),
    "spin TABLE": ("spin_server_spin_seconds", {"game_category": "TABLE"}, "spin"),
    "jackpot in answer": ("spin_server_jackpot_wait_seconds", {}, "spin"),
    "jackpot batch": ("jackpot_batch_seconds", {}, "jackpot"),
    "jackpot lag": ("jackpot_outbox_lag_seconds", {}, "spin"),
}
RATES: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "contributions": ("jackpot_contributions_total", {"outcome": "recorded"}, "jackpot"),
    "replays": ("jackpot_contributions_total", {"outcome": "replayed"}, "jackpot"),
    "wins": ("jackpot_wins_total", {}, "jackpot"),
    "spins": ("spin_server_spins_settled_total", {}, "spin"),
}
GAUGES: Mapping[str, tuple[str, str]] = {
    "open": ("jackpot_outbox_open_rows", "spin"),
    "oldest_s": ("jackpot_outbox_oldest_seconds", "spin"),
    "parked": ("jackpot_outbox_parked_rows", "spin"),
    "held back": ("jackpot_outbox_breaker_open", "spin"),
    "watchers": ("jackpot_watchers", "jackpot"),
}
BATCHES: Mapping[str, tuple[str, str]] = {
    "spins": ("spin_server_batch_commands", "spin"),
    "sent": ("jackpot_outbox_call_rows", "spin"),
    "taken": ("jackpot_batch_commands", "jackpot"),
}


class Watch:
    """Looks at the sources again and again. Owns its channel; `close` ends it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._channel = grpc.aio.insecure_channel(sources.address)
        self._stub = jackpot_pb2_grpc.JackpotServiceStub(self._channel)
        self._before: Look | None = None
        self._history: deque[Mapping[str, float]] = deque(maxlen=REMEMBERED)

    async def close(self) -> None:
        """Ends the channel."""
        await self._channel.close()

    async def picture(self) -> Picture:
        """What there is now, and what happened since the last call."""
        pools, wins, info, jackpot, spin = await asyncio.gather(
            self._pools(), self._wins(), self._info(), scrape.scrape(self._sources.metrics),
            scrape.scrape(self._sources.spin_metrics),
        )  # fmt: skip
        look = Look(monotonic(), pools, wins, info, jackpot, spin)
        before, self._before = self._before or look, look
        picture = _compare(before, look)
        self._history.append(picture.per_second)
        return replace(picture, history=tuple(self._history))

    async def _pools(self) -> Sequence[pb.Pool] | None:
        try:
            answer = await self._stub.ListPools(pb.ListPoolsRequest(), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return None
        return sorted(answer.pools, key=lambda pool: pool.config.reset_minor)

    async def _wins(self) -> Sequence[pb.Win] | None:
        try:
            answer = await self._stub.ListWins(
                pb.ListWinsRequest(page_size=SHOWN_WINS), timeout=CALL_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            return None
        return answer.wins

    async def _info(self) -> pb.GetServerInfoResponse | None:
        try:
            return await self._stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return None


async def live(sources: Sources, console: Console) -> None:
    """Shows a picture a second until it is cancelled (Ctrl-C)."""
    watch = Watch(sources)
    try:
        with Live(console=console, screen=True, auto_refresh=False) as screen:
            while True:
                screen.update(monitor_view.render(await watch.picture(), console.size), refresh=True)
                await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await watch.close()


async def once(sources: Sources, console: Console, *, as_json: bool) -> None:
    """Shows one picture, of ONCE_S."""
    watch = Watch(sources)
    try:
        await watch.picture()
        await asyncio.sleep(ONCE_S)
        picture = await watch.picture()
    finally:
        await watch.close()
    if as_json:
        console.print_json(json.dumps(picture.to_dict()))
    else:
        console.print(monitor_view.render(picture, console.size))


def _compare(before: Look, now: Look) -> Picture:
    elapsed_s = now.at_s - before.at_s
    pairs = {"spin": (before.spin, now.spin), "jackpot": (before.jackpot, now.jackpot)}
    return Picture(
        look=now,
        per_second={
            name: scrape.growth(*pairs[source], metric, labels) / elapsed_s if elapsed_s else 0.0
            for name, (metric, labels, source) in RATES.items()
        },
        times={
            path: scrape.times(*pairs[source], metric, labels, elapsed_s)
            for path, (metric, labels, source) in PATHS.items()
        },
        gauges={name: scrape.gauge(pairs[source][1], metric) for name, (metric, source) in GAUGES.items()},
        batch_size={name: scrape.mean(*pairs[source], metric) for name, (metric, source) in BATCHES.items()},
    )
