"""The rows that this process has in hand: waiting, on their way, or being booked. No key twice."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from jackpot_outbox.rows import ContributionRow, Row, RowKey


@dataclass(slots=True, eq=False)
class HeldRow:
    """A row and until when nobody else sends it.

    `lease_end` is of this process' monotonic clock; `lease_until` is what the database has, None for a row
    that was offered by its writer and not leased.
    """

    row: Row
    lease_end: float
    lease_until: datetime | None


class HeldRows:
    """Up to `limit` rows by key, and the queues of those that wait to be sent. Owned by one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_key: dict[RowKey, HeldRow] = {}
        self.contributions: deque[HeldRow] = deque()
        # Rows that go in a call of their own: voids and acknowledgements.
        self.singles: deque[HeldRow] = deque()
        self.contribution_came = asyncio.Event()
        self.single_came = asyncio.Event()
        # Set whenever rows left; who waits for it clears it.
        self.room_freed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def waiting(self) -> int:
        """Rows that no call has taken yet."""
        return len(self.contributions) + len(self.singles)

    @property
    def free(self) -> int:
        """Rows that may still be taken."""
        return self._limit - len(self._by_key)

    def add(self, held: HeldRow) -> bool:
        """Queues a row; False if there is no room. One that is here already stays where it is."""
        known = self._by_key.get(held.row.key)
        if known is not None:
            if held.lease_until is not None:
                known.lease_end, known.lease_until = held.lease_end, held.lease_until
            return True
        if self.free <= 0:
            return False
        self._by_key[held.row.key] = held
        if isinstance(held.row, ContributionRow):
            self.contributions.append(held)
            self.contribution_came.set()
        else:
            self.singles.append(held)
            self.single_came.set()
        return True

    def pop(self, queue: deque[HeldRow], limit: int, needed_until: float) -> list[HeldRow]:
        """The first `limit` of a queue whose lease lasts until `needed_until`; the others met are let go."""
        popped = [queue.popleft() for _ in range(min(limit, len(queue)))]
        self.room_freed.set()
        return self.keep(popped, needed_until)

    def keep(self, rows: list[HeldRow], needed_until: float) -> list[HeldRow]:
        """Those of `rows` whose lease lasts until `needed_until`; lets go of the others."""
        self.release(held for held in rows if held.lease_end < needed_until)
        return [held for held in rows if held.lease_end >= needed_until]

    def release(self, rows: Iterable[HeldRow]) -> None:
        """Forgets rows; others with their keys may come."""
        for held in rows:
            if self._by_key.get(held.row.key) is held:
                del self._by_key[held.row.key]
        self.room_freed.set()

    def release_waiting(self) -> list[HeldRow]:
        """Empties the queues; what was in them."""
        waiting = [*self.contributions, *self.singles]
        self.contributions.clear()
        self.singles.clear()
        self.release(waiting)
        return waiting
