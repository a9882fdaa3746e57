"""The batch writer on a real database: bad rows, locked rows, lost connections, unknown outcomes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
import pytest

from service_kit import database
from service_kit.batch_writer import BatchWriter
from service_kit.errors import Failure
from service_kit.group_commit import GroupCommit, Later
from tests.support.fault_proxy import FaultProxy, proxied
from tests.support.waiting import eventually

TABLES = """
CREATE TABLE accounts (name text PRIMARY KEY, total bigint NOT NULL DEFAULT 0);
CREATE TABLE bookings (id text PRIMARY KEY, account text NOT NULL, amount int NOT NULL);
INSERT INTO accounts SELECT 'account-' || n FROM generate_series(0, 9) AS n;
"""


@dataclass(frozen=True)
class Booking:
    id: str
    account: str = "account-0"
    # Text on purpose: the database refuses what is not a number.
    amount: str = "1"


class Books:
    """The smallest honest transaction: lock, known ids, insert, answer."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.forced = 0
        self.read_known = True

    async def transact(
        self, connection: asyncpg.Connection, items: list[Booking], must_write: bool
    ) -> Sequence[str | Exception | Later]:
        self.batch_sizes.append(len(items))
        self.forced += must_write
        if any(item.amount == "bug" for item in items):
            raise ZeroDivisionError("a bug of ours")
        await connection.fetch(
            "SELECT name FROM accounts WHERE name = ANY($1) ORDER BY name FOR NO KEY UPDATE",
            [item.account for item in items],
        )
        known: set[str] = set()
        if self.read_known:
            rows = await connection.fetch(
                "SELECT id FROM bookings WHERE id = ANY($1::text[])", [item.id for item in items]
            )
            known = {row["id"] for row in rows}
        self.read_known = True
        new = [item for item in items if item.id not in known]
        await connection.execute(
            "INSERT INTO bookings SELECT id, account, amount::int"
            " FROM unnest($1::text[], $2::text[], $3::text[]) AS b (id, account, amount) ORDER BY id",
            [item.id for item in new],
            [item.account for item in new],
            [item.amount for item in new],
        )
        if must_write:
            await connection.execute("UPDATE accounts SET total = total WHERE name = 'account-0'")
        return ["known" if item.id in known else "new" for item in items]


