"""What the jackpot server said, booked with the spins: results kept, wins credited once, acknowledged."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from jackpot_outbox.rows import (
    AcknowledgementRow,
    Answer,
    Booking,
    ContributionRow,
    Outcome,
    WinNotice,
    WinPage,
    WinState,
)
from spin_server.domain.facts import SettledSpin
from spin_server.domain.wallet import MAX_BALANCE_MINOR
from tests.integration.spin_server.commands import settle
from tests.integration.spin_server.conftest import Bench

POOL = "pools/mini"
SHARES = '[{"pool": "pools/mini", "tier": "MINI", "amount_micros": 150000}]'


def win_of(spin: SettledSpin, amount_minor: int = 1_234, **fields: Any) -> WinNotice:
    terms = spin.record.terms
    values: dict[str, Any] = {
        "win": f"{POOL}/wins/{terms.spin_id}",
        "spin_id": terms.spin_id,
        "operator_id": terms.operator_id,
        "user_id": terms.user_id,
        "wallet_id": terms.wallet_id,
        "pool": POOL,
        "tier": "MINI",
        "currency_code": "COIN",
        "amount_minor": amount_minor,
        "state": WinState.PAYABLE,
        "spin_voided": False,
        "event_sequence": 1,
    }
    return WinNotice(**values | fields)


def answer_of(bench: Bench, spin_id: UUID, *wins: WinNotice) -> Answer:
    row = next(row for row in bench.offered if row.spin_id == spin_id and isinstance(row, ContributionRow))
    return Answer(row, state=1, shares_json=SHARES, record_time=row.occur_time, wins=wins)


async def spin_on(bench: Bench, wallet_id: str = "w") -> SettledSpin:
    return (await bench.committer.spin(settle(wallet_id))).spin


def acknowledgements(bench: Bench) -> list[AcknowledgementRow]:
    return [row for row in bench.offered if isinstance(row, AcknowledgementRow)]


async def test_an_answer_with_a_win_ends_the_row_and_credits_the_wallet(bench: Bench) -> None:
    await bench.fund()
    spin = await spin_on(bench)
    spin_id = spin.record.terms.spin_id
    await bench.committer.book(Booking(answers=(answer_of(bench, spin_id, win_of(spin)),)))
    assert await bench.balance() == 10_000 - 100 + 1_234
    entry = await bench.look.fetchrow("SELECT * FROM wallet_entries WHERE kind = 3")
    assert entry is not None
    assert (entry["amount_minor"], entry["balance_minor"], entry["entry_number"]) == (1_234, 11_134, 3)
    assert entry["win"] == f"{POOL}/wins/{spin_id}"
    (told,) = acknowledgements(bench)
    assert told.outcome is Outcome.CREDITED
    assert (told.wallet_entry_id, told.credited_minor) == ("w:3", 1_234)
    assert bench.booked == [spin_id]
    assert await bench.look.fetchval("SELECT array_agg(kind) FROM jackpot_outbox") == [3]
    again = await bench.committer.spin(settle(spin_id=spin_id))
    assert again.replayed
    assert again.spin.jackpot.state.name == "RECORDED"
    assert [share.amount_micros for share in again.spin.jackpot.shares] == [150_000]
    assert [(win.amount_minor, win.state.name) for win in again.spin.jackpot.wins] == [(1_234, "CREDITED")]


async def test_a_win_is_credited_once_however_often_and_by_whichever_way_it_comes(bench: Bench) -> None:
    await bench.fund()
    spin = await spin_on(bench)
    answer = answer_of(bench, spin.record.terms.spin_id, win_of(spin))
    page = WinPage("demo", (win_of(spin),), 1)
    await asyncio.gather(
        *(bench.committer.book(Booking(answers=(answer,))) for _ in range(3)),
        *(bench.committer.book(Booking(pages=(page,))) for _ in range(3)),
    )
    await bench.committer.book(Booking(answers=(answer,), pages=(page,)))
    assert await bench.balance() == 10_000 - 100 + 1_234
    assert len(acknowledgements(bench)) == 1
    assert await bench.look.fetchval("SELECT last_sequence FROM jackpot_cursors") == 1


async def test_spins_of_the_wallet_and_its_win_share_a_batch(bench: Bench) -> None:
    await bench.fund()
    earlier, spin = await spin_on(bench), await spin_on(bench)
    # A connection's first booking also asks for a type that the driver does not know.
    await bench.committer.book(
        Booking(answers=(answer_of(bench, earlier.record.terms.spin_id, win_of(earlier)),))
    )
    answer = answer_of(bench, spin.record.terms.spin_id, win_of(spin))
    bench.statements.clear()
    await asyncio.gather(
        *(bench.committer.spin(settle(payout_minor=10)) for _ in range(20)),
        bench.committer.book(Booking(answers=(answer,))),
        *(bench.committer.spin(settle(payout_minor=10)) for _ in range(20)),
    )
    # Spins take four; wins, credit, acknowledgements and ended rows one each.
    assert len(bench.statements) <= 8, bench.statements
    assert await bench.balance() == 10_000 - 200 + 2 * 1_234 - 40 * 90
    entries = await bench.look.fetch("SELECT * FROM wallet_entries ORDER BY entry_number")
    balance = 0
    for number, entry in enumerate(entries, start=1):
        balance += entry["amount_minor"]
        assert (entry["entry_number"], entry["balance_minor"]) == (number, balance)


async def test_an_answer_without_a_win_and_a_spin_do_not_wait_for_each_other(bench: Bench) -> None:
    await bench.fund()
    spin_id = (await spin_on(bench)).record.terms.spin_id
    bench.statements.clear()
    await asyncio.gather(
        bench.committer.book(Booking(answers=(answer_of(bench, spin_id),))),
        bench.committer.spin(settle()),
    )
    assert bench.booked == [spin_id]
    # Each is written by one statement, which commits by itself; in one batch they would need a transaction.
    assert "BEGIN" not in bench.statements


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"currency_code": "EUR"}, "the wallet holds COIN"),
        ({"wallet_id": "gone"}, "there is no such wallet"),
        ({"user_id": "somebody"}, "the wallet is not this user's"),
        ({"amount_minor": MAX_BALANCE_MINOR}, f"it would lift the wallet above {MAX_BALANCE_MINOR}"),
    ],
)
async def test_a_win_that_the_wallet_cannot_take_is_acknowledged_as_failed(
    bench: Bench, fields: dict[str, Any], reason: str
) -> None:
    await bench.fund()
    spin = await spin_on(bench)
    win = win_of(spin, **fields)
    await bench.committer.book(Booking(answers=(answer_of(bench, spin.record.terms.spin_id, win),)))
    (told,) = acknowledgements(bench)
    assert (told.outcome, told.failure_reason) == (Outcome.FAILED, reason)
    assert await bench.balance() == 9_900
    shown = (await bench.committer.spin(settle(spin_id=spin.record.terms.spin_id))).spin.jackpot
    assert [win.state.name for win in shown.wins] == ["FAILED"]


async def test_a_held_win_is_shown_held_and_credited_once_it_is_released(bench: Bench) -> None:
    await bench.fund()
    spin = await spin_on(bench)
    spin_id = spin.record.terms.spin_id
    held = win_of(spin, state=WinState.HELD)
    await bench.committer.book(Booking(answers=(answer_of(bench, spin_id, held),)))
    assert await bench.balance() == 9_900
    shown = (await bench.committer.spin(settle(spin_id=spin_id))).spin.jackpot
    assert [win.state.name for win in shown.wins] == ["HELD"]
    released = WinPage("demo", (win_of(spin, event_sequence=2),), 2)
    await bench.committer.book(Booking(pages=(released,)))
    assert await bench.balance() == 11_134
    assert [told.outcome for told in acknowledgements(bench)] == [Outcome.HOLD_CONFIRMED, Outcome.CREDITED]


async def test_a_parked_contribution_is_shown_parked(bench: Bench) -> None:
    await bench.fund()
    spin = settle()
    await bench.committer.spin(spin)
    await bench.look.execute("UPDATE jackpot_outbox SET parked_time = now()")
    assert (await bench.committer.spin(spin)).spin.jackpot.state.name == "PARKED"
