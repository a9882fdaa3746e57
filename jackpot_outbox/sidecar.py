"""The outbox beside a wallet in any language; needs that wallet's database and a jackpot server's address."""

from collections.abc import Collection, Hashable, Sequence
from functools import partial
from importlib.resources import files

import asyncpg

from jackpot_outbox.booking import book, book_plain
from jackpot_outbox.rows import Booked, Booking
from jackpot_outbox.service import Outbox
from jackpot_outbox.settings import SidecarSettings
from jackpot_outbox.telemetry import observe_lag
from service_kit.batch_writer import BatchWriter, WriteAtOnce
from service_kit.errors import StartRefused
from service_kit.first_contact import wait_until_servable
from service_kit.group_commit import GroupCommit
from service_kit.process import stop_signals, unless
from service_kit.telemetry import get_log

_log = get_log("sidecar")

# Bookings in one transaction, and waiting for one.
_MAX_BATCH = 500
_MAX_WAITING = 10_000

# What the tables of a wallet come from, in order, and the newest of them.
SCHEMA_FILES = {"schema.sql": "jackpot_outbox", "voids.sql": "jackpot_voids"}
_HAS_TABLE = "SELECT to_regclass($1::text) IS NOT NULL"
_LOCK_SCHEMA = "SELECT pg_advisory_xact_lock(hashtext('jackpot_outbox schema'))"


class Bookkeeper:
    """Books answers in transactions of its own. Wins are only stored: the wallet credits them."""

    def __init__(self, settings: SidecarSettings) -> None:
        self._writer: BatchWriter[Booking, Booked] = BatchWriter(
            partial(settings.connect, "jackpot_outbox bookings"),
            _transact,
            look=_look,
            lock_keys=_wins_of,
            max_batch=_MAX_BATCH,
        )
        self._group: GroupCommit[Booking, Booked] = GroupCommit(
            self._writer.write, key=_itself, max_batch=_MAX_BATCH, max_waiting=_MAX_WAITING, name="bookings"
        )

    def start(self) -> None:
        """Starts the task that writes."""
        self._group.start()

    async def book(self, booking: Booking) -> Booked:
        """Durable when it returns; may be repeated."""
        booked = await self._group.submit(booking)
        observe_lag(booking.answers, frozenset(booked.ended_spins))
        return booked

    async def close(self) -> None:
        """Finishes what was taken, closes the connections."""
        await self._group.close()
        await self._writer.close()


async def _look(_connection: asyncpg.Connection, bookings: list[Booking]) -> WriteAtOnce[Booked] | None:
    is_plain = all(booking.is_plain for booking in bookings)
    return partial(book_plain, bookings) if is_plain else None


async def _transact(
    connection: asyncpg.Connection, bookings: list[Booking], must_write: bool
) -> Sequence[Booked]:
    booked = await book(connection, bookings, credit=None, must_write=must_write)
    return [booked] * len(bookings)


def _wins_of(booking: Booking) -> Collection[Hashable]:
    return {win.win for win in booking.wins}


def _itself(booking: Booking) -> Hashable:
    return booking


async def serve(settings: SidecarSettings) -> None:
    """Sends, books and follows until SIGTERM or SIGINT; rows in flight are then answered or left as they are.

    StartRefused if the database has no outbox or may forget what it confirmed.
    """
    with stop_signals() as (stopping, _):
        if not await unless(stopping, wait_until_servable(settings, "jackpot_outbox", _assert_outbox)):
            return
        bookkeeper = Bookkeeper(settings)
        outbox = Outbox(settings, connect=partial(settings.connect, "jackpot_outbox"), book=bookkeeper.book)
        bookkeeper.start()
        await outbox.start()
        _log.info("outbox_started", jackpot_address=settings.jackpot_address)
        await stopping.wait()
        await outbox.close()
        await bookkeeper.close()
        _log.info("outbox_stopped")


async def migrate(settings: SidecarSettings) -> bool:
    """Makes the outbox's tables in the wallet's database; False if they are there already.

    May be repeated, and run by several at once.
    """
    connection = await settings.connect("jackpot_outbox migrate")
    try:
        async with connection.transaction():
            await connection.execute(_LOCK_SCHEMA)
            missing = [
                file
                for file, table in SCHEMA_FILES.items()
                if not await connection.fetchval(_HAS_TABLE, table)
            ]
            for file in missing:
                await connection.execute(files("jackpot_outbox").joinpath(file).read_text("utf-8"))
            return bool(missing)
    finally:
        await connection.close()


async def _assert_outbox(connection: asyncpg.Connection) -> None:
    if not await connection.fetchval(_HAS_TABLE, "jackpot_voids"):
        raise StartRefused("The database has no outbox: run `python -m jackpot_outbox migrate` first.")
