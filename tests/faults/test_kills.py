"""kill -9 of every part under load: afterwards every spin has one contribution, every win one credit."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc.aio
import pytest

from devstack import auditor
from tests.support.audits import audit_findings
from tests.support.crash import Progress, answers, batches, kill_again_and_again, quiet
from tests.support.foreign_wallet import ForeignWallet
from tests.support.load import CHANNEL_OPTIONS, Load, SpinPlan, VoidPlan, funded_wallets, unfaithful
from tests.support.stack import (
    CURRENCY,
    JACKPOT,
    JACKPOTS_DB,
    OPERATOR,
    OUTBOX,
    SLOTS_GAME,
    SPIN,
    SPINS_DB,
    Stack,
    running_stack,
)

WALLETS = 6
# So many at a time, each pausing: enough work for every batch to be a batch, and time for the restarts.
IN_FLIGHT, PAUSE_S = 8, 0.01


def name_of(victims: Sequence[str]) -> str:
    return victims[0] if len(victims) == 1 else "any"


EVERY_PART = (JACKPOT, SPIN, JACKPOTS_DB, SPINS_DB)


@pytest.mark.parametrize("victims", [*((part,) for part in EVERY_PART), EVERY_PART], ids=name_of)
async def test_a_killed_part_loses_no_spin_no_contribution_and_no_win(
    victims: Sequence[str], kills: int, rng: random.Random, tally: Callable[[str], None], tmp_path: Path
) -> None:
    async with (
        running_stack(tmp_path) as stack,
        grpc.aio.insecure_channel(stack.spin_address, options=CHANNEL_OPTIONS) as channel,
    ):
        wallets = await funded_wallets(channel, WALLETS)
        load = Load(
            SpinPlan(channel, wallets), in_flight=IN_FLIGHT, pause_s=PAUSE_S, seed=rng.getrandbits(32)
        )
        voids = Load(
            VoidPlan(channel, load, wallets), in_flight=2, pause_s=5 * PAUSE_S, seed=rng.getrandbits(32)
        )
        near_the_client = set(victims) <= {SPIN, SPINS_DB}
        progress: Progress = answers(load) if near_the_client else batches(stack)
        async with load, voids:
            await kill_again_and_again(stack, victims, kills, rng=rng, progress=progress)
        quiet_s = await quiet(stack, stack.spins_dsn)
        found = await auditor.findings(stack.spins_dsn, stack.jackpots_dsn, answered=load.answers)
        found += await audit_findings(stack, tmp_path)
        found += await unfaithful(stack.spins_dsn, load.answers) + load.wrong + voids.wrong
        counts = await auditor.counts(stack.spins_dsn, stack.jackpots_dsn)
        tally(f"{kills} kills, {counts}, {load.replays} replays, quiet after {quiet_s:.1f} s")
        tally(f"{len(found)} findings, attempts refused {dict(load.refusals)}")
        assert not found, auditor.report(found)
        assert counts["wins"] > kills, "the load was too small to prove anything"
        assert counts["voids"] > kills, "too few voids to prove anything"


async def test_a_killed_sidecar_loses_nothing_of_a_foreign_wallet(
    kills: int, rng: random.Random, tally: Callable[[str], None], tmp_path: Path
) -> None:
    async with running_stack(tmp_path, servers=(JACKPOT, OUTBOX)) as stack:
        wallet = ForeignWallet(
            stack.foreign_dsn, operator=OPERATOR, currency=CURRENCY, game=SLOTS_GAME, wallets=WALLETS, rng=rng
        )
        await wallet.start()
        await kill_again_and_again(stack, [OUTBOX], kills, rng=rng, progress=batches(stack))
        await wallet.stop_playing()
        quiet_s = await quiet(stack, stack.foreign_dsn)
        await wallet.stop()
        found = await foreign_findings(stack, wallet)
        tally(f"{kills} kills, {wallet.bets} spins, {wallet.voids} voids, {wallet.prizes} credits")
        tally(f"quiet after {quiet_s:.1f} s")
        tally(f"{len(found)} findings")
        assert not found, auditor.report(found)
        assert wallet.prizes > kills, "the load was too small to prove anything"


async def foreign_findings(stack: Stack, wallet: ForeignWallet) -> list[str]:
    """What does not add up between a foreign wallet and the jackpots database."""
    found = await auditor.jackpot_findings(stack.jackpots_dsn, await wallet.books())
    found += await auditor.share_findings(stack.foreign_dsn, stack.jackpots_dsn)
    return found + await wallet.findings()
