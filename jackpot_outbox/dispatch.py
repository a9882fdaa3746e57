"""Sends rows and hands on what became of them: coalesced, paced, and never an id that is already on its way.

One call of contributions is in flight, the rest collect; voids and acknowledgements go side by side.
What cannot be sent now is forgotten, not kept: its row is in the database, and the relay comes back to it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from time import monotonic
from typing import Protocol

import grpc

from jackpot_outbox import telemetry, wire
from jackpot_outbox.breaker import Breaker
from jackpot_outbox.client import CallError, JackpotClient
from jackpot_outbox.held import HeldRow, HeldRows
from jackpot_outbox.rows import (
    Answer,
    Booking,
    ContributionRow,
    Kind,
    Row,
    RowKey,
    Setback,
)
from jackpot_outbox.settings import OutboxSettings
from jackpot_outbox.store import DISPATCH_LEAD_MS
from service_kit.telemetry import get_log

_log = get_log("dispatch")

# A row that was inserted just now is the dispatcher's for DISPATCH_LEAD_MS, less what its commit took.
_OFFER_LEASE_S = DISPATCH_LEAD_MS / 1000 * 0.75
# A call is not begun with less time than this before the rows may be another sender's.
_LEAST_CALL_S = 0.5
# Rows of a call without an answer: the breaker paces the calls, so they need no long pause of their own.
_RETRY_CALL_S = 0.5
# A call without an answer makes the next ones smaller; one that was answered, larger again.
_SHRINK, _GROW = 8, 2
# The pause after a call of so many rows is as the settings say; of more, longer, up to so many times.
_ROWS_PER_PAUSE, _MOST_PAUSES = 20, 4
# Calls whose answers are being booked at the same time.
_BOOKINGS_IN_FLIGHT = 4


class RowDesk(Protocol):
    """Where rows go back to that were not answered. Neither raises: a row that stays comes due by itself."""

    async def set_back(self, setbacks: Sequence[Setback], leases: Sequence[datetime | None]) -> None:
        """Postpones or parks rows; `leases[i]` as in `Dispatch.feed`, None for an offered row."""

    async def give_back(self, keys: Sequence[RowKey], lease_until: datetime, delay_s: float) -> None:
        """Makes rows that were not sent due again after `delay_s`."""


class Dispatch:
    """Sends rows to the jackpot server; hands answers to `book` and everything else to `desk`.

    `book` raising means "not booked": the row stays and is sent again. Owned by one event loop.
    """

    def __init__(
        self,
        client: JackpotClient,
        settings: OutboxSettings,
        *,
        book: Callable[[Booking], Awaitable[object]],
        desk: RowDesk,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._settings = settings
        self._book = book
        self._desk = desk
        self._jitter = jitter
        self._breaker = Breaker(jitter)
        self._held = HeldRows(settings.max_held)
        self._limit = settings.max_batch
        self._bookings = asyncio.Semaphore(_BOOKINGS_IN_FLIGHT)
        self._slots = asyncio.Semaphore(settings.acknowledgements_in_flight)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def start(self) -> None:
        """Starts the two sending tasks; needs a running event loop."""
        self._spawn(self._send_contributions())
        self._spawn(self._send_singles())

    @property
    def is_answered(self) -> bool:
        """The last calls were answered."""
        return self._breaker.is_closed

    @property
    def room(self) -> int:
        """How many rows the relay may feed now; 1 when a probe is due, 0 while calls are held back."""
        if self._closing or not self._breaker.admits(monotonic()):
            return 0
        if not self._breaker.is_closed:
            return 0 if self._held else 1
        room = min(2 * self._settings.max_batch - self._held.waiting, self._held.free)
        return room if room >= self._settings.max_batch // 2 else 0

    @property
    def room_freed(self) -> asyncio.Event:
        """Set when `room` may have grown; who waits for it clears it."""
        return self._held.room_freed

    @property
    def pause_s(self) -> float:
        """How long calls are held back from now on."""
        return self._breaker.wait_s(monotonic())

    def offer(self, rows: Sequence[Row]) -> None:
        """Takes rows inserted and committed just now; drops what is too much. Does not block or raise."""
        lease_end = monotonic() + _OFFER_LEASE_S
        dropped = sum(not self._take(HeldRow(row, lease_end, None)) for row in rows)
        if dropped:
            telemetry.DROPPED.inc(dropped)

    def feed(self, rows: Sequence[Row], lease_end: float, lease_until: datetime) -> None:
        """Takes rows leased until `lease_end` (monotonic clock), `lease_until` in the database."""
        leased = [HeldRow(row, lease_end, lease_until) for row in rows]
        self._give_back([held for held in leased if not self._take(held)])

    async def close(self, within_s: float) -> None:
        """Gives back what was not sent, lets calls and bookings end within `within_s`, then stops."""
        self._closing = True
        self._give_back(self._held.release_waiting())
        self._held.contribution_came.set()
        self._held.single_came.set()
        deadline = monotonic() + within_s
        while self._tasks and monotonic() < deadline:
            await asyncio.wait(
                self._tasks, timeout=deadline - monotonic(), return_when=asyncio.FIRST_COMPLETED
            )
        late = list(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _take(self, held: HeldRow) -> bool:
        return not self._closing and self._breaker.admits(monotonic()) and self._held.add(held)

    # -- contributions ------------------------------------------------------------------------------

    async def _send_contributions(self) -> None:
        while not self._closing:
            await self._held.contribution_came.wait()
            # Whoever waits for the commit that the rows came with is answered first.
            await asyncio.sleep(0)
            limit = self._limit if self._breaker.is_closed else 1
            batch = self._held.pop(self._held.contributions, limit, self._needed_until())
            if not self._held.contributions:
                self._held.contribution_came.clear()
            if not batch:
                continue
            if not self._breaker.enter(monotonic()):
                self._give_up(batch)
                continue
            try:
                await self._send(batch)
            except Exception:
                _log.exception("dispatch_failed", rows=len(batch))
                self._breaker.failed(monotonic())
                self._held.release(batch)
            if len(self._held.contributions) < self._settings.max_batch:
                await asyncio.sleep(self._pause_after_s(len(batch)))

    def _pause_after_s(self, rows: int) -> float:
        """The more rows a call had, the more the next one is to have: it costs both servers hardly more."""
        times = min(max(1.0, rows / _ROWS_PER_PAUSE), _MOST_PAUSES)
        return times * self._settings.dispatch_pause_ms / 1000

    async def _send(self, batch: list[HeldRow]) -> None:
        """Sends a batch to its end: halves what is refused as a whole, hands on what came back."""
        telemetry.SENT.labels(Kind.CONTRIBUTION.name).inc(len(batch))
        rows = [held.row for held in batch if isinstance(held.row, ContributionRow)]
        try:
            results = await self._client.record(rows, self._call_time_s(batch))
        except CallError as error:
            if error.is_refused:
                self._call_answered()
                await self._refused(batch, error)
            else:
                self._limit = max(1, self._limit // _SHRINK)
                self._call_failed(error)
                await self._hand_on(batch, [_unanswered(held.row, error) for held in batch])
            return
        if _is_answered(results):
            self._call_answered()
            self._limit = min(self._limit * _GROW, self._settings.max_batch)
        else:
            self._call_failed(CallError(grpc.StatusCode.UNKNOWN, "NO_ITEM_ANSWERED", ""))
        await self._hand_on(batch, results)

    async def _refused(self, batch: list[HeldRow], error: CallError) -> None:
        if len(batch) == 1:
            await self._hand_on(batch, [Setback(batch[0].row, error.reason, error.message, parked=True)])
            return
        _log.warning("batch_halved", rows=len(batch), reason=error.reason)
        middle = self._limit = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            if ours := self._held.keep(half, self._needed_until()):
                await self._send(ours)

    async def _hand_on(self, batch: list[HeldRow], results: Sequence[Answer | Setback]) -> None:
        """Lets the next call go while the answers of this one and a few others are booked."""
        await self._bookings.acquire()
        self._spawn(self._finish(batch, results)).add_done_callback(lambda _: self._bookings.release())

    # -- voids and acknowledgements -----------------------------------------------------------------

    async def _send_singles(self) -> None:
        while not self._closing:
            await self._held.single_came.wait()
            await self._slots.acquire()
            ours = self._held.pop(self._held.singles, 1, self._needed_until())
            if not self._held.singles:
                self._held.single_came.clear()
            if ours and self._breaker.enter(monotonic()):
                self._spawn(self._send_single(ours[0])).add_done_callback(lambda _: self._slots.release())
            else:
                self._slots.release()
                self._give_up(ours)

    async def _send_single(self, held: HeldRow) -> None:
        assert not isinstance(held.row, ContributionRow)
        telemetry.SENT.labels(Kind(held.row.key[0]).name).inc()
        result: Answer | Setback
        try:
            result = await self._client.send_alone(held.row, self._call_time_s([held]))
            self._call_answered()
        except CallError as error:
            if error.code in wire.BUSY_CODES:
                self._call_failed(error)
                result = _unanswered(held.row, error)
            else:
                self._call_answered()
                result = Setback(held.row, error.reason, error.message)
        except Exception:
            self._breaker.failed(monotonic())
            self._held.release([held])
            raise
        await self._finish([held], [result])

    # -- what came back -----------------------------------------------------------------------------

    async def _finish(self, batch: list[HeldRow], results: Sequence[Answer | Setback]) -> None:
        """Books and sets back, then lets go of the rows, whatever came of it."""
        try:
            _report(results)
            work = [self._book_one(booking) for booking in _bookings(results)]
            setbacks = [result for result in results if isinstance(result, Setback)]
            if setbacks:
                leases = {held.row.key: held.lease_until for held in batch}
                work.append(self._desk.set_back(setbacks, [leases[back.row.key] for back in setbacks]))
            await asyncio.gather(*work)
        finally:
            self._held.release(batch)

    async def _book_one(self, booking: Booking) -> None:
        try:
            await self._book(booking)
        except Exception as error:
            # Not booked, or not known to be: the rows that still exist are sent again.
            _log.warning("answers_not_booked", rows=len(booking.answers), error=repr(error))

    def _call_answered(self) -> None:
        if not self._breaker.is_closed:
            telemetry.BREAKER_OPEN.set(0)
            _log.info("calls_resumed")
        self._breaker.succeeded()

    def _call_failed(self, error: CallError) -> None:
        if self._breaker.failed(monotonic()):
            telemetry.BREAKER_OPEN.set(1)
            _log.warning("calls_held_back", code=error.code.name, reason=error.reason, pause_s=self.pause_s)
            self._give_back(self._held.release_waiting())

    # -- leases -------------------------------------------------------------------------------------

    def _needed_until(self) -> float:
        """Until when a row's lease must last for a call that is begun now."""
        return monotonic() + min(self._settings.call_timeout_ms / 1000, _LEAST_CALL_S)

    def _call_time_s(self, batch: Sequence[HeldRow]) -> float:
        """The call ends before anybody else may send one of its rows."""
        lease_end = min(held.lease_end for held in batch)
        return min(self._settings.call_timeout_ms / 1000, lease_end - monotonic())

    def _give_up(self, rows: Sequence[HeldRow]) -> None:
        self._held.release(rows)
        self._give_back(rows)

    def _give_back(self, rows: Sequence[HeldRow]) -> None:
        """Rows that were not sent need not wait for the end of their lease."""
        delay_s = 0.0 if self._closing else self.pause_s * (1 + self._jitter())
        by_lease: dict[datetime, list[RowKey]] = {}
        for held in rows:
            if held.lease_until is not None:
                by_lease.setdefault(held.lease_until, []).append(held.row.key)
        for lease_until, keys in by_lease.items():
            self._spawn(self._desk.give_back(keys, lease_until, delay_s))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("dispatch_failed", exc_info=error)


