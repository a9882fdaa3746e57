"""Writes a batch in one transaction, whatever happens to its rows, its locks or its connection.

What goes wrong, and what is done about it:

- a unique violation, deadlock or serialization failure: the batch again, then its items one by one;
- data that the database refuses, or a bug: the items one by one, so that only the bad one fails;
- a row locked by somebody else: the batch moves to a slow lane on a second connection, where only the items
  behind the locked row keep waiting; everybody else goes on;
- trouble with the connection: an error at or after COMMIT says nothing about the outcome, so the *same*
  batch is written again on a new connection until its outcome is known. Unique keys and row locks wait for
  the old backend; ids that it committed come back as repeats. Never concluded from a read.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Final, Generic, TypeVar

import asyncpg
import structlog

from service_kit.database import DATABASE_ERRORS, Trouble, classify
from service_kit.errors import Failure, database_unavailable, outcome_unknown, overloaded
from service_kit.group_commit import Later

T = TypeVar("T")
R = TypeVar("R")

# One statement that writes a batch, and is durable when it returns: see ``look`` of BatchWriter.
WriteAtOnce = Callable[[asyncpg.Connection], Awaitable[Sequence[R | Exception | Later] | None]]

log = structlog.get_logger(__name__)

WHOLE_BATCH_TRIES: Final = 3
RECONNECT_PAUSE_S: Final = (0.02, 0.25)


class _LockedError(Exception):
    """A row of the batch is locked by somebody else; nothing was written."""


class _Lane(Generic[T, R]):
    """One connection, and the ladder of what to try next when a batch fails on it."""

    def __init__(self, writer: "BatchWriter[T, R]", name: str, more_waits: Callable[[], bool]) -> None:
        self._writer = writer
        self._name = name
        self._more_waits = more_waits
        self._connection: asyncpg.Connection | None = None
        # The last COMMIT began the next transaction, which has done nothing yet.
        self._has_begun = False

    async def write(self, items: list[T]) -> list[R | Exception | Later]:
        """``results[i]`` for ``items[i]``; raises ``_LockedError`` when a lock could not be had."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        must_write = in_doubt = False
        may_be_short = True
        conflicts = 0
        pause_s = RECONNECT_PAUSE_S[0]
        while True:
            attempt = _Attempt()
            try:
                return await self._attempt(items, must_write, may_be_short, attempt)
            except Exception as error:
                may_be_short = False
                trouble = classify(error) if isinstance(error, DATABASE_ERRORS) else Trouble.POISON
                if trouble is not Trouble.UNKNOWN:
                    await self._roll_back()
                if trouble is Trouble.LOCK_TIMEOUT:
                    raise _LockedError from error
                if trouble is Trouble.CONFLICT:
                    conflicts += 1
                    log.info(
                        "batch_conflicted", lane=self._name, items=len(items), error=type(error).__name__
                    )
                    if conflicts < WHOLE_BATCH_TRIES:
                        continue
                if trouble is not Trouble.UNKNOWN:
                    return await self._one_by_one(items, error)
                self.drop_connection()
                must_write = True
                in_doubt = in_doubt or attempt.committing
                log.warning("batch_connection_lost", lane=self._name, in_doubt=in_doubt, error=repr(error))
                patience_s = self._writer.outcome_deadline_s if in_doubt else self._writer.unavailable_after_s
                if loop.time() - started > patience_s:
                    failure = outcome_unknown() if in_doubt else database_unavailable()
                    return [failure] * len(items)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RECONNECT_PAUSE_S[1])

    async def _attempt(
        self, items: list[T], must_write: bool, may_be_short: bool, attempt: "_Attempt"
    ) -> list[R | Exception | Later]:
        if self._connection is None or self._connection.is_closed():
            self._has_begun = False
            self._connection = await asyncio.wait_for(self._writer.connect(), self._writer.attempt_timeout_s)
        connection = self._connection
        # A black hole is left by ending the connection: every pending call on it then fails at once.
        watchdog = asyncio.get_running_loop().call_later(self._writer.attempt_timeout_s, connection.terminate)
        try:
            results = await self._write_short(connection, items, attempt) if may_be_short else None
            if results is None:
                results = await self._transact(connection, items, must_write, attempt)
            self._tell(connection)
            return list(results)
        finally:
            watchdog.cancel()

    async def _write_short(
        self, connection: asyncpg.Connection, items: list[T], attempt: "_Attempt"
    ) -> Sequence[R | Exception | Later] | None:
        write = await self._writer.look(connection, items)
        if write is None:
            return None
        attempt.committing = True
        results = await write(connection)
        attempt.committing = False
        return results

    async def _transact(
        self, connection: asyncpg.Connection, items: list[T], must_write: bool, attempt: "_Attempt"
    ) -> Sequence[R | Exception | Later]:
        if not self._has_begun:
            await connection.execute("BEGIN")
        self._has_begun = False
        results = await self._writer.transact(connection, items, must_write)
        attempt.committing = True
        if self._more_waits():
            await connection.execute("COMMIT AND CHAIN")
            self._has_begun = True
        else:
            await connection.execute("COMMIT")
        return results

    def _tell(self, connection: asyncpg.Connection) -> None:
        try:
            self._writer.committed(connection)
        except Exception as error:  # what is committed must not be taken for failed
            log.exception("committed_hook_failed", lane=self._name, error=repr(error))

    async def _one_by_one(self, items: list[T], error: Exception) -> list[R | Exception | Later]:
        if len(items) == 1:
            log.error("item_failed", lane=self._name, error=repr(error), exc_info=error)
            return [error]
        results: list[R | Exception | Later] = []
        for item in items:
            try:
                results += await self.write([item])
            except _LockedError:
                results.append(database_unavailable())
        return results

    async def _roll_back(self) -> None:
        """Leaves the connection usable, or without one."""
        connection = self._connection
        if connection is None or connection.is_closed():
            return
        watchdog = asyncio.get_running_loop().call_later(self._writer.attempt_timeout_s, connection.terminate)
        try:
            await connection.execute("ROLLBACK")
        except Exception:
            self.drop_connection()
        finally:
            watchdog.cancel()

    async def settle(self) -> None:
        """Ends a transaction that was begun for a batch that did not come."""
        if self._has_begun:
            self._has_begun = False
            await self._roll_back()

    def drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=self._writer.attempt_timeout_s)


