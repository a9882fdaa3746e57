"""The table's own rules: who may send a row, and when."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from jackpot_outbox import answer_store, store
from jackpot_outbox.rows import AcknowledgementRow, ContributionRow, Outcome, Setback
from service_kit.database import connect
from tests.integration.jackpot_outbox.wallet_double import Look, contribution
from tests.support.waiting import eventually

LEASE_MS = 60_000


async def insert_due(look: Look, count: int = 1) -> list[ContributionRow]:
    """Rows that are due now."""
    rows = [contribution() for _ in range(count)]
    await store.insert_contributions(look.connection, rows)
    await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
    return rows


async def due_in_s(look: Look, row: ContributionRow) -> float:
    value: float = await look.connection.fetchval(
        "SELECT extract(epoch FROM due_time - clock_timestamp())::float8 FROM jackpot_outbox"
        " WHERE spin_id = $1",
        row.spin_id,
    )
    return value


async def test_a_contribution_comes_back_with_every_field(look: Look) -> None:
    row = ContributionRow(
        uuid4(),
        "operator",
        "user",
        "wallet",
        "EUR",
        10**12,
        1,
        "game",
        "provider",
        "round",
        2,
        "DE",
        "Glück ',;\n",
        ("MINI", "GRAND"),
        datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    )
    await store.insert_contributions(look.connection, [row])
    await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
    assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == (row,)


async def test_an_acknowledgement_comes_back_with_every_field(look: Look) -> None:
    spin_id = uuid4()
    row = AcknowledgementRow(
        spin_id,
        f"pools/mini/wins/{spin_id}",
        7,
        "demo",
        Outcome.CREDITED,
        "entry-1",
        "COIN",
        4_200,
        datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
        "",
    )
    await look.connection.execute(store.acknowledgements_insert(), *store.acknowledgement_arrays([row]))
    await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
    assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == (row,)


async def test_a_new_row_is_left_to_its_writer_for_the_lead(look: Look) -> None:
    row = contribution()
    await store.insert_contributions(look.connection, [row])
    assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == ()
    assert 1.0 < await due_in_s(look, row) <= store.DISPATCH_LEAD_MS / 1000


async def test_a_taken_row_is_nobody_elses_until_its_lease_ends(look: Look) -> None:
    await insert_due(look)
    first = await store.take_due(look.connection, 10, 200)
    assert len(first.rows) == 1
    assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == ()

    async def again() -> bool:
        return bool((await store.take_due(look.connection, 10, LEASE_MS)).rows)

    await eventually(again)


async def test_two_takers_at_once_never_get_the_same_row(look: Look, wallet_dsn: str) -> None:
    rows = await insert_due(look, 300)
    takers = [await connect(wallet_dsn, application_name="taker") for _ in range(3)]

    async def take_all(connection: asyncpg.Connection) -> list[object]:
        taken: list[object] = []
        while batch := (await store.take_due(connection, 20, LEASE_MS)).rows:
            taken += batch
        return taken

    shares = await asyncio.gather(*map(take_all, takers))
    everything = [row for share in shares for row in share]
    assert len(everything) == len(set(everything)) == len(rows)
    await asyncio.gather(*(taker.close() for taker in takers))


async def test_a_locked_row_does_not_hold_up_the_others(look: Look, wallet_dsn: str) -> None:
    locked, free = await insert_due(look, 2)
    other = await connect(wallet_dsn, application_name="other")
    async with other.transaction():
        await other.execute("SELECT FROM jackpot_outbox WHERE spin_id = $1 FOR UPDATE", locked.spin_id)
        assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == (free,)
    await other.close()


async def test_the_oldest_rows_are_taken_first(look: Look) -> None:
    rows = await insert_due(look, 3)
    await look.connection.execute(
        "UPDATE jackpot_outbox SET due_time = now() - interval '1 hour' WHERE spin_id = $1", rows[1].spin_id
    )
    assert (await store.take_due(look.connection, 1, LEASE_MS)).rows == (rows[1],)


async def test_each_failure_of_an_item_waits_longer_up_to_a_limit(look: Look) -> None:
    (row,) = await insert_due(look)
    waits = []
    for _ in range(14):
        await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
        taken = await store.take_due(look.connection, 1, 10)
        await store.set_back(look.connection, [Setback(row, "INTERNAL", "no")], [taken.lease_until])
        waits.append(await due_in_s(look, row))
    for attempt, wait_s in enumerate(waits):
        unjittered_s = min(store.BACK_OFF_FIRST_S * 2**attempt, store.BACK_OFF_LONGEST_S)
        assert 0.4 * unjittered_s <= wait_s <= 1.5 * unjittered_s


async def test_a_setback_never_brings_a_row_forward_that_was_leased_by_somebody_else(look: Look) -> None:
    (row,) = await insert_due(look)
    mine = await store.take_due(look.connection, 1, 1_000)
    await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
    await store.take_due(look.connection, 1, LEASE_MS)
    setback = Setback(row, "UNAVAILABLE", "no", retry_after_s=0.1)
    await store.set_back(look.connection, [setback, setback], [mine.lease_until, None])
    assert await due_in_s(look, row) > LEASE_MS / 1000 - 5


async def test_a_parked_row_stays_until_it_is_released(look: Look) -> None:
    row, other = await insert_due(look, 2)
    taken = await store.take_due(look.connection, 10, 1)
    refused = Setback(row, "SPIN_ID_REUSED", "another wager", parked=True)
    await store.set_back(look.connection, [refused], [taken.lease_until])
    await look.connection.execute("UPDATE jackpot_outbox SET due_time = now()")
    assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == (other,)
    counts = await store.row_counts(look.connection)
    assert (counts.open_rows, counts.parked_rows) == (1, 1)
    (listed,) = await store.listing(look.connection, parked_only=True, limit=10)
    assert (listed.key, listed.last_error) == (row.key, "SPIN_ID_REUSED: another wager")

    assert await store.release(look.connection, [other.spin_id]) == []
    assert await store.release(look.connection, [row.spin_id]) == [row.key]
    assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == (row,)


async def test_setbacks_of_rows_that_are_gone_change_nothing(look: Look) -> None:
    await store.set_back(look.connection, [Setback(contribution(), "X", "y", parked=True)], [None])
    assert await store.listing(look.connection, parked_only=False, limit=10) == []


async def test_a_row_is_given_back_only_while_the_lease_is_the_givers(look: Look) -> None:
    rows = await insert_due(look, 2)
    taken = await store.take_due(look.connection, 10, LEASE_MS)
    assert taken.lease_until is not None
    keys = [row.key for row in rows]
    await store.give_back(look.connection, keys, taken.lease_until + timedelta(seconds=1), 0)
    assert (await store.take_due(look.connection, 10, LEASE_MS)).rows == ()
    await store.give_back(look.connection, keys, taken.lease_until, 0)
    assert len((await store.take_due(look.connection, 10, LEASE_MS)).rows) == 2


async def test_only_rows_that_are_due_at_once_wake_a_relay(look: Look, wallet_dsn: str) -> None:
    heard = asyncio.Event()
    listener = await connect(wallet_dsn, application_name="listener")
    await listener.add_listener(store.CHANNEL, lambda *_: heard.set())
    await store.insert_contributions(look.connection, [contribution()])
    await listener.execute("SELECT 1")
    assert not heard.is_set()
    await look.connection.execute(
        "INSERT INTO jackpot_outbox (kind, spin_id, operator_id) VALUES (1, $1, 'demo')", uuid4()
    )
    await asyncio.wait_for(heard.wait(), 5)
    await listener.remove_listener(store.CHANNEL, lambda *_: None)
    await listener.close()


async def test_an_operators_first_row_makes_its_cursor(look: Look) -> None:
    rows = [contribution(operator_id=name) for name in ("one", "two", "one")]
    await store.insert_contributions(look.connection, rows)
    await store.insert_contributions(look.connection, [contribution(operator_id="two")])
    leased = await answer_store.lease_cursors(look.connection, "me", 60_000)
    assert leased == {"one": 0, "two": 0}


async def test_a_cursor_has_one_leaseholder_until_the_lease_ends_or_is_given_up(look: Look) -> None:
    await store.insert_contributions(look.connection, [contribution()])
    assert await answer_store.lease_cursors(look.connection, "one", 60_000) == {"demo": 0}
    assert await answer_store.lease_cursors(look.connection, "two", 60_000) == {}
    assert await answer_store.lease_cursors(look.connection, "one", 60_000) == {"demo": 0}
    await answer_store.release_cursors(look.connection, "two")
    assert await answer_store.lease_cursors(look.connection, "two", 60_000) == {}
    await answer_store.release_cursors(look.connection, "one")
    assert await answer_store.lease_cursors(look.connection, "two", 100) == {"demo": 0}

    async def taken_over() -> bool:
        return bool(await answer_store.lease_cursors(look.connection, "one", 60_000))

    await eventually(taken_over)


async def test_a_time_that_protobuf_cannot_say_is_refused_at_the_door(look: Look) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="occur_time_is_in_range"):
        await look.connection.execute(
            "INSERT INTO jackpot_outbox (kind, spin_id, operator_id, occur_time)"
            " VALUES (1, $1, 'demo', '4000-01-01 BC')",
            uuid4(),
        )


async def test_the_same_contribution_twice_is_a_unique_violation(look: Look) -> None:
    row = contribution()
    await store.insert_contributions(look.connection, [row])
    with pytest.raises(asyncpg.UniqueViolationError):
        await store.insert_contributions(look.connection, [replace(row, wager_minor=1)])
