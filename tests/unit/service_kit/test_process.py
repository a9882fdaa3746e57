"""Work that ends when something else happens."""

import asyncio

import pytest

from service_kit.process import unless


async def test_work_that_ends_first_counts() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    assert await unless(asyncio.Event(), work())


async def test_work_is_cancelled_when_the_event_comes_first() -> None:
    event, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            event.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert not await unless(event, work())
    assert ended.is_set()


async def test_an_error_of_the_work_passes_through() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await unless(asyncio.Event(), work())


async def test_who_is_cancelled_leaves_nothing_running() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(unless(asyncio.Event(), work()))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
    assert len(asyncio.all_tasks()) == 1
