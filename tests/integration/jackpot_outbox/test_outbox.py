"""A wallet's outbox against a jackpot server that fails in every way: nothing lost, nothing twice."""

import asyncio
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from uuid import UUID

import grpc
import pytest

from jackpot_outbox import store
from jackpot_outbox.settings import OutboxSettings
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.database import DATABASE_ERRORS
from tests.integration.jackpot_outbox.jackpot_double import JackpotDouble, Told
from tests.integration.jackpot_outbox.wallet_double import Look, WalletDouble, contribution, quick
from tests.support.waiting import eventually

# Every status is a case of the unit tests; here the ways through the database.
FINAL = (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION)
TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)


def every_spin_wins(_: pb.RecordContributionRequest) -> int:
    return 4_200


async def all_recorded(look: Look, jackpot: JackpotDouble, spins: set[UUID]) -> None:
    """Waits until every spin is answered; each was decided once, and its answer is kept."""
    await eventually(look.is_empty, within_s=15)
    assert await look.results() == spins
    assert {UUID(spin_id) for spin_id in jackpot.contributions} == spins


async def all_credited(look: Look, jackpot: JackpotDouble) -> None:
    """Waits until every win is in the wallet and the jackpot server knows it."""

    async def paid() -> bool:
        return len(await look.credits()) == len(jackpot.wins) and all(
            win.state == pb.Win.STATE_PAID for win in jackpot.wins.values()
        )

    await eventually(paid, within_s=15)
    await eventually(look.is_empty)
    assert await look.credits() == {win.name: win.amount.amount_minor for win in jackpot.wins.values()}
    assert all(len(acknowledged) == 1 for acknowledged in jackpot.acknowledgements.values())


