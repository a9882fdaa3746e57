"""Pools for displays: one query every 100 ms for all watchers; half of them in turn is told what is new."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Final

from prometheus_client import Counter, Gauge

from jackpot_server.domain.pool import PoolView
from jackpot_server.pool_reads import PoolReads
from jackpot_server.queries import PublicWin, WatchQuery
from jackpot_server.refusals import pool_not_found, too_many_streams
from jackpot_server.ticking import Ticking
from jackpot_server.wire import answers
from protos.jackpot.v1 import jackpot_pb2 as pb

# Between two messages that show one pool to one watcher.
PERIOD_S: Final = 0.2
# Watchers are told in so many turns: to tell a thousand at once takes tens of milliseconds, in which the
# server would do nothing else, and for which the last of them would wait. Each turn needs a look of its own.
TURNS: Final = 2
# The contract says at least every 15 s.
HEARTBEAT_S: Final = 10.0
# Wins that a slow reader has not taken yet; older ones are dropped.
MAX_PENDING_WINS: Final = 100
# How long the query may fail before the watchers are told, so that they ask another replica.
PATIENCE_S: Final = 3.0

_WATCHERS = Gauge("jackpot_watchers", "Open WatchPools streams.")
_REFUSED = Counter("jackpot_watchers_refused_total", "WatchPools streams refused because too many were open.")


class Picture:
    """One version of one pool, and the messages that show it, made once for all watchers."""

    def __init__(self, view: PoolView) -> None:
        self.view = view
        self._pool = answers.pool(view)

    @cached_property
    def snapshot(self) -> pb.WatchPoolsResponse:
        return pb.WatchPoolsResponse(snapshot=self._pool)

    @cached_property
    def change(self) -> pb.WatchPoolsResponse:
        return pb.WatchPoolsResponse(change=self._pool)


class Watcher:
    """One stream: a slot per pool, in which a newer picture replaces one that was not sent yet."""

    def __init__(self, query: WatchQuery, turn: int, *, max_age_s: float, heartbeat_s: float) -> None:
        self.turn = turn
        self.begun = False
        self._query = query
        self._max_age_s = max_age_s
        self._heartbeat_s = heartbeat_s
        self._slots: dict[str, Picture] = {}
        # Pools of the first picture that were not sent yet.
        self._first: set[str] = set()
        self._wins: deque[pb.WatchPoolsResponse] = deque(maxlen=MAX_PENDING_WINS)
        self._error: Exception | None = None
        self._woken: asyncio.Future[None] | None = None
        # One timer for many waits: it may ring early, never late.
        self._alarm: asyncio.TimerHandle | None = None

    async def messages(self) -> AsyncIterator[pb.WatchPoolsResponse]:
        """The first picture, then what changes, wins and heartbeats, until the stream is old.

        Raises what `fail` was given.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + self._max_age_s
        heartbeat = clock() + self._heartbeat_s
        while (now := clock()) < end:
            if now >= heartbeat:
                heartbeat = now + self._heartbeat_s
                yield _heartbeat()
            elif (message := self._next()) is not None:
                yield message
            else:
                await self._sleep(min(heartbeat, end))

    def begin(self, pictures: Mapping[str, Picture]) -> None:
        """Takes the first picture, and wakes; fails if a pool that was named is not in it."""
        self.begun = True
        self._slots = {
            pool_id: picture for pool_id, picture in pictures.items() if _shows(self._query, picture.view)
        }
        self._first = set(self._slots)
        missing = set(self._query.pool_ids).difference(self._first)
        if missing:
            self.fail(pool_not_found(min(missing)))
        self.wake()

    def offer(self, pictures: Mapping[str, Picture], wins: Sequence[pb.WatchPoolsResponse]) -> None:
        """Takes what has changed. Never waits: what the reader is too slow for is skipped."""
        self._slots.update(pictures)
        self._wins.extend(wins)

    def fail(self, error: Exception) -> None:
        """Ends the stream with `error`."""
        self._error = error
        self.wake()

    def wake(self) -> None:
        """Lets the stream send what there is."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def close(self) -> None:
        """To be called when nobody reads the messages any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _next(self) -> pb.WatchPoolsResponse | None:
        if self._error is not None:
            raise self._error
        if self._wins:
            return self._wins.popleft()
        for pool_id in self._slots:
            picture = self._slots.pop(pool_id)
            if pool_id in self._first:
                self._first.remove(pool_id)
                return picture.snapshot
            return picture.change
        return None

    async def _sleep(self, until: float) -> None:
        """Until somebody wakes it, at the latest at `until`, which is no sooner than in the call before."""
        loop = asyncio.get_running_loop()
        if self._alarm is None:
            self._alarm = loop.call_at(until, self._ring)
        self._woken = loop.create_future()
        await self._woken

    def _ring(self) -> None:
        self._alarm = None
        self.wake()


