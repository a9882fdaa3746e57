"""Group commit: batches form by themselves, every item gets its own result, nothing stops the group."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from service_kit.errors import Failure
from service_kit.group_commit import LATER, GroupCommit, Later
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Order:
    key: str
    amount: int = 0
    note: str = field(default="", compare=False)


class Desk:
    """A write that can be held up, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[Order]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()

    async def write(self, items: list[Order]) -> Sequence[str | Exception | Later | asyncio.Future[str]]:
        self.batches.append(items)
        self.entered.set()
        await self.open.wait()
        return [f"{item.key}={item.amount}" for item in items]

    def written(self) -> list[list[str]]:
        return [[item.key for item in batch] for batch in self.batches]


@asynccontextmanager
async def grouped(
    write: Desk | None = None, *, max_batch: int = 100, max_waiting: int = 1000
) -> AsyncIterator[tuple[Desk, GroupCommit[Order, str]]]:
    desk = write or Desk()
    group: GroupCommit[Order, str] = GroupCommit(
        desk.write, key=lambda order: order.key, max_batch=max_batch, max_waiting=max_waiting, name="test"
    )
    group.start()
    try:
        yield desk, group
    finally:
        desk.open.set()
        await group.close()


async def hold_up(desk: Desk, group: GroupCommit[Order, str]) -> asyncio.Task[str]:
    """A first item whose batch is being written until ``desk.open`` is set."""
    desk.open.clear()
    first = asyncio.create_task(group.submit(Order("first")))
    await desk.entered.wait()
    return first


async def waiting(group: GroupCommit[Order, str], count: int) -> None:
    await eventually(lambda: group.waiting >= count)


async def test_a_lone_item_is_written_at_once() -> None:
    async with grouped() as (desk, group):
        assert await group.submit(Order("a", 1)) == "a=1"
        assert desk.written() == [["a"]]


async def test_what_arrives_during_a_write_becomes_the_next_batch_in_arrival_order() -> None:
    async with grouped() as (desk, group):
        first = await hold_up(desk, group)
        tasks = [asyncio.create_task(group.submit(Order(str(n)))) for n in range(50)]
        await waiting(group, 50)
        desk.open.set()
        await asyncio.gather(first, *tasks)
        assert desk.written() == [["first"], [str(n) for n in range(50)]]


async def test_a_batch_is_never_larger_than_its_bound() -> None:
    async with grouped(max_batch=8) as (desk, group):
        await asyncio.gather(*(group.submit(Order(str(n))) for n in range(30)))
        assert max(map(len, desk.batches)) == 8
        assert sum(map(len, desk.batches)) == 30


async def test_beyond_the_bound_a_submit_is_refused_at_once_and_the_rest_goes_on() -> None:
    async with grouped(max_waiting=2) as (desk, group):
        first = await hold_up(desk, group)
        tasks = [asyncio.create_task(group.submit(Order(str(n)))) for n in range(2)]
        await waiting(group, 2)
        with pytest.raises(Failure) as refused:
            await group.submit(Order("one too many"))
        assert refused.value.reason == "OVERLOADED"
        desk.open.set()
        assert await asyncio.gather(first, *tasks) == ["first=0", "0=0", "1=0"]


async def test_equal_waiting_items_are_written_once_and_share_the_result() -> None:
    async with grouped() as (desk, group):
        first = await hold_up(desk, group)
        tasks = [asyncio.create_task(group.submit(Order("a", 1, note=str(n)))) for n in range(5)]
        await waiting(group, 1)
        await asyncio.sleep(0)
        desk.open.set()
        assert await asyncio.gather(*tasks) == ["a=1"] * 5
        await first
        assert desk.written() == [["first"], ["a"]]


async def test_an_equal_item_joins_the_one_that_is_being_written() -> None:
    async with grouped() as (desk, group):
        first = await hold_up(desk, group)
        again = asyncio.create_task(group.submit(Order("first")))
        await asyncio.sleep(0)
        desk.open.set()
        assert await first == await again == "first=0"
        assert desk.written() == [["first"]]


