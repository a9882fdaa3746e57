"""Waiting for something to become true, with a deadline, instead of sleeping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar, cast, overload

T = TypeVar("T")

POLL_S = 0.02


@overload
async def eventually(check: Callable[[], Coroutine[Any, Any, T]], *, within_s: float = 5) -> T: ...
@overload
async def eventually(check: Callable[[], T], *, within_s: float = 5) -> T: ...
async def eventually(check: Callable[[], T | Awaitable[T]], *, within_s: float = 5) -> T:
    """Calls `check` (plain or async) until it gives something true, and returns that.

    An AssertionError of the check counts as "not yet"; any other exception is raised at once. After
    `within_s` the last assertion's failure is raised, or one that shows the last value.
    """
    deadline = monotonic() + within_s
    while True:
        failure: AssertionError | None = None
        value: object = None
        try:
            answer = check()
            value = await answer if inspect.isawaitable(answer) else answer
        except AssertionError as error:
            failure = error
        if value:
            return cast(T, value)
        if monotonic() >= deadline:
            raise failure or AssertionError(f"not so within {within_s:g} s; last value: {value!r}")
        await asyncio.sleep(POLL_S)
