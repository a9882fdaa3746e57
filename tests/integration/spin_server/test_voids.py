"""Spins that are taken back: the wallet, the outbox, and wins that come before and after."""

import asyncio
import logging
import random
from dataclasses import replace
from typing import Any

import pytest

from devstack.auditor import SPINS_CHECKS
from jackpot_outbox.rows import Answer, Booking, Outcome, VoidRow, WinPage, WinState
from service_kit.errors import Refusal
from spin_server.domain.commands import Settle, Void
from spin_server.domain.facts import SettledSpin
from tests.integration.spin_server.commands import SLOTS, TABLE, settle, withdraw
from tests.integration.spin_server.conftest import Bench, open_bench
from tests.integration.spin_server.test_booking import acknowledgements, answer_of, spin_on, win_of

log = logging.getLogger(__name__)


def void_of(spin: SettledSpin, **fields: Any) -> Void:
    terms = spin.record.terms
    return replace(Void(terms.spin_id, terms.operator_id, terms.wallet_id, ""), **fields)


def void_rows(bench: Bench) -> list[VoidRow]:
    return [row for row in bench.offered if isinstance(row, VoidRow)]


async def refused(call: Any) -> str:
    with pytest.raises(Refusal) as caught:
        await call
    return caught.value.reason


async def entries(bench: Bench, spin: SettledSpin) -> list[tuple[int, int]]:
    rows = await bench.look.fetch(
        "SELECT kind, amount_minor FROM wallet_entries WHERE spin_id = $1 ORDER BY entry_number",
        spin.record.terms.spin_id,
    )
    return [tuple(row) for row in rows]


async def test_v2_a_void_returns_the_stake_takes_the_payout_and_tells_the_jackpot_server(
    bench: Bench,
) -> None:
    await bench.fund()
    spin = (await bench.committer.spin(settle(payout_minor=30))).spin
    voided = await bench.committer.void(void_of(spin, reason="round cancelled"))
    assert (voided.spin.is_voided, voided.spin.jackpot.state.name, voided.replayed) == (
        True,
        "PENDING",
        False,
    )
    assert await bench.balance() == 10_000
    assert await entries(bench, spin) == [(1, -100), (2, 30), (4, 100), (5, -30)]
    [row] = void_rows(bench)
    assert row == VoidRow(spin.record.terms.spin_id, "demo", (), "round cancelled")
    kinds = await bench.look.fetchval("SELECT array_agg(kind ORDER BY kind) FROM jackpot_outbox")
    assert kinds == [1, 2]
    await bench.committer.book(Booking(answers=(answer_of(bench, row.spin_id), Answer(row))))
    shown = (await bench.committer.spin(settle(payout_minor=30, spin_id=row.spin_id))).spin
    assert (shown.is_voided, shown.jackpot.state.name) == (True, "VOIDED")


async def test_a_void_of_a_table_spin_is_nobody_elses_business(bench: Bench) -> None:
    await bench.fund()
    spin = (await bench.committer.spin(settle(game_id=TABLE))).spin
    voided = await bench.committer.void(void_of(spin))
    assert voided.spin.jackpot.state.name == "NOT_APPLICABLE"
    assert await bench.balance() == 10_000
    assert await bench.count("jackpot_outbox") == 0


async def test_v1_a_spin_that_comes_after_its_void_is_refused(bench: Bench) -> None:
    await bench.fund()
    late = settle()
    void = Void(late.terms.spin_id, "demo", "w", "")
    assert (await bench.committer.void(void)).replayed is False
    assert (await bench.committer.void(void)).replayed
    for _ in range(2):
        assert await refused(bench.committer.spin(late)) == "SPIN_VOIDED"
    assert await bench.balance() == 10_000
    assert await bench.count("jackpot_outbox") == 0, "there is nothing to take back"


async def test_v4_a_win_that_comes_after_the_void_is_credited_only_once_released(bench: Bench) -> None:
    await bench.fund()
    spin = await spin_on(bench)
    spin_id = spin.record.terms.spin_id
    await bench.committer.void(void_of(spin))
    payable = win_of(spin)
    await bench.committer.book(Booking(answers=(answer_of(bench, spin_id, payable),)))
    assert await bench.balance() == 10_000
    assert not acknowledgements(bench), "neither credited nor confirmed: the void is on its way"
    held = replace(payable, state=WinState.HELD, spin_voided=True, event_sequence=2)
    await bench.committer.book(Booking(pages=(WinPage("demo", (held,), 2),)))
    assert [told.outcome for told in acknowledgements(bench)] == [Outcome.HOLD_CONFIRMED]
    released = replace(held, state=WinState.PAYABLE, event_sequence=3)
    await bench.committer.book(Booking(pages=(WinPage("demo", (released,), 3),)))
    assert await bench.balance() == 10_000 + 1_234
    assert acknowledgements(bench)[-1].outcome is Outcome.CREDITED


