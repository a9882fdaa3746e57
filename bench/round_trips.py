"""B20: database round trips of a spin, and of a contribution, alone; counted on the wire.

A proxy stands in front of both databases and counts, per connection, how often the client spoke after the
server had answered. The committers' connections are known by the names that they give.
"""

from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio

from bench import stage
from bench.figures import median
from bench.report import Figure
from bench.requests import SpinIds, call_named
from bench.settings import Effort
from bench.tap import Tap
from tests.support.crash import quiet
from tests.support.stack import JACKPOTS_DB, SERVERS, SPINS_DB

CALLS = 100
# What the design promises.
MOST = 4
SPIN_COMMITTER, JACKPOT_COMMITTER = b"spin_server committer", b"jackpot_server committer"


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, and what the audit found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers=(), proxied={SPINS_DB, JACKPOTS_DB}))
        spins, jackpots = Tap([SPIN_COMMITTER]), Tap([JACKPOT_COMMITTER])
        for name, proxy in ((SPINS_DB, spins), (JACKPOTS_DB, jackpots)):
            port = await stack.enter_async_context(proxy.before("127.0.0.1", ours.clusters[name].port or 0))
            ours.proxies[name].redirect("127.0.0.1", port)
        await ours.start(*SERVERS)
        table = await _trips(ours.spin_address, "table", spins, SPIN_COMMITTER)
        spins.clear()
        await _trips(ours.spin_address, "slots", spins, SPIN_COMMITTER)
        await quiet(ours, ours.spins_dsn)
        slots = spins.wires[SPIN_COMMITTER].trips / CALLS
        found = await stage.audit_product(ours, spins=2 * CALLS)
        contribution = await _trips(ours.jackpot_address, "contribution", jackpots, JACKPOT_COMMITTER)
    most = max(table, contribution)
    more = {
        "a spin": f"{table:g}",
        "a contribution": f"{contribution:g}",
        "a SLOTS spin with the booking of its answer, on average": f"{slots:.1f}",
    }
    return {"B20": Figure(most, MOST, [most / MOST], more)}, found


async def _trips(address: str, name: str, tap: Tap, connection: bytes) -> float:
    """Round trips of one connection during a call, one call after the other: the median."""
    call, ids, trips = call_named(name), SpinIds(), []
    async with grpc.aio.insecure_channel(address) as channel:
        send: Any = channel.unary_unary(call.path)
        for mould in call.moulds[:CALLS]:
            before, spin_id = tap.wires[connection].trips, ids.take()
            confirmed = call.confirmed(await send(mould.fill([spin_id])))
            assert confirmed == [spin_id], confirmed
            trips.append(tap.wires[connection].trips - before)
    return median(trips)
