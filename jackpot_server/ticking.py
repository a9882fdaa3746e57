"""One query again and again, for as long as anybody waits for what it may bring."""

import asyncio
from collections.abc import Awaitable, Callable

from service_kit.telemetry import get_log

_log = get_log("ticking")


class Ticking:
    """Calls `tick` every `period_s` while `needed()` is true, never two at a time, in a task of its own.

    The period is from start to start; after a tick that took long there is still half of it to rest.

    What `tick` raises goes to `failed`, and the ticking goes on.
    """

    def __init__(
        self,
        name: str,
        period_s: float,
        *,
        tick: Callable[[], Awaitable[None]],
        needed: Callable[[], bool],
        failed: Callable[[Exception], None],
    ) -> None:
        self._name = name
        self._period_s = period_s
        self._tick = tick
        self._needed = needed
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Ticks at once if it rested; to be called when somebody begins to need it."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)

    async def close(self) -> None:
        """Ends the task, in the middle of a tick if need be."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        failing = False
        clock = asyncio.get_running_loop().time
        due = clock()
        while self._needed():
            try:
                await self._tick()
                failing = False
            except Exception as error:
                if not failing:
                    _log.warning("tick_failed", ticking=self._name, exc_info=error)
                failing = True
                self._failed(error)
            due = max(due + self._period_s, clock() + self._period_s / 2)
            await asyncio.sleep(due - clock())
        self._task = None
