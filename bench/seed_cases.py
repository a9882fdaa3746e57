"""B23: the claim as it was stated, at its own scale, where a spin with jackpots takes 300 ms.

The "before" makes a round trip for each statement; its database is moved away until a SLOTS spin with
jackpots, alone, takes that long. Afterspin's databases are then as far away. Three kinds of spins: SLOTS for
which no pool is eligible, SLOTS with jackpots, TABLE.
"""

from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

from bench import stage
from bench.contest import Contender, closed_loop, middle, ratios
from bench.report import Condition, Figure
from bench.requests import PLAIN_GAME, SLOTS_GAME
from bench.settings import Effort
from tests.support.fault_proxy import FaultProxy, proxied
from tests.support.stack import JACKPOTS_DB, SERVERS, SPINS_DB, Scene, demo

SCALE_MS: Final = 300.0
TRIAL_ONE_WAY_S: Final = 0.005
# Kind of spin, and what was claimed for it: 15–20 % faster, 20–25 % faster, no difference.
CASES: Final = {"plain": 0.85, "slots": 0.8, "table": 1.0}
TITLES: Final = {"plain": "SLOTS without an eligible pool", "slots": "SLOTS with jackpots", "table": "TABLE"}
IN_FLIGHT: Final = (1, 16, 64, 256)
QUICK_IN_FLIGHT: Final = (1,)
# With the jackpots inside, so many spins wait for each other's pools for up to a minute: measured once.
ONCE: Final = (("slots", 64), ("slots", 256))
MAIN: Final = ("slots", 1)

PLAIN: Final = f"""
[[games]]
game_id = "{PLAIN_GAME}"
display_name = "Plain Slots"
category = "SLOTS"
provider_name = "house"
currency_code = "COIN"
min_wager_minor = 1
max_wager_minor = 100000
"""


@dataclass
class Case:
    """One kind of spin with so many in flight, on both sides."""

    kind: str
    in_flight: int
    mine: Contender
    other: Contender

    async def play(self, seconds: float) -> None:
        """Both, in turn."""
        for contender in (self.mine, self.other):
            await contender.play(seconds)

    @property
    def condition(self) -> Condition:
        """The claim for this kind."""
        return Condition(middle(ratios(self.mine.p50s_ms, self.other.p50s_ms)), CASES[self.kind])

    def __str__(self) -> str:
        mine, other = middle(self.mine.p50s_ms, 0), middle(self.other.p50s_ms, 0)
        return f"{mine:g} against {other:g} ms, {self.condition}"


def _scene() -> Scene:
    """The demo's, and a SLOTS game that no pool takes."""
    games, pools = demo().games, demo().pools
    return Scene(games + PLAIN, pools.replace("\nreset_minor", f'\ngame_ids = ["{SLOTS_GAME}"]\nreset_minor'))


async def run(names: Collection[str], effort: Effort) -> tuple[dict[str, Figure], list[str]]:
    """The figure, every other case beside it, and what the audits found."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(
            stage.product(servers=SERVERS, proxied={SPINS_DB, JACKPOTS_DB}, scene=_scene())
        )
        theirs = await stack.enter_async_context(stage.product(servers=(), scene=_scene()))
        before_dsn = await stage.make_before_database(theirs)
        proxy, far_dsn = await stack.enter_async_context(proxied(before_dsn))
        server = await stack.enter_async_context(stage.baseline("before", theirs, far_dsn))
        watch = await stack.enter_async_context(stage.watch(ours.spins_dsn))
        cases = []
        in_flight = QUICK_IN_FLIGHT if effort.quick else IN_FLIGHT
        for kind in CASES:
            loops = [
                await stack.enter_async_context(closed_loop(address, kind))
                for address in (ours.spin_address, server.address)
            ]
            for number in in_flight:
                label = f"{TITLES[kind]}, {number} in flight"
                mine = Contender(f"Afterspin: {label}", loops[0], watch.outbox_empty, in_flight=number)
                other = Contender(f"before: {label}", loops[1], in_flight=number)
                cases.append(Case(kind, number, mine, other))
        main = next(case for case in cases if (case.kind, case.in_flight) == MAIN)
        one_way_s = await _calibrated([proxy], main.other)
        _move_away([proxy, *ours.proxies.values()], one_way_s)
        for number in range(effort.repeats):
            print(f"round {number + 1} of {effort.repeats}", flush=True)
            for case in cases:
                if number == 0 or (case.kind, case.in_flight) not in ONCE:
                    await case.play(effort.seconds)
        _move_away([proxy, *ours.proxies.values()], 0)
        await watch.outbox_empty(0)
        found = await stage.audit_product(ours, spins=sum(case.mine.answered for case in cases))
        found += await stage.audit_after(before_dsn, spins=sum(case.other.answered for case in cases))
    more = {f"{TITLES[case.kind]}, {case.in_flight} in flight, p50": str(case) for case in cases}
    more["a round trip"] = f"{2 * one_way_s * 1e3:.1f} ms"
    each = ratios(main.mine.p50s_ms, main.other.p50s_ms)
    conditions = [case.condition for case in cases]
    return {
        "B23": Figure(middle(main.mine.p50s_ms), middle(main.other.p50s_ms), each, more, conditions)
    }, found


async def _calibrated(proxies: Sequence[FaultProxy], alone: Contender) -> float:
    """How far away the database must be for such a spin, alone, to take SCALE_MS; in seconds, one way."""
    await alone.play(1)
    _move_away(proxies, TRIAL_ONE_WAY_S)
    await alone.play(1)
    near_ms, far_ms = alone.p50s_ms
    alone.p50s_ms.clear()
    alone.p99s_ms.clear()
    alone.rates.clear()
    return TRIAL_ONE_WAY_S * (SCALE_MS - near_ms) / (far_ms - near_ms)


def _move_away(proxies: Sequence[FaultProxy], one_way_s: float) -> None:
    for proxy in proxies:
        proxy.delay_s = one_way_s
