"""WatchPools: first each pool, then the newest of what changed, wins without players, and a heartbeat."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from jackpot_server.pool_reads import PoolReads
from jackpot_server.queries import WatchQuery
from jackpot_server.reads import ReadConnections
from jackpot_server.watch import PATIENCE_S, PERIOD_S, TURNS, PoolWatch
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.database import create_pool
from tests.integration.jackpot_server.serving import (
    MINI,
    POOLS,
    Client,
    apply_pools,
    coins,
    contribution,
    error_of,
    pool,
    serving,
    take,
    watching,
)
from tests.support.waiting import eventually

EVERYBODY = WatchQuery((), "")


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn) as client:
        yield client


@pytest.fixture
async def connections(jackpots_dsn: str) -> AsyncIterator[ReadConnections]:
    connections = ReadConnections(lambda: create_pool(jackpots_dsn, application_name="watch"))
    await connections.open()
    yield connections
    await connections.close()


def counting(connections: ReadConnections) -> list[str]:
    """The queries that go through `connections` from now on."""
    queries: list[str] = []
    fetch = connections.fetch

    async def counted(query: str, *values: Any) -> list[asyncpg.Record]:
        queries.append(query)
        return await fetch(query, *values)

    connections.fetch = counted  # type: ignore[method-assign]
    return queries


async def until(stream: AsyncIterator[Any], found: Callable[[Any], bool]) -> list[Any]:
    """The messages up to the first for which `found` is true, that one included."""
    seen: list[Any] = []
    async with asyncio.timeout(5):
        while not seen or not found(seen[-1]):
            seen.append(await anext(stream))
    return seen


def changes_of(messages: Iterable[pb.WatchPoolsResponse], pool_id: str) -> list[pb.Pool]:
    return [message.change for message in messages if message.change.name == f"pools/{pool_id}"]


class TestTheStream:
    async def test_first_comes_each_pool_then_what_changes(self, client: Client) -> None:
        async with watching(client) as stream:
            first = await take(stream, 3)
            assert {message.WhichOneof("event") for message in first} == {"snapshot"}
            pools = {message.snapshot.name: message.snapshot for message in first}
            assert set(pools) == {"pools/mini", "pools/grand", "pools/sure"}
            assert pools["pools/mini"] == await client.pool("mini")
            await client.record()
            changed = await take(stream, 2)
            assert {message.change.name for message in changed} == {"pools/mini", "pools/grand"}
            (mini,) = changes_of(changed, "mini")
            assert mini.balance_micros == pools["pools/mini"].balance_micros + 100 * 10_000
            assert mini.version > pools["pools/mini"].version

    async def test_a_change_on_another_replica_arrives_too(self, client: Client, jackpots_dsn: str) -> None:
        async with serving(jackpots_dsn, pools=None) as replica, watching(client) as stream:
            await take(stream, 3)
            await replica.record()
            async with asyncio.timeout(1):
                assert (await anext(stream)).HasField("change")

    async def test_a_win_is_shown_without_its_player(self, client: Client) -> None:
        async with watching(client, pools=["pools/sure"]) as stream:
            await take(stream, 1)
            win = await client.win()
            messages = await until(stream, lambda message: message.HasField("change"))
            (shown,) = (message.win for message in messages if message.HasField("win"))
            assert shown == pb.WatchPoolsResponse.PublicWin(
                pool=win.pool, tier=win.tier, cycle=win.cycle, amount=win.amount, decide_time=win.decide_time
            )
            assert messages[-1].change.cycle == win.cycle + 1
            assert messages[-1].change.last_win == coins(50)

    async def test_every_win_is_shown_once_in_order(self, client: Client) -> None:
        async with watching(client, pools=["pools/sure"]) as stream:
            await take(stream, 1)
            wins = [await client.win() for _ in range(15)]
            seen: list[pb.WatchPoolsResponse] = []
            while not seen or seen[-1].change.cycle != wins[-1].cycle + 1:
                seen += await until(stream, lambda message: message.HasField("change"))
            assert [message.win.cycle for message in seen if message.HasField("win")] == [
                win.cycle for win in wins
            ]

    async def test_only_the_pools_that_were_named_are_sent(self, client: Client) -> None:
        async with watching(client, pools=["pools/grand", "pools/grand"]) as stream:
            (first,) = await take(stream, 1)
            assert first.snapshot.name == "pools/grand"
            await client.record(operator_id="winner")
            assert (await anext(stream)).change.name == "pools/grand"

    async def test_only_the_pools_that_take_an_operator_s_spins_are_sent(self, client: Client) -> None:
        async with watching(client, operator_id="demo") as stream:
            first = await take(stream, 2)
            assert {message.snapshot.name for message in first} == {"pools/mini", "pools/grand"}

    async def test_a_pool_that_does_not_exist_is_not_found(self, client: Client) -> None:
        async with watching(client, pools=["pools/mini", "pools/nowhere"]) as stream:
            error = await error_of(anext(stream))
        assert (error.code, error.reason) == ("NOT_FOUND", "POOL_NOT_FOUND")

    async def test_a_pool_that_is_new_appears(self, client: Client) -> None:
        async with watching(client) as stream:
            await take(stream, 3)
            await apply_pools(client.dsn, POOLS + pool("extra"))
            assert (await anext(stream)).change.name == "pools/extra"

    async def test_the_streams_are_counted_and_capped(self, jackpots_dsn: str) -> None:
        async with serving(jackpots_dsn, watch_max_streams=2) as client:
            async with watching(client) as one, watching(client) as two:
                await take(one, 1)
                await take(two, 1)
                async with watching(client) as three:
                    error = await error_of(anext(three))
                assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
                assert error.retry_s

            async def has_room() -> bool:
                async with watching(client) as stream:
                    try:
                        await take(stream, 1)
                    except Exception:
                        return False
                    return True

            assert await eventually(has_room)

    async def test_an_old_stream_ends_well(self, jackpots_dsn: str) -> None:
        async with (
            serving(jackpots_dsn, watch_max_age_s=1) as client,
            watching(client) as stream,
            asyncio.timeout(5),
        ):
            messages = [message async for message in stream]
            assert len(messages) == 3

    async def test_a_drain_ends_the_streams_with_unavailable(self, client: Client) -> None:
        async with watching(client) as stream:
            await take(stream, 3)
            async with asyncio.timeout(5):
                _, error = await asyncio.gather(client.server.server.close(), error_of(anext(stream)))
        assert (error.code, error.reason) == ("UNAVAILABLE", "DRAINING")

    async def test_a_reader_that_stops_reading_gets_the_newest_afterwards(self, client: Client) -> None:
        """The connection's buffers fill up; what was not sent is skipped, and nobody else waits."""
        async with (
            watching(client, pools=["pools/mini"]) as slow,
            watching(client, pools=["pools/mini"]) as quick,
        ):
            await take(slow, 1)
            await take(quick, 1)
            last = 0
            for _ in range(5):
                await client.record()
                last = (await anext(quick)).change.version
            seen = await until(slow, lambda message: message.change.version == last)
            versions = [message.change.version for message in seen]
            assert versions == sorted(set(versions))


