"""PR-21, PR-23: both databases of a running system audited, each the other's witness."""

import json
import random
from pathlib import Path

import asyncpg
import grpc.aio

from tests.support.audits import audit_findings, audit_jackpots, audit_spins
from tests.support.crash import quiet
from tests.support.load import CHANNEL_OPTIONS, Load, SpinPlan, VoidPlan, funded_wallets
from tests.support.stack import running_stack
from tests.support.waiting import eventually

SPINS = 300


async def test_pr_21_what_somebody_cuts_off_one_database_the_other_has_seen(tmp_path: Path) -> None:
    heads = tmp_path / "heads.jsonl"
    async with (
        running_stack(tmp_path) as stack,
        grpc.aio.insecure_channel(stack.spin_address, options=CHANNEL_OPTIONS) as channel,
    ):
        wallets = await funded_wallets(channel, 3)
        load = Load(SpinPlan(channel, wallets), in_flight=4, pause_s=0.005, seed=random.getrandbits(32))
        voids = Load(VoidPlan(channel, load, wallets), in_flight=1, pause_s=0.02, seed=random.getrandbits(32))
        async with load, voids:
            await eventually(lambda: len(load.answers) > SPINS, within_s=60)
            # While all of it goes on.
            assert await audit_findings(stack, tmp_path) == []
        await quiet(stack, stack.spins_dsn)
        assert await audit_findings(stack, tmp_path) == []

        status, said = await audit_spins(stack, heads)
        assert status == 0, said
        seen = [json.loads(line) for line in heads.read_text().splitlines()]
        chain, sequence = await rewrite_the_newest(stack.jackpots_dsn, seen)
        status, said = await audit_jackpots(stack, "--witness", str(heads), "--json")
        assert status == 1
        found = [finding["where"] for finding in json.loads(said[said.index("{") :])["findings"]]
        assert f"chain {chain} sequence {sequence}" in found


async def rewrite_the_newest(dsn: str, seen: list[dict[str, int]]) -> tuple[int, int]:
    """Cuts the newest record that was seen, and what came after it, off its chain."""
    newest = max(seen, key=lambda head: head["sequence"])
    chain, sequence = newest["chain"], newest["sequence"]
    look = await asyncpg.connect(dsn)
    try:
        await look.execute("DELETE FROM batches WHERE chain = $1 AND sequence >= $2", chain, sequence)
        await look.execute(
            "UPDATE audit_chains c SET sequence = b.sequence, sha256 = b.sha256 FROM batches b"
            " WHERE c.chain = $1 AND b.chain = $1 AND b.sequence = $2",
            chain,
            sequence - 1,
        )
    finally:
        await look.close()
    return chain, sequence