async def test_the_same_key_with_another_field_waits_for_its_own_batch() -> None:
    async with grouped() as (desk, group):
        results = await group.submit_many([Order("a", 1), Order("a", 2), Order("b", 3), Order("a", 1)])
        assert results == ["a=1", "a=2", "b=3", "a=1"]
        assert all(len({item.key for item in batch}) == len(batch) for batch in desk.batches)
        assert [item.amount for batch in desk.batches for item in batch if item.key == "a"] == [1, 2]


async def test_a_cancelled_caller_disturbs_nobody() -> None:
    async with grouped() as (desk, group):
        first = await hold_up(desk, group)
        leaver = asyncio.create_task(group.submit(Order("leaver")))
        stayer = asyncio.create_task(group.submit(Order("stayer")))
        await waiting(group, 2)
        leaver.cancel()
        first.cancel()
        desk.open.set()
        assert await stayer == "stayer=0"
        assert await group.submit(Order("next")) == "next=0"
        assert ["leaver", "stayer"] in desk.written()


async def test_an_items_exception_is_its_own() -> None:
    class Picky(Desk):
        async def write(self, items: list[Order]) -> Sequence[str | Exception | Later | asyncio.Future[str]]:
            return [ValueError(item.key) if item.amount < 0 else item.key for item in items]

    async with grouped(Picky()) as (_, group):
        good, bad = await group.submit_many([Order("good"), Order("bad", -1)])
        assert good == "good"
        assert isinstance(bad, ValueError)
        with pytest.raises(ValueError, match="bad"):
            await group.submit(Order("bad", -1))


async def test_a_write_that_raises_fails_its_batch_and_the_group_goes_on() -> None:
    class Broken(Desk):
        async def write(self, items: list[Order]) -> Sequence[str | Exception | Later | asyncio.Future[str]]:
            if items[0].key == "bad":
                raise ZeroDivisionError
            return await super().write(items)

    async with grouped(Broken()) as (_, group):
        with pytest.raises(ZeroDivisionError):
            await group.submit(Order("bad"))
        assert await group.submit(Order("good")) == "good=0"


async def test_an_unreached_item_leads_the_next_batch() -> None:
    class Short(Desk):
        async def write(self, items: list[Order]) -> Sequence[str | Exception | Later | asyncio.Future[str]]:
            self.batches.append(items)
            return [item.key if index < 2 else LATER for index, item in enumerate(items)]

    async with grouped(Short()) as (desk, group):
        assert await group.submit_many([Order(str(n)) for n in range(5)]) == list("01234")
        assert desk.written() == [list("01234"), list("234"), ["4"]]


async def test_an_item_finished_elsewhere_holds_up_nobody() -> None:
    elsewhere: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Detour(Desk):
        async def write(self, items: list[Order]) -> Sequence[str | Exception | Later | asyncio.Future[str]]:
            return [elsewhere if item.key == "slow" else item.key for item in items]

    async with grouped(Detour()) as (_, group):
        slow = asyncio.create_task(group.submit(Order("slow")))
        assert await group.submit(Order("quick")) == "quick"
        assert not slow.done()
        elsewhere.set_result("at last")
        assert await slow == "at last"


async def test_close_answers_everything_taken_and_refuses_the_rest() -> None:
    async with grouped() as (desk, group):
        first = await hold_up(desk, group)
        second = asyncio.create_task(group.submit(Order("second")))
        await waiting(group, 1)
        closing = asyncio.create_task(group.close())
        await asyncio.sleep(0)
        with pytest.raises(Failure) as refused:
            await group.submit(Order("late"))
        assert refused.value.reason == "DRAINING"
        desk.open.set()
        assert list(await asyncio.gather(first, second)) == ["first=0", "second=0"]
        await closing