def _unanswered(row: Row, error: CallError) -> Setback:
    retry_after_s = max(_RETRY_CALL_S, error.retry_after_s or 0.0)
    return Setback(row, error.reason, error.message, retry_after_s=retry_after_s)


def _is_answered(results: Sequence[Answer | Setback]) -> bool:
    """Whether a call's items tell of a server that works; a single bad item says nothing of it."""
    if any(isinstance(result, Answer) or result.parked for result in results):
        return True
    return len(results) == 1 and isinstance(results[0], Setback) and results[0].retry_after_s is None


def _bookings(results: Sequence[Answer | Setback]) -> list[Booking]:
    """Answers without wins together, each with wins alone: a locked wallet delays only its own win."""
    answers = [result for result in results if isinstance(result, Answer)]
    plain = tuple(answer for answer in answers if not answer.wins)
    bookings = [Booking((answer,)) for answer in answers if answer.wins]
    return [Booking(plain), *bookings] if plain else bookings


def _report(results: Sequence[Answer | Setback]) -> None:
    """Counts what came back, and raises the alarm for what was refused for good."""
    outcomes = Counter((result.row.key[0], _outcome(result)) for result in results)
    for (kind, outcome), count in outcomes.items():
        telemetry.ANSWERED.labels(Kind(kind).name, outcome).inc(count)
    for result in results:
        if isinstance(result, Setback) and result.parked:
            spin_id, win = result.row.spin_id, result.row.key[2]
            _log.error(
                "row_parked", spin_id=str(spin_id), win=win, reason=result.reason, message=result.message
            )


def _outcome(result: Answer | Setback) -> str:
    if isinstance(result, Answer):
        return "answered"
    return "parked" if result.parked else "postponed"
