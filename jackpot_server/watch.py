"""Pools for displays: one query every 200 ms for all watchers; each gets the newest value it has not seen."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
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

PERIOD_S: Final = 0.2
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

    def __init__(self, query: WatchQuery, *, max_age_s: float, heartbeat_s: float) -> None:
        self._pool_ids = frozenset(query.pool_ids)
        self._operator_id = query.operator_id
        self._max_age_s = max_age_s
        self._heartbeat_s = heartbeat_s
        self._slots: dict[str, Picture] = {}
        # Pools of the first picture that were not sent yet.
        self._first: set[str] = set()
        self._wins: deque[pb.WatchPoolsResponse] = deque(maxlen=MAX_PENDING_WINS)
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self.begun = False

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
                await self._wait_for_news(min(heartbeat, end) - now)

    def begin(self, pictures: dict[str, Picture]) -> None:
        """Takes the first picture; fails if a pool that was named is not in it."""
        self.begun = True
        wanted = [picture for picture in pictures.values() if self._wants(picture.view)]
        missing = self._pool_ids.difference(picture.view.key for picture in wanted)
        if missing:
            self.fail(pool_not_found(min(missing)))
            return
        self._slots = {picture.view.key: picture for picture in wanted}
        self._first = set(self._slots)
        self._news.set()

    def offer(
        self, pictures: Sequence[Picture], wins: Sequence[tuple[PoolView, pb.WatchPoolsResponse]]
    ) -> None:
        """Takes what has changed. Never waits: what the reader is too slow for is skipped."""
        for view, message in wins:
            if self._wants(view):
                self._wins.append(message)
                self._news.set()
        for picture in pictures:
            if self._wants(picture.view):
                self._slots[picture.view.key] = picture
                self._news.set()

    def fail(self, error: Exception) -> None:
        """Ends the stream with `error`."""
        self._error = error
        self._news.set()

    def _wants(self, view: PoolView) -> bool:
        if self._pool_ids and view.key not in self._pool_ids:
            return False
        operator_ids = view.config.operator_ids
        return not (self._operator_id and operator_ids and self._operator_id not in operator_ids)

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

    async def _wait_for_news(self, limit_s: float) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._news.wait()
        except TimeoutError:
            pass


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
        self._watchers: set[Watcher] = set()
        self._pictures: dict[str, Picture] = {}
        self._failing_since: float | None = None
        self._ticking = Ticking(
            "pool watch", PERIOD_S, tick=self._look, needed=self._is_watched, failed=self._note_failure
        )

    @contextmanager
    def watch(self, query: WatchQuery) -> Iterator[Watcher]:
        """A watcher for as long as the block lasts. Failure TOO_MANY_STREAMS if as many watch as may."""
        if len(self._watchers) >= self._max_watchers:
            _REFUSED.inc()
            raise too_many_streams()
        watcher = Watcher(query, max_age_s=self._max_age_s, heartbeat_s=self._heartbeat_s)
        self._watchers.add(watcher)
        _WATCHERS.inc()
        self._ticking.wake()
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)
            _WATCHERS.dec()

    async def close(self) -> None:
        """Stops looking; the streams themselves are ended by the server's drain."""
        await self._ticking.close()

    def _is_watched(self) -> bool:
        if not self._watchers:
            self._pictures.clear()
        return bool(self._watchers)

    async def _look(self) -> None:
        seen = {pool_id: picture.view.version for pool_id, picture in self._pictures.items()}
        changed = [Picture(view) for view in await self._reads.changed_pools(seen)]
        wins = await self._wins_of(changed)
        self._pictures.update((picture.view.key, picture) for picture in changed)
        self._failing_since = None
        for watcher in self._watchers:
            if watcher.begun:
                watcher.offer(changed, wins)
            else:
                watcher.begin(self._pictures)

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
            for watcher in self._watchers:
                watcher.fail(error)


def _public(win: PublicWin) -> pb.WatchPoolsResponse:
    message = pb.WatchPoolsResponse()
    answers.fill_public_win(message.win, win)
    return message


def _heartbeat() -> pb.WatchPoolsResponse:
    message = pb.WatchPoolsResponse()
    message.heartbeat.server_time.GetCurrentTime()
    return message