def _do_nothing(_connection: asyncpg.Connection) -> None:
    pass


def _nothing_waits() -> bool:
    return False


async def _see_no_short_way(_connection: asyncpg.Connection, _items: object) -> None:
    pass


class _Attempt:
    """How far one try came."""

    __slots__ = ("committing",)

    def __init__(self) -> None:
        self.committing = False


class _Waiting(Generic[T, R]):
    """An item in the slow lane; ``blocks`` while new items for its rows must queue behind it."""

    __slots__ = ("blocks", "deadline", "future", "item")

    def __init__(self, item: T, future: "asyncio.Future[R]", deadline: float) -> None:
        self.item = item
        self.future = future
        self.deadline = deadline
        self.blocks = True


class BatchWriter(Generic[T, R]):
    """What a ``GroupCommit`` calls to write its batches.

    ``transact(connection, items, must_write)`` does everything between BEGIN and COMMIT and returns
    ``results[i]`` for ``items[i]``: a value, an exception (that item's alone) or ``LATER``. With
    ``must_write`` it writes something even if every id is known: the commit then waits for a synchronous
    standby as the lost one would have.

    ``committed(connection)`` is told of each COMMIT that was answered: what the last ``transact`` on that
    connection did is durable. It must neither block nor raise.

    ``look(connection, items)``, if given, is asked first, before a batch's first try and outside of any
    transaction. It changes nothing, and returns what writes the whole batch with one statement of its own, or
    None. That answers as ``transact`` does; or None, if it wrote nothing because something is no longer as
    it was looked at. ``transact`` does what was not done so.

    ``more_waits()`` says whether another batch follows at once: then COMMIT AND CHAIN begins its transaction,
    which saves a round trip. Not for a writer that has ``look``: its batches may need no transaction.

    ``lock_keys(item)`` names the rows that an item locks. Items that stand behind a locked row get
    DATABASE_UNAVAILABLE after ``outcome_deadline_s``; at most ``max_slow`` of them wait.

    Errors that callers see: DATABASE_UNAVAILABLE (nothing was written), OUTCOME_UNKNOWN (repeat the call).
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        transact: Callable[[asyncpg.Connection, list[T], bool], Awaitable[Sequence[R | Exception | Later]]],
        *,
        lock_keys: Callable[[T], Collection[Hashable]],
        max_batch: int,
        outcome_deadline_s: float = 5.0,
        unavailable_after_s: float = 1.0,
        attempt_timeout_s: float = 3.0,
        max_slow: int = 10_000,
        committed: Callable[[asyncpg.Connection], None] | None = None,
        look: Callable[[asyncpg.Connection, list[T]], Awaitable["WriteAtOnce[R] | None"]] | None = None,
        more_waits: Callable[[], bool] | None = None,
    ) -> None:
        assert look is None or more_waits is None
        self.connect = connect
        self.transact = transact
        self.look = look if look is not None else _see_no_short_way
        self.committed = committed if committed is not None else _do_nothing
        self.outcome_deadline_s = outcome_deadline_s
        self.unavailable_after_s = unavailable_after_s
        self.attempt_timeout_s = attempt_timeout_s
        self._lock_keys = lock_keys
        self._max_batch = max_batch
        self._max_slow = max_slow
        self._main: _Lane[T, R] = _Lane(self, "main", more_waits or _nothing_waits)
        self._slow: _Lane[T, R] = _Lane(self, "slow", _nothing_waits)
        # Items behind a lock, by the rows that they need; a group is written as one batch.
        self._groups: dict[frozenset[Hashable], deque[_Waiting[T, R]]] = {}
        # Rows that were found locked: how many items wait for each.
        self._blocked_keys: Counter[Hashable] = Counter()
        self._slow_count = 0
        self._slow_task: asyncio.Task[None] | None = None

    async def write(self, items: list[T]) -> Sequence["R | Exception | Later | asyncio.Future[R]"]:
        """``results[i]`` answers ``items[i]``; a future for an item that waits in the slow lane."""
        if self._blocked_keys:
            slow = {i: self._set_aside(item) for i, item in enumerate(items) if self._is_slow(item)}
        else:
            slow = {}
        fast = [item for i, item in enumerate(items) if i not in slow] if slow else items
        done: Sequence[R | Exception | Later | asyncio.Future[R]] = ()
        if fast:
            try:
                done = await self._main.write(fast)
            except _LockedError:
                log.info("batch_set_aside", items=len(fast))
                done = [self._set_aside(item) for item in fast]
        else:
            await self._main.settle()
        if not slow:
            return done
        rest = iter(done)
        return [slow[i] if i in slow else next(rest) for i in range(len(items))]

    async def close(self) -> None:
        """Waits for the slow lane, then closes both connections."""
        if self._slow_task is not None:
            await self._slow_task
        await self._main.close()
        await self._slow.close()

    def _is_slow(self, item: T) -> bool:
        return any(key in self._blocked_keys for key in self._lock_keys(item))

    def _set_aside(self, item: T) -> "Failure | asyncio.Future[R]":
        if self._slow_count >= self._max_slow:
            return overloaded()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        keys = frozenset(self._lock_keys(item))
        self._groups.setdefault(keys, deque()).append(
            _Waiting(item, future, loop.time() + self.outcome_deadline_s)
        )
        self._blocked_keys.update(keys)
        self._slow_count += 1
        if self._slow_task is None or self._slow_task.done():
            self._slow_task = loop.create_task(self._run_slow_lane(), name="slow lane")
        return future

    async def _run_slow_lane(self) -> None:
        """Tries one group after the other until none is left; a locked group goes to the back."""
        while self._groups:
            keys = next(iter(self._groups))
            group = self._groups[keys]
            batch = [group.popleft() for _ in range(min(len(group), self._max_batch))]
            results: Sequence[R | Exception | Later]
            try:
                results = await self._slow.write([waiting.item for waiting in batch])
                for waiting in (*batch, *group):  # the lock is free: new items may take the main lane again
                    self._unblock(keys, waiting)
            except _LockedError:
                now = asyncio.get_running_loop().time()
                group.extendleft(reversed([waiting for waiting in batch if waiting.deadline > now]))
                batch = [waiting for waiting in batch if waiting.deadline <= now]
                results = [database_unavailable()] * len(batch)
            unreached: list[_Waiting[T, R]] = []
            for waiting, result in zip(batch, results, strict=True):
                if isinstance(result, Later):
                    unreached.append(waiting)
                else:
                    self._finish(keys, waiting, result)
            group.extendleft(reversed(unreached))
            del self._groups[keys]
            if group:
                self._groups[keys] = group

    def _unblock(self, keys: frozenset[Hashable], waiting: _Waiting[T, R]) -> None:
        if not waiting.blocks:
            return
        waiting.blocks = False
        for key in keys:
            self._blocked_keys[key] -= 1
            if not self._blocked_keys[key]:
                del self._blocked_keys[key]

    def _finish(self, keys: frozenset[Hashable], waiting: _Waiting[T, R], result: R | Exception) -> None:
        self._unblock(keys, waiting)
        self._slow_count -= 1
        if waiting.future.done():
            return
        if isinstance(result, Exception):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)
