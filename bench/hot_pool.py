"""B9: contributions into one hot pool, 256 in flight, no gRPC: the committer, against one transaction each.

`python -m bench.hot_pool ours|theirs|limit` is the process that does it: it reads phases and answers them
like the load generators, with the database's DSN and the root key from the environment. Both sides take the
lock of the pool, add the share, draw, and insert the contribution; the ledger and the batch are ours alone.
The limit is what PostgreSQL takes of the same rows in batches of as many, if nothing else is done.
"""

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from time import perf_counter
from uuid import uuid4

import asyncpg
import uvloop

from bench import stage
from bench.baselines.before import PoolStatements
from bench.baselines.one_by_one import Connections
from bench.baselines.raw_postgres import RawPostgres
from bench.children import child, line_of
from bench.closed_loop import Phase
from bench.contest import Contender, contest, middle, ratios
from bench.figures import quantile
from bench.report import Figure
from bench.requests import CURRENCY, OPERATOR, PROVIDER, SLOTS_GAME, WAGER_MINOR
from bench.settings import Effort
from jackpot_server.committer import Committer
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.pool import PoolView
from jackpot_server.keys import RootKeys, parse_root_key
from service_kit import database
from service_kit.telemetry import configure_logging
from tests.support.stack import Scene, demo

IN_FLIGHT = 256
ONE_POOL = f"""
[pools.hot]
display_name = "Hot"
tier = "HOT"
currency_code = "{CURRENCY}"
contribution_ppm = 1000
reserve_ppm = 700
reset_minor = 2500
trigger = {{ must_hit_by = {{ floor_minor = 2500, ceiling_minor = 10000 }} }}
"""

Act = Callable[[Contribute], Awaitable[object]]


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, and what the audit found."""
    scene = Scene(demo().games, ONE_POOL)
    async with AsyncExitStack() as stack:
        contenders = []
        stages = []
        for side, name in (
            ("ours", "group commit"),
            ("theirs", "one transaction each"),
            ("limit", "raw PostgreSQL"),
        ):
            one = await stack.enter_async_context(stage.product(servers=(), scene=scene))
            settings = {"BENCH_DSN": one.jackpots_dsn, "JACKPOT_ROOT_KEY": one.template.root_key}
            process = await stack.enter_async_context(child("bench.hot_pool", side, environment=settings))
            assert await line_of(process) == "ready"
            contenders.append(Contender(name, process, in_flight=IN_FLIGHT))
            stages.append(one)
        await contest(contenders, effort)
        ours, theirs, limit = contenders
        found = await stage.audit_contributions(stages[0].jackpots_dsn, answered=ours.answered)
        found += await stage.audit_pools(stages[1].jackpots_dsn, answered=theirs.answered)
    more = {
        "p50": f"{middle(ours.p50s_ms, 1):g} ms against {middle(theirs.p50s_ms, 1):g} ms",
        "raw PostgreSQL, the rows alone": f"{middle(limit.rates, 0):.0f}/s, of which ours is "
        f"{middle(ratios(ours.rates, limit.rates)):.0%}",
    }
    figure = Figure(middle(ours.rates), middle(theirs.rates), ratios(ours.rates, theirs.rates), more)
    return {"B9": figure}, found


def contribution() -> Contribute:
    """A new spin's."""
    return Contribute(
        spin_id=uuid4(),
        user_id="user",
        wallet_id="wallet",
        provider_round_id="round",
        client_seed="",
        wager_minor=WAGER_MINOR,
        operator_id=OPERATOR,
        currency_code=CURRENCY,
        game_category=1,
        game_id=SLOTS_GAME,
        provider_name=PROVIDER,
        stake_kind=1,
        country_code="",
    )


async def play(act: Act, in_flight: int, seconds: float) -> Phase:
    """One phase: each worker's next contribution follows the answer to its last one."""
    latencies: list[float] = []
    start = perf_counter()

    async def work() -> None:
        while (began := perf_counter()) < start + seconds:
            await act(contribution())
            latencies.append(perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(in_flight)))
    end = perf_counter()
    p50, p99 = (quantile(latencies, share) * 1e3 for share in (0.5, 0.99))
    return Phase(start, end, len(latencies), len(latencies), p50, p99, dict(Counter[str]()))


def _unseen(views: Sequence[PoolView]) -> None:
    """Nobody looks at the pools."""


async def serve_phases(side: str) -> None:
    """Reads phases from stdin until it ends."""
    event_loop = asyncio.get_running_loop()
    connect = partial(
        database.connect, os.environ["BENCH_DSN"], application_name=side, lock_timeout_ms=30_000
    )
    key_text = os.environ["JACKPOT_ROOT_KEY"]
    run_phase: Callable[[int, float], Awaitable[Phase]]
    if side == "limit":
        run_phase = partial(_play_raw, RawPostgres(await connect()))
    elif side == "ours":
        committer = Committer(connect, RootKeys(parse_root_key("root-1", key_text)), on_commit=_unseen)
        await committer.start()
        run_phase = partial(play, committer.contribute)
    else:
        run_phase = partial(play, await _one_by_one(connect, key_text))
    print(json.dumps("ready"), flush=True)
    while line := await event_loop.run_in_executor(None, sys.stdin.readline):
        phase = json.loads(line)
        print(json.dumps(asdict(await run_phase(phase["in_flight"], phase["seconds"]))), flush=True)


async def _play_raw(raw: RawPostgres, in_flight: int, seconds: float) -> Phase:
    """One phase; everyone of a batch waits as long as the batch takes."""
    start = perf_counter()
    end, times = await raw.play(in_flight, seconds)
    rows = in_flight * len(times)
    p50, p99 = (quantile(times, share) * 1e3 for share in (0.5, 0.99))
    return Phase(start, end, rows, rows, p50, p99, {})


async def _one_by_one(connect: Callable[[], Awaitable[asyncpg.Connection]], key_text: str) -> Act:
    connections = Connections(connect)
    await connections.open()
    async with connections.transaction() as connection:
        pools = await PoolStatements.load(connection, key_text)

    async def act(command: Contribute) -> object:
        async with connections.transaction() as connection:
            return await pools.contribute(connection, command)

    return act


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=("ours", "theirs", "limit"))
    configure_logging("warning", "console")
    uvloop.run(serve_phases(parser.parse_args().side))