class ShortBooks(Books):
    """Has a short way, too: new bookings in one statement, unless an account got some since the look."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        # Called between the look and the write.
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def look(
        self, connection: asyncpg.Connection, items: list[Booking]
    ) -> Callable[[asyncpg.Connection], Awaitable[list[str] | None]] | None:
        self.looks += 1
        seen: int = await connection.fetchval("SELECT count(*) FROM bookings")
        if any(item.account == "long way" for item in items):
            return None

        async def write(connection: asyncpg.Connection) -> list[str] | None:
            if self.meanwhile is not None:
                await self.meanwhile()
            written = await connection.fetch(
                "INSERT INTO bookings SELECT id, account, amount::int"
                " FROM unnest($1::text[], $2::text[], $3::text[]) AS b (id, account, amount)"
                " WHERE (SELECT count(*) FROM bookings) = $4 ORDER BY id RETURNING id",
                [item.id for item in items],
                [item.account for item in items],
                [item.amount for item in items],
                seen,
            )
            return ["short" for _ in items] if written else None

        return write


@asynccontextmanager
async def writing(dsn: str, **settings: float) -> AsyncIterator[tuple[Books, GroupCommit[Booking, str]]]:
    books = Books()
    writer: BatchWriter[Booking, str] = BatchWriter(
        partial(_connect, dsn),
        books.transact,
        lock_keys=_accounts,
        max_batch=100,
        more_waits=lambda: group.waiting > 0,
        **settings,  # type: ignore[arg-type]
    )
    async with _grouped(writer) as group:
        yield books, group


async def _connect(dsn: str) -> asyncpg.Connection:
    return await database.connect(dsn, application_name="test", lock_timeout_ms=50)


def _accounts(booking: Booking) -> tuple[str, ...]:
    return (booking.account,)


@asynccontextmanager
async def _grouped(writer: BatchWriter[Booking, str]) -> AsyncIterator[GroupCommit[Booking, str]]:
    group: GroupCommit[Booking, str] = GroupCommit(
        writer.write, key=lambda item: item.id, max_batch=100, max_waiting=10_000, name="books"
    )
    group.start()
    try:
        yield group
    finally:
        await group.close()
        await writer.close()


@pytest.fixture
async def direct(empty_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute(TABLES)
    yield connection
    await connection.close()


async def ids(direct: asyncpg.Connection) -> list[str]:
    return [row["id"] for row in await direct.fetch("SELECT id FROM bookings ORDER BY id")]


async def test_results_answer_their_items(empty_dsn: str, direct: asyncpg.Connection) -> None:
    async with writing(empty_dsn) as (_, group):
        assert await group.submit_many([Booking("a"), Booking("b")]) == ["new", "new"]
        assert await group.submit_many([Booking("c"), Booking("a")]) == ["new", "known"]
    assert await ids(direct) == ["a", "b", "c"]


async def test_a_batch_that_waits_already_is_begun_with_the_commit_before_it(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    asked: list[str] = []

    async def connect() -> asyncpg.Connection:
        connection = await database.connect(empty_dsn, application_name="test")
        connection.add_query_logger(lambda query: asked.append(query.query))
        return connection

    writer: BatchWriter[Booking, str] = BatchWriter(
        connect,
        Books().transact,
        lock_keys=lambda item: (item.account,),
        max_batch=1,
        more_waits=lambda: group.waiting > 0,
    )
    group: GroupCommit[Booking, str] = GroupCommit(
        writer.write, key=lambda item: item.id, max_batch=1, max_waiting=10, name="books"
    )
    group.start()
    assert await group.submit_many([Booking("a"), Booking("b")]) == ["new", "new"]
    await group.close()
    await writer.close()
    ends = [query for query in asked if query.startswith(("BEGIN", "COMMIT"))]
    assert ends == ["BEGIN", "COMMIT AND CHAIN", "COMMIT"]
    assert await ids(direct) == ["a", "b"]


async def test_a_transaction_begun_for_a_batch_that_did_not_come_is_ended(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    writer: BatchWriter[Booking, str] = BatchWriter(
        lambda: database.connect(empty_dsn, application_name="test"),
        Books().transact,
        lock_keys=lambda item: (item.account,),
        max_batch=1,
        more_waits=lambda: True,
    )
    state = "SELECT state FROM pg_stat_activity WHERE application_name = 'test'"
    try:
        assert await writer.write([Booking("a")]) == ["new"]
        assert await direct.fetchval(state) == "idle in transaction"
        assert not await writer.write([])  # as when all of the next batch is behind a lock
        assert await direct.fetchval(state) == "idle"
        assert await writer.write([Booking("a"), Booking("b")]) == ["known", "new"]
    finally:
        await writer.close()


@asynccontextmanager
async def writing_short(dsn: str) -> AsyncIterator[tuple[ShortBooks, GroupCommit[Booking, str]]]:
    books = ShortBooks()
    writer: BatchWriter[Booking, str] = BatchWriter(
        partial(_connect, dsn), books.transact, look=books.look, lock_keys=_accounts, max_batch=100
    )
    async with _grouped(writer) as group:
        yield books, group


async def test_a_batch_with_a_short_way_needs_no_transaction(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with writing_short(empty_dsn) as (books, group):
        assert await group.submit_many([Booking("a"), Booking("b")]) == ["short", "short"]
        assert books.batch_sizes == []
        assert await group.submit_many([Booking("c"), Booking("d", "long way")]) == ["new", "new"]
    assert await ids(direct) == ["a", "b", "c", "d"]


async def test_what_has_changed_since_the_look_is_left_to_the_transaction(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with writing_short(empty_dsn) as (books, group):
        books.meanwhile = partial(direct.execute, "INSERT INTO bookings VALUES ('other', 'account-0', 1)")
        assert await group.submit(Booking("a")) == "new"
    assert await ids(direct) == ["a", "other"]


async def test_a_short_way_whose_reply_is_lost_is_settled_by_the_transaction(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with proxied(empty_dsn) as (proxy, dsn), writing_short(dsn) as (books, group):
        for n in range(10):
            proxy.lose_reply_to(f"mark-{n}".encode())
            assert await group.submit(Booking(f"mark-{n}")) == "known"
        assert (books.looks, books.forced) == (10, 10)
        proxy.lose_request(b"mark-x")
        assert await group.submit(Booking("mark-x")) == "new"
    assert len(await ids(direct)) == 11


async def test_a_short_way_that_meets_a_known_id_or_bad_data_is_left_to_the_transaction(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with writing_short(empty_dsn) as (_, group):
        assert await group.submit(Booking("a")) == "short"
        assert await group.submit_many([Booking("a"), Booking("b")]) == ["known", "new"]
        bad = Booking("bad", amount="not a number")
        results = await group.submit_many([Booking("c"), bad])
        assert results[0] in ("new", "short")
        assert isinstance(results[1], asyncpg.DataError)
    assert await ids(direct) == ["a", "b", "c"]


async def test_a_database_that_is_away_at_the_look_leaves_no_doubt(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with proxied(empty_dsn) as (proxy, dsn), writing_short(dsn) as (_, group):
        assert await group.submit(Booking("a")) == "short"
        proxy.refuse()
        with pytest.raises(Failure) as failed:
            await group.submit(Booking("b"))
        assert failed.value.reason == "DATABASE_UNAVAILABLE"
        proxy.refuse(False)
        assert await group.submit(Booking("b")) == "short"


async def test_bad_data_fails_its_item_alone(empty_dsn: str, direct: asyncpg.Connection) -> None:
    async with writing(empty_dsn) as (_, group):
        bad = Booking("bad", amount="not a number")
        results = await group.submit_many([Booking("a"), bad, Booking("b")])
        assert [results[0], results[2]] == ["new", "new"]
        assert isinstance(results[1], asyncpg.DataError)
    assert await ids(direct) == ["a", "b"]


async def test_a_bug_fails_its_item_alone(empty_dsn: str, direct: asyncpg.Connection) -> None:
    async with writing(empty_dsn) as (_, group):
        results = await group.submit_many([Booking("a"), Booking("bad", amount="bug"), Booking("b")])
        assert [results[0], results[2]] == ["new", "new"]
        assert isinstance(results[1], ZeroDivisionError)
    assert await ids(direct) == ["a", "b"]


async def test_an_id_committed_by_somebody_else_meanwhile_comes_back_as_known(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with writing(empty_dsn) as (books, group):
        await direct.execute("INSERT INTO bookings VALUES ('a', 'account-0', 1)")
        books.read_known = False  # as if the row had been committed after the read
        assert await group.submit_many([Booking("a"), Booking("b")]) == ["known", "new"]
        assert books.batch_sizes == [2, 2]


async def test_a_locked_row_delays_only_its_own_items(empty_dsn: str, direct: asyncpg.Connection) -> None:
    async with writing(empty_dsn) as (_, group):
        lock = direct.transaction()
        await lock.start()
        await direct.execute("SELECT FROM accounts WHERE name = 'account-3' FOR UPDATE")
        behind = asyncio.create_task(group.submit_many([Booking(f"s{n}", "account-3") for n in range(20)]))
        others = [Booking(f"o{n}", f"account-{n % 3}") for n in range(200)]
        assert await asyncio.wait_for(group.submit_many(others), 2) == ["new"] * 200
        assert await asyncio.wait_for(group.submit(Booking("later", "account-1")), 2) == "new"
        assert not behind.done()
        await lock.rollback()
        assert await asyncio.wait_for(behind, 2) == ["new"] * 20
        assert await group.submit(Booking("after", "account-3")) == "new"


async def test_behind_a_lock_that_stays_an_item_is_told_so_and_nothing_was_written(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with writing(empty_dsn, outcome_deadline_s=0.3) as (_, group):
        async with direct.transaction():
            await direct.execute("SELECT FROM accounts WHERE name = 'account-3' FOR UPDATE")
            with pytest.raises(Failure) as failed:
                await group.submit(Booking("stuck", "account-3"))
            assert failed.value.reason == "DATABASE_UNAVAILABLE"
        assert await ids(direct) == []
        assert await group.submit(Booking("stuck", "account-3")) == "new"


async def commits_lost(proxy: FaultProxy) -> None:
    """Takes a reply to COMMIT away, and is done when that has happened."""
    before = proxy.cuts
    proxy.lose_reply_to(b"COMMIT")
    await eventually(lambda: proxy.cuts > before)


async def test_a_commit_whose_reply_is_lost_is_written_again_and_answered_as_known(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with proxied(empty_dsn) as (proxy, dsn), writing(dsn) as (books, group):
        for n in range(20):
            proxy.lose_reply_to(b"COMMIT")
            assert await group.submit(Booking(f"id-{n:02}")) == "known"
        assert books.forced == 20
    assert len(await ids(direct)) == 20


async def test_a_commit_that_never_arrived_is_written_again(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with proxied(empty_dsn) as (proxy, dsn), writing(dsn) as (_, group):
        for n in range(20):
            proxy.lose_request(b"COMMIT")
            assert await group.submit(Booking(f"id-{n:02}")) == "new"
    assert len(await ids(direct)) == 20


async def test_a_database_that_goes_away_and_comes_back_is_used_again(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with proxied(empty_dsn) as (proxy, dsn), writing(dsn, unavailable_after_s=0.2) as (_, group):
        assert await group.submit(Booking("a")) == "new"
        proxy.refuse()
        with pytest.raises(Failure) as failed:
            await group.submit(Booking("b"))
        assert failed.value.reason == "DATABASE_UNAVAILABLE"
        proxy.refuse(False)
        assert await group.submit(Booking("b")) == "new"
    assert await ids(direct) == ["a", "b"]


async def test_an_outcome_that_stays_unknown_is_said_to_be_unknown(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with proxied(empty_dsn) as (proxy, dsn), writing(dsn, outcome_deadline_s=0.5) as (_, group):
        assert await group.submit(Booking("a")) == "new"
        lost = asyncio.create_task(commits_lost(proxy))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(group.submit(Booking("b")))
        await lost
        proxy.refuse()
        with pytest.raises(Failure) as failed:
            await waiting
        assert failed.value.reason == "OUTCOME_UNKNOWN"
        proxy.refuse(False)
        assert await group.submit(Booking("b")) == "known"


async def test_a_black_hole_is_left_and_the_batch_written_on_a_new_connection(
    empty_dsn: str, direct: asyncpg.Connection
) -> None:
    async with proxied(empty_dsn) as (proxy, dsn), writing(dsn, attempt_timeout_s=0.3) as (_, group):
        assert await group.submit(Booking("a")) == "new"
        proxy.stall()
        waiting = asyncio.create_task(group.submit(Booking("b")))
        await asyncio.sleep(0.4)  # longer than an attempt: the first one has been given up
        proxy.cut()
        proxy.stall(False)
        assert await asyncio.wait_for(waiting, 5) in ("new", "known")
    assert await ids(direct) == ["a", "b"]