async def test_v5_a_win_credited_before_the_void_stays_and_the_void_says_so(bench: Bench) -> None:
    await bench.fund()
    spin = await spin_on(bench)
    win = win_of(spin)
    await bench.committer.book(Booking(answers=(answer_of(bench, spin.record.terms.spin_id, win),)))
    await bench.committer.void(void_of(spin))
    assert await bench.balance() == 10_000 + 1_234
    assert [row.credited_wins for row in void_rows(bench)] == [(win.win,)]
    stored = await bench.look.fetchval("SELECT credited_wins FROM jackpot_outbox WHERE kind = 2")
    assert stored == win.win


async def test_v6_a_void_twice_has_the_same_answer(bench: Bench) -> None:
    await bench.fund()
    spin = await spin_on(bench)
    first = await bench.committer.void(void_of(spin))
    again = await bench.committer.void(void_of(spin, reason="again"))
    assert again.replayed
    assert again.spin == first.spin
    assert await bench.balance() == 10_000
    assert len(void_rows(bench)) == 1


async def test_v7_a_void_is_refused_when_the_wallet_no_longer_has_the_payout(bench: Bench) -> None:
    await bench.fund(amount_minor=100)
    spin = (await bench.committer.spin(settle(payout_minor=500))).spin
    await bench.committer.wallet(withdraw(amount_minor=450))
    assert await refused(bench.committer.void(void_of(spin))) == "INSUFFICIENT_FUNDS"
    assert await bench.balance() == 50
    assert await entries(bench, spin) == [(1, -100), (2, 500)]
    assert await bench.count("spin_voids") == 0
    assert not void_rows(bench)


async def test_only_its_operator_voids_a_spin_and_only_in_its_wallet(bench: Bench) -> None:
    await bench.fund()
    await bench.fund("other")
    spin = await spin_on(bench)
    for wrong, reason in (
        ({"operator_id": "another"}, "WALLET_MISMATCH"),
        ({"wallet_id": "other"}, "WALLET_MISMATCH"),
        ({"wallet_id": "nobody"}, "WALLET_NOT_FOUND"),
    ):
        assert await refused(bench.committer.void(void_of(spin, **wrong))) == reason
    assert await bench.balance() == 10_000 - 100


async def test_v1_to_v7_in_any_order_from_two_replicas(spins_dsn: str) -> None:
    """Spins, voids and wins of the same ids race through two committers, repeats included."""
    seed = random.randrange(2**32)
    log.warning("seed %d", seed)
    chance = random.Random(seed)
    async with open_bench(spins_dsn) as bench, open_bench(spins_dsn) as other:
        wallets = [f"w{i}" for i in range(8)]
        for wallet in wallets:
            await bench.fund(wallet)
        committers = (bench.committer, other.committer)
        spins = [
            settle(chance.choice(wallets), chance.choice((0, 50, 300)), game_id=chance.choice((SLOTS, TABLE)))
            for _ in range(200)
        ]
        voids = [Void(s.terms.spin_id, "demo", s.terms.wallet_id, "") for s in spins if chance.random() < 0.5]
        calls: list[Settle | Void] = [*spins, *spins, *voids, *voids]
        chance.shuffle(calls)

        async def send(call: Settle | Void) -> None:
            committer = chance.choice(committers)
            try:
                if isinstance(call, Void):
                    await committer.void(call)
                    return
                settled = (await committer.spin(call)).spin
            except Refusal as refusal:
                if refusal.reason in ("SPIN_VOIDED", "INSUFFICIENT_FUNDS"):
                    return
                raise
            if settled.record.has_jackpot and chance.random() < 0.4:
                page = WinPage("demo", (win_of(settled),), 1)
                await chance.choice(committers).book(Booking(pages=(page,)))

        await asyncio.gather(*map(send, calls))
        for wrong in WALLET_CHECKS:
            assert await bench.look.fetch(SPINS_CHECKS[wrong]) == [], wrong
        assert await bench.look.fetchval(CREDITED_AFTER_VOID) == 0
        assert await bench.look.fetchval(CREDITED_BUT_NOT_NAMED) == 0
        assert await bench.count("spin_voids") > 0
        assert await bench.count("jackpot_wins") > 0


WALLET_CHECKS = [
    "wallet balance is not the sum of its entries",
    "entry does not follow from the one before",
    "voided spin has not been given back",
    "spin's balance is not its last entry's",
]
# Its entry would come after the stake's return.
CREDITED_AFTER_VOID = """
SELECT count(*) FROM jackpot_wins w
  JOIN wallet_entries c ON c.win = w.win
  JOIN wallet_entries r ON r.spin_id = w.spin_id AND r.kind = 4
 WHERE c.entry_number > r.entry_number"""
CREDITED_BUT_NOT_NAMED = """
SELECT count(*) FROM jackpot_wins w JOIN jackpot_outbox o ON o.spin_id = w.spin_id AND o.kind = 2
 WHERE (w.wallet_entry_id IS NOT NULL) <> (w.win = o.credited_wins)"""
