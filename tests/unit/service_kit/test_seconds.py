"""Once a second, and not at all while nothing happens."""

import asyncio
from collections.abc import Mapping

from service_kit.seconds import PERIOD_S, Seconds
from tests.support.waiting import eventually


async def test_what_happens_in_a_second_is_told_once_at_its_end() -> None:
    told: list[tuple[float, Mapping[str, int]]] = []
    clock = asyncio.get_running_loop().time
    seconds = Seconds(lambda sums: told.append((clock(), sums)))
    began = clock()
    seconds.add(spins=2)
    seconds.add(spins=3, wins=1)
    await eventually(lambda: told)
    [(at, sums)] = told
    assert sums == {"spins": 5, "wins": 1}
    assert at - began >= PERIOD_S * 0.99
    seconds.close()
    assert len(told) == 1


async def test_closing_tells_the_rest_and_the_next_second_begins_at_zero() -> None:
    told: list[Mapping[str, int]] = []
    seconds = Seconds(told.append)
    seconds.close()
    seconds.add(spins=1)
    seconds.close()
    seconds.add(wins=1)
    seconds.close()
    assert told == [{"spins": 1}, {"wins": 1}]
