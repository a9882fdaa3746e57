"""The same id again: the first answer, or a refusal that says what differs."""

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from service_kit.database import connect
from service_kit.errors import Refusal
from spin_server.domain.commands import MoveMoney, Play, Settle, WalletMethod
from spin_server.domain.settle import Rules
from spin_server.transaction import SpinTransaction
from tests.integration.spin_server.commands import create, deposit, play, settle, withdraw
from tests.integration.spin_server.conftest import CATALOG, Bench
from tests.support.waiting import eventually

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"wager_minor": 200}, "wager.amount_minor"),
        ({"currency_code": "EUR"}, "wager.currency_code"),
        ({"user_id": "somebody", "game_id": "other"}, "user_id,game_id"),
        ({"wallet_id": "elsewhere"}, "wallet_id"),
        ({"client_seed": "luck"}, "client_seed"),
        ({"stake_kind": 2}, "stake_kind"),
        ({"triggered_tiers": "MINI"}, "triggered_tiers"),
        (
            {"provider_round_id": "r2", "provider_name": "x", "country_code": "MT"},
            "provider_name,provider_round_id,country_code",
        ),
    ],
)
async def test_a_spin_id_with_another_field_is_refused_naming_the_field(
    bench: Bench, changes: dict[str, Any], fields: str
) -> None:
    await bench.fund()
    spin = settle(payout_minor=5)
    await bench.committer.spin(spin)
    refused = await refusal_of(bench.committer.spin(replace(spin, terms=replace(spin.terms, **changes))))
    assert (refused.code.name, refused.reason) == ("ALREADY_EXISTS", "SPIN_ID_REUSED")
    assert refused.metadata == {"fields": fields}
    assert await bench.balance() == 9_905


async def test_a_spin_id_with_another_payout_or_another_method_is_refused(bench: Bench) -> None:
    await bench.fund()
    spin = settle(payout_minor=5)
    await bench.committer.spin(spin)
    other_payout = await refusal_of(bench.committer.spin(replace(spin, payout_minor=6)))
    assert other_payout.metadata == {"fields": "payout.amount_minor"}
    other_method = await refusal_of(bench.committer.spin(Play(spin.terms, 0)))
    assert other_method.metadata == {"fields": "method"}
    played = play(multiplier_ppm=0)
    await bench.committer.spin(played)
    settled = await refusal_of(bench.committer.spin(Settle(played.terms, 0)))
    assert settled.metadata == {"fields": "method"}


async def test_another_operators_spin_is_not_described(bench: Bench) -> None:
    await bench.fund()
    spin = settle()
    await bench.committer.spin(spin)
    terms = replace(spin.terms, operator_id="rival", wager_minor=7)
    refused = await refusal_of(bench.committer.spin(Settle(terms, 0)))
    assert refused.reason == "SPIN_ID_REUSED"
    assert refused.metadata == {}


async def test_a_repeated_play_answers_what_was_drawn_first(bench: Bench) -> None:
    await bench.fund()
    first = play(multiplier_ppm=5 * MILLION)
    redrawn = Play(first.terms, 0)
    waiting = await asyncio.gather(bench.committer.spin(first), bench.committer.spin(redrawn))
    later = await bench.committer.spin(redrawn)
    assert [answer.spin.record.payout_minor for answer in (*waiting, later)] == [500, 500, 500]
    assert later.replayed
    assert await bench.balance() == 10_400


async def test_a_repeat_is_answered_as_the_first_time_even_if_it_could_not_be_paid_any_more(
    bench: Bench,
) -> None:
    await bench.fund(amount_minor=100)
    spin = settle()
    first = await bench.committer.spin(spin)
    again = await bench.committer.spin(spin)
    assert again.replayed
    assert again.spin == first.spin
    assert await bench.balance() == 0


@pytest.mark.parametrize("funds", [100, 1_000])
async def test_a_repeat_that_overtakes_its_first_call_at_another_replica_is_a_repeat(
    bench: Bench, spins_dsn: str, funds: int
) -> None:
    """The other replica has written and not committed yet; with 100 this one finds the money gone."""
    await bench.fund(amount_minor=funds)
    spin = settle()
    other = await connect(spins_dsn, application_name="other replica")
    try:
        await other.execute("BEGIN")
        await SpinTransaction(Rules(CATALOG, True))(other, [spin], False)
        repeat = asyncio.create_task(bench.committer.spin(spin))
        await eventually(lambda: waits_for_a_lock(bench.look))
        await other.execute("COMMIT")
        assert (await repeat).replayed
    finally:
        await other.close()
    assert await bench.balance() == funds - 100
    assert await bench.count("spins") == 1


async def test_wallet_requests_are_answered_as_the_first_time(bench: Bench) -> None:
    made = create()
    created = await bench.committer.wallet(made)
    put = deposit(amount_minor=500)
    taken = withdraw(amount_minor=200)
    first = [created, await bench.committer.wallet(put), await bench.committer.wallet(taken)]
    assert [answer.move.balance_minor for answer in first] == [0, 500, 300]
    again = [await bench.committer.wallet(command) for command in (made, put, taken)]
    assert all(answer.replayed for answer in again)
    assert [answer.move for answer in again] == [answer.move for answer in first]
    assert await bench.balance() == 300


async def test_a_request_id_is_unique_over_all_wallet_methods(bench: Bench) -> None:
    made = create()
    await bench.committer.wallet(made)
    put = deposit(amount_minor=500)
    await bench.committer.wallet(put)
    taken = MoveMoney(put.request_id, WalletMethod.WITHDRAW, "w", "COIN", 500)
    for command, fields in (
        (taken, {"fields": "method"}),
        (replace(made, request_id=put.request_id), {"fields": "method"}),
        (replace(put, request_id=made.request_id), {"fields": "method"}),
        (replace(put, amount_minor=501), {"fields": "amount.amount_minor"}),
        (replace(made, user_id="else", is_test=True), {"fields": "user_id,is_test"}),
        # Whose request it would be is not known without the wallet.
        (replace(put, wallet_id="nobody"), {}),
    ):
        refused = await refusal_of(bench.committer.wallet(command))
        assert (refused.code.name, refused.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        assert refused.metadata == fields
    assert await bench.balance() == 500


async def test_a_second_wallet_of_the_same_id_is_refused(bench: Bench) -> None:
    await bench.committer.wallet(create())
    results = await asyncio.gather(
        *(bench.committer.wallet(create(user_id=f"u{number}")) for number in range(3)),
        return_exceptions=True,
    )
    assert {result.reason for result in results if isinstance(result, Refusal)} == {"WALLET_EXISTS"}
    assert await bench.count("wallets") == 1


async def test_a_wallet_made_funded_and_played_in_one_batch_is_whole(bench: Bench) -> None:
    commands = (create("new"), deposit("new", 1_000), withdraw("new", 300))
    await asyncio.gather(
        *(bench.committer.wallet(command) for command in commands),
        bench.committer.spin(settle("new", payout_minor=7)),
    )
    assert await bench.balance("new") == 607
    amounts = await bench.look.fetch("SELECT amount_minor FROM wallet_entries ORDER BY entry_number")
    assert [entry["amount_minor"] for entry in amounts] == [1_000, -300, -100, 7]


async def refusal_of(call: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value


async def waits_for_a_lock(look: asyncpg.Connection) -> bool:
    return bool(
        await look.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND application_name = 'committer' AND datname = current_database()"
        )
    )
