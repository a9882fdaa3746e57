"""How snapshots come to and from the cache: the newest written after commits, wanted ones read together."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from jackpot_server.cache import Snapshot, SnapshotCache, now_ms
from service_kit.errors import draining

# Between two writes to the cache: a hot pool changes a thousand times a second, nobody looks as often.
WRITE_PAUSE_S = 0.1
# How long what the cache has said is passed on: an exchange with it takes more processor time than a call,
# and would mostly say the same again before the next write.
HOLD_S = 0.02


class Versioned(Protocol):
    """Something of which only the newest version matters."""

    @property
    def key(self) -> str: ...
    @property
    def version(self) -> int: ...


V = TypeVar("V", bound=Versioned)


class SnapshotWriter(Generic[V]):
    """Writes what was committed to the cache, the newest of each key only, in a task of its own.

    `render` makes the payload; it is called by the task, not by `offer`.
    """

    def __init__(self, cache: SnapshotCache, render: Callable[[V], bytes]) -> None:
        self._cache = cache
        self._render = render
        self._newest: dict[str, tuple[V, int]] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def offer(self, committed: Iterable[V]) -> None:
        """Takes what has just been committed. Never waits, never raises; keeps the newest of each key."""
        stamp_ms = now_ms()
        for value in committed:
            held = self._newest.get(value.key)
            if held is None or held[0].version < value.version:
                self._newest[value.key] = (value, stamp_ms)
        self._wake.set()

    def start(self) -> None:
        """Starts the task; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="snapshot writer")

    async def close(self) -> None:
        """Stops the task. What it has not written is lost, as anything in a cache may be."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            newest, self._newest = self._newest, {}
            await self._cache.store(
                [
                    Snapshot(key, value.version, self._render(value), stamp_ms)
                    for key, (value, stamp_ms) in newest.items()
                ]
            )
            await asyncio.sleep(WRITE_PAUSE_S)


class SnapshotReader:
    """Reads snapshots for everybody at once: while one round is under way, the keys of the next one collect.

    A round asks the cache, and `load` for what the cache does not have; that is answered, then written to
    the cache. What the cache has said is passed on for `HOLD_S`, to those too who asked meanwhile. So whoever
    asks waits for at most two rounds, however many ask for the same key, and a version older than one
    already answered is never answered.

    `load(keys)` reads the truth: a snapshot for each key that exists. What it raises, everybody of the
    round gets who waited for a key that the cache did not have.
    """

    def __init__(
        self,
        cache: SnapshotCache | None,
        load: Callable[[Sequence[str]], Awaitable[Mapping[str, Snapshot]]],
    ) -> None:
        self._cache = cache
        self._load = load
        self._wanted: dict[str, asyncio.Future[Snapshot | None]] = {}
        self._answered: dict[str, int] = {}
        # What the cache has said, and until when it is passed on (time.monotonic).
        self._held: dict[str, tuple[Snapshot, float]] = {}
        self._round: asyncio.Task[None] | None = None
        self._closing = False

    async def get(self, key: str) -> Snapshot | None:
        """The snapshot, at most a second old; None if there is no such thing."""
        return self._passed_on(key) or await asyncio.shield(self._want(key))

    async def get_many(self, keys: Sequence[str]) -> list[Snapshot | None]:
        """`results[i]` is what `get(keys[i])` would answer; what has to be asked for, in one round."""
        found = [self._passed_on(key) or self._want(key) for key in keys]
        return [await asyncio.shield(each) if isinstance(each, asyncio.Future) else each for each in found]

    async def close(self) -> None:
        """Refuses new questions, answers those that were asked."""
        self._closing = True
        if self._round is not None:
            await self._round

    def _passed_on(self, key: str) -> Snapshot | None:
        snapshot, until = self._held.get(key, (None, 0.0))
        return snapshot if time.monotonic() < until else None

    def _want(self, key: str) -> asyncio.Future[Snapshot | None]:
        if self._closing:
            raise draining()
        future = self._wanted.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._wanted[key] = loop.create_future()
            if self._round is None:
                self._round = loop.create_task(self._run(), name="snapshot reader")
        return future

    async def _run(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            await self._answer(wanted)
        self._round = None

    async def _answer(self, wanted: dict[str, asyncio.Future[Snapshot | None]]) -> None:
        cached = await self._cache.fetch(list(wanted)) if self._cache else {}
        until = time.monotonic() + HOLD_S
        for key, snapshot in cached.items():
            if snapshot.version >= self._answered.get(key, 0):
                self._answered[key] = snapshot.version
                self._held[key] = snapshot, until
                wanted.pop(key).set_result(snapshot)
                if key in self._wanted:
                    self._wanted.pop(key).set_result(snapshot)
        if not wanted:
            return
        try:
            loaded = await self._load(list(wanted))
        except Exception as error:  # handed on to everybody who waits
            for future in wanted.values():
                future.set_exception(error)
                future.exception()  # whoever waited may have gone
            return
        for key, future in wanted.items():
            found = loaded.get(key)
            self._held.pop(key, None)
            if found is not None:
                # The truth's version, whatever it is: after a restore it may be lower than before.
                self._answered[key] = found.version
            future.set_result(found)
        if self._cache:
            await self._cache.store(loaded.values())
