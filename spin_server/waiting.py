"""Everybody who waits for a jackpot: one query for all of them, so any replica's answer is seen."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

from service_kit.database import failure_of
from service_kit.errors import overloaded
from service_kit.telemetry import get_log

log = get_log("waiting")

POLL_S = 0.05


class JackpotWaiters:
    """Wakes whoever waits for a spin's jackpot.

    What this process books wakes them at once (`tell`); what another one books is found by asking
    `answered(spin_ids)` for all waited spins together, every POLL_S while anybody waits.
    """

    def __init__(
        self, answered: Callable[[Sequence[UUID]], Awaitable[Collection[UUID]]], *, max_waiting: int
    ) -> None:
        self._answered = answered
        self._max_waiting = max_waiting
        self._waiting: dict[UUID, list[asyncio.Future[None]]] = {}
        self._count = 0
        self._poll: asyncio.Task[None] | None = None
        self._released = False

    async def wait(self, spin_id: UUID, timeout_s: float) -> None:
        """Returns once the spin's jackpot is known, or `timeout_s` is over, or all are released.

        Raises OVERLOADED if too many wait.
        """
        if self._released:
            return
        if self._count >= self._max_waiting:
            raise overloaded()
        known = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(spin_id, []).append(known)
        self._count += 1
        if self._poll is None or self._poll.done():
            self._poll = asyncio.create_task(self._keep_asking(), name="jackpot waiters")
        try:
            async with asyncio.timeout(timeout_s):
                await known
        except TimeoutError:
            pass
        finally:
            self._leave(spin_id, known)

    def tell(self, spin_ids: Collection[UUID]) -> None:
        """Wakes those who wait for one of the spins."""
        for spin_id in spin_ids if self._waiting else ():
            for known in self._waiting.get(spin_id, ()):
                if not known.done():
                    known.set_result(None)

    def release(self) -> None:
        """Lets everybody go, now and from now on: the server drains."""
        self._released = True
        self.tell(list(self._waiting))

    async def close(self) -> None:
        """Stops asking."""
        self.release()
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)

    def _leave(self, spin_id: UUID, known: "asyncio.Future[None]") -> None:
        self._count -= 1
        others = self._waiting[spin_id]
        others.remove(known)
        if not others:
            del self._waiting[spin_id]

    async def _keep_asking(self) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_S)
            try:
                self.tell(await self._answered(list(self._waiting)))
            except Exception as error:
                if failure_of(error) is None:
                    raise
                log.warning("jackpots_not_looked_up", waiting=len(self._waiting), error=repr(error))
