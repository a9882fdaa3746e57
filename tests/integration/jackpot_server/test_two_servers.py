"""Two jackpot servers on one database: spins, repeats, voids and credits in any order, and no deviation."""

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import asyncpg

from jackpot_server.audit.audit import audit
from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.jackpot_server.bench import findings
from tests.integration.jackpot_server.serving import Client, contribution, credited, serving, settings

log = logging.getLogger(__name__)

SPINS = int(os.environ.get("SPINS") or 3_000)
PER_CALL = 50
IN_FLIGHT = 8
# About every twentieth spin of 1.00 wins the one, and the other falls by its amount.
POOLS = """
[pools.often]
display_name = "Often"
tier = "OFTEN"
currency_code = "COIN"
contribution_ppm = 10000
reserve_ppm = 5000
reset_minor = 20
hold_wins_above_minor = 60
trigger = { odds = { one_in = 20, per_wager_minor = 100 } }

[pools.amount]
display_name = "Amount"
tier = "AMOUNT"
currency_code = "COIN"
contribution_ppm = 20000
reset_minor = 100
trigger = { must_hit_by = { floor_minor = 110, ceiling_minor = 150 } }
"""


class Casino:
    """Sends what a casino sends, to any of the servers, some of it twice, some of it early."""

    def __init__(self, servers: list[Client], chance: random.Random) -> None:
        self._servers = servers
        self._chance = chance
        self.sent: Counter[str] = Counter()

    async def play(self, count: int) -> None:
        """One call's spins: some voided before, some after, some wins credited in between."""
        chance = self._chance
        spins = [contribution(spin_id=str(UUID(int=chance.getrandbits(128)))) for _ in range(count)]
        await asyncio.gather(*(self._void(spin.spin_id, []) for spin in spins if chance.random() < 0.02))
        wins = await self._record(spins)
        credited_wins = [win for win in wins if win.state == pb.Win.STATE_PAYABLE and chance.random() < 0.8]
        work: list[Coroutine[Any, Any, object]] = [self._credit(win) for win in credited_wins]
        named: dict[str, list[str]] = {win.spin_id: [] for win in wins}
        for win in credited_wins:
            named[win.spin_id].append(win.name)
        for spin in spins:
            if chance.random() < (0.3 if spin.spin_id in named else 0.08):
                work.append(self._void(spin.spin_id, named.get(spin.spin_id, [])))
        if chance.random() < 0.1:
            work.append(self._record(spins))
        chance.shuffle(work)
        await asyncio.gather(*work)

    async def _record(self, spins: list[pb.RecordContributionRequest]) -> list[pb.Win]:
        request = pb.BatchRecordContributionsRequest(requests=spins)
        answer = await self._any.BatchRecordContributions(request)
        assert all(result.HasField("recorded") for result in answer.results)
        self.sent["contributions"] += len(spins)
        return [win for result in answer.results for win in result.recorded.contribution.wins]

    async def _void(self, spin_id: str, credited_wins: list[str]) -> None:
        request = pb.VoidContributionRequest(spin_id=spin_id, operator_id="demo", credited_wins=credited_wins)
        await self._any.VoidContribution(request)
        self.sent["voids"] += 1

    async def _credit(self, win: pb.Win) -> None:
        await self._any.AcknowledgeWin(credited(win, wallet_entry_id=win.spin_id + win.pool))
        self.sent["credits"] += 1

    @property
    def _any(self) -> Any:
        return self._chance.choice(self._servers).jackpots


async def test_pr_10_and_v1_to_v6_hold_with_two_servers_on_one_database(jackpots_dsn: str) -> None:
    """SPINS=100000 for a hundred thousand."""
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    log.warning("play it again with SEED=%d SPINS=%d", seed, SPINS)
    async with (
        serving(jackpots_dsn, pools=POOLS) as one,
        serving(jackpots_dsn, pools=None) as two,
    ):
        casino = Casino([one, two], random.Random(seed))
        calls = iter(range(0, SPINS, PER_CALL))

        async def player() -> None:
            for _ in calls:
                await casino.play(PER_CALL)

        await asyncio.gather(*(player() for _ in range(IN_FLIGHT)))
    look = await asyncpg.connect(jackpots_dsn)
    try:
        assert await findings(look) == []
        async with look.transaction(isolation="repeatable_read", readonly=True):
            done = await audit(look, root_keys=settings(jackpots_dsn).read_root_keys())
        assert done.findings.found == []
        wins = await look.fetchval("SELECT count(*) FROM wins")
        voids = await look.fetchval("SELECT count(*) FROM voids")
        log.warning("%s, %d wins, %d voided spins, 0 deviations", dict(casino.sent), wins, voids)
        assert wins > SPINS // 50
        assert voids > SPINS // 50
    finally:
        await look.close()
