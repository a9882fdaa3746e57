"""The snapshots' cache against real RESP servers: killed, stalled, emptied and poisoned."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from devstack.valkey import Valkey
from jackpot_server import snapshots
from jackpot_server.cache import (
    FAILURES_TO_OPEN,
    LIMIT_S,
    MAX_AGE_MS,
    CacheServer,
    Snapshot,
    SnapshotCache,
    now_ms,
    seal,
)
from jackpot_server.snapshots import HOLD_S, WRITE_PAUSE_S, SnapshotReader, SnapshotWriter
from tests.support.waiting import eventually

KEY = "pool:mini"
NAME = f"test:{KEY}"
# What a call may take at most when the cache does not answer: the limit, and a busy machine's own slowness.
PATIENCE_S = LIMIT_S + 0.25


def snapshot(version: int, payload: bytes = b"", key: str = KEY, age_ms: int = 0) -> Snapshot:
    return Snapshot(key, version, payload or b"version %d" % version, now_ms() - age_ms)


@pytest.fixture
async def cache(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SnapshotCache]:
    """For what it says, not how soon: a machine that is busy elsewhere must not turn a value into a miss."""
    monkeypatch.setattr("jackpot_server.cache.LIMIT_S", 5.0)
    cache = SnapshotCache(redis_url, "test")
    yield cache
    await cache.close()


@pytest.fixture
async def valkey_cache(valkey_url: str) -> AsyncIterator[SnapshotCache]:
    cache = SnapshotCache(valkey_url, "test")
    yield cache
    await cache.close()


@pytest.fixture
async def intruder(redis_url: str) -> AsyncIterator["Redis"]:
    client: Redis = Redis.from_url(redis_url, protocol=2)
    yield client
    await client.aclose()


class Truth:
    """A database of snapshots: what it holds, how often it was read."""

    def __init__(self) -> None:
        self.version = 1
        self.reads: list[list[str]] = []
        self.error: Exception | None = None

    async def load(self, keys: Sequence[str]) -> Mapping[str, Snapshot]:
        self.reads.append(list(keys))
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return {key: snapshot(self.version, key=key) for key in keys if key != "pool:nothing"}


async def version_of(reader: SnapshotReader) -> int | None:
    answer = await reader.get(KEY)
    return answer.version if answer else None


class TestTheCache:
    async def test_what_was_stored_is_fetched(self, cache: SnapshotCache) -> None:
        stored = snapshot(7, b"\x00\xff binary \r\n")
        await cache.store([stored])
        assert await cache.fetch([KEY]) == {KEY: stored}

    async def test_what_was_not_stored_is_missing(self, cache: SnapshotCache) -> None:
        await cache.store([snapshot(1)])
        assert set(await cache.fetch(["pool:minor", KEY])) == {KEY}

    @pytest.mark.parametrize("version", [1, 6, 7])
    async def test_an_older_or_equal_version_is_not_written(self, cache: SnapshotCache, version: int) -> None:
        await cache.store([snapshot(7, b"first")])
        await cache.store([snapshot(version, b"second")])
        assert (await cache.fetch([KEY]))[KEY].payload == b"first"

    @pytest.mark.parametrize("version", [8, 10, 9_007_199_254_740_993 + 1, 2**63 - 1])
    async def test_a_newer_version_is_written(self, cache: SnapshotCache, version: int) -> None:
        await cache.store([snapshot(min(version - 1, 9_007_199_254_740_993), b"first")])
        await cache.store([snapshot(version, b"second")])
        assert (await cache.fetch([KEY]))[KEY].payload == b"second"

    async def test_snapshots_live_for_a_second_at_most(self, cache: SnapshotCache, intruder: "Redis") -> None:
        await cache.store([snapshot(1, key=f"pool:{n}") for n in range(20)])
        lives = [await intruder.pttl(f"test:pool:{n}") for n in range(20)]
        assert all(0 < life <= 1000 for life in lives)
        assert len({life // 10 for life in lives}) > 3, "they would all be missed at once"

    async def test_a_snapshot_read_long_ago_is_not_written(self, cache: SnapshotCache) -> None:
        await cache.store([snapshot(1, age_ms=MAX_AGE_MS + 1)])
        assert await cache.fetch([KEY]) == {}

    async def test_the_server_says_what_it_is(
        self, cache: SnapshotCache, redis_url: str, valkey: Valkey
    ) -> None:
        server = await cache.server()
        assert server.reachable
        # fakeredis does not know the command that tells.
        assert server.kind == ("valkey" if redis_url == valkey.url else "")
        assert server.version[:1].isdigit() == (server.kind == "valkey")

    @pytest.mark.parametrize(
        "garbage",
        [b"", b"nonsense", b"9" * 20 + b"nonsense", b"\xff" * 200, b"~" * 100_000],
        ids=["empty", "short", "high version", "bytes", "long"],
    )
    async def test_garbage_is_a_miss_and_heals(
        self, cache: SnapshotCache, intruder: "Redis", garbage: bytes
    ) -> None:
        await intruder.set(NAME, garbage)
        assert await cache.fetch([KEY]) == {}
        await cache.store([snapshot(1)])
        assert (await cache.fetch([KEY]))[KEY].version == 1

    async def test_a_value_of_the_wrong_type_is_a_miss_and_heals(
        self, cache: SnapshotCache, intruder: "Redis"
    ) -> None:
        await intruder.rpush(NAME, "a", "b")
        assert await cache.fetch([KEY]) == {}
        await cache.store([snapshot(1)])
        assert (await cache.fetch([KEY]))[KEY].version == 1

    async def test_another_key_s_snapshot_is_a_miss(self, cache: SnapshotCache, intruder: "Redis") -> None:
        _, sealed = seal(snapshot(5, key="pool:grand"))
        await intruder.set(NAME, sealed)
        assert await cache.fetch([KEY]) == {}

    async def test_an_old_snapshot_that_nobody_expires_is_not_shown(
        self, cache: SnapshotCache, intruder: "Redis"
    ) -> None:
        _, sealed = seal(snapshot(5, age_ms=MAX_AGE_MS + 50))
        await intruder.set(NAME, sealed)
        assert await cache.fetch([KEY]) == {}
        await cache.store([snapshot(3)])
        assert (await cache.fetch([KEY]))[KEY].version == 3


class TestACacheThatFails:
    async def test_a_stalled_server_costs_no_more_than_the_limit(
        self, valkey_cache: SnapshotCache, valkey: Valkey
    ) -> None:
        await valkey_cache.store([snapshot(1)])
        valkey.suspend()
        try:
            for _ in range(FAILURES_TO_OPEN):
                start = time.monotonic()
                assert await valkey_cache.fetch([KEY]) == {}
                assert time.monotonic() - start < PATIENCE_S
            start = time.monotonic()
            for _ in range(1000):
                assert await valkey_cache.fetch([KEY]) == {}
            assert time.monotonic() - start < LIMIT_S * 10, "the breaker is not open"
        finally:
            valkey.resume()

        async def works_again() -> bool:
            await valkey_cache.store([snapshot(2)])
            found = await valkey_cache.fetch([KEY])
            return KEY in found and found[KEY].version == 2

        assert await eventually(works_again)

    async def test_an_answer_that_came_too_late_is_not_taken_for_the_next_one(
        self, valkey_cache: SnapshotCache, valkey: Valkey
    ) -> None:
        await valkey_cache.store([snapshot(1, key="pool:a"), snapshot(2, key="pool:b")])
        valkey.suspend()
        try:
            assert await valkey_cache.fetch(["pool:a"]) == {}
        finally:
            valkey.resume()
        found = await eventually(lambda: valkey_cache.fetch(["pool:b"]))
        assert found["pool:b"].version == 2

    async def test_a_killed_server_is_a_miss_and_comes_back(
        self, valkey_cache: SnapshotCache, valkey: Valkey
    ) -> None:
        await valkey_cache.store([snapshot(1)])
        valkey.kill()
        try:
            start = time.monotonic()
            for _ in range(10):
                assert await valkey_cache.fetch([KEY]) == {}
                await valkey_cache.store([snapshot(2)])
            assert not (await valkey_cache.server()).reachable
            assert time.monotonic() - start < 10 * PATIENCE_S
        finally:
            valkey.start()

        async def works_again() -> bool:
            await valkey_cache.store([snapshot(3)])
            return KEY in await valkey_cache.fetch([KEY])

        assert await eventually(works_again)

    async def test_a_server_that_speaks_something_else_is_a_miss(self) -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        cache = SnapshotCache(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", "test")
        try:
            assert await cache.fetch([KEY]) == {}
            await cache.store([snapshot(1)])
            assert not (await cache.server()).reachable
        finally:
            await cache.close()
            server.close()

    async def test_dragonfly_is_known_by_its_own_words(self) -> None:
        said = b"# Server\r\ndragonfly_version:df-v1.34.2\r\nredis_version:7.4.0\r\nredis_mode:standalone\r\n"

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"PING\r\n")
            writer.write(b"+PONG\r\n")
            await reader.readuntil(b"server\r\n")
            writer.write(b"$%d\r\n%s\r\n" % (len(said), said))
            await reader.read()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        cache = SnapshotCache(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", "test")
        try:
            assert await cache.server() == CacheServer("dragonfly", "df-v1.34.2", reachable=True)
        finally:
            await cache.close()
            server.close()


class TestTheReader:
    async def test_a_miss_is_read_once_for_everybody_and_kept(self, cache: SnapshotCache) -> None:
        truth = Truth()
        reader = SnapshotReader(cache, truth.load)
        answers = await asyncio.gather(*(reader.get(KEY) for _ in range(100)))
        assert {answer.version for answer in answers if answer} == {1}
        assert truth.reads == [[KEY]]
        await eventually(lambda: cache.fetch([KEY]))
        assert await reader.get(KEY)
        assert truth.reads == [[KEY]]

    async def test_what_does_not_exist_is_none(self, cache: SnapshotCache) -> None:
        reader = SnapshotReader(cache, Truth().load)
        assert await reader.get("pool:nothing") is None
        answers = await reader.get_many([KEY, "pool:nothing", "pool:minor"])
        assert [answer.key if answer else None for answer in answers] == [KEY, None, "pool:minor"]

    async def test_a_version_older_than_one_answered_is_not_answered(self, cache: SnapshotCache) -> None:
        truth = Truth()
        truth.version = 9
        reader = SnapshotReader(cache, truth.load)
        assert await version_of(reader) == 9
        client: Redis = cache._client
        await client.flushall()
        await cache.store([snapshot(8)])
        assert await version_of(reader) == 9

    async def test_what_the_cache_has_said_is_passed_on_without_asking_it_again(
        self, cache: SnapshotCache, intruder: "Redis", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Longer than this test takes.
        monkeypatch.setattr(snapshots, "HOLD_S", 60.0)
        truth = Truth()
        await cache.store([snapshot(3)])
        reader = SnapshotReader(cache, truth.load)
        first = asyncio.create_task(reader.get(KEY))
        await asyncio.sleep(0)
        meanwhile = asyncio.create_task(reader.get(KEY))
        assert await first is await meanwhile
        await intruder.flushall()
        assert await version_of(reader) == 3
        assert await reader.get_many([KEY, "pool:minor"]) == [await first, await reader.get("pool:minor")]
        assert truth.reads == [["pool:minor"]]

    async def test_what_the_cache_has_said_is_passed_on_for_a_moment_only(self, cache: SnapshotCache) -> None:
        reader = SnapshotReader(cache, Truth().load)
        await cache.store([snapshot(3)])
        assert await version_of(reader) == 3
        start = time.monotonic()
        await cache.store([snapshot(4)])

        async def is_news() -> bool:
            return await version_of(reader) == 4

        assert await eventually(is_news)
        assert time.monotonic() - start >= HOLD_S / 2

    async def test_what_was_read_from_the_truth_is_not_passed_on(self, cache: SnapshotCache) -> None:
        """Not even if the cache has said something older a moment before."""
        truth = Truth()
        reader = SnapshotReader(cache, truth.load)
        client: Redis = cache._client
        for version in (1, 5):
            truth.version = version
            assert await version_of(reader) == version
            assert await eventually(lambda: cache.fetch([KEY]))
            await client.flushall()

    async def test_without_a_cache_every_answer_is_read_after_it_was_asked(self) -> None:
        truth = Truth()
        reader = SnapshotReader(None, truth.load)
        for version in range(1, 20):
            truth.version = version
            answers = await asyncio.gather(*(reader.get(KEY) for _ in range(5)))
            assert {answer.version for answer in answers if answer} == {version}
        assert len(truth.reads) == 19

    async def test_an_error_of_the_truth_reaches_everybody_and_nobody_later(
        self, cache: SnapshotCache
    ) -> None:
        truth = Truth()
        truth.error = ConnectionError("gone")
        reader = SnapshotReader(cache, truth.load)
        answers = await asyncio.gather(*(reader.get(KEY) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(answer, ConnectionError) for answer in answers)
        truth.error = None
        assert await reader.get(KEY)

    async def test_a_caller_that_goes_away_disturbs_nobody(self, cache: SnapshotCache) -> None:
        reader = SnapshotReader(cache, Truth().load)
        gone, stays = asyncio.create_task(reader.get(KEY)), asyncio.create_task(reader.get(KEY))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays
        with pytest.raises(asyncio.CancelledError):
            await gone

    async def test_a_stalled_cache_delays_by_the_limit_only(
        self, valkey_cache: SnapshotCache, valkey: Valkey
    ) -> None:
        truth = Truth()
        reader = SnapshotReader(valkey_cache, truth.load)
        valkey.suspend()
        try:
            for version in range(1, 30):
                truth.version = version
                start = time.monotonic()
                assert await version_of(reader) == version
                assert time.monotonic() - start < 2 * PATIENCE_S  # the round before may still be writing
        finally:
            valkey.resume()


@dataclass(frozen=True)
class Committed:
    key: str
    version: int


class TestTheWriter:
    async def test_only_the_newest_of_each_key_is_written(self, cache: SnapshotCache) -> None:
        rendered: list[Committed] = []

        def render(value: Committed) -> bytes:
            rendered.append(value)
            return b"%d" % value.version

        writer = SnapshotWriter(cache, render)
        writer.offer([Committed("a", 1), Committed("b", 5)])
        writer.offer([Committed("a", 3), Committed("b", 4)])
        writer.offer([Committed("a", 2)])
        writer.start()

        async def written() -> bool:
            found = await cache.fetch(["a", "b"])
            return {key: value.payload for key, value in found.items()} == {"a": b"3", "b": b"5"}

        await eventually(written)
        assert len(rendered) == 2
        await writer.close()

    async def test_a_stalled_cache_never_makes_a_commit_wait(
        self, valkey_cache: SnapshotCache, valkey: Valkey
    ) -> None:
        writer: SnapshotWriter[Committed] = SnapshotWriter(valkey_cache, lambda value: b"%d" % value.version)
        writer.start()
        valkey.suspend()
        try:
            start = time.monotonic()
            for version in range(1, 10_000):
                writer.offer([Committed(KEY, version)])
                if version % 1000 == 0:
                    await asyncio.sleep(0)
            assert time.monotonic() - start < 1
        finally:
            valkey.resume()

        async def newest_arrived() -> bool:
            writer.offer([Committed(KEY, 10_000)])
            found = await valkey_cache.fetch([KEY])
            return KEY in found and found[KEY].version == 10_000

        assert await eventually(newest_arrived, within_s=WRITE_PAUSE_S + 5)
        await writer.close()