class TestWatchers:
    """The part behind the streams, with a reader that this test plays."""

    async def test_a_slow_watcher_skips_to_the_newest_value(self, jackpots_dsn: str, client: Client) -> None:
        watch = client.server._watch
        with watch.watch(WatchQuery(("mini",), "")) as slow, watch.watch(WatchQuery(("mini",), "")) as quick:
            reader, other = slow.messages(), quick.messages()
            await anext(other)
            for _ in range(3):
                await client.record()
                newest = (await anext(other)).change.version
            first = await anext(reader)
            assert first.snapshot.version == newest, "the first picture, as new as it can be"
            for _ in range(3):
                await client.record()
                newest = (await anext(other)).change.version
            assert (await anext(reader)).change.version == newest

    async def test_heartbeats_come_whether_or_not_something_changes(
        self, connections: ReadConnections, client: Client
    ) -> None:
        watch = PoolWatch(PoolReads(connections), max_watchers=5, max_age_s=60, heartbeat_s=0.3)
        with watch.watch(EVERYBODY) as watcher:
            kinds: list[str | None] = []
            async with asyncio.timeout(10):
                async for message in watcher.messages():
                    kinds.append(message.WhichOneof("event"))
                    await client.record()
                    if kinds.count("heartbeat") == 3:
                        break
            assert kinds[:3] == ["snapshot"] * 3
            assert "change" in kinds
        await watch.close()

    async def test_one_query_serves_all_watchers_and_none_rests(
        self, connections: ReadConnections, client: Client
    ) -> None:
        queries = counting(connections)
        watch = PoolWatch(PoolReads(connections), max_watchers=200, max_age_s=60)
        watchers = [watch.watch(EVERYBODY) for _ in range(200)]
        readers = [watcher.__enter__().messages() for watcher in watchers]
        for reader in readers:
            assert [(await anext(reader)).HasField("snapshot") for _ in range(3)] == [True] * 3
        begun = len(queries)
        assert begun <= 3
        await client.record()
        for reader in readers:
            assert (await anext(reader)).HasField("change")
        assert len(queries) - begun <= 2 + 5 * PERIOD_S / PERIOD_S
        for watcher in watchers:
            watcher.__exit__(None, None, None)
        await eventually(lambda: watch._ticking._task is None)
        rested = len(queries)
        await asyncio.sleep(2 * PERIOD_S)
        assert len(queries) == rested
        await watch.close()

    async def test_a_change_is_told_in_turns(self, connections: ReadConnections, client: Client) -> None:
        """Each look wakes a part of the watchers: the server is never busy with all of them at once."""
        queries = counting(connections)
        watch = PoolWatch(PoolReads(connections), max_watchers=50, max_age_s=60)
        told = Counter[int]()

        async def read(query: WatchQuery) -> None:
            with watch.watch(query) as watcher:
                reader = watcher.messages()
                assert (await anext(reader)).HasField("snapshot")
                begun.release()
                assert (await anext(reader)).HasField("change")
                told[len(queries)] += 1

        begun = asyncio.Semaphore(0)
        mini, grand = WatchQuery(("mini",), ""), WatchQuery(("grand",), "")
        readers = [asyncio.create_task(read(query)) for query in [mini, grand] * TURNS]
        for _ in readers:
            await begun.acquire()
        await client.record()
        async with asyncio.timeout(5):
            await asyncio.gather(*readers)
        assert list(told.values()) == [2] * TURNS
        await watch.close()

    async def test_a_lonely_watcher_takes_one_query_a_period(
        self, connections: ReadConnections, client: Client
    ) -> None:
        queries = counting(connections)
        watch = PoolWatch(PoolReads(connections), max_watchers=5, max_age_s=60)
        clock = asyncio.get_running_loop().time
        with watch.watch(WatchQuery(("mini",), "")) as watcher:
            reader = watcher.messages()
            await anext(reader)
            begun, start = len(queries), clock()
            for _ in range(4):
                await client.record()
                await anext(reader)
            assert len(queries) - begun <= 1 + (clock() - start) / PERIOD_S
        await watch.close()

    async def test_a_database_that_stays_away_ends_the_streams(self, jackpots_dsn: str) -> None:
        await apply_pools(jackpots_dsn, MINI)
        connections = ReadConnections(lambda: create_pool(jackpots_dsn, application_name="watch"))
        await connections.open()
        watch = PoolWatch(PoolReads(connections), max_watchers=5, max_age_s=60)
        with watch.watch(EVERYBODY) as watcher:
            reader = watcher.messages()
            await anext(reader)
            await connections.close()
            start = asyncio.get_running_loop().time()
            with pytest.raises(asyncpg.InterfaceError):
                async with asyncio.timeout(PATIENCE_S + 5):
                    await anext(reader)
            assert asyncio.get_running_loop().time() - start >= PATIENCE_S - PERIOD_S
        await watch.close()

    async def test_values_never_go_back_under_load_on_two_replicas(
        self, client: Client, jackpots_dsn: str
    ) -> None:
        async with serving(jackpots_dsn, pools=None) as replica, watching(client) as stream:
            await take(stream, 3)
            done = asyncio.Event()

            async def load(on: Client) -> None:
                while not done.is_set():
                    batch = [contribution(spin_id=str(uuid4())) for _ in range(20)]
                    await on.jackpots.BatchRecordContributions(
                        pb.BatchRecordContributionsRequest(requests=batch)
                    )

            loads = [asyncio.create_task(load(on)) for on in (client, replica)]
            versions: dict[str, list[int]] = {}
            for message in await take(stream, 20):
                versions.setdefault(message.change.name, []).append(message.change.version)
            done.set()
            await asyncio.gather(*loads)
            assert len(versions["pools/mini"]) >= 8
            for seen in versions.values():
                assert seen == sorted(set(seen))
