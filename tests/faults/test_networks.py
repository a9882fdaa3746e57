"""Cut, swallowed and stalled connections under load: an outcome that nobody heard of is found out, once."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest

from devstack import auditor
from tests.support.crash import answers, batches, moved, quiet
from tests.support.fault_proxy import FaultProxy
from tests.support.load import CHANNEL_OPTIONS, Load, SpinPlan, funded_wallets, unfaithful
from tests.support.stack import JACKPOT, JACKPOTS_DB, PROVIDER, SPINS_DB, running_stack
from tests.support.waiting import eventually

WALLETS = 6
IN_FLIGHT, PAUSE_S = 8, 0.005
# They are cheaper than a restart.
CUTS_PER_KILL = 4
STALL_S = 1.0
# A moment without trouble, so that there is something to cut.
PEACE_S = 0.3

COMMIT = b"COMMIT"
# Spins alone are written and committed by one statement, whose values name their provider.
SPINS = PROVIDER.encode()


async def stall(proxy: FaultProxy) -> None:
    """A black hole for a while."""
    proxy.stall()
    await asyncio.sleep(STALL_S)
    proxy.stall(False)


async def refuse(proxy: FaultProxy) -> None:
    """Nobody answers for a while."""
    proxy.refuse()
    await asyncio.sleep(STALL_S / 2)
    proxy.refuse(False)


async def trouble(proxy: FaultProxy, part: str, rng: random.Random) -> str:
    """One trouble of a connection, chosen by chance; its name."""
    of_commits = ["COMMIT lost", "COMMIT's answer lost"] if part != JACKPOT else []
    of_spins = ["spins lost", "spins' answer lost"] if part == SPINS_DB else []
    what = rng.choice(["cut", "stalled", "refused", *of_commits, *of_commits, *of_spins, *of_spins])
    if what == "cut":
        proxy.cut()
    elif what == "stalled":
        await stall(proxy)
    elif what == "refused":
        await refuse(proxy)
    else:
        before = proxy.cuts
        lose = proxy.lose_reply_to if "answer" in what else proxy.lose_request
        lose(SPINS if what in of_spins else COMMIT)
        await eventually(lambda: proxy.cuts > before, within_s=10)
    return what


@pytest.mark.parametrize("part", [SPINS_DB, JACKPOTS_DB, JACKPOT])
async def test_a_broken_connection_loses_no_spin_no_contribution_and_no_win(
    part: str, kills: int, rng: random.Random, tally: Callable[[str], None], tmp_path: Path
) -> None:
    async with (
        running_stack(tmp_path, proxied={part}) as stack,
        grpc.aio.insecure_channel(stack.spin_address, options=CHANNEL_OPTIONS) as channel,
    ):
        plan = SpinPlan(channel, await funded_wallets(channel, WALLETS))
        load = Load(plan, in_flight=IN_FLIGHT, pause_s=PAUSE_S, seed=rng.getrandbits(32))
        progress = answers(load) if part == SPINS_DB else batches(stack)
        troubles = []
        async with load:
            for _ in range(CUTS_PER_KILL * kills):
                await moved(progress, 5, stack.logs)
                await asyncio.sleep(rng.uniform(0, PEACE_S))
                troubles.append(await trouble(stack.proxies[part], part, rng))
            await moved(progress, 5, stack.logs)
        quiet_s = await quiet(stack, stack.spins_dsn)
        found = await auditor.findings(stack.spins_dsn, stack.jackpots_dsn, answered=load.answers)
        found += await unfaithful(stack.spins_dsn, load.answers) + load.wrong
        counts = await auditor.counts(stack.spins_dsn, stack.jackpots_dsn)
        happened = {what: troubles.count(what) for what in sorted(set(troubles))}
        tally(f"{happened}, {counts}, {load.replays} replays, quiet after {quiet_s:.1f} s")
        tally(f"{len(found)} findings, attempts refused {dict(load.refusals)}")
        assert not found, auditor.report(found)
