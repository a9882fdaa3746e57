"""Group commit: while one batch is being written, the next one collects.

No timer and no linger: an item that arrives alone is written at once; under load, batches form by
themselves, as large as the last write took long. One task per group calls ``write``; whoever waits for an
answer never owns the transaction, so a caller that goes away (deadline, disconnect) disturbs nothing.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

from service_kit.errors import draining, overloaded

T = TypeVar("T")
R = TypeVar("R")


class Later:
    """The type of ``LATER``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LATER"


LATER: Final = Later()
"""A result that says: not reached, put this item at the front of the next batch."""


class _Call(Generic[R]):
    """One submitted list of items and the future that its caller awaits."""

    __slots__ = ("future", "missing", "results")

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[list[R | Exception]] = loop.create_future()
        self.results: list[R | Exception | None] = [None] * size
        self.missing = size

    def deliver(self, index: int, result: R | Exception) -> None:
        self.results[index] = result
        self.missing -= 1
        if self.missing == 0 and not self.future.done():
            self.future.set_result(self.results)  # type: ignore[arg-type]


class _Entry(Generic[T, R]):
    """One item on its way, and everybody who waits for its result."""

    __slots__ = ("item", "key", "waiters")

    def __init__(self, item: T, key: Hashable, call: _Call[R], index: int) -> None:
        self.item = item
        self.key = key
        self.waiters = [(call, index)]


class GroupCommit(Generic[T, R]):
    """Collects items, hands them to ``write`` in batches, and gives each its own result.

    ``write(items)`` answers ``results[i]`` for ``items[i]``: a value, an exception (that item's alone),
    ``LATER``, or a future of a value for an item that is finished elsewhere. It is only ever called by one
    task at a time, in arrival order. If it raises, every item of the batch gets that exception.

    ``key(item)`` is the idempotency key. Two items with one key are never in one batch: an equal one joins
    the first and shares its result, another one waits until the first is answered. Equality is the items'
    own ``==``; fields that do not count are declared with ``field(compare=False)``.

    At most ``max_waiting`` items wait; beyond it ``submit`` raises OVERLOADED, after ``close`` DRAINING.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Awaitable[Sequence[R | Exception | Later | asyncio.Future[R]]]],
        *,
        key: Callable[[T], Hashable],
        max_batch: int,
        max_waiting: int,
        name: str,
    ) -> None:
        self._write = write
        self._key = key
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._name = name
        self._queue: deque[_Entry[T, R]] = deque()
        self._known: dict[Hashable, _Entry[T, R]] = {}
        self._held: dict[Hashable, deque[_Entry[T, R]]] = {}
        self._held_count = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Items that no batch has taken yet."""
        return len(self._queue) + self._held_count

    def start(self) -> None:
        """Starts the task that writes; needs a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def submit(self, item: T) -> R:
        """The item's result, or raises its exception. Cancelling the caller cancels nothing else.

        Raises Failure OVERLOADED or DRAINING without having taken the item.
        """
        result = (await self.submit_many([item]))[0]
        if isinstance(result, Exception):
            raise result
        return result

    async def submit_many(self, items: Sequence[T]) -> list[R | Exception]:
        """``results[i]`` answers ``items[i]``; taken all together or, raising, not at all.

        An item with the key of an earlier one in the list is answered after it.
        """
        if self._closing:
            raise draining()
        if self.waiting + len(items) > self._max_waiting:
            raise overloaded()
        if not items:
            return []
        call: _Call[R] = _Call(len(items), asyncio.get_running_loop())
        for index, item in enumerate(items):
            self._take(item, call, index)
        self._wake.set()
        # The future is this caller's alone: cancelled with it, it takes no result, and the items go on.
        return await call.future

    async def close(self) -> None:
        """Refuses new items, waits until everything taken is answered, stops the task."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def _take(self, item: T, call: _Call[R], index: int) -> None:
        key = self._key(item)
        first = self._known.get(key)
        if first is None:
            entry = self._known[key] = _Entry(item, key, call, index)
            self._queue.append(entry)
        elif first.item == item:
            first.waiters.append((call, index))
        else:
            self._held.setdefault(key, deque()).append(_Entry(item, key, call, index))
            self._held_count += 1

    async def _run(self) -> None:
        while True:
            if not self._queue:
                if self._closing and not self._known:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            size = min(len(self._queue), self._max_batch)
            batch = [self._queue.popleft() for _ in range(size)]
            await self._write_batch(batch)

    async def _write_batch(self, batch: list[_Entry[T, R]]) -> None:
        try:
            results = await self._write([entry.item for entry in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{self._name}: {len(results)} results for {len(batch)} items")
        except Exception as error:  # a bug of the writer must not stop the group
            results = [error] * len(batch)
        again: list[_Entry[T, R]] = []
        for entry, result in zip(batch, results, strict=True):
            if isinstance(result, Later):
                again.append(entry)
            elif isinstance(result, asyncio.Future):
                result.add_done_callback(partial(self._deliver_from, entry))
            else:
                self._deliver(entry, result)
        self._queue.extendleft(reversed(again))

    def _deliver_from(self, entry: _Entry[T, R], done: asyncio.Future[R]) -> None:
        self._deliver(entry, _outcome(done))  # type: ignore[arg-type]

    def _deliver(self, entry: _Entry[T, R], result: R | Exception) -> None:
        for call, index in entry.waiters:
            call.deliver(index, result)
        held = self._held.get(entry.key)
        if held is None:
            del self._known[entry.key]
        else:
            following = held.popleft()
            self._held_count -= 1
            if not held:
                del self._held[entry.key]
            self._known[entry.key] = following
            self._queue.append(following)
        if self._closing or held is not None:
            self._wake.set()


def _outcome(done: asyncio.Future[R]) -> R | Exception:
    if done.cancelled():
        return draining()
    error = done.exception()
    if error is None:
        return done.result()
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
