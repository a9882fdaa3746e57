"""Which rows are in hand, and whose turn it is."""

from datetime import UTC, datetime
from uuid import uuid4

from jackpot_outbox.held import HeldRow, HeldRows
from jackpot_outbox.rows import AcknowledgementRow, ContributionRow, Outcome

LEASED = datetime(2026, 1, 1, tzinfo=UTC)


def contribution() -> ContributionRow:
    return ContributionRow(uuid4(), "demo", "anna", "anna-coins", "COIN", 100, 1, "demo-slots")


def held(lease_end: float = 10.0, row: ContributionRow | None = None) -> HeldRow:
    return HeldRow(row or contribution(), lease_end, None)


async def test_a_row_that_is_in_hand_is_not_taken_again() -> None:
    rows, row = HeldRows(10), contribution()
    assert rows.add(held(row=row))
    assert rows.add(held(row=row))
    assert len(rows) == rows.waiting == 1


async def test_a_row_on_its_way_is_not_queued_again_until_it_is_released() -> None:
    rows, first = HeldRows(10), held()
    rows.add(first)
    assert rows.pop(rows.contributions, 10, 0.0) == [first]
    again = held(row=first.row)  # type: ignore[arg-type]
    rows.add(again)
    assert rows.pop(rows.contributions, 10, 0.0) == []
    rows.release([first])
    rows.add(again)
    assert rows.pop(rows.contributions, 10, 0.0) == [again]


async def test_a_lease_that_is_renewed_counts_for_the_row_in_hand() -> None:
    rows, first = HeldRows(10), held(lease_end=1.0)
    rows.add(first)
    rows.add(HeldRow(first.row, 5.0, LEASED))
    assert rows.pop(rows.contributions, 10, needed_until=4.0) == [first]
    assert first.lease_until == LEASED


async def test_it_holds_no_more_than_its_limit() -> None:
    rows = HeldRows(2)
    assert [rows.add(held()) for _ in range(3)] == [True, True, False]
    assert rows.free == 0


async def test_rows_whose_lease_is_too_short_are_let_go() -> None:
    rows, short, long = HeldRows(10), held(lease_end=1.0), held(lease_end=9.0)
    rows.add(short)
    rows.add(long)
    assert rows.pop(rows.contributions, 10, needed_until=2.0) == [long]
    assert len(rows) == 1
    assert rows.add(held(row=short.row))  # type: ignore[arg-type]


async def test_releasing_a_row_that_was_let_go_does_not_touch_its_successor() -> None:
    rows, first = HeldRows(10), held()
    rows.add(first)
    rows.release_waiting()
    rows.add(held(row=first.row))  # type: ignore[arg-type]
    rows.release([first])
    assert len(rows) == 1


async def test_kinds_wait_in_queues_of_their_own() -> None:
    rows = HeldRows(10)
    spin_id = uuid4()
    act = AcknowledgementRow(spin_id, f"pools/mini/wins/{spin_id}", 1, "demo", Outcome.CREDITED)
    rows.add(held())
    rows.add(HeldRow(act, 10.0, None))
    assert [one.row for one in rows.pop(rows.singles, 10, 0.0)] == [act]
    assert rows.waiting == 1