class PoolWatch:
    """All watchers of this process. Rests while there are none."""

    def __init__(
        self,
        reads: PoolReads,
        *,
        max_watchers: int,
        max_age_s: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._reads = reads
        self._max_watchers = max_watchers
        self._max_age_s = max_age_s
        self._heartbeat_s = heartbeat_s
        # Those with one question share what is found for it.
        self._watchers: dict[WatchQuery, set[Watcher]] = {}
        self._count = 0
        self._turns = itertools.cycle(range(TURNS))
        self._turn = 0
        self._pictures: dict[str, Picture] = {}
        self._failing_since: float | None = None
        self._ticking = Ticking(
            "pool watch",
            PERIOD_S / TURNS,
            tick=self._take_turn,
            needed=self._is_watched,
            failed=self._note_failure,
        )

    @contextmanager
    def watch(self, query: WatchQuery) -> Iterator[Watcher]:
        """A watcher for as long as the block lasts. Failure TOO_MANY_STREAMS if as many watch as may."""
        if self._count >= self._max_watchers:
            _REFUSED.inc()
            raise too_many_streams()
        watcher = Watcher(query, next(self._turns), max_age_s=self._max_age_s, heartbeat_s=self._heartbeat_s)
        alike = self._watchers.setdefault(query, set())
        alike.add(watcher)
        self._count += 1
        _WATCHERS.inc()
        self._ticking.wake()
        try:
            yield watcher
        finally:
            watcher.close()
            alike.remove(watcher)
            if not alike:
                self._watchers.pop(query, None)
            self._count -= 1
            _WATCHERS.dec()

    async def close(self) -> None:
        """Stops looking; the streams themselves are ended by the server's drain."""
        await self._ticking.close()

    def _is_watched(self) -> bool:
        if not self._count:
            self._pictures.clear()
            self._failing_since = None
        return self._count > 0

    async def _take_turn(self) -> None:
        self._turn = (self._turn + 1) % TURNS
        if self._failing_since is not None or any(
            watcher.turn == self._turn or not watcher.begun for watcher in self._all()
        ):
            await self._look()

    async def _look(self) -> None:
        seen = {pool_id: picture.view.version for pool_id, picture in self._pictures.items()}
        changed = [Picture(view) for view in await self._reads.changed_pools(seen)]
        wins = await self._wins_of(changed)
        self._pictures.update((picture.view.key, picture) for picture in changed)
        self._failing_since = None
        for query, watchers in self._watchers.items():
            pictures = {picture.view.key: picture for picture in changed if _shows(query, picture.view)}
            won = [message for view, message in wins if _shows(query, view)]
            for watcher in watchers:
                if not watcher.begun:
                    watcher.begin(self._pictures)
                    continue
                watcher.offer(pictures, won)
                if watcher.turn == self._turn:
                    watcher.wake()

    def _all(self) -> Iterator[Watcher]:
        return itertools.chain.from_iterable(self._watchers.values())

    async def _wins_of(self, changed: Sequence[Picture]) -> list[tuple[PoolView, pb.WatchPoolsResponse]]:
        """The wins that ended cycles since the last look; a pool seen for the first time has none."""
        spans = [
            (picture.view.key, before.view.state.cycle, picture.view.state.cycle)
            for picture in changed
            if (before := self._pictures.get(picture.view.key)) is not None
            and before.view.state.cycle < picture.view.state.cycle
        ]
        if not spans:
            return []
        views = {picture.view.key: picture.view for picture in changed}
        return [(views[win.pool_id], _public(win)) for win in await self._reads.public_wins(spans)]

    def _note_failure(self, error: Exception) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since >= PATIENCE_S:
            for watcher in self._all():
                watcher.fail(error)


def _shows(query: WatchQuery, view: PoolView) -> bool:
    if query.pool_ids and view.key not in query.pool_ids:
        return False
    operator_ids = view.config.operator_ids
    return not (query.operator_id and operator_ids and query.operator_id not in operator_ids)


def _public(win: PublicWin) -> pb.WatchPoolsResponse:
    message = pb.WatchPoolsResponse()
    answers.fill_public_win(message.win, win)
    return message


def _heartbeat() -> pb.WatchPoolsResponse:
    message = pb.WatchPoolsResponse()
    message.heartbeat.server_time.GetCurrentTime()
    return message
