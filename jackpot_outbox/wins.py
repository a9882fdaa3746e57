"""Follows the win events of every operator of this database, one follower an operator.

A wallet learns of its wins from answers as well; the events bring what those did not: a crash in between, a
win that was released days later. The cursor moves in the transaction that handled all events up to it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from jackpot_outbox import answer_store, telemetry
from jackpot_outbox.client import CallError, JackpotClient
from jackpot_outbox.own_connection import OwnConnection
from jackpot_outbox.rows import Booking, WinPage
from jackpot_outbox.settings import OutboxSettings
from service_kit.database import DATABASE_ERRORS
from service_kit.telemetry import get_log

_log = get_log("wins")

_RENEWALS_PER_LEASE = 3
# A call ends so long before the lease does; it waits so much less, for the answer to come back.
_LEASE_MARGIN_S = 0.2
_ANSWER_MARGIN_S = 0.5
_LONGEST_WAIT_S = 30.0
# Between two operators that are asked in turn.
_TURN_PAUSE_S = 0.05
# After an error, doubling, ± 50 %.
_RETRY_S = (0.2, 2.0)


@dataclass(slots=True)
class _Operator:
    operator_id: str
    last_sequence: int
    lease_end: float
    page_size: int
    active_time: float = 0.0
    retry_s: float = _RETRY_S[0]
    follower: asyncio.Task[None] | None = field(default=None, repr=False)


class WinFeed:
    """Leases operators' cursors as `holder`, asks for their events, and books the pages.

    The most recently active operators are waited on with a long poll each, the others asked in turn.
    """

    def __init__(
        self,
        database: OwnConnection,
        client: JackpotClient,
        settings: OutboxSettings,
        *,
        book: Callable[[Booking], Awaitable[object]],
        holder: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._client = client
        self._settings = settings
        self._book = book
        self._holder = holder
        self._jitter = jitter
        self._lease_s = settings.cursor_lease_ms / 1000
        self._operators: dict[str, _Operator] = {}

    async def run(self) -> None:
        """Follows until cancelled, then gives the leases up."""
        in_turn = asyncio.get_running_loop().create_task(self._ask_in_turn(), name="win feed in turn")
        try:
            while True:
                await self._renew()
                self._assign()
                await asyncio.sleep(self._lease_s / _RENEWALS_PER_LEASE)
        finally:
            tasks = [in_turn, *(one.follower for one in self._operators.values() if one.follower)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._give_up_leases()

    async def _renew(self) -> None:
        began = monotonic()
        try:
            leased = await self._database.run(
                partial(
                    answer_store.lease_cursors,
                    holder=self._holder,
                    lease_ms=self._settings.cursor_lease_ms,
                )
            )
        except DATABASE_ERRORS as error:
            _log.warning("cursors_not_leased", error=repr(error))
            return
        for operator_id, last_sequence in leased.items():
            known = self._operators.get(operator_id)
            if known is None:
                self._operators[operator_id] = _Operator(
                    operator_id, last_sequence, began + self._lease_s, self._settings.win_page_size
                )
            else:
                known.lease_end = began + self._lease_s
                known.last_sequence = max(known.last_sequence, last_sequence)

    def _assign(self) -> None:
        """A follower for the operators that were active last; none for lost leases and idle operators."""
        now = monotonic()
        ours = [one for one in self._operators.values() if one.lease_end > now]
        ours.sort(key=lambda one: (-one.active_time, one.operator_id))
        followed = {one.operator_id for one in ours[: self._settings.followed_operators]}
        for one in list(self._operators.values()):
            if one.operator_id in followed:
                if one.follower is None or one.follower.done():
                    one.follower = asyncio.get_running_loop().create_task(self._follow(one))
            elif one.follower is not None:
                one.follower.cancel()
                one.follower = None
            if one.lease_end <= now:
                del self._operators[one.operator_id]

    async def _follow(self, operator: _Operator) -> None:
        while True:
            await self._ask(operator, wait=True)

    async def _ask_in_turn(self) -> None:
        while True:
            for operator in [one for one in self._operators.values() if one.follower is None]:
                await self._ask(operator, wait=False)
                await asyncio.sleep(_TURN_PAUSE_S)
            await asyncio.sleep(_TURN_PAUSE_S)

    async def _ask(self, operator: _Operator, *, wait: bool) -> None:
        """Gets and books one page; after trouble, and without a lease, only waits a little."""
        left_s = operator.lease_end - monotonic() - _LEASE_MARGIN_S
        if left_s <= _ANSWER_MARGIN_S:
            await asyncio.sleep(_TURN_PAUSE_S)
            return
        timeout_s = min(left_s, _LONGEST_WAIT_S if wait else self._settings.call_timeout_ms / 1000)
        try:
            page = await self._client.win_events(
                operator.operator_id,
                operator.last_sequence,
                operator.page_size,
                timeout_s - _ANSWER_MARGIN_S if wait else 0.0,
                timeout_s,
            )
            await self._book_page(operator, page)
        except CallError as error:
            _log.debug("win_events_not_read", operator_id=operator.operator_id, error=str(error))
            await self._pause(operator)
        except Exception as error:
            # One event at a time, so that what cannot be booked does not hold those before it.
            operator.page_size = 1
            _log.warning("win_events_not_booked", operator_id=operator.operator_id, error=repr(error))
            await self._pause(operator)

    async def _book_page(self, operator: _Operator, page: WinPage) -> None:
        if page.last_sequence > operator.last_sequence:
            operator.active_time = monotonic()
            await self._book(Booking(pages=(page,)))
            operator.last_sequence = page.last_sequence
            operator.page_size = min(2 * operator.page_size, self._settings.win_page_size)
        operator.retry_s = _RETRY_S[0]
        if page.has_gap:
            telemetry.EVENT_GAPS.inc()
            _log.error("win_event_missing", operator_id=page.operator_id, after_sequence=page.last_sequence)
            await self._pause(operator)

    async def _pause(self, operator: _Operator) -> None:
        await asyncio.sleep(operator.retry_s * (0.5 + self._jitter()))
        operator.retry_s = min(2 * operator.retry_s, _RETRY_S[1])

    async def _give_up_leases(self) -> None:
        try:
            await self._database.run(partial(answer_store.release_cursors, holder=self._holder))
        except DATABASE_ERRORS as error:
            _log.warning("cursors_not_released", error=repr(error))
