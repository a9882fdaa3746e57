"""B20: database round trips of a spin, and of a contribution, alone; counted on the wire.

A proxy stands in front of both databases and counts, per connection, how often the client spoke after the
server had answered. The committers' connections are known by the names that they give.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc.aio

from bench import stage
from bench.figures import median
from bench.report import Figure
from bench.requests import SpinIds, call_named
from bench.settings import Effort
from tests.support.crash import quiet
from tests.support.stack import JACKPOTS_DB, SERVERS, SPINS_DB

CALLS = 100
# What the design promises.
MOST = 4
SPIN_COMMITTER, JACKPOT_COMMITTER = b"spin_server committer", b"jackpot_server committer"


class CountingProxy:
    """Forwards to one address; `trips` counts round trips by what the first message of a connection holds."""

    def __init__(self, names: Sequence[bytes]) -> None:
        self._names = names
        self.trips: Counter[bytes] = Counter()

    @asynccontextmanager
    async def before(self, host: str, port: int) -> AsyncIterator[int]:
        """Its port, while it forwards there."""

        talks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talk = asyncio.create_task(self._talk(host, port, reader, writer))
            talks.add(talk)
            talk.add_done_callback(talks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, port)
        talk = _Talk(self._names, self.trips)
        with contextlib.suppress(OSError):
            await asyncio.gather(
                _pump(reader, there_writer, talk.asked), _pump(there_reader, writer, talk.answered)
            )


class _Talk:
    """One connection: whose it is, and who spoke last."""

    def __init__(self, names: Sequence[bytes], trips: Counter[bytes]) -> None:
        self._names, self._trips = names, trips
        self._name: bytes | None = None
        self._is_waiting = False

    def asked(self, data: bytes) -> None:
        """The client spoke."""
        if self._name is None:
            self._name = next((name for name in self._names if name in data), None)
        elif not self._is_waiting:
            self._trips[self._name] += 1
        self._is_waiting = True

    def answered(self, data: bytes) -> None:
        """The server spoke."""
        self._is_waiting = False


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, passed: Callable[[bytes], None]
) -> None:
    while data := await source.read(65536):
        passed(data)
        sink.write(data)
        await sink.drain()
    sink.close()


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, and what the audit found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=(), proxied={SPINS_DB, JACKPOTS_DB}))
        spins, jackpots = CountingProxy([SPIN_COMMITTER]), CountingProxy([JACKPOT_COMMITTER])
        for name, proxy in ((SPINS_DB, spins), (JACKPOTS_DB, jackpots)):
            port = await stack.enter_async_context(proxy.before("127.0.0.1", ours.clusters[name].port or 0))
            ours.proxies[name].redirect("127.0.0.1", port)
        await ours.start(*SERVERS)
        table = await _trips(ours.spin_address, "table", spins, SPIN_COMMITTER)
        spins.trips.clear()
        await _trips(ours.spin_address, "slots", spins, SPIN_COMMITTER)
        await quiet(ours, ours.spins_dsn)
        slots = spins.trips[SPIN_COMMITTER] / CALLS
        found = await stage.audit_product(ours, spins=2 * CALLS)
        contribution = await _trips(ours.jackpot_address, "contribution", jackpots, JACKPOT_COMMITTER)
    most = max(table, contribution)
    more = {
        "a spin": f"{table:g}",
        "a contribution": f"{contribution:g}",
        "a SLOTS spin with the booking of its answer, on average": f"{slots:.1f}",
    }
    return {"B20": Figure(most, MOST, [most / MOST], more)}, found


async def _trips(address: str, name: str, proxy: CountingProxy, connection: bytes) -> float:
    """Round trips of one connection during a call, one call after the other: the median."""
    call, ids, trips = call_named(name), SpinIds(), []
    async with grpc.aio.insecure_channel(address) as channel:
        send: Any = channel.unary_unary(call.path)
        for mould in call.moulds[:CALLS]:
            before, spin_id = proxy.trips[connection], ids.take()
            confirmed = call.confirmed(await send(mould.fill([spin_id])))
            assert confirmed == [spin_id], confirmed
            trips.append(proxy.trips[connection] - before)
    return median(trips)
