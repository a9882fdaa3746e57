"""Voids through a whole server and its database: remembered, repeated, raced, and never a micro lost."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from jackpot_server.domain.commands import Contribute, Void
from jackpot_server.domain.facts import ContributionState, Recorded, Voided, WinState
from protos.jackpot.v1 import jackpot_pb2 as pb
from tests.integration.jackpot_server.bench import findings, new_spin, open_bench
from tests.integration.jackpot_server.serving import Client, contribution, credited, error_of, serving
from tests.support.engine import credited as acknowledges

VOIDED = pb.Contribution.STATE_VOIDED

log = logging.getLogger(__name__)


@pytest.fixture
async def client(jackpots_dsn: str) -> AsyncIterator[Client]:
    async with serving(jackpots_dsn) as client:
        yield client
        look = await asyncpg.connect(jackpots_dsn)
        try:
            assert await findings(look) == []
        finally:
            await look.close()


async def void(
    client: Client, spin_id: str, operator_id: str = "winner", **fields: Any
) -> pb.VoidContributionResponse:
    request = pb.VoidContributionRequest(spin_id=spin_id, operator_id=operator_id, **fields)
    response: pb.VoidContributionResponse = await client.jackpots.VoidContribution(request)
    return response


async def contribution_of(client: Client, spin_id: str) -> pb.Contribution:
    request = pb.GetContributionRequest(name=f"contributions/{spin_id}")
    response = await client.jackpots.GetContribution(request)
    shown: pb.Contribution = response.contribution
    return shown


async def test_v1_a_contribution_that_comes_after_its_void_is_answered_voided(client: Client) -> None:
    request = contribution(operator_id="winner")
    first = await void(client, request.spin_id)
    assert (first.contribution.state, len(first.contribution.shares), first.replayed) == (VOIDED, 0, False)
    for _ in range(2):
        late = await client.jackpots.RecordContribution(request)
        assert (late.contribution.state, len(late.contribution.shares), len(late.contribution.wins)) == (
            VOIDED, 0, 0,
        )  # fmt: skip
        assert late.contribution.wager.amount_minor == 100
    assert (await contribution_of(client, request.spin_id)).state == VOIDED


async def test_v2_a_voided_contribution_is_shown_as_it_was_recorded(client: Client) -> None:
    recorded = await client.record()
    shown = (await client.pool("grand")).balance_micros
    voided = await void(client, recorded.contribution.spin_id, "demo")
    assert voided.contribution.state == VOIDED
    assert voided.contribution.shares == recorded.contribution.shares
    assert (await contribution_of(client, recorded.contribution.spin_id)) == voided.contribution
    assert (await client.pool("grand")).balance_micros == shown


async def test_v4_the_wallet_learns_of_the_hold_from_the_answer_and_from_the_events(client: Client) -> None:
    won = await client.win()
    voided = await void(client, won.spin_id)
    [held] = voided.contribution.wins
    assert (held.state, held.hold_reason, held.spin_voided) == (
        pb.Win.STATE_HELD, pb.Win.HOLD_REASON_VOID, True,
    )  # fmt: skip
    heard = await client.jackpots.ListWinEvents(pb.ListWinEventsRequest(operator_id="winner"))
    assert [event.kind for event in heard.events] == [pb.WinEvent.KIND_DECIDED, pb.WinEvent.KIND_HELD]
    assert heard.events[-1].win == held


async def test_v5_what_the_wallet_had_credited_stays_paid_and_its_entry_may_come_later(
    client: Client,
) -> None:
    won = await client.win()
    voided = await void(client, won.spin_id, credited_wins=[won.name])
    [paid] = voided.contribution.wins
    assert (paid.state, paid.review_required, paid.wallet_entry_id) == (pb.Win.STATE_PAID, True, "")
    answer = await client.jackpots.AcknowledgeWin(credited(won))
    assert (answer.win.state, answer.win.wallet_entry_id, answer.replayed) == (
        pb.Win.STATE_PAID, "w:1", False,
    )  # fmt: skip
    assert (await client.jackpots.AcknowledgeWin(credited(won))).replayed
    assert (await client.jackpots.GetWin(pb.GetWinRequest(name=won.name))).win.wallet_entry_id == "w:1"


async def test_v6_void_twice_is_one_void(client: Client) -> None:
    won = await client.win()
    first = await void(client, won.spin_id, reason="bet taken back")
    again = await void(client, won.spin_id, reason="again")
    assert again.replayed
    assert again.contribution == first.contribution
    other = await error_of(
        client.jackpots.VoidContribution(
            pb.VoidContributionRequest(spin_id=won.spin_id, operator_id="winner", credited_wins=[won.name])
        )
    )
    assert (other.code, other.reason, other.metadata) == (
        "ALREADY_EXISTS", "SPIN_ID_REUSED", {"fields": "credited_wins"},
    )  # fmt: skip


async def test_a_malformed_void_is_told_everything_that_is_wrong(client: Client) -> None:
    request = pb.VoidContributionRequest(
        spin_id="1", credited_wins=["pools/sure", f"pools/sure/wins/{uuid4()}"], reason="x" * 1000
    )
    error = await error_of(client.jackpots.VoidContribution(request))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELDS")
    assert set(error.fields) == {
        "spin_id", "operator_id", "credited_wins[0]", "credited_wins[1]", "reason",
    }  # fmt: skip


async def test_v1_to_v6_in_any_order_from_two_replicas(jackpots_dsn: str) -> None:
    """Contributions, voids and credits of the same spins race through two committers, repeats included."""
    seed = random.randrange(2**32)
    log.warning("seed %d", seed)
    chance = random.Random(seed)
    async with open_bench(jackpots_dsn) as bench, open_bench(jackpots_dsn) as other:
        committers = (bench.committer, other.committer)
        spins = [new_spin() for _ in range(300)]
        voids = [Void(spin.spin_id, spin.operator_id, (), "") for spin in spins if chance.random() < 0.6]
        calls: list[Contribute | Void] = [*spins, *spins, *voids, *voids]
        chance.shuffle(calls)
        credited_wins: list[Any] = []
        voided: dict[UUID, Voided] = {}

        async def send(call: Contribute | Void) -> None:
            committer = chance.choice(committers)
            if isinstance(call, Void):
                voided[call.spin_id] = await committer.void(call)
                return
            answer = await committer.contribute(call)
            assert isinstance(answer, Recorded)
            for win in answer.wins:
                if win.state is WinState.PAYABLE and chance.random() < 0.5:
                    credited_wins.append(await chance.choice(committers).acknowledge(acknowledges(win)))

        await asyncio.gather(*map(send, calls))
        assert len(voided) == len(voids)
        for answer in voided.values():
            assert answer.contribution.state is ContributionState.VOIDED
            if not answer.contribution.shares and answer.contribution.command.wager_minor == 0:
                assert not answer.wins
        assert credited_wins
        assert await findings(bench.look) == []
        assert await bench.count("contributions") == len(spins)
        assert await bench.count("voids") == len(voids)
        open_wins = await bench.look.fetchval(OPEN_WINS_OF_VOIDED_SPINS)
        assert open_wins == 0, "a win of a voided spin is held or paid"


OPEN_WINS_OF_VOIDED_SPINS = """
SELECT count(*) FROM wins w JOIN voids USING (spin_id)
 CROSS JOIN LATERAL (SELECT state FROM win_events e WHERE e.pool_key = w.pool_key AND e.spin_id = w.spin_id
                      ORDER BY sequence DESC LIMIT 1) last
 WHERE last.state = 1
"""
