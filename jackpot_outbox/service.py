"""One object that keeps an outbox going: dispatch, relay and win feed over one database and one channel."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg

from jackpot_outbox.rows import Booking, Row
from jackpot_outbox.settings import OutboxSettings


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Of the whole database, not of this process, but for `reachable`. Ages in seconds."""

    # This process' channel to the jackpot server is up and its calls are answered.
    reachable: bool
    open_rows: int
    parked_rows: int
    oldest_s: float


class Outbox:
    """Sends what waits in jackpot_outbox, books the answers, follows the wins.

    `connect` opens a connection to the database with the schema (the relay's own). `book` commits a Booking
    with `jackpot_outbox.booking.book`, in whatever transaction it likes, returns after the commit and then
    offers `Booked.acknowledgements`; when it raises, the rows are sent again later.
    """

    def __init__(
        self,
        settings: OutboxSettings,
        *,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        book: Callable[[Booking], Awaitable[object]],
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Starts the tasks; does not wait for the database or the jackpot server."""

    def offer(self, rows: Sequence[Row]) -> None:
        """Dispatches rows that were inserted (due in DISPATCH_LEAD_MS) and committed just now.

        Never blocks, never raises; what cannot be held is left to the relay.
        """

    async def status(self) -> OutboxStatus:
        """Counts the rows; raises what the database raises."""
        raise NotImplementedError

    @property
    def reachable(self) -> bool:
        raise NotImplementedError

    async def close(self) -> None:
        """Lets the calls in flight finish and be booked, then stops. `book` must still work meanwhile."""
