"""B14: a page of ListSpins deep in a big table, against the first page of a small one. By name only.

ROWS=10000000 spins of one operator, put into the table in one statement. The deep page is asked for as a
caller would get there, by its token; only the token is made here, from the row that it stands for.
"""

import os
from collections.abc import Collection
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Any, Final

import asyncpg
import grpc.aio

from bench import stage
from bench.bulk import fill_spins
from bench.contest import middle, ratios
from bench.figures import median
from bench.report import Figure
from bench.requests import OPERATOR
from bench.settings import Effort
from protos.spin.v1 import spin_pb2
from spin_server.queries import SpinPosition, SpinsQuery
from spin_server.wire import tokens
from tests.support.stack import SPIN

PAGE_SIZE: Final = 100
DEEP_PAGE: Final = 10_000
SMALL_ROWS: Final = 10_000
QUICK_ROWS: Final = 50_000
CALLS: Final = 40
METHOD: Final = "/spin.v1.SpinService/ListSpins"
# A page of a thousand spins has more bytes than a caller takes by default.
OPTIONS: Final = [("grpc.max_receive_message_length", 16 * 1024 * 1024)]

_ROW_BEFORE = """
SELECT settle_time, spin_id FROM spins WHERE operator_id = $1
 ORDER BY settle_time DESC, spin_id DESC OFFSET $2 - 1 LIMIT 1"""


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure; it reads only, so there is nothing that an audit could miss."""
    rows = QUICK_ROWS if effort.quick else int(os.environ.get("ROWS", "10000000"))
    deep_page = min(DEEP_PAGE, rows // PAGE_SIZE - 1)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(stage.product(servers={SPIN}))
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(ours.spin_address, options=OPTIONS)
        )
        await fill_spins(ours.spins_dsn, OPERATOR, 1, SMALL_ROWS)
        small = [await _page_ms(channel, "") for _ in range(effort.repeats)]
        await fill_spins(ours.spins_dsn, OPERATOR, SMALL_ROWS + 1, rows)
        token = await _token(ours.spins_dsn, deep_page)
        first: list[float] = []
        deep: list[float] = []
        for _ in range(effort.repeats):
            first.append(await _page_ms(channel, ""))
            deep.append(await _page_ms(channel, token))
            print(f"page 1 {first[-1]:.2f} ms, page {deep_page:,} {deep[-1]:.2f} ms", flush=True)
    more = {
        "rows": f"{rows:,}, against {SMALL_ROWS:,}",
        "page": f"{deep_page:,} of {PAGE_SIZE} spins",
        "page 1 of the big table": f"{middle(first, 2):g} ms",
    }
    return {"B14": Figure(middle(deep), middle(small), ratios(deep, small), more)}, []


async def _token(dsn: str, page: int) -> str:
    """What the page before it ended with."""
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(_ROW_BEFORE, OPERATOR, (page - 1) * PAGE_SIZE, timeout=600)
    finally:
        await connection.close()
    assert row is not None
    query = SpinsQuery(OPERATOR, "", "", "", None, None, PAGE_SIZE, None)
    return tokens.spin_token(SpinPosition(*row), query)


async def _page_ms(channel: grpc.aio.Channel, token: str) -> float:
    """The median of several calls, one after the other."""
    send: Any = channel.unary_unary(METHOD)
    request = spin_pb2.ListSpinsRequest(operator_id=OPERATOR, page_size=PAGE_SIZE, page_token=token)
    times = []
    for _ in range(CALLS):
        began = perf_counter()
        raw = await send(request.SerializeToString(), timeout=60)
        times.append((perf_counter() - began) * 1e3)
        assert len(spin_pb2.ListSpinsResponse.FromString(raw).spins) == PAGE_SIZE
    return median(times)
