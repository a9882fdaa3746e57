"""Work that ends when something else happens, and the garbage collector of a server that serves."""

import asyncio
import gc
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection

import pytest

from service_kit.process import rest_collector, run, unless
from service_kit.settings import ProcessSettings


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


def _serve(answers: Connection) -> None:
    async def serve() -> None:
        rest_collector()
        answers.send((gc.isenabled(), gc.get_freeze_count(), gc.get_threshold()[0]))

    run(serve, ProcessSettings(metrics_port=0))


def test_a_server_does_not_look_through_what_its_start_made_again() -> None:
    collects, frozen, collects_after = _in_a_process_of_its_own(_serve)
    assert collects
    assert frozen > 1000
    assert collects_after > gc.get_threshold()[0]


def test_the_collector_of_a_process_that_is_not_ours_stays_as_it_is() -> None:
    before = gc.get_freeze_count(), gc.get_threshold()
    rest_collector()
    assert (gc.get_freeze_count(), gc.get_threshold()) == before


def _in_a_process_of_its_own(act: Callable[[Connection], None]) -> tuple[bool, int, int]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=act, args=(theirs,))
    process.start()
    try:
        assert ours.poll(30)
        answer: tuple[bool, int, int] = ours.recv()
        return answer
    finally:
        process.join()
