"""The contract of spin.v1 through gRPC, without jackpots."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from protos.spin.v1 import spin_pb2 as pb
from tests.integration.spin_server.serving import (
    Client,
    coins,
    error_of,
    play_request,
    read_error,
    serving,
    settle_request,
)


@pytest.fixture
async def client(spins_dsn: str) -> AsyncIterator[Client]:
    async with serving(spins_dsn, jackpot_mode="off") as opened:
        yield opened


async def test_a_settled_spin_is_answered_whole_and_read_back_the_same(client: Client) -> None:
    await client.fund()
    request = settle_request(
        payout=coins(250), country_code="MT", client_seed="päärynä", stake_kind=pb.STAKE_KIND_BONUS
    )
    response = await client.spins.SettleSpin(request)
    spin = response.spin
    assert not response.replayed
    assert spin.name == f"spins/{request.spin_id}"
    for field in (
        "spin_id",
        "operator_id",
        "user_id",
        "wallet_id",
        "game_id",
        "provider_name",
        "wager",
        "payout",
        "provider_round_id",
        "stake_kind",
        "country_code",
        "client_seed",
    ):
        assert getattr(spin, field) == getattr(request, field), field
    assert spin.game_category == pb.GAME_CATEGORY_SLOTS
    assert spin.balance == coins(10_150)
    assert spin.state == pb.Spin.STATE_SETTLED
    assert spin.jackpot_state == pb.Spin.JACKPOT_STATE_NOT_APPLICABLE
    assert spin.settle_time.seconds > 1_700_000_000
    timing = response.timing
    assert 0 < timing.commit_micros <= timing.total_micros
    assert timing.queue_micros + timing.commit_micros <= timing.total_micros
    read = await client.spins.GetSpin(pb.GetSpinRequest(name=spin.name))
    assert read.spin == spin


async def test_a_repeat_is_answered_as_the_first_time(client: Client) -> None:
    await client.fund()
    request = settle_request(payout=coins(5))
    first = await client.spins.SettleSpin(request)
    request.spin_id = request.spin_id.upper()
    request.stake_kind = pb.STAKE_KIND_CASH
    again = await client.spins.SettleSpin(request)
    assert again.replayed
    assert again.spin == first.spin
    request.wager.amount_minor = 7
    error = await error_of(client.spins.SettleSpin(request))
    assert (error.code, error.reason, error.domain) == ("ALREADY_EXISTS", "SPIN_ID_REUSED", "spin.v1")
    assert error.metadata == {"fields": "wager.amount_minor"}


async def test_a_played_spin_pays_a_prize_of_its_table_and_keeps_it(client: Client) -> None:
    await client.fund()
    game = (await client.games.GetGame(pb.GetGameRequest(name="games/demo-slots"))).game
    multipliers = {prize.multiplier_ppm for prize in game.pay_table}
    request = play_request()
    first = await client.spins.PlaySpin(request)
    assert first.spin.payout.amount_minor * 10_000 in multipliers
    again = await client.spins.PlaySpin(request)
    assert (again.replayed, again.spin) == (True, first.spin)
    settled = settle_request(spin_id=request.spin_id, payout=first.spin.payout)
    error = await error_of(client.spins.SettleSpin(settled))
    assert (error.reason, error.metadata) == ("SPIN_ID_REUSED", {"fields": "method"})


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"wallet_id": "nobody"}, "NOT_FOUND", "WALLET_NOT_FOUND"),
        ({"game_id": "nothing"}, "NOT_FOUND", "GAME_NOT_FOUND"),
        ({"user_id": "somebody"}, "FAILED_PRECONDITION", "WALLET_MISMATCH"),
        ({"operator_id": "rival"}, "FAILED_PRECONDITION", "WALLET_MISMATCH"),
        (
            {"wager": pb.Money(currency_code="EUR", amount_minor=1)},
            "FAILED_PRECONDITION",
            "CURRENCY_MISMATCH",
        ),
        ({"wager": coins(10_001)}, "FAILED_PRECONDITION", "WAGER_OUT_OF_RANGE"),
        ({"wager": coins(5_000)}, "FAILED_PRECONDITION", "INSUFFICIENT_FUNDS"),
        ({"triggered_tiers": ["MINI"]}, "PERMISSION_DENIED", "ROLE_REQUIRED"),
    ],
)
async def test_a_spin_that_cannot_be_is_refused_with_its_reason(
    client: Client, fields: dict[str, Any], code: str, reason: str
) -> None:
    await client.fund(amount_minor=1_000)
    request = settle_request(**fields)
    if request.wager.currency_code == "EUR":
        request.payout.currency_code = "EUR"
    error = await error_of(client.spins.SettleSpin(request))
    assert (error.code, error.reason, error.domain) == (code, reason, "spin.v1")
    assert error.message
    assert await client.balance() == 1_000


async def test_what_does_not_exist_is_not_found(client: Client) -> None:
    spin = f"spins/{uuid4()}"
    for call, reason in (
        (client.spins.GetSpin(pb.GetSpinRequest(name=spin)), "SPIN_NOT_FOUND"),
        (client.spins.WaitForJackpot(pb.WaitForJackpotRequest(name=spin)), "SPIN_NOT_FOUND"),
        (client.games.GetGame(pb.GetGameRequest(name="games/none")), "GAME_NOT_FOUND"),
        (client.wallets.GetWallet(pb.GetWalletRequest(name="wallets/none")), "WALLET_NOT_FOUND"),
        (
            client.wallets.ListWalletEntries(pb.ListWalletEntriesRequest(name="wallets/none")),
            "WALLET_NOT_FOUND",
        ),
    ):
        error = await error_of(call)
        assert (error.code, error.reason) == ("NOT_FOUND", reason)


async def test_a_voided_spin_says_so_wherever_it_is_shown(client: Client) -> None:
    await client.fund()
    spin = (await client.settle(payout=coins(40))).spin
    request = pb.VoidSpinRequest(spin_id=spin.spin_id, operator_id="demo", wallet_id="w", reason="cancelled")
    voided = await client.spins.VoidSpin(request)
    assert (voided.spin.state, voided.replayed) == (pb.Spin.STATE_VOIDED, False)
    assert (voided.spin.wager, voided.spin.payout) == (spin.wager, spin.payout)
    assert (await client.spins.VoidSpin(request)).replayed
    shown = await client.spins.GetSpin(pb.GetSpinRequest(name=spin.name))
    assert shown.spin.state == pb.Spin.STATE_VOIDED
    listed = await client.spins.ListSpins(pb.ListSpinsRequest(operator_id="demo"))
    assert [spin.state for spin in listed.spins] == [pb.Spin.STATE_VOIDED]
    assert await client.balance() == 10_000
    entries = await client.wallets.ListWalletEntries(pb.ListWalletEntriesRequest(name="wallets/w"))
    assert [entry.kind for entry in entries.entries[:2]] == [
        pb.WalletEntry.KIND_PAYOUT_RETURNED, pb.WalletEntry.KIND_STAKE_RETURNED,
    ]  # fmt: skip
    assert {entry.reference for entry in entries.entries[:4]} == {spin.name}


async def test_v1_a_spin_voided_before_it_came_is_only_an_id(client: Client) -> None:
    await client.fund()
    request = pb.VoidSpinRequest(spin_id=str(uuid4()), operator_id="demo", wallet_id="w")
    voided = await client.spins.VoidSpin(request)
    assert voided.spin == pb.Spin(
        name=f"spins/{request.spin_id}", spin_id=request.spin_id, state=pb.Spin.STATE_VOIDED
    )
    late = await error_of(client.settle(spin_id=request.spin_id))
    assert (late.code, late.reason) == ("FAILED_PRECONDITION", "SPIN_VOIDED")


async def test_a_malformed_void_is_told_everything_that_is_wrong(client: Client) -> None:
    error = await error_of(client.spins.VoidSpin(pb.VoidSpinRequest(spin_id="1", reason="x" * 1000)))
    assert (error.code, set(error.fields)) == (
        "INVALID_ARGUMENT", {"spin_id", "operator_id", "wallet_id", "reason"},
    )  # fmt: skip


async def test_wallets_are_made_filled_emptied_and_listed(client: Client) -> None:
    create = pb.CreateWalletRequest(
        request_id=str(uuid4()),
        wallet_id="w.1-x_Y",
        operator_id="o",
        user_id="u",
        currency_code="EUR",
        is_test=True,
    )
    made = await client.wallets.CreateWallet(create)
    assert made.wallet.balance == pb.Money(currency_code="EUR")
    assert (made.wallet.name, made.wallet.is_test, made.replayed) == ("wallets/w.1-x_Y", True, False)
    deposit = pb.DepositRequest(
        request_id=str(uuid4()), name=made.wallet.name, amount=pb.Money(currency_code="EUR", amount_minor=70)
    )
    filled = await client.wallets.Deposit(deposit)
    assert (filled.wallet.balance.amount_minor, filled.entry.entry_id) == (70, "w.1-x_Y:1")
    assert (filled.entry.kind, filled.entry.reference) == (pb.WalletEntry.KIND_DEPOSIT, deposit.request_id)
    withdraw = pb.WithdrawRequest(
        request_id=str(uuid4()), name=made.wallet.name, amount=pb.Money(currency_code="EUR", amount_minor=30)
    )
    emptied = await client.wallets.Withdraw(withdraw)
    assert (emptied.entry.amount.amount_minor, emptied.entry.balance.amount_minor) == (-30, 40)
    for call, request, first in (
        (client.wallets.CreateWallet, create, made),
        (client.wallets.Deposit, deposit, filled),
        (client.wallets.Withdraw, withdraw, emptied),
    ):
        again = await call(request)
        assert again.replayed
        again.replayed = False
        assert again == first
    withdraw.request_id = str(uuid4())
    withdraw.amount.amount_minor = 41
    assert (await error_of(client.wallets.Withdraw(withdraw))).reason == "INSUFFICIENT_FUNDS"
    withdraw.amount.currency_code = "COIN"
    assert (await error_of(client.wallets.Withdraw(withdraw))).reason == "CURRENCY_MISMATCH"
    create.request_id = str(uuid4())
    assert (await error_of(client.wallets.CreateWallet(create))).reason == "WALLET_EXISTS"
    assert (
        await client.wallets.GetWallet(pb.GetWalletRequest(name=made.wallet.name))
    ).wallet == emptied.wallet


async def test_a_wallets_entries_are_paged_newest_first(client: Client) -> None:
    await client.fund(amount_minor=1_000)
    spins = [(await client.settle(payout=coins(10))).spin for _ in range(5)]
    seen: list[pb.WalletEntry] = []
    token = ""
    while True:
        page = await client.wallets.ListWalletEntries(
            pb.ListWalletEntriesRequest(name="wallets/w", page_size=4, page_token=token)
        )
        seen += page.entries
        token = page.next_page_token
        if not token:
            break
    assert [entry.entry_id for entry in seen] == [f"w:{number}" for number in range(11, 0, -1)]
    assert seen[0].balance.amount_minor == 550
    assert (seen[0].reference, seen[1].reference) == (spins[-1].name, spins[-1].name)
    assert [entry.kind for entry in seen[:2]] == [pb.WalletEntry.KIND_PAYOUT, pb.WalletEntry.KIND_STAKE]


async def test_spins_are_listed_newest_first_by_operator_user_wallet_game_and_time(client: Client) -> None:
    for wallet_id in ("a", "b"):
        await client.fund(wallet_id)
    made: list[pb.Spin] = []
    for number in range(12):
        game_id = ("demo-slots", "demo-table")[number % 3 == 0]
        made.append((await client.settle("ab"[number % 2], game_id=game_id)).spin)
    made.reverse()

    async def listed(page_size: int = 5, **fields: Any) -> list[str]:
        names: list[str] = []
        request = pb.ListSpinsRequest(page_size=page_size, **fields)
        while True:
            page = await client.spins.ListSpins(request)
            assert len(page.spins) <= page_size
            names += [spin.name for spin in page.spins]
            request.page_token = page.next_page_token
            if not request.page_token:
                return names

    def names(*wanted: bool) -> list[str]:
        return [spin.name for spin, want in zip(made, wanted, strict=True) if want]

    of_a = [spin.wallet_id == "a" for spin in made]
    table = [spin.game_id == "demo-table" for spin in made]
    assert await listed(operator_id="demo") == names(*[True] * 12)
    assert await listed(operator_id="demo", user_id="user-of-a") == names(*of_a)
    assert await listed(wallet_id="a") == names(*of_a)
    assert await listed(operator_id="demo", wallet_id="a", user_id="user-of-a") == names(*of_a)
    assert await listed(operator_id="demo", game_id="demo-table") == names(*table)
    both = [one and other for one, other in zip(of_a, table, strict=True)]
    assert await listed(wallet_id="a", game_id="demo-table") == names(*both)
    nothings: tuple[dict[str, Any], ...] = (
        {"operator_id": "rival"},
        {"wallet_id": "nobody"},
        {"wallet_id": "a", "operator_id": "rival"},
        {"wallet_id": "a", "user_id": "user-of-b", "operator_id": "demo"},
    )
    for nothing in nothings:
        assert await listed(**nothing) == []
    start, end = made[8].settle_time, made[3].settle_time
    assert await listed(operator_id="demo", start_time=start, end_time=end) == names(
        *(3 < index <= 8 for index in range(12))
    )
    page = await client.spins.ListSpins(pb.ListSpinsRequest(operator_id="demo", page_size=5))
    assert list(page.spins) == made[:5]
    error = await error_of(
        client.spins.ListSpins(pb.ListSpinsRequest(operator_id="rival", page_token=page.next_page_token))
    )
    assert error.fields == ["page_token"]


async def test_games_are_shown_with_their_exact_return(client: Client) -> None:
    page = await client.games.ListGames(pb.ListGamesRequest(page_size=1))
    rest = await client.games.ListGames(pb.ListGamesRequest(page_token=page.next_page_token))
    slots, table = page.games[0], rest.games[0]
    assert (slots.name, table.name, rest.next_page_token) == ("games/demo-slots", "games/demo-table", "")
    for game in (slots, table):
        weights = sum(prize.weight for prize in game.pay_table)
        paid = sum(prize.multiplier_ppm * prize.weight for prize in game.pay_table)
        assert game.return_ppm * weights == paid
    assert (slots.min_wager_minor, slots.max_wager_minor, slots.enabled) == (1, 10_000, True)


async def test_a_wait_for_a_spin_without_a_jackpot_is_over_at_once(client: Client) -> None:
    await client.fund()
    spin = (await client.settle()).spin
    request = pb.WaitForJackpotRequest(name=spin.name, timeout=Duration(seconds=50))
    assert (await client.spins.WaitForJackpot(request, timeout=2)).spin == spin


async def test_the_server_tells_about_itself(client: Client) -> None:
    info = await client.spins.GetServerInfo(pb.GetServerInfoRequest())
    assert (info.jackpot_mode, info.jackpot_reachable, info.environment) == ("off", False, "test")
    assert info.version
    assert info.database_version
    assert info.schema_version == 2
    assert info.start_time.seconds > 1_700_000_000
    assert (info.outbox_open, info.outbox_parked) == (0, 0)


async def test_callers_that_go_away_harm_nobody(client: Client) -> None:
    """Their spins are settled or not, and asking again tells; everybody else is served."""
    await client.fund(amount_minor=100_000)
    rng = random.Random(7)
    requests = [settle_request() for _ in range(300)]

    async def impatient(request: pb.SettleSpinRequest) -> None:
        call = client.spins.SettleSpin(request)
        if rng.random() < 0.7:
            await asyncio.sleep(rng.random() * 0.01)
            call.cancel()
        await asyncio.wait([asyncio.ensure_future(ended(call))])

    await asyncio.gather(*(impatient(request) for request in requests))
    answers = await asyncio.gather(*(client.spins.SettleSpin(request) for request in requests))
    assert len({answer.spin.spin_id for answer in answers}) == 300
    assert await client.balance() == 100_000 - 300 * 100


async def ended(call: Any) -> None:
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        await call


@contextlib.asynccontextmanager
async def locked_wallets(dsn: str) -> AsyncIterator[None]:
    """Nobody else can change a wallet while the block runs."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM wallets FOR UPDATE")
            yield
    finally:
        await connection.close()


async def test_more_than_may_wait_is_refused_at_once_and_leaves_nothing(spins_dsn: str) -> None:
    async with serving(spins_dsn, jackpot_mode="off", max_waiting=20, max_batch=5) as client:
        await client.fund(amount_minor=100_000)
        async with locked_wallets(spins_dsn):
            calls = [asyncio.ensure_future(client.settle()) for _ in range(400)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]
        assert refused
        assert {read_error(error).reason for error in refused} == {"OVERLOADED"}
        assert await client.balance() == 100_000 - 100 * (400 - len(refused))
