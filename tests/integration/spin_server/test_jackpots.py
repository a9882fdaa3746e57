"""Spins whose jackpots live in another process: async, sync and off; the jackpot server here, away, hung."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.jackpot.v1 import jackpot_pb2
from protos.spin.v1 import spin_pb2 as pb
from tests.integration.jackpot_outbox.jackpot_double import JackpotDouble, Told
from tests.integration.spin_server.serving import Client, coins, read_error, serving, settle_request
from tests.support.waiting import eventually

PENDING = pb.Spin.JACKPOT_STATE_PENDING
RECORDED = pb.Spin.JACKPOT_STATE_RECORDED
PARKED = pb.Spin.JACKPOT_STATE_PARKED
NOT_APPLICABLE = pb.Spin.JACKPOT_STATE_NOT_APPLICABLE


@pytest.fixture
async def jackpots() -> AsyncIterator[JackpotDouble]:
    double = JackpotDouble()  # type: ignore[abstract]  # gRPC itself refuses the rest
    await double.start()
    yield double
    double.hangs.set()
    await double.stop()


@pytest.fixture
async def client(spins_dsn: str, jackpots: JackpotDouble) -> AsyncIterator[Client]:
    async with serving(spins_dsn, jackpot_address=jackpots.address) as opened:
        yield opened


async def jackpot_of(client: Client, spin: pb.Spin, wait_s: float = 10) -> pb.Spin:
    timeout = Duration()
    timeout.FromMilliseconds(round(wait_s * 1000))
    request = pb.WaitForJackpotRequest(name=spin.name, timeout=timeout)
    response: pb.WaitForJackpotResponse = await client.spins.WaitForJackpot(request)
    return response.spin


async def test_a_spin_is_answered_before_its_jackpot_and_recorded_soon_after(
    client: Client, jackpots: JackpotDouble
) -> None:
    await client.fund()
    jackpots.hangs.clear()
    spin = (await client.settle()).spin
    assert spin.jackpot_state == PENDING
    jackpots.hangs.set()
    known = await jackpot_of(client, spin)
    assert known.jackpot_state == RECORDED
    assert [(share.pool, share.tier, share.amount_micros) for share in known.jackpot_shares] == [
        ("pools/mini", "MINI", 1_500)
    ]
    assert (await client.spins.GetSpin(pb.GetSpinRequest(name=spin.name))).spin == known
    listed = await client.spins.ListSpins(pb.ListSpinsRequest(operator_id="demo"))
    assert list(listed.spins) == [known]
    assert jackpots.times_sent[spin.spin_id] == 1


async def test_a_win_is_in_the_wallet_when_the_wait_is_over(client: Client, jackpots: JackpotDouble) -> None:
    await client.fund()
    jackpots.win_amount = lambda _: 777
    spin = (await client.settle()).spin
    known = await jackpot_of(client, spin)
    (win,) = known.jackpot_wins
    assert (win.win, win.state) == (f"pools/mini/wins/{spin.spin_id}", pb.JackpotWin.STATE_CREDITED)
    assert win.amount == coins(777)
    assert await client.balance() == 10_000 - 100 + 777
    entries = await client.wallets.ListWalletEntries(pb.ListWalletEntriesRequest(name="wallets/w"))
    credit = entries.entries[0]
    assert (credit.kind, credit.reference) == (pb.WalletEntry.KIND_JACKPOT_WIN, win.win)
    (told,) = await eventually(lambda: jackpots.acknowledgements[win.win])
    assert told.outcome == jackpot_pb2.AcknowledgeWinRequest.OUTCOME_CREDITED
    assert told.wallet_entry_id == credit.entry_id
    assert told.credited == jackpot_pb2.Money(currency_code="COIN", amount_minor=777)


async def test_every_field_of_the_spin_reaches_the_jackpot_server(
    client: Client, jackpots: JackpotDouble
) -> None:
    await client.fund()
    request = settle_request(
        country_code="MT", client_seed="ü", stake_kind=pb.STAKE_KIND_BONUS, provider_name="studio"
    )
    sent: list[jackpot_pb2.RecordContributionRequest] = []

    def remember(item: jackpot_pb2.RecordContributionRequest) -> None:
        sent.append(item)

    jackpots.item_error = remember
    spin = (await client.spins.SettleSpin(request)).spin
    await jackpot_of(client, spin)
    assert sent == [
        jackpot_pb2.RecordContributionRequest(
            spin_id=request.spin_id,
            operator_id="demo",
            user_id="user-of-w",
            wallet_id="w",
            wager=jackpot_pb2.Money(currency_code="COIN", amount_minor=100),
            game_category=jackpot_pb2.GAME_CATEGORY_SLOTS,
            game_id="demo-slots",
            provider_name="studio",
            provider_round_id="r1",
            stake_kind=jackpot_pb2.STAKE_KIND_BONUS,
            country_code="MT",
            client_seed="ü",
            occur_time=spin.settle_time,
        )
    ]


async def test_a_table_spin_makes_no_call(client: Client, jackpots: JackpotDouble) -> None:
    await client.fund()
    table = (await client.settle(game_id="demo-table")).spin
    assert table.jackpot_state == NOT_APPLICABLE
    slots = (await client.settle()).spin
    await jackpot_of(client, slots)
    assert list(jackpots.times_sent) == [slots.spin_id]


async def test_a_contribution_that_is_refused_for_good_is_shown_parked(
    client: Client, jackpots: JackpotDouble
) -> None:
    await client.fund()
    jackpots.item_error = lambda _: Told(grpc.StatusCode.FAILED_PRECONDITION, "POOL_CLOSED")
    spin = (await client.settle()).spin
    assert (await jackpot_of(client, spin)).jackpot_state == PARKED
    info = await client.spins.GetServerInfo(pb.GetServerInfoRequest())
    assert (info.outbox_open, info.outbox_parked) == (0, 1)


async def test_spins_go_on_and_the_server_stays_ready_while_the_jackpot_server_is_away(
    client: Client, jackpots: JackpotDouble
) -> None:
    await client.fund()
    await jackpots.stop()
    spins = [(await client.settle()).spin for _ in range(20)]
    assert {spin.jackpot_state for spin in spins} == {PENDING}
    health: Any = health_pb2_grpc.HealthStub(client.channel)
    for service in ("", "spin.v1.SpinService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    async def info() -> pb.GetServerInfoResponse:
        response: pb.GetServerInfoResponse = await client.spins.GetServerInfo(pb.GetServerInfoRequest())
        return response

    assert (await info()).outbox_open == 20
    assert not (await info()).jackpot_reachable
    await jackpots.start()
    for spin in spins:
        assert (await jackpot_of(client, spin)).jackpot_state == RECORDED
    assert (await info()).jackpot_reachable
    assert (await info()).outbox_open == 0


async def test_a_wait_ends_with_its_timeout_and_before_the_calls_deadline(
    client: Client, jackpots: JackpotDouble
) -> None:
    await client.fund()
    jackpots.hangs.clear()
    spin = (await client.settle()).spin
    started = monotonic()
    assert (await jackpot_of(client, spin, 0.1)).jackpot_state == PENDING
    assert monotonic() - started < 2
    request = pb.WaitForJackpotRequest(name=spin.name)
    assert (await client.spins.WaitForJackpot(request, timeout=0.6)).spin.jackpot_state == PENDING


async def test_a_wait_at_another_replica_sees_the_jackpot_too(
    client: Client, jackpots: JackpotDouble, spins_dsn: str
) -> None:
    """Its jackpot server does not even answer; it finds what the other replica has booked."""
    await client.fund()
    jackpots.hangs.clear()
    async with serving(spins_dsn, jackpot_mode="off") as other:
        spins = [(await client.settle()).spin for _ in range(5)]
        waits = [asyncio.create_task(jackpot_of(other, spin)) for spin in spins]
        jackpots.hangs.set()
        for waited in await asyncio.gather(*waits):
            assert waited.jackpot_state == RECORDED


async def test_too_many_waits_are_refused(spins_dsn: str, jackpots: JackpotDouble) -> None:
    jackpots.hangs.clear()
    async with serving(spins_dsn, jackpot_address=jackpots.address, max_jackpot_waiters=2) as client:
        await client.fund()
        spin = (await client.settle()).spin
        waits = await asyncio.gather(
            *(jackpot_of(client, spin, 0.5) for _ in range(3)), return_exceptions=True
        )
        assert sorted(map(outcome, waits)) == ["OVERLOADED", "PENDING", "PENDING"]


def outcome(result: object) -> str:
    """The jackpot state of an answered wait, the reason of a refused one."""
    if isinstance(result, pb.Spin):
        return pb.Spin.JackpotState.Name(result.jackpot_state).removeprefix("JACKPOT_STATE_")
    assert isinstance(result, grpc.aio.AioRpcError)
    return read_error(result).reason


async def test_in_sync_mode_the_answer_brings_the_jackpot(spins_dsn: str, jackpots: JackpotDouble) -> None:
    jackpots.win_amount = lambda _: 50
    async with serving(spins_dsn, jackpot_mode="sync", jackpot_address=jackpots.address) as client:
        await client.fund()
        request = settle_request()
        response = await client.spins.SettleSpin(request)
        spin, timing = response.spin, response.timing
        assert spin.jackpot_state == RECORDED
        assert timing.jackpot_micros > 0
        assert timing.queue_micros + timing.commit_micros + timing.jackpot_micros <= timing.total_micros
        assert [share.amount_micros for share in spin.jackpot_shares] == [1_500]
        assert [win.state for win in spin.jackpot_wins] == [pb.JackpotWin.STATE_CREDITED]
        # The decision is the wallet right after the spin, not after its win.
        assert spin.balance == coins(9_900)
        assert (await client.settle(game_id="demo-table")).spin.jackpot_state == NOT_APPLICABLE


@pytest.mark.parametrize("trouble", ["away", "hung"])
async def test_in_sync_mode_a_spin_never_fails_for_its_jackpot(
    spins_dsn: str, jackpots: JackpotDouble, trouble: str
) -> None:
    async with serving(spins_dsn, jackpot_mode="sync", jackpot_address=jackpots.address) as client:
        await client.fund()
        if trouble == "away":
            await jackpots.stop()
        else:
            jackpots.hangs.clear()
        started = monotonic()
        spins = await asyncio.gather(*(client.settle() for _ in range(10)))
        assert 0.9 < monotonic() - started < 3
        assert {response.spin.jackpot_state for response in spins} == {PENDING}
        assert await client.balance() == 9_000


async def test_with_jackpots_off_nothing_is_sent_and_nothing_waits(
    spins_dsn: str, jackpots: JackpotDouble
) -> None:
    async with serving(spins_dsn, jackpot_mode="off", jackpot_address=jackpots.address) as client:
        await client.fund()
        assert (await client.settle()).spin.jackpot_state == NOT_APPLICABLE
        info = await client.spins.GetServerInfo(pb.GetServerInfoRequest())
        assert (info.jackpot_mode, info.outbox_open) == ("off", 0)
    assert not jackpots.times_sent


async def test_a_thousand_spins_of_fifty_clients_keep_every_minor_unit(
    spins_dsn: str, jackpots: JackpotDouble
) -> None:
    """Every tenth spin wins a jackpot of 10; repeats and wins arrive while the wallet is played."""
    jackpots.win_amount = lambda item: 10 if int(item.spin_id[:8], 16) % 10 == 0 else None
    async with serving(spins_dsn, jackpot_address=jackpots.address) as client:
        await client.fund(amount_minor=50_000)
        settled: dict[str, int] = {}

        async def play() -> None:
            for _ in range(20):
                request = settle_request(spin_id=str(uuid4()), payout=coins(30))
                for replayed in (False, True):
                    response = await client.spins.SettleSpin(request)
                    assert response.replayed is replayed
                settled[request.spin_id] = -70

        results = await asyncio.gather(*(play() for _ in range(50)), return_exceptions=True)
        for result in results:
            assert result is None or outcome(result) == "INSUFFICIENT_FUNDS", result
        await eventually(lambda: len(jackpots.contributions) == len(settled))
        winners = [spin_id for spin_id in settled if int(spin_id[:8], 16) % 10 == 0]

        async def is_whole() -> bool:
            return await client.balance() == 50_000 - 70 * len(settled) + 10 * len(winners)

        await eventually(is_whole)
        assert 700 < len(settled) < 900


async def test_a_drain_lets_waits_go_at_once(spins_dsn: str, jackpots: JackpotDouble) -> None:
    jackpots.hangs.clear()
    async with serving(spins_dsn, jackpot_address=jackpots.address) as client:
        await client.fund()
        spin = (await client.settle()).spin
        server = client.server.server
        await eventually(lambda: server.calls_inside == 0)
        wait = asyncio.create_task(jackpot_of(client, spin, 50))
        await eventually(lambda: server.calls_inside == 1)
        started = monotonic()
        draining = asyncio.create_task(server.drain())
        try:
            assert (await wait).jackpot_state == PENDING
            assert monotonic() - started < 2
        finally:
            jackpots.hangs.set()
            await draining