async def test_offered_rows_go_at_once_and_together(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    rows = [contribution() for _ in range(400)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=True)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
    assert len(jackpot.call_sizes) <= 3
    assert set(jackpot.times_sent.values()) == {1}


async def test_wins_are_credited_once_and_acknowledged(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = every_spin_wins
    rows = [contribution() for _ in range(50)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=True)
        await all_credited(look, jackpot)

        async def read_to_the_end() -> bool:
            return await look.cursor() == len(jackpot.events["demo"])

        await eventually(read_to_the_end)
    assert len(await look.credits()) == 50


async def test_rows_that_nobody_offered_are_relayed(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    rows = [contribution() for _ in range(1_234)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=False)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
    assert set(jackpot.times_sent.values()) == {1}


async def test_a_dead_jackpot_server_costs_nothing_but_time(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = every_spin_wins
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await jackpot.stop()
        rows = [contribution() for _ in range(100)]
        for row in rows:
            await wallet.insert([row], offer=True)
        await eventually(lambda: not wallet.outbox.reachable)
        await jackpot.start()
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
        await all_credited(look, jackpot)
        await eventually(lambda: wallet.outbox.reachable)


async def test_a_jackpot_server_that_restarts_under_load_loses_nothing(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = lambda request: 700 if request.spin_id[0] in "01" else None
    spins: set[UUID] = set()
    async with WalletDouble(wallet_dsn, settings) as wallet:
        for _ in range(4):
            for _ in range(15):
                rows = [contribution() for _ in range(20)]
                spins.update(row.spin_id for row in rows)
                await wallet.insert(rows, offer=True)
            await jackpot.stop()
            await jackpot.start()
        await all_recorded(look, jackpot, spins)
        await all_credited(look, jackpot)
    assert jackpot.sent_twice_at_once == []


async def test_a_hung_call_ends_and_its_rows_are_sent_again(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    rows = [contribution() for _ in range(10)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        jackpot.hangs.clear()
        await wallet.insert(rows, offer=True)

        async def set_back() -> bool:
            listed = await store.listing(look.connection, parked_only=False, limit=100)
            return all(row.attempts and "DEADLINE_EXCEEDED" in row.last_error for row in listed)

        await eventually(set_back)
        jackpot.hangs.set()
        await all_recorded(look, jackpot, {row.spin_id for row in rows})


async def test_while_calls_are_held_back_no_row_is_touched_and_few_calls_are_made(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.call_error = lambda _: Told(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    async with WalletDouble(wallet_dsn, settings) as wallet:
        rows = [contribution() for _ in range(1_500)]
        await wallet.insert(rows, offer=False)
        await eventually(lambda: len(jackpot.call_sizes) >= 6)
        # Three calls opened the breaker; from then on each probe is one row.
        assert all(size == 1 for size in jackpot.call_sizes[3:])
        pauses = [later - earlier for earlier, later in pairwise(jackpot.call_times[2:])]
        assert all(pause_s >= 0.1 for pause_s in pauses)
        jackpot.call_error = lambda _: None
        await all_recorded(look, jackpot, {row.spin_id for row in rows})


async def test_answers_that_are_lost_after_the_decision_are_asked_for_again(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = every_spin_wins
    jackpot.answers_to_lose = 2
    rows = [contribution() for _ in range(20)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=True)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
        jackpot.answers_to_lose = 2
        await all_credited(look, jackpot)
    assert max(jackpot.times_sent[str(row.spin_id)] for row in rows) >= 2


async def test_answers_that_could_not_be_booked_are_asked_for_again(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = every_spin_wins
    rows = [contribution() for _ in range(10)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        wallet.fail_bookings = 15
        await wallet.insert(rows, offer=True)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
        await all_credited(look, jackpot)
        assert wallet.fail_bookings == 0


@pytest.mark.parametrize("code", FINAL, ids=lambda code: code.name)
async def test_an_item_that_is_refused_for_good_is_parked_with_its_reason(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings, code: grpc.StatusCode
) -> None:
    refused, fine = contribution(wager_minor=13), contribution()
    jackpot.item_error = lambda item: Told(code, "SOME_REASON") if item.wager.amount_minor == 13 else None
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert([refused, fine], offer=True)
        await all_recorded(look, jackpot, {fine.spin_id})
        assert await look.parked() == {refused.spin_id: "SOME_REASON: as told"}
        jackpot.item_error = lambda _: None
        await store.release(look.connection, None)
        await all_recorded(look, jackpot, {fine.spin_id, refused.spin_id})
    assert jackpot.times_sent[str(refused.spin_id)] == 2


@pytest.mark.parametrize("code", TRANSIENT, ids=lambda code: code.name)
async def test_an_item_that_failed_otherwise_is_sent_again_and_holds_nobody_up(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings, code: grpc.StatusCode
) -> None:
    failing, fine = contribution(wager_minor=13), contribution()
    jackpot.item_error = lambda item: Told(code, "SOME_REASON") if item.wager.amount_minor == 13 else None
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert([failing, fine], offer=True)

        async def fine_is_done() -> bool:
            return await look.open_spins() == {failing.spin_id}

        await eventually(fine_is_done)
        await eventually(lambda: jackpot.times_sent[str(failing.spin_id)] >= 2)
        jackpot.item_error = lambda _: None
        await all_recorded(look, jackpot, {fine.spin_id, failing.spin_id})


async def test_a_lone_bad_row_does_not_hold_calls_back(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    bad = Told(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    jackpot.item_error = lambda item: bad if item.wager.amount_minor == 13 else None
    async with WalletDouble(wallet_dsn, settings) as wallet:
        row = contribution(wager_minor=13)
        await wallet.insert([row], offer=False)
        for sent in range(1, 6):
            await eventually(lambda sent=sent: jackpot.times_sent[str(row.spin_id)] >= sent)  # type: ignore[misc]
            await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
        assert wallet.outbox.reachable


async def test_one_percent_of_poison_does_not_block_the_rest(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    rows = [contribution(wager_minor=13 if number % 100 == 0 else 100) for number in range(3_000)]
    poison = {row.spin_id for row in rows if row.wager_minor == 13}
    told = Told(grpc.StatusCode.FAILED_PRECONDITION, "CURRENCY_MISMATCH")
    jackpot.item_error = lambda item: told if item.wager.amount_minor == 13 else None
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=False)
        await all_recorded(look, jackpot, {row.spin_id for row in rows} - poison)
        assert set(await look.parked()) == poison
    assert set(jackpot.times_sent.values()) == {1}


@pytest.mark.parametrize(
    "told",
    [
        Told(grpc.StatusCode.INVALID_ARGUMENT, "UNDECODABLE"),
        Told(grpc.StatusCode.RESOURCE_EXHAUSTED, "", "SERVER: Received message larger than max (5 vs. 4)"),
    ],
    ids=["undecodable", "too large"],
)
async def test_a_call_that_is_refused_as_a_whole_is_halved_until_the_culprit_stands_alone(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings, told: Told
) -> None:
    rows = [contribution() for _ in range(100)]
    culprit = str(rows[77].spin_id)
    jackpot.call_error = lambda items: told if any(item.spin_id == culprit for item in items) else None
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=True)
        await all_recorded(look, jackpot, {row.spin_id for row in rows} - {rows[77].spin_id})
        assert set(await look.parked()) == {rows[77].spin_id}


async def test_a_busy_server_is_not_taken_for_one_that_refuses(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    told = Told(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", "Too many requests wait.")
    jackpot.call_error = lambda _: told if len(jackpot.call_sizes) <= 2 else None
    row = contribution()
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert([row], offer=True)
        await all_recorded(look, jackpot, {row.spin_id})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "WIN_ALREADY_PAID"),
        (grpc.StatusCode.FAILED_PRECONDITION, "AMOUNT_MISMATCH"),
        (grpc.StatusCode.NOT_FOUND, "WIN_NOT_FOUND"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELDS"),
    ],
    ids=lambda value: str(value),
)
async def test_an_acknowledgement_that_is_refused_is_parked_and_the_credit_stays(
    look: Look,
    jackpot: JackpotDouble,
    wallet_dsn: str,
    settings: OutboxSettings,
    code: grpc.StatusCode,
    reason: str,
) -> None:
    jackpot.win_amount = every_spin_wins
    jackpot.acknowledgement_error = lambda _: Told(code, reason)
    row = contribution()
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert([row], offer=True)

        async def parked() -> bool:
            return await look.parked() == {row.spin_id: f"{reason}: as told"}

        await eventually(parked)
        assert len(await look.credits()) == 1
        jackpot.acknowledgement_error = lambda _: None
        await store.release(look.connection, [row.spin_id])
        await all_credited(look, jackpot)


async def test_a_failing_acknowledgement_is_repeated_and_does_not_hold_contributions_back(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = lambda request: 700 if request.wager.amount_minor == 13 else None
    jackpot.acknowledgement_error = lambda _: Told(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    winners = [contribution(wager_minor=13) for _ in range(8)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(winners, offer=True)
        await eventually(lambda: sum(" " in one for one in jackpot.times_sent) == 8)
        others = [contribution() for _ in range(8)]
        await wallet.insert(others, offer=True)

        async def recorded() -> bool:
            return len(await look.results()) == 16

        await eventually(recorded)
        assert all(jackpot.times_sent[str(row.spin_id)] == 1 for row in others)
        jackpot.acknowledgement_error = lambda _: None
        await all_credited(look, jackpot)


async def test_a_win_that_the_wallet_cannot_take_is_held_and_credited_once_released(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = every_spin_wins
    row = contribution(wallet_id="closed")
    async with WalletDouble(wallet_dsn, settings) as wallet:
        wallet.impossible.add("closed")
        await wallet.insert([row], offer=True)
        name = f"pools/mini/wins/{row.spin_id}"

        def outcomes() -> list[int]:
            return [request.outcome for request in jackpot.acknowledgements[name]]

        # FAILED makes it HELD; the wallet confirms that from the event.
        await eventually(lambda: outcomes() == [2, 3])
        assert await look.credits() == {}
        wallet.impossible.clear()
        await jackpot.tell(jackpot.wins[name], pb.Win.STATE_PAYABLE, pb.WinEvent.KIND_RELEASED)
        await eventually(lambda: outcomes() == [2, 3, 1])
        assert await look.credits() == {name: 4_200}


async def test_a_win_that_only_the_events_tell_of_is_credited(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    row = contribution()
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert([row], offer=True)
        await all_recorded(look, jackpot, {row.spin_id})
        request = pb.RecordContributionRequest(
            spin_id=str(row.spin_id),
            operator_id="demo",
            wallet_id=row.wallet_id,
            wager=pb.Money(currency_code="COIN"),
        )
        await jackpot.decide_win(request, 900)
        foreign = contribution()
        request.spin_id = str(foreign.spin_id)
        await jackpot.decide_win(request, 901)

        async def passed_both() -> bool:
            return (await look.cursor() or 0) >= 3  # decided, decided, paid

        await eventually(passed_both)
        assert await look.credits() == {f"pools/mini/wins/{row.spin_id}": 900}
        assert set(jackpot.acknowledgements) == {f"pools/mini/wins/{row.spin_id}"}


async def test_a_cursor_does_not_pass_a_missing_event(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    rows = [contribution() for _ in range(2)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=True)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
        events = jackpot.events["demo"]
        jackpot.events["demo"] = []
        for row in rows:
            request = pb.RecordContributionRequest(
                spin_id=str(row.spin_id), operator_id="demo", wager=pb.Money(currency_code="COIN")
            )
            await jackpot.decide_win(request, 900)
        missing = jackpot.events["demo"].pop(0)
        asked = jackpot.followers_asked
        await eventually(lambda: jackpot.followers_asked >= asked + 2)
        assert (await look.cursor(), await look.credits()) == (0, {})
        jackpot.events["demo"].insert(0, missing)
        await all_credited(look, jackpot)
        assert events == []


async def test_two_outboxes_on_one_database_send_each_row_once_and_follow_each_operator_once(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    jackpot.win_amount = lambda request: 700 if request.spin_id[0] in "01" else None
    jackpot.delay_s = 0.02
    rows = [contribution(operator_id=f"operator-{number % 5}") for number in range(3_000)]
    # With a long lease only a row that two relays took could be seen twice.
    settings = quick(jackpot.address, lease_ms=30_000, max_batch=100)
    async with AsyncExitStack() as stack:
        wallets = [await stack.enter_async_context(WalletDouble(wallet_dsn, settings)) for _ in range(3)]
        await wallets[0].insert(rows, offer=False)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
        await all_credited(look, jackpot)
        assert {jackpot.times_sent[str(row.spin_id)] for row in rows} == {1}
        assert sum(wallet.bookings > 0 for wallet in wallets) >= 2
    assert jackpot.sent_twice_at_once == []
    assert len(jackpot.most_followers) == 5
    assert set(jackpot.most_followers.values()) == {1}


async def test_a_call_that_outlasts_the_lead_of_its_rows_is_ended_before_a_relay_sends_them(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    jackpot.delay_s = store.DISPATCH_LEAD_MS / 1000 + 0.5
    settings = quick(jackpot.address, call_timeout_ms=5_000, lease_ms=8_000)
    row = contribution()
    async with AsyncExitStack() as stack:
        wallets = [await stack.enter_async_context(WalletDouble(wallet_dsn, settings)) for _ in range(2)]
        await wallets[0].insert([row], offer=True)
        await all_recorded(look, jackpot, {row.spin_id})
    assert jackpot.times_sent[str(row.spin_id)] >= 2
    assert jackpot.sent_twice_at_once == []


async def test_a_follower_that_is_gone_is_replaced(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    await store.insert_contributions(look.connection, [contribution()])
    await look.connection.execute(
        "UPDATE jackpot_cursors SET lease_holder = 'dead', lease_until = now() + interval '1 second'"
    )
    async with WalletDouble(wallet_dsn, settings):
        await eventually(lambda: jackpot.followers["demo"] == 1)


async def test_more_operators_than_followers_are_all_asked(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    rows = [contribution(operator_id=f"operator-{number}") for number in range(6)]
    async with WalletDouble(wallet_dsn, quick(jackpot.address, followed_operators=2)) as wallet:
        await wallet.insert(rows, offer=True)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
        for row in rows:
            request = pb.RecordContributionRequest(
                spin_id=str(row.spin_id),
                operator_id=row.operator_id,
                wager=pb.Money(currency_code="COIN"),
            )
            await jackpot.decide_win(request, 900)
        await all_credited(look, jackpot)
    assert set(jackpot.most_followers.values()) == {1}


async def test_what_was_not_sent_is_another_outboxs_at_once_after_close(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    jackpot.hangs.clear()
    settings = quick(jackpot.address, lease_ms=60_000, max_batch=50)
    rows = [contribution() for _ in range(300)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=False)
        await eventually(lambda: len(jackpot.call_sizes) >= 1)
    jackpot.hangs.set()
    async with WalletDouble(wallet_dsn, settings):
        await all_recorded(look, jackpot, {row.spin_id for row in rows})


async def test_calls_in_flight_are_booked_before_close_returns(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.delay_s = 0.3
    rows = [contribution() for _ in range(5)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=True)
        await eventually(lambda: len(jackpot.call_sizes) == 1)
    assert await look.is_empty()


async def test_a_database_that_cuts_every_connection_stops_nothing(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    jackpot.win_amount = lambda request: 700 if request.spin_id[0] in "01" else None
    spins: set[UUID] = set()
    async with WalletDouble(wallet_dsn, settings) as wallet:
        for _ in range(4):
            rows = [contribution() for _ in range(100)]
            spins.update(row.spin_id for row in rows)
            await look.connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'wallet double' AND datname = current_database()"
            )
            # The wallet finds its connection cut at the first try, if the outbox did not before.
            with suppress(*DATABASE_ERRORS):
                await wallet.insert(rows, offer=False)
                continue
            await wallet.insert(rows, offer=False)
        await all_recorded(look, jackpot, spins)
        await all_credited(look, jackpot)


async def test_rows_beyond_what_may_be_held_are_left_to_the_relay(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str
) -> None:
    settings = quick(jackpot.address, max_held=10, max_batch=5)
    rows = [contribution() for _ in range(100)]
    async with WalletDouble(wallet_dsn, settings) as wallet:
        await wallet.insert(rows, offer=True)
        await all_recorded(look, jackpot, {row.spin_id for row in rows})
    assert max(jackpot.call_sizes) == 5
    assert len(jackpot.contributions) == 100


async def test_an_outbox_starts_without_its_database_and_without_the_jackpot_server(
    look: Look, jackpot: JackpotDouble, wallet_dsn: str, settings: OutboxSettings
) -> None:
    row = contribution()
    await store.insert_contributions(look.connection, [row])
    await jackpot.stop()
    wallet = WalletDouble(wallet_dsn, settings)
    right, wallet.dsn = wallet.dsn, "postgresql://nobody@127.0.0.1:1/nothing"
    async with wallet:
        assert not wallet.outbox.reachable
        await asyncio.sleep(0)
        await jackpot.start()
        wallet.dsn = right
        await all_recorded(look, jackpot, {row.spin_id})
